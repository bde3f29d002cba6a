"""COCO objects as they are written."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.data.drawn_sources import DrawnLabels, DrawnObjects
from tests.data.formats.drawn_coco import (
    objects_of,
    open_coco,
    write_coco,
    written,
)
from tests.data.listed import Listed
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError


def same(ours: Sample, theirs: Sample) -> None:
    assert (ours.id, ours.size) == (theirs.id, theirs.size)
    assert np.array_equal(ours.image, theirs.image)
    pairs = list(zip(objects_of(ours), objects_of(theirs), strict=True))
    for a, b in pairs:
        assert (a.class_id, a.crowd) == (b.class_id, b.crowd)
        assert a.box == pytest.approx(b.box, abs=1e-8)
        assert a.mask == b.mask


@pytest.mark.parametrize(
    "options", [{}, {"compressed": False}, {"encoding": "rle"}, {"encoding": "polygon"}]
)
def test_what_is_written_is_read_again(options: dict[str, Any], tmp_path: Path) -> None:
    source = open_coco(write_coco(tmp_path / "a"))["train"]
    content = written(source, tmp_path / "b", **options)
    dataset = open_coco(tmp_path / "b")
    copy = dataset["train"]
    assert (copy.ids, copy.space, dataset.problems) == (source.ids, source.space, [])
    polygon = options.get("encoding") == "polygon"
    for index in range(len(source)):
        ours, theirs = source[index], copy[index]
        # The ring is the one object whose hole outlines fill; a crowd is never an outline.
        kept = [one.id for one in objects_of(ours) if not (polygon and "score" in one.attributes)]
        same(*(Sample(s.id, s.image, s.size, None, pick(s, kept)) for s in (ours, theirs)))
        assert [one.id for one in objects_of(ours)] == [one.id for one in objects_of(theirs)]
    kinds = {
        (type(one["segmentation"]), type(one["segmentation"]["counts"]))
        if isinstance(one["segmentation"], dict)
        else list
        for one in content["annotations"]
    }
    packed = (dict, list) if options.get("compressed") is False else (dict, str)
    assert kinds == {packed, list}  # list: outlines, and [] for bare boxes
    outlined = sum(bool(one["segmentation"]) for one in content["annotations"] if is_list(one))
    assert outlined == {"rle": 0, "polygon": 9}.get(options.get("encoding", ""), 6)


def pick(sample: Sample, ids: list[str]) -> tuple[Instance, ...]:
    return tuple(one for one in objects_of(sample) if one.id in ids)


def is_list(annotation: dict[str, Any]) -> bool:
    return isinstance(annotation["segmentation"], list)


def test_polygons_attributes_and_ids_survive_to_the_digit(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "a")
    before = json.loads((root / "annotations" / "instances_train2017.json").read_text("utf-8"))
    after = written(open_coco(root)["train"], tmp_path / "b")
    theirs = {one["id"]: one for one in after["annotations"]}
    assert set(theirs) == {one["id"] for one in before["annotations"]}
    for one in before["annotations"]:
        other = theirs[one["id"]]
        assert (other["image_id"], other["category_id"]) == (one["image_id"], one["category_id"])
        assert other["iscrowd"] == one.get("iscrowd", 0)
        if isinstance(one.get("segmentation"), list):
            assert other["segmentation"] == one["segmentation"]
        if "area" in one:
            assert other["area"] == one["area"]
        if "bbox" in one:
            assert other["bbox"] == one["bbox"]
    assert sorted(one["id"] for one in after["images"]) == [48, 49, 50]
    assert [one["id"] for one in after["categories"]] == [2, 7, 90]
    occluded = [one for one in after["annotations"] if one.get("attributes") == {"occluded": True}]
    assert len(occluded) == 3


def test_writing_is_deterministic_and_copies_images_as_they_are(tmp_path: Path) -> None:
    source = open_coco(write_coco(tmp_path / "a"))["train"]
    written(source, tmp_path / "b")
    written(source, tmp_path / "c")
    files = sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*.*"))
    assert [path.as_posix() for path in files] == [
        "annotations/instances_train.json",
        *(f"images/train/{name}.png" for name in ("000048", "000049", "000050")),
    ]
    for path in files:
        assert (tmp_path / "b" / path).read_bytes() == (tmp_path / "c" / path).read_bytes()
    image = (tmp_path / "a" / "train2017" / "000048.png").read_bytes()
    assert (tmp_path / "b" / "images" / "train" / "000048.png").read_bytes() == image


def test_objects_without_ids_and_areas_are_numbered_and_measured(tmp_path: Path) -> None:
    source = DrawnObjects(5)
    content = written(source, tmp_path / "b", split="all")
    annotations = content["annotations"]
    assert [one["id"] for one in annotations] == list(range(1, len(annotations) + 1))
    assert [one["id"] for one in content["categories"]] == [1, 2, 3]
    dataset = open_coco(tmp_path / "b")
    assert dataset.splits == ("all",)
    areas = [
        float(one.mask.areas()[0]) if one.mask else (one.box[2] - one.box[0]) * 10.0
        for index in range(5)
        for one in objects_of(source[index])
    ]
    assert [one["area"] for one in annotations] == pytest.approx(areas)
    for index in range(5):
        same(source[index], dataset["all"][index])


def test_a_label_map_becomes_objects_without_background(tmp_path: Path) -> None:
    content = written(DrawnLabels(), tmp_path / "b")
    assert [(one["id"], one["name"]) for one in content["categories"]] == [
        (1, "disc"),
        (2, "square"),
    ]
    copy = open_coco(tmp_path / "b")["train"]
    for index in range(8):
        (instance,) = objects_of(copy[index])
        assert instance.mask is not None
        labels = DrawnLabels()[index].labels
        assert labels is not None
        assert np.array_equal(instance.mask.dense()[0], labels == instance.class_id + 1)


def test_names_with_folders_equal_stems_and_odd_ids(tmp_path: Path) -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    for name in ("p.png", "p.jpg"):
        cv2.imwrite(str(tmp_path / name), pixels)
    samples = [
        Sample("a/7", pixels, (4, 5), instances=()),
        Sample("b/7", pixels, (4, 5), instances=()),
        Sample("p.png", tmp_path / "p.png", (4, 5), instances=()),
        Sample("p.jpg", tmp_path / "p.jpg", (4, 5), instances=()),
        Sample("ünï çødé.v2", pixels, (4, 5), instances=()),
    ]
    content = written(Listed(samples, LabelSpace(("x",))), tmp_path / "b")
    assert {one["file_name"]: one["id"] for one in content["images"]} == {
        "a/7.png": 7,
        "b/7.png": 1,
        "p.png": 2,
        "p.jpg": 3,
        "ünï çødé.v2.png": 4,
    }
    assert open_coco(tmp_path / "b")["train"].ids == sorted(one.id for one in samples)


def test_an_id_that_climbs_is_not_followed(tmp_path: Path) -> None:
    sample = Sample("../out", np.zeros((4, 5, 3), np.uint8), (4, 5), instances=())
    with pytest.raises(DataError, match=r"'\.\./out'"):
        written(Listed([sample], LabelSpace(("x",))), tmp_path / "b")


def test_attributes_that_json_has_not(tmp_path: Path) -> None:
    odd = {
        "nan": np.float32("nan"),
        "number": np.int64(3),
        "list": (1, np.inf, {"a": Path("x")}),
        5: None,
        "half": "\ud800",
        "area": float("nan"),
    }
    ring = np.array([[1, 1], [3, 1], [3, 3], [1, 3]])
    instance = Instance.from_polygons(0, [ring], (4, 5), id="x", attributes=odd)
    sample = Sample("a", np.zeros((4, 5, 3), np.uint8), (4, 5), instances=(instance,))
    (annotation,) = written(Listed([sample], LabelSpace(("x",))), tmp_path / "b")["annotations"]
    assert annotation["attributes"] == {
        "nan": None,
        "number": 3,
        "list": [1, None, {"a": "x"}],
        "5": None,
        "half": "\ud800",
    }
    assert annotation["area"] == 4


def test_a_polygon_with_nan_cannot_be_written(tmp_path: Path) -> None:
    ring = np.array([[1, 1], [3, np.nan], [3, 3]])
    for number, more in enumerate([{}, {"area": 3.0}]):
        instance = Instance.from_polygons(
            0, [ring], (4, 5), box=(0, 0, 1, 1), id="x", attributes=more
        )
        sample = Sample("a", np.zeros((4, 5, 3), np.uint8), (4, 5), instances=(instance,))
        with pytest.raises(DataError, match="image a, object x: cannot be written"):
            written(Listed([sample], LabelSpace(("x",))), tmp_path / str(number))


def test_rings_that_enclose_nothing_are_not_written(tmp_path: Path) -> None:
    """pycocotools takes a ring of two points for a box, and fails on one of one."""
    rings = [np.array([[1.0, 1], [3, 3]]), np.array([[1.0, 1], [3, 1], [3, 3]])]
    instances = (
        Instance.from_polygons(0, rings, (4, 5)),
        Instance.from_polygons(0, rings[:1], (4, 5)),
    )
    sample = Sample("a", np.zeros((4, 5, 3), np.uint8), (4, 5), instances=instances)
    first, second = written(Listed([sample], LabelSpace(("x",))), tmp_path / "b")["annotations"]
    assert first["segmentation"] == [[1, 1, 3, 1, 3, 3]]
    assert second["segmentation"]["size"] == [4, 5] and second["area"] == 0


def test_colours_and_own_ids_come_back(tmp_path: Path) -> None:
    sample = Sample("a", np.zeros((4, 5, 3), np.uint8), (4, 5), instances=())
    for number, space in enumerate(
        [
            LabelSpace(("x", "y"), original_ids=(0, 4), colours=((1, 2, 3), (4, 5, 6))),
            LabelSpace(("x", "y"), original_ids=(3, 4)),
        ]
    ):
        written(Listed([sample], space), tmp_path / str(number))
        assert open_coco(tmp_path / str(number))["train"].space == space
