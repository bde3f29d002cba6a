"""Cityscapes as it is published: drawn sets of its layout."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.formats.drawn_cityscapes import (
    IDS,
    NAME,
    SIZE,
    THINGS,
    TRAIN_IDS,
    by_id,
    one_scene,
    opened,
    paint,
    place,
    polygons,
    scene,
    write_cityscapes,
    write_scene,
)
from tests.data.formats.drawn_voc import same
from vitrail.data.formats.base import refuse
from vitrail.data.formats.cityscapes import FORMAT, CityscapesSource
from vitrail.data.formats.cityscapes_labels import LABELS, cityscapes_coding
from vitrail.errors import DataError, VitrailError


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


def test_mask_files_are_named(tmp_path: Path) -> None:
    """That of the label map first: the linter looks at files as they are."""
    folder = one_scene(tmp_path)
    source = opened(tmp_path)["train"]
    assert isinstance(source, CityscapesSource)
    endings = ["labelIds.png", "labelTrainIds.png", "instanceIds.png", "color.png"]
    assert source.mask_paths(0) == [folder / f"{NAME}_gtFine_{ending}" for ending in endings]
    (folder / f"{NAME}_gtFine_labelIds.png").unlink()
    again = opened(tmp_path)["train"]
    assert isinstance(again, CityscapesSource)
    assert again.mask_paths(0) == source.mask_paths(0)[1:]


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
