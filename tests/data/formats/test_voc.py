"""PASCAL VOC: layouts, splits and options, and objects joined with their XML."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.data.formats.drawn_voc import (
    CLASSES,
    SPLITS,
    colour_map,
    draw,
    same,
    save_mask,
    write_voc,
)
from tests.data.formats.open_voc import (
    all_samples,
    box_of,
    codes,
    home_of,
    opened,
    write_objects,
    written,
)
from vitrail.data.formats.voc import FORMAT
from vitrail.data.formats.voc_coding import PALETTE
from vitrail.data.formats.voc_lists import deal
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ImageError, ParameterError, UnknownNameError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_voc(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def home(root: Path) -> Path:
    return home_of(root)


def test_classes_and_objects_are_read_exactly(tmp_path: Path) -> None:
    truth = write_voc(tmp_path)
    dataset = opened(tmp_path)
    assert dataset.space == LabelSpace(
        tuple(CLASSES), 0, 255, None, tuple(map(tuple, colour_map()[:21].tolist()))
    )
    assert {name: tuple(source.ids) for name, source in dataset.items()} == SPLITS
    for sample in all_samples(dataset):
        drawn = truth[sample.id]
        assert same(sample.labels, drawn.labels)
        assert sample.image.shape == drawn.image.shape
        assert sample.instances is not None
        assert [one.class_id for one in sample.instances] == drawn.classes
        for number, one in enumerate(sample.instances, 1):
            xmin, ymin, xmax, ymax = drawn.boxes[number - 1]
            assert one.id == str(number)
            assert one.mask is not None
            assert same(one.mask.dense()[0], drawn.objects == number)
            assert one.box == (xmin - 1, ymin - 1, xmax, ymax)
            odd = bool(number % 2)
            assert one.attributes == {"truncated": odd, "difficult": not odd, "pose": "Left"}
    assert dataset.problems == []


def test_the_colour_map_is_the_published_one() -> None:
    assert tuple(map(tuple, colour_map().tolist())) == PALETTE
    assert (PALETTE[1], PALETTE[15]) == ((128, 0, 0), (192, 128, 128))
    assert (PALETTE[20], PALETTE[255]) == ((0, 64, 128), (224, 224, 192))


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_any_folder_on_the_way_is_the_root(below: str, root: Path) -> None:
    assert opened(root / below)["val"].ids == list(SPLITS["val"])
    assert FORMAT.recognise(root / below)


def test_other_folders_are_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file", tmp_path / "absent"):
        assert FORMAT.recognise(path) is None
    with pytest.raises(DataError, match="has no SegmentationClass beside JPEGImages"):
        opened(tmp_path)


def test_two_years_in_one_devkit(root: Path) -> None:
    home_of(root).rename(root / "VOCdevkit" / "VOC2007")
    write_voc(root / "other")
    home_of(root / "other").rename(home_of(root))
    with pytest.raises(DataError, match=r"VOC2007, VOC2012.*option year"):
        opened(root)
    assert opened(root, year=2007).splits == ("train", "val")
    with pytest.raises(DataError, match="has no VOC1999/SegmentationClass"):
        opened(root, year=1999)


def test_objects_can_be_left_out_and_labels_are_lazy_then(root: Path, home: Path) -> None:
    source = opened(root, objects=False)["train"]
    (home / "SegmentationClass" / f"{source.ids[0]}.png").write_bytes(
        (home / "SegmentationClass" / f"{source.ids[0]}.png").read_bytes()[:-40]
    )
    sample = source[0]  # reads the header alone
    assert sample.size == (48, 64)
    assert sample.instances is None
    with pytest.raises(ImageError, match=r"2007_000032.png: .*damaged or cut short"):
        sample.labels  # noqa: B018


def test_sources_go_to_worker_processes(root: Path) -> None:
    source = opened(root)["train"]
    copy = pickle.loads(pickle.dumps(source))
    assert same(copy[1].labels, source[1].labels)
    assert copy.ids == source.ids


def test_void_as_a_class(root: Path) -> None:
    dataset = opened(root, void="class")
    assert dataset.space.classes == (*CLASSES, "void")
    for sample, plain in zip(all_samples(dataset), all_samples(opened(root)), strict=True):
        assert sample.labels is not None
        assert plain.labels is not None
        assert same(sample.labels, np.where(plain.labels == 255, 21, plain.labels))
        assert sample.labels.max() == 21
        assert sample.instances is not None
        assert plain.instances is not None
        assert [one.class_id for one in sample.instances] == [
            one.class_id for one in plain.instances
        ]


def test_trainval_dealt_anew(root: Path) -> None:
    parts = {"train": 2, "val": 1, "test": 2}
    dataset = opened(root, parts=parts, seed=1)
    dealt = {name: source.ids for name, source in dataset.items()}
    assert {name: len(ids) for name, ids in dealt.items()} == parts
    assert sorted(id for ids in dealt.values() for id in ids) == sorted(sum(SPLITS.values(), ()))
    # Of SHA-256 of "SEED/ID", so these are the parts on every machine.
    assert dealt["val"] == ["2011_3"]
    again = {name: source.ids for name, source in opened(root, parts=parts, seed=1).items()}
    assert again == dealt
    draws = {tuple(opened(root, parts=parts, seed=seed)["test"].ids) for seed in range(8)}
    assert len(draws) > 1
    with pytest.raises(
        ParameterError, match=r"are 6 images; expected .* add up to the 5 there are"
    ):
        opened(root, parts={"train": 6})


def test_the_split_of_the_tutorial() -> None:
    """2164, 449 and 300 of trainval's 2913 images, drawn without regard to their order."""
    ids = [f"2008_{number:06d}" for number in range(2913)]
    dealt = deal(ids, {"train": 2164, "val": 449, "test": 300}, seed=0)
    assert [len(part) for part in dealt.values()] == [2164, 449, 300]
    assert sorted(id for part in dealt.values() for id in part) == ids
    for part in dealt.values():
        assert part == sorted(part)
        middle = np.mean([int(id.split("_")[1]) for id in part])
        assert abs(middle - 1456) < 3 * 841 / len(part) ** 0.5


