"""Cityscapes: drawn sets of its layout, what is written, and files that are damaged."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.data.formats.drawn_cityscapes import (
    IDS,
    SIZE,
    THINGS,
    TRAIN_IDS,
    paint,
    place,
    polygons,
    scene,
    write_cityscapes,
    write_scene,
)
from tests.data.formats.drawn_voc import same
from tests.data.listed import Listed, drawn, mapped, sample
from vitrail.data.formats.base import Dataset, Options, Splits, refuse
from vitrail.data.formats.cityscapes import FORMAT, CityscapesOptions
from vitrail.data.formats.cityscapes_labels import LABELS, cityscapes_coding
from vitrail.data.formats.cityscapes_polygons import Drawing, outlines
from vitrail.data.formats.writing import samples
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError, ParameterError, VitrailError
from vitrail.result.masks import Masks

NAME = "aachen_000000_000019"


def opened(root: Path, **options) -> Dataset:
    return FORMAT.open(root, CityscapesOptions(**options))


def by_id(dataset: Dataset) -> dict[str, Sample]:
    return {one.id: one for _, source in dataset.items() for one in samples(source)}


def one_scene(root: Path, keep: str = "*") -> Path:
    """A set of one image; ``keep``: which of its label files stay. Returns their folder."""
    write_scene(root, "train", "aachen", NAME, 3)
    folder = root / "gtFine" / "train" / "aachen"
    kept = set(folder.glob(keep))
    for path in set(folder.iterdir()) - kept:
        path.unlink()
    return folder


def write(parts: Splits, folder: Path) -> Dataset:
    folder.mkdir(exist_ok=True)
    assert FORMAT.write is not None
    FORMAT.write(parts, folder, Options())
    dataset = opened(folder)
    for split in dataset.splits:
        dataset[split]
    refuse(dataset.problems)
    return dataset


# Reading ----------------------------------------------------------------------------------------


def test_classes_are_the_nineteen_of_the_benchmark(tmp_path: Path) -> None:
    truth = write_cityscapes(tmp_path)
    dataset = opened(tmp_path)
    assert dataset.splits == ("train", "val")
    assert dataset["train"].ids == [
        "aachen/aachen_000000_000019",
        "aachen/aachen_000001_000019",
        "zurich/zurich_000000_000019",
    ]
    assert dataset["val"].ids == ["frankfurt/frankfurt_000000_000294_x"]
    space = dataset.space
    assert len(space.classes) == 19 and space.classes[13] == "car" and space.ignore == 255
    assert space.background is None
    assert space.original_ids is not None and space.original_ids[13] == 26
    assert space.colours is not None and space.colours[0] == (128, 64, 128)
    for id, one in by_id(dataset).items():
        assert one.size == SIZE and one.labels is not None and one.labels.dtype == np.uint8
        assert same(one.labels, truth[id].trained)
        assert one.image.shape == (*SIZE, 3)
    assert not dataset.problems


def test_objects_are_cars_persons_and_groups(tmp_path: Path) -> None:
    truth = write_cityscapes(tmp_path)
    for id, one in by_id(opened(tmp_path)).items():
        found = {object.id: object for object in one.instances or ()}
        assert list(found) == ["24", "24000", "26000", "26001"]
        assert [name for name, object in found.items() if object.crowd] == ["24"]
        assert {name: object.class_id for name, object in found.items()} == {
            **{"24": 11, "24000": 11},
            **{"26000": 13, "26001": 13},
        }
        for name, object in found.items():
            assert object.mask is not None
            assert same(object.mask.dense()[0], truth[id].instances == int(name))


def test_all_34_labels(tmp_path: Path) -> None:
    truth = write_cityscapes(tmp_path)
    dataset = opened(tmp_path, labels="all34")
    assert len(dataset.space.classes) == 34 and dataset.space.classes[29] == "caravan"
    assert dataset.space.classes[dataset.space.background or 0] == "unlabeled"
    for id, one in by_id(dataset).items():
        assert same(one.labels, truth[id].labels)
        assert {object.id for object in one.instances or ()} >= {"29000", "24", "26001"}


def test_categories(tmp_path: Path) -> None:
    truth = write_cityscapes(tmp_path)
    dataset = opened(tmp_path, labels="category")
    assert dataset.space.classes == (
        *("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
    )
    expected = {7: 0, 11: 1, 23: 4, 24: 5, 26: 6, 29: 6}
    for id, one in by_id(dataset).items():
        assert one.labels is not None
        for label in np.unique(truth[id].labels).tolist():
            assert set(one.labels[truth[id].labels == label].tolist()) == {expected.get(label, 255)}
        kinds = {object.id: object.class_id for object in one.instances or ()}
        assert kinds["29000"] == kinds["26000"] == 6 and kinds["24"] == 5


def test_the_published_table_agrees_with_itself() -> None:
    coding = cityscapes_coding("train19")
    for name, id in IDS.items():
        assert coding.by_name[name].id == id
        assert coding.class_of[id] == TRAIN_IDS.get(id, 255)
        assert coding.by_name[name].has_instances == (name in THINGS)
    assert len({label.name for label in LABELS}) == 35


def test_polygons_stand_in_for_missing_pictures(tmp_path: Path) -> None:
    write_cityscapes(tmp_path / "whole")
    write_cityscapes(tmp_path / "drawn")
    for path in (tmp_path / "drawn" / "gtFine").rglob("*.png"):
        path.unlink()
    for labels in ("train19", "all34", "category"):
        before = by_id(opened(tmp_path / "whole", labels=labels))
        after = by_id(opened(tmp_path / "drawn", labels=labels))
        assert before.keys() == after.keys()
        for id, one in before.items():
            other = after[id]
            assert other.size == one.size and same(other.labels, one.labels)
            told = [(o.id, o.class_id, o.crowd, o.mask) for o in one.instances or ()]
            assert told and told == [
                (o.id, o.class_id, o.crowd, o.mask) for o in other.instances or ()
            ]


def test_train_ids_alone_are_enough_for_the_nineteen_classes(tmp_path: Path) -> None:
    one_scene(tmp_path, "*TrainIds.png")
    (one,) = by_id(opened(tmp_path)).values()
    assert same(one.labels, paint(scene(3)).trained)
    assert one.instances is None
    dataset = opened(tmp_path, labels="all34")
    assert not len(dataset["train"])
    assert [problem.code for problem in dataset.problems] == ["missing-mask"]


def test_deleted_objects_are_not_painted(tmp_path: Path) -> None:
    folder = one_scene(tmp_path, "*.json")
    content = polygons(scene(3))
    content["objects"][4]["deleted"] = 1
    next(folder.iterdir()).write_text(json.dumps(content))
    (one,) = by_id(opened(tmp_path)).values()
    left = [item for number, item in enumerate(scene(3)) if number != 4]
    assert same(one.labels, paint(left).trained)
    assert [object.id for object in one.instances or ()] == ["24", "24000", "26000"]


def test_polygons_of_one_or_two_points_and_out_of_the_frame_are_painted(tmp_path: Path) -> None:
    folder = one_scene(tmp_path, "*.json")
    objects = [
        ("road", [[-20, -5], [90, -5], [90, 60], [-20, 60]]),
        ("car", [[5, 5]]),
        ("person", [[10, 10], [12, 10]]),
        ("sky", []),
    ]
    next(folder.iterdir()).write_text(json.dumps(polygons(objects)))
    (one,) = by_id(opened(tmp_path)).values()
    assert one.labels is not None
    assert one.labels[5, 5] == 13 and (one.labels[10, 10:13] == 11).all()
    assert int((one.labels == 0).sum()) == SIZE[0] * SIZE[1] - 4


def test_without_instances_only_label_files_are_read(tmp_path: Path) -> None:
    folder = one_scene(tmp_path)
    next(folder.glob("*instanceIds.png")).write_bytes(b"damaged")
    next(folder.glob("*.json")).write_text("damaged")
    (one,) = by_id(opened(tmp_path, instances=False)).values()
    assert one.instances is None and one.labels is not None
    with pytest.raises(VitrailError, match="instanceIds"):
        by_id(opened(tmp_path))


def test_label_maps_are_read_on_access_only(tmp_path: Path) -> None:
    folder = one_scene(tmp_path)
    path = next(folder.glob("*labelIds.png"))
    path.write_bytes(path.read_bytes()[:60])
    one = opened(tmp_path)["train"][0]
    assert one.size == SIZE and len(one.instances or ()) == 4
    with pytest.raises(VitrailError, match=r"labelIds.*damaged"):
        _ = one.labels


def test_coarse_labels(tmp_path: Path) -> None:
    truth = write_scene(tmp_path, "train_extra", "aachen", NAME, 1, "gtCoarse")
    dataset = opened(tmp_path, annotations="coarse")
    assert dataset.splits == ("train_extra",)
    assert same(dataset["train_extra"][0].labels, truth.trained)
    with pytest.raises(DataError, match=r"no folder gtFine/; set annotations=coarse"):
        opened(tmp_path)


def test_images_without_a_folder_of_their_city(tmp_path: Path) -> None:
    write_scene(tmp_path, "train", "", "scene", 1)
    assert opened(tmp_path)["train"].ids == ["scene"]


def test_a_split_without_any_labels_is_left_out(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    write_scene(tmp_path, "test", "berlin", "berlin_0", 1)
    for path in (tmp_path / "gtFine" / "test" / "berlin").iterdir():
        path.unlink()
    dataset = opened(tmp_path)
    assert dataset.splits == ("train", "val")
    assert [(one.code, one.severity, one.split) for one in dataset.problems] == [
        ("unlabelled-split", "note", "test")
    ]


def test_labels_of_a_split_without_images_are_a_warning(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    write_scene(tmp_path, "test", "berlin", "berlin_0", 1)
    place(tmp_path, "test", "berlin", "berlin_0", "").unlink()
    for folder in ("berlin", ""):
        (tmp_path / "leftImg8bit" / "test" / folder).rmdir()
    dataset = opened(tmp_path)
    assert dataset.splits == ("train", "val")
    assert [(one.code, one.severity) for one in dataset.problems] == [
        ("unlabelled-split", "warning")
    ]


def test_what_does_not_pair_is_reported_and_left_out(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    for ending in ("labelIds.png", "labelTrainIds.png", "polygons.json"):
        place(tmp_path, "train", "aachen", "aachen_000000_000019", ending).unlink()
    place(tmp_path, "train", "aachen", "aachen_000001_000019", "").unlink()
    extra = write_scene(tmp_path, "train", "bochum", "bochum_0", 1)
    for path in (tmp_path / "leftImg8bit" / "train" / "bochum").iterdir():
        path.unlink()
    (tmp_path / "leftImg8bit" / "train" / "bochum").rmdir()
    odd = tmp_path / "leftImg8bit" / "train" / "zurich"
    cv2.imwrite(str(odd / "photo.png"), extra.labels)
    cv2.imwrite(str(odd / "zurich_000000_000019_leftImg8bit.bmp"), extra.labels)
    dataset = opened(tmp_path)
    assert dataset["train"].ids == ["zurich/zurich_000000_000019"]
    told = {(one.code, one.severity, one.id, one.split) for one in dataset.problems}
    assert told == {
        ("missing-mask", "error", "aachen/aachen_000000_000019", "train"),
        ("missing-image", "error", "aachen_000001_000019", "train"),
        ("missing-image", "error", "bochum_0", "train"),
        ("file-name", "warning", "", "train"),
        ("duplicate-id", "error", "zurich_000000_000019_leftImg8bit", "train"),
    }
    with pytest.raises(DataError, match="3 more"):
        refuse(dataset.problems)


def test_images_of_which_only_some_have_objects_are_a_warning(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    for ending in ("instanceIds.png", "polygons.json"):
        place(tmp_path, "train", "aachen", "aachen_000000_000019", ending).unlink()
    dataset = opened(tmp_path)
    assert dataset["train"][0].instances is None and dataset["train"][1].instances
    assert [(one.code, one.severity) for one in dataset.problems] == [
        ("missing-annotation", "warning")
    ]


def test_sources_travel_to_worker_processes(tmp_path: Path) -> None:
    truth = write_cityscapes(tmp_path)
    dataset = opened(tmp_path)
    _ = dataset["train"][0].labels
    again = pickle.loads(pickle.dumps(dataset["train"]))
    one = pickle.loads(pickle.dumps(again[0]))
    assert same(one.labels, truth[one.id].trained)
    assert len(pickle.dumps(dataset["train"])) < 20_000


def test_layouts_are_recognised(tmp_path: Path) -> None:
    assert FORMAT.recognise(tmp_path) is None
    (tmp_path / "leftImg8bit").mkdir()
    assert FORMAT.recognise(tmp_path) is None
    (tmp_path / "gtCoarse").mkdir()
    assert FORMAT.recognise(tmp_path) == "leftImg8bit/ beside gtCoarse/"
    (tmp_path / "gtFine").write_text("a file")
    assert FORMAT.recognise(tmp_path) == "leftImg8bit/ beside gtCoarse/"
    assert FORMAT.recognise(tmp_path / "gtFine") is None


def test_cyclic_links_do_no_harm(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    (tmp_path / "leftImg8bit" / "train" / "loop").symlink_to(tmp_path / "leftImg8bit")
    (tmp_path / "gtFine" / "self").symlink_to(tmp_path / "gtFine" / "self")
    dataset = opened(tmp_path)
    assert len(dataset["train"]) == 3 and not dataset.problems


# Damaged files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full(SIZE, 77, np.uint8), r"labelIds.png: holds the value 77 .3,072 px.*0\.\.33"),
        (np.full(SIZE, 300, np.uint16), "holds the value 300"),
        (np.zeros((*SIZE, 3), np.uint8), "3 channels"),
        (np.zeros((9, 9), np.uint8), "9x9"),
    ],
)
def test_label_files_that_hold_what_is_no_label(
    pixels: np.ndarray, message: str, tmp_path: Path
) -> None:
    folder = one_scene(tmp_path)
    cv2.imwrite(str(next(folder.glob("*labelIds.png"))), pixels)
    with pytest.raises(DataError, match=message):
        _ = opened(tmp_path)["train"][0].labels


@pytest.mark.parametrize(
    ("ending", "pixels", "message"),
    [
        ("instanceIds.png", np.full(SIZE, 65000, np.uint16), r"holds the value 65000, expected"),
        ("instanceIds.png", np.zeros((9, 9), np.uint16), r"is 9x9 px, .*labelIds.png is 64x48"),
    ],
)
def test_instance_files_that_do_not_fit(
    ending: str, pixels: np.ndarray, message: str, tmp_path: Path
) -> None:
    folder = one_scene(tmp_path)
    cv2.imwrite(str(next(folder.glob(f"*{ending}"))), pixels)
    with pytest.raises(DataError, match=message):
        opened(tmp_path)["train"][0]


def test_train_ids_that_are_no_class(tmp_path: Path) -> None:
    folder = one_scene(tmp_path, "*TrainIds.png")
    cv2.imwrite(str(next(folder.iterdir())), np.full(SIZE, 19, np.uint8))
    with pytest.raises(DataError, match=r"holds the value 19 .*expected 0\.\.18, 255"):
        _ = opened(tmp_path)["train"][0].labels


def changed(change: Callable[[dict], object]) -> str:
    content = polygons(scene(3))
    change(content)
    return json.dumps(content)


def with_point(point: object) -> str:
    return changed(lambda one: one["objects"][2]["polygon"].__setitem__(0, point))


DAMAGED = {
    "cut": (json.dumps(polygons(scene(3)))[:200], "not valid JSON.*cut short"),
    "empty": ("", "not valid JSON"),
    "list": ("[1, 2]", "is a list, expected"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "no size": (changed(lambda one: one.pop("imgHeight")), "imgHeight is None"),
    "negative size": (changed(lambda one: one.update(imgWidth=-64)), "imgWidth is -64"),
    "huge size": (changed(lambda one: one.update(imgWidth=10**9)), "more than the limit"),
    "text size": (changed(lambda one: one.update(imgWidth="64")), "imgWidth is '64'"),
    "no objects": (changed(lambda one: one.pop("objects")), "`objects` is None"),
    "object": (changed(lambda one: one["objects"].insert(1, 7)), "object 1: is 7"),
    "no label": (
        changed(lambda one: one["objects"][2].pop("label")),
        "object 2: its label is None",
    ),
    "label": (
        changed(lambda one: one["objects"][2].update(label="carr")),
        "object 2: has the unknown label 'carr'; did you mean 'car'",
    ),
    "no polygon": (changed(lambda one: one["objects"][2].pop("polygon")), "polygon is None"),
    "flat polygon": (
        changed(lambda one: one["objects"][2].update(polygon=[1, 2, 3, 4])),
        r"object 2: its polygon is \[1, 2, 3, 4\]",
    ),
    "NaN": (with_point([float("nan"), 3]), "object 2: has the coordinate nan"),
    "infinite": (with_point([3, -float("inf")]), "object 2: has the coordinate -inf"),
    "far": (with_point([3, 1e300]), "object 2: has the coordinate 1e.300"),
    "endless": (with_point([3, 10**400]), "object 2: its polygon"),
    "text": (with_point(["a", 3]), "object 2: its polygon"),
    "ragged": (with_point([3]), "object 2: its polygon"),
    "nothing": (with_point(None), "object 2: its polygon"),
    "instance": (
        changed(lambda one: one["objects"][3].update(instanceId=24001)),
        r"object 3: its instanceId is 24001, expected 26 or 26 \* 1000",
    ),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_damaged_polygons_are_named(fault: str, tmp_path: Path) -> None:
    text, message = DAMAGED[fault]
    folder = one_scene(tmp_path, "*.json")
    path = next(folder.iterdir())
    path.write_text(text)
    source = opened(tmp_path)["train"]
    with pytest.raises(VitrailError, match=message) as caught:
        _ = source[0].labels
    assert str(path) in str(caught.value)


def test_polygons_may_have_a_byte_order_mark_but_must_be_utf_8(tmp_path: Path) -> None:
    folder = one_scene(tmp_path, "*.json")
    path = next(folder.iterdir())
    text = path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert same(opened(tmp_path)["train"][0].labels, paint(scene(3)).trained)
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(DataError, match="not UTF-8"):
        opened(tmp_path)["train"][0]


def test_more_objects_of_a_class_than_there_are_numbers(tmp_path: Path) -> None:
    folder = one_scene(tmp_path, "*.json")
    objects = [("car", [[1, 1], [2, 2], [1, 2]])] * 1001
    next(folder.iterdir()).write_text(json.dumps(polygons(objects)))
    with pytest.raises(DataError, match=r"object 1000: is one of more than 1000 objects of 'car'"):
        opened(tmp_path)["train"][0]


LABEL = {"name": "road", "id": 1, "trainId": 0}
TABLES = {
    "cut": ('{"labels": [', "not valid JSON"),
    "list": ([LABEL], "labels.json: file"),
    "none": ({"labels": []}, "labels: "),
    "no id": ({"labels": [{"name": "road", "trainId": 0}]}, r"labels\.0\.id: "),
    "negative": ({"labels": [{**LABEL, "id": -7}]}, r"labels\.0\.id: .*-7"),
    "colour": ({"labels": [{**LABEL, "color": [1, 2]}]}, r"labels\.0\.color"),
    "gap": ({"labels": [LABEL, {"name": "sky", "id": 2, "trainId": 2}]}, "trainIds are 0, 2"),
    "all ignored": ({"labels": [{**LABEL, "trainId": 255}]}, "all ignored"),
    "name twice": ({"labels": [LABEL, {**LABEL, "id": 2}]}, "the name 'road'"),
    "id twice": ({"labels": [LABEL, {**LABEL, "name": "sky"}]}, "the id 1"),
    "background": ({"labels": [LABEL], "background": 4}, "background is 4"),
    "numbers": ({"labels": [LABEL], "originalIds": [1, 2]}, "originalIds has 2 numbers"),
}


@pytest.mark.parametrize("fault", TABLES)
def test_damaged_tables_are_named(fault: str, tmp_path: Path) -> None:
    content, message = TABLES[fault]
    one_scene(tmp_path)
    path = tmp_path / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path)
    assert str(path) in str(caught.value)


def test_a_table_of_ones_own_may_merge_labels(tmp_path: Path) -> None:
    one_scene(tmp_path)
    rows = [one._asdict() for one in LABELS]
    names = ("name", "id", "trainId", "category", "categoryId", "hasInstances", "ignoreInEval")
    table = [dict(zip(names, one.values(), strict=False)) for one in rows]
    for row in table:
        row["trainId"] = {"human": 0, "vehicle": 1}.get(row["category"], 255)
    (tmp_path / "labels.json").write_text(json.dumps({"labels": table}))
    dataset = opened(tmp_path)
    assert dataset.space.classes == ("person", "car")
    labels, truth = dataset["train"][0].labels, paint(scene(3)).labels
    assert labels is not None
    assert same(labels == 0, truth == 24)
    assert same(labels == 1, (truth == 26) | (truth == 29))
    with pytest.raises(ParameterError, match="labels=all34: this set has classes of its own"):
        opened(tmp_path, labels="all34")


# Writing ----------------------------------------------------------------------------------------


def written_files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_cityscapes_comes_back_byte_for_byte(tmp_path: Path) -> None:
    write_cityscapes(tmp_path / "in")
    source = opened(tmp_path / "in")
    write(dict(source.items()), tmp_path / "out")
    assert written_files(tmp_path / "out") == written_files(tmp_path / "in")
    for path in (tmp_path / "in" / "leftImg8bit").rglob("*.png"):
        copy = tmp_path / "out" / path.relative_to(tmp_path / "in")
        assert copy.read_bytes() == path.read_bytes()
    old, new = by_id(source), by_id(opened(tmp_path / "out"))
    assert old.keys() == new.keys()
    for id, one in old.items():
        assert same(new[id].labels, one.labels)
        assert [(o.id, o.class_id, o.crowd, o.mask) for o in new[id].instances or ()] == [
            (o.id, o.class_id, o.crowd, o.mask) for o in one.instances or ()
        ]


@pytest.mark.parametrize("labels", ["train19", "all34", "category"])
def test_spaces_come_back(labels: str, tmp_path: Path) -> None:
    write_cityscapes(tmp_path / "in")
    source = opened(tmp_path / "in", labels=labels)
    again = write(dict(source.items()), tmp_path / "out")
    assert again.space == source.space
    assert (tmp_path / "out" / "labels.json").exists() == (labels != "train19")
    for id, one in by_id(again).items():
        assert same(one.labels, by_id(source)[id].labels)


def test_written_polygons_paint_the_same(tmp_path: Path) -> None:
    write_cityscapes(tmp_path / "in")
    whole = by_id(write(dict(opened(tmp_path / "in", labels="all34").items()), tmp_path / "out"))
    pictures = {id: (one.labels, one.instances) for id, one in whole.items()}
    for path in (tmp_path / "out" / "gtFine").rglob("*.png"):
        path.unlink()
    for id, one in by_id(opened(tmp_path / "out")).items():
        labels, instances = pictures[id]
        assert same(one.labels, labels)
        assert [(o.id, o.crowd, o.mask) for o in one.instances or ()] == [
            (o.id, o.crowd, o.mask) for o in instances or ()
        ]


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(
        np.uint16,
        st.tuples(st.integers(1, 14), st.integers(1, 14)),
        elements=st.sampled_from([0, 7, 26, 26000, 26001]),
    )
)
def test_outlines_paint_any_picture_exactly(values: np.ndarray) -> None:
    height, width = values.shape
    found = tuple(outlines(values))
    assert all(len(points) >= 3 for _, points in found)
    assert same(Drawing((height, width), found).paint(), values)


SHAPES = ("##....", "##..##", "....##", "......")
OTHER = ("......", "......", "##....", "##....")
THIRD = ("..##..", "......", "......", "....##")


def shapes(found: tuple[Instance, ...]) -> list[tuple[int, bool, bytes]]:
    return sorted((o.class_id, o.crowd, o.mask.dense().tobytes()) for o in found if o.mask)


def test_several_groups_of_one_class_stay_apart(tmp_path: Path) -> None:
    space = LabelSpace(("cell", "clump"))
    found = (
        drawn(0, SHAPES),
        drawn(1, OTHER, crowd=True),
        drawn(1, THIRD, crowd=True),
    )
    again = write({"train": Listed([sample("a", (4, 6), *found)], space)}, tmp_path / "out")
    assert again.space == space
    one = again["train"][0]
    assert one.label_map is None
    assert shapes(one.instances or ()) == shapes(found)


def test_pixels_of_a_class_outside_of_its_objects_are_no_group(tmp_path: Path) -> None:
    """The 19 classes, but a car of the label map that is no object: the files alone mislead."""
    space = cityscapes_coding("train19").space
    labels = np.zeros((4, 6), np.uint8)
    labels[0, 0] = 13
    one = Sample("x/a", np.zeros((4, 6, 3), np.uint8), (4, 6), labels, (drawn(13, OTHER),))
    again = write({"train": Listed([one], space)}, tmp_path / "out")
    assert (tmp_path / "out" / "labels.json").exists() and again.space == space
    (found,) = list(again["train"][0].instances or ())
    assert not found.crowd and found.mask == drawn(13, OTHER).mask
    assert same(again["train"][0].labels, labels)


def test_label_maps_without_objects_come_back_without(tmp_path: Path) -> None:
    space = cityscapes_coding("train19").space
    one = mapped("x/a", ["00xx", "0033"])
    again = write({"train": Listed([one], space)}, tmp_path / "out")
    assert again["train"][0].instances is None and again.space == space
    assert same(again["train"][0].labels, one.labels)


def test_numbers_and_colours_of_other_sets_are_kept(tmp_path: Path) -> None:
    space = LabelSpace(("person", "zebra"), None, 255, (1, 24), ((220, 20, 60), (220, 20, 60)))
    parts = {"train": Listed([sample("a", (4, 6), drawn(1, SHAPES, id="7"))], space)}
    again = write(parts, tmp_path / "out")
    assert again.space == space
    path = tmp_path / "out" / "gtFine" / "train" / "default" / "a_gtFine_instanceIds.png"
    values = np.asarray(PIL.Image.open(path))
    assert set(np.unique(values).tolist()) == {0, 24000}


@pytest.mark.parametrize(("count", "divisor"), [(64, 1000), (65, 256), (200, 256), (300, 65535)])
def test_sets_of_many_classes(count: int, divisor: int, tmp_path: Path) -> None:
    ignore = 255 if count < 256 else 65535
    space = LabelSpace(tuple(f"class {i}" for i in range(count)), None, ignore)
    labels = np.array([[0, 1, count - 1, ignore]], np.uint16 if count > 255 else np.uint8)
    one = Sample("a", np.zeros((1, 4, 3), np.uint8), (1, 4), labels)
    objects = () if count > 255 else (drawn(count - 1, ["#..#"]), drawn(0, [".#.."]))
    if objects:
        one = Sample("a", np.zeros((1, 4, 3), np.uint8), (1, 4), labels, objects)
    again = write({"train": Listed([one], space)}, tmp_path / "out")
    assert again.space == space
    table = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert table["instanceDivisor"] == divisor
    (back,) = by_id(again).values()
    assert same(back.labels, labels)
    assert sorted(o.class_id for o in back.instances or ()) == sorted(o.class_id for o in objects)


def test_ids_with_folders_and_odd_names_come_back(tmp_path: Path) -> None:
    ids = ["a/b/x", "a/x", "a%2Fb/x", "default/x", "x", "ü b/ç"]
    space = LabelSpace(("thing",))
    found = [sample(id, (4, 6), drawn(0, SHAPES), seed=i) for i, id in enumerate(ids)]
    again = write({"train": Listed(found, space)}, tmp_path / "out")
    assert sorted(again["train"].ids) == sorted(ids)
    for one in by_id(again).values():
        assert same(one.image, next(o.image for o in found if o.id == one.id))
    folders = {path.parent.name for path in (tmp_path / "out").rglob("*_leftImg8bit.png")}
    assert folders == {"a%2Fb", "a", "a%252Fb", "%64efault", "default", "ü b"}


@pytest.mark.parametrize("id", ["../x", "./x/../../y"])
def test_ids_do_not_lead_out(id: str, tmp_path: Path) -> None:
    parts = {"train": Listed([sample(id, (4, 6), drawn(0, SHAPES))], LabelSpace(("thing",)))}
    assert write(parts, tmp_path / "out")["train"].ids == [id]
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("leftImg8bit", "gtFine", "labels.json"),
    }


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    found = [sample("x", (4, 6), drawn(0, SHAPES)) for _ in range(2)]
    with pytest.raises(DataError, match="two images would be written as"):
        write({"train": Listed(found, LabelSpace(("thing",)))}, tmp_path / "out")


def test_more_objects_than_sixteen_bits_number_are_refused(tmp_path: Path) -> None:
    one = Masks.from_crops([(0, 0, np.ones((1, 1), bool))], (40, 40))
    objects = [Instance.from_masks(0, one)] * 1001
    with pytest.raises(DataError, match=r"more than 1000 objects of 'cell'.*write it as coco"):
        write({"train": Listed([sample("a", (40, 40), *objects)], LabelSpace(("cell",)))}, tmp_path)


def test_class_ids_that_are_none_are_refused(tmp_path: Path) -> None:
    one = Sample("a", np.zeros((2, 2, 3), np.uint8), (2, 2), np.full((2, 2), 9, np.uint8))
    with pytest.raises(DataError, match=r"a: holds the class id 9, expected 0\.\.1 or 255"):
        write({"train": Listed([one], LabelSpace(("p", "q")))}, tmp_path)