def test_splits_that_are_asked_for(root: Path) -> None:
    assert opened(root, splits="trainval, val").splits == ("trainval", "val")
    with pytest.raises(UnknownNameError, match="'tran'; did you mean 'train'"):
        opened(root, splits="tran")


def test_a_trainval_of_its_own_is_kept(root: Path, home: Path) -> None:
    lists = home / "ImageSets" / "Segmentation"
    (lists / "train.txt").unlink()
    assert opened(root).splits == ("val", "trainval")


def test_the_test_images_of_the_challenge_have_no_masks(root: Path, home: Path) -> None:
    (home / "ImageSets" / "Segmentation" / "test.txt").write_text("2008_000001\n2008_000002\n")
    dataset = opened(root)
    assert dataset.splits == ("train", "val")
    assert codes(dataset) == [("note", "unlabelled-split")]
    assert "none of its 2 images has a mask" in str(dataset.problems[0])


# Joining with the XML -----------------------------------------------------------------------------


def test_an_xml_in_another_order_is_joined_by_boxes(home: Path, root: Path) -> None:
    """Two objects of one class; the order of the XML is not that of the numbers."""
    name, ids = "2011_3", np.zeros((48, 64), np.uint8)
    ids[4:20, 4:20], ids[4:20, 30:50] = 1, 2
    save_mask(home / "SegmentationObject" / f"{name}.png", ids)
    save_mask(home / "SegmentationClass" / f"{name}.png", (ids > 0).astype(np.uint8) * 8)
    first, second = box_of("cat", 31, 5, 50, 20.5), box_of("cat", 5, 5, 20, 20)
    hidden = box_of("dog", 1, 40, 3, 42, more="<difficult>1</difficult>")
    write_objects(home, name, first + second + hidden)
    found = opened(root)["val"][1].instances
    assert found is not None
    assert [(one.id, one.class_id, one.box) for one in found] == [
        ("1", 8, (4, 4, 20, 20)),
        ("2", 8, (30, 4, 50, 20.5)),
        ("3", 12, (0, 39, 3, 42)),
    ]
    assert found[2].mask is None
    assert found[2].attributes == {"difficult": True}


def test_a_box_far_off_is_joined_by_its_number_alone_if_it_touches(home: Path, root: Path) -> None:
    name = "2011_3"
    drawn = draw(4)
    xmin, ymin, *_ = drawn.boxes[0]
    loose = box_of(CLASSES[drawn.classes[0]], xmin - 3, ymin - 3, 63, 47)
    apart = box_of(CLASSES[drawn.classes[1]], 1, 1, 2, 2)
    write_objects(home, name, loose + apart)
    found = opened(root)["val"][1].instances
    assert found is not None
    assert found[0].box == (xmin - 4, ymin - 4, 63, 47)
    assert found[1].mask is not None  # keeps the box of its mask
    assert found[1].box == tuple(found[1].mask.boxes()[0].tolist())
    assert (found[2].id, found[2].box, found[2].mask) == ("box 2", (0, 0, 2, 2), None)


def test_points_parts_actions_and_attributes_come_back(
    home: Path, root: Path, tmp_path: Path
) -> None:
    name = "2011_3"
    more = (
        "<point><x>7</x><y>9.5</y></point><actions><jumping>1</jumping><reading>0</reading>"
        "</actions><part><name>head</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax>"
        "<ymax>4</ymax></bndbox></part><attributes><attribute><name>breed &amp; sex</name>"
        "<value>tom</value></attribute></attributes><occluded>1</occluded>"
    )
    write_objects(home, name, box_of("person", 50, 40, 60, 45, more=more))
    dataset = opened(root)
    found = dataset["val"][1].instances
    assert found is not None
    assert found[-1].attributes == {
        "occluded": True,
        "point": [6.5, 9.0],
        "actions": {"jumping": True, "reading": False},
        "parts": [{"name": "head", "box": [0, 1, 3, 4]}],
        "breed & sex": "tom",
    }
    back = written(dict(dataset.items()), tmp_path / "out")["val"][1].instances
    assert back is not None
    flags = {"truncated": False, "difficult": False, "pose": "Unspecified"}
    assert back[-1].attributes == {**found[-1].attributes, **flags}


def test_an_object_without_a_class(home: Path, root: Path) -> None:
    (home / "Annotations" / "2011_3.xml").unlink()
    ids = np.zeros((48, 64), np.uint8)
    ids[40:44, 50:52] = 7
    save_mask(home / "SegmentationClass" / "2011_3.png", ids * 0)
    save_mask(home / "SegmentationObject" / "2011_3.png", ids)
    source = opened(root)["val"]
    with pytest.raises(DataError, match=r"object 7 \(at x=50, y=40\) has no pixel of a class"):
        source[1]
