"""COCO objects with faults: each is reported where it is, and left out."""

import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.data.formats.drawn_coco import (
    objects_of,
    one_image,
    open_coco,
    write_coco,
    write_coco_of,
)
from vitrail.data.formats import coco_index
from vitrail.errors import DataError

SQUARE = [1, 1, 5, 1, 5, 5, 1, 5]
NAN, INF = float("nan"), float("inf")

WRONG_ANNOTATIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    # name: change, code, part of the message
    "unknown image": ({"image_id": 77}, "unknown-image", "image_id is 77"),
    "no image": ({"image_id": None}, "malformed-annotation", "image_id is None"),
    "unknown category": ({"category_id": 4}, "unknown-category", "category_id is 4"),
    "no category": ({"category_id": "x"}, "unknown-category", "no integer"),
    "NaN": ({"segmentation": [[1, 1, 5, NAN, 5, 5]]}, "malformed-annotation", "nan"),
    "infinity": ({"segmentation": [SQUARE, [1, 1, 5, -INF, 5, 5]]}, "malformed-annotation", "inf"),
    "beyond numbers": (
        {"segmentation": [[1.5, 1, 10**400, 5, 5, 5]]},
        "malformed-annotation",
        "finite numbers",
    ),
    "text": ({"segmentation": [[1, "1", 5, 1, 5, 5]]}, "malformed-annotation", "'1'"),
    "pairs": ({"segmentation": [[[1, 1], [5, 1], [5, 5]]]}, "malformed-annotation", "[1, 1]"),
    "flat list": ({"segmentation": SQUARE}, "malformed-annotation", "a list of polygons"),
    "odd": ({"segmentation": [SQUARE[:7]]}, "malformed-annotation", "a polygon of 7 numbers"),
    "a string": ({"segmentation": "1 2 3"}, "malformed-annotation", "'1 2 3'"),
    "nothing": ({"segmentation": []}, "malformed-annotation", "neither segmentation nor bbox"),
    "a box of three": ({"bbox": [1, 2, 3]}, "malformed-annotation", "bbox is [1, 2, 3]"),
    "a box with NaN": ({"bbox": [1, 2, NAN, 3]}, "malformed-annotation", "four finite numbers"),
    "a negative box": ({"bbox": [1, 2, -3, 4]}, "malformed-annotation", "at least 0"),
    "iscrowd": ({"iscrowd": 2}, "malformed-annotation", "iscrowd is 2"),
    "RLE too short": (
        {"segmentation": {"size": [8, 10], "counts": [10, 20]}},
        "malformed-annotation",
        "sum to 30, expected a sum of 8 x 10 = 80",
    ),
    "RLE too long": (
        {"segmentation": {"size": [8, 10], "counts": [10, 20, 5000]}},
        "malformed-annotation",
        "sum to 5030",
    ),
    "RLE negative": (
        {"segmentation": {"size": [8, 10], "counts": [100, -20]}},
        "malformed-annotation",
        "outside the frame",
    ),
    "RLE of another size": (
        {"segmentation": {"size": [10, 8], "counts": [10, 20, 50]}},
        "size-mismatch",
        "[10, 8] (height, width), expected the image's [8, 10]",
    ),
    "RLE of no size": (
        {"segmentation": {"size": [-8, 10], "counts": [10, 20, 50]}},
        "malformed-annotation",
        "[-8, 10]",
    ),
    "RLE beyond memory": (
        {"segmentation": {"size": [10**6, 10**6], "counts": [0, 10**12]}},
        "malformed-annotation",
        "[1000000, 1000000]",
    ),
    "RLE without counts": (
        {"segmentation": {"size": [8, 10]}},
        "malformed-annotation",
        "counts of its RLE are None",
    ),
    "RLE of text": (
        {"segmentation": {"size": [8, 10], "counts": [10, "a"]}},
        "malformed-annotation",
        "'a'",
    ),
    "compressed too short": (
        {"segmentation": {"size": [8, 10], "counts": ":d0"}},
        "malformed-annotation",
        "sum to 30",
    ),
    "compressed cut short": (
        {"segmentation": {"size": [8, 10], "counts": ":d"}},
        "malformed-annotation",
        "cut short",
    ),
    "compressed of other letters": (
        {"segmentation": {"size": [8, 10], "counts": "Ä~"}},
        "malformed-annotation",
        "ASCII",
    ),
    "compressed beyond 64 bits": (
        {"segmentation": {"size": [8, 10], "counts": "ooooooooooO" * 9}},
        "malformed-annotation",
        "outside the frame",
    ),
}


@pytest.mark.parametrize("name", WRONG_ANNOTATIONS)
def test_a_wrong_annotation_is_reported_and_left_out(name: str, tmp_path: Path) -> None:
    change, code, message = WRONG_ANNOTATIONS[name]
    content = one_image()
    content["annotations"].append(content["annotations"][0] | {"id": 2} | change)
    content["annotations"].append(content["annotations"][0] | {"id": 3})
    dataset = open_coco(write_coco(tmp_path, content))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [one.id for one in objects_of(dataset["train"][0])] == ["1", "3"]
    (problem,) = dataset.problems
    assert (problem.code, problem.severity, problem.id) == (code, "error", "2")
    assert message in str(problem) and "instances_train2017.json" in str(problem)
    assert problem.split == "train"


@pytest.mark.parametrize("value", [None, 3, "x", [], {"id": 3, "name": "\ud800", "file_name": 0}])
def test_what_is_no_object_is_reported(value: Any, tmp_path: Path) -> None:
    content = one_image()
    for part in ("images", "annotations", "categories"):
        content[part].append(value)
    dataset = open_coco(write_coco_of(content, tmp_path))
    assert len(objects_of(dataset["train"][0])) == 1
    assert sorted(one.code for one in dataset.problems) == [
        "malformed-annotation",
        "malformed-category",
        "malformed-image",
    ]


WRONG_IMAGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "no id": ({"id": None}, "malformed-image", "id, file_name"),
    "no name": ({"file_name": None}, "malformed-image", "file_name is None"),
    "climbing": ({"file_name": "../a.png"}, "unsafe-name", "'../a.png'"),
    "climbing on Windows": ({"file_name": "..\\..\\a.png"}, "unsafe-name", "option images"),
    "absolute": ({"file_name": "/etc/passwd"}, "unsafe-name", "'/etc/passwd'"),
    "a drive": ({"file_name": "C:\\data\\a.png"}, "unsafe-name", "inside the folder"),
    "zero byte": ({"file_name": "a\0.png"}, "unsafe-name", "inside the folder"),
    "empty": ({"file_name": ""}, "unsafe-name", "''"),
    "half a character": (
        {"file_name": "\ud800/b.png"},
        "unsafe-name",
        "a name that a file can have",
    ),
    "a long name": ({"file_name": "b" * 5000}, "unsafe-name", "at most 255 bytes"),
    "a long folder": ({"file_name": "é" * 128 + "/b.png"}, "unsafe-name", "at most 255 bytes"),
    "a long path": ({"file_name": "b/" * 2048 + "b.png"}, "unsafe-name", "a name that a file can"),
    "negative": ({"file_name": "b.png", "height": -8}, "bad-size", "height and width are -8"),
    "zero": ({"file_name": "b.png", "width": 0}, "bad-size", "and 0"),
    "text": ({"file_name": "b.png", "width": "10"}, "bad-size", "'10'"),
    "a fraction": ({"file_name": "b.png", "width": 10.5}, "bad-size", "10.5"),
    "NaN": ({"file_name": "b.png", "width": NAN}, "bad-size", "nan"),
    "too large": ({"file_name": "b.png", "width": 10**12}, "image-too-large", "VITRAIL_MAX_PIXELS"),
    "beyond floats": ({"file_name": "b.png", "width": 10**400}, "image-too-large", "limit"),
    "missing": ({"file_name": "b.png"}, "missing-image", "'b.png' is not in"),
    "the same id": ({"id": 1, "file_name": "b.png"}, "duplicate-id", "id of two images"),
    "the same file": ({}, "duplicate-id", "also the file of image 1"),
}


@pytest.mark.parametrize("name", WRONG_IMAGES)
def test_a_wrong_image_is_reported_and_left_out(name: str, tmp_path: Path) -> None:
    change, code, message = WRONG_IMAGES[name]
    content = one_image()
    content["images"].append(content["images"][0] | {"id": 2} | change)
    if content["images"][1]["id"] == 2:
        content["annotations"].append(content["annotations"][0] | {"id": 2, "image_id": 2})
    dataset = open_coco(write_coco_of(content, tmp_path))
    assert dataset["train"].ids == ["a"] and len(objects_of(dataset["train"][0])) == 1
    (problem,) = dataset.problems  # not one more for its annotation
    assert (problem.code, problem.severity) == (code, "error")
    assert message in str(problem)


def test_two_names_of_one_category_are_reported(tmp_path: Path) -> None:
    content = one_image()
    content["categories"].append({"id": 1, "name": "other"})
    dataset = open_coco(write_coco(tmp_path, content))
    assert dataset["train"].space.classes == ("thing",)
    assert "is 'thing' and 'other'" in str(dataset.problems[0])


def test_an_annotation_id_twice_is_a_warning(tmp_path: Path) -> None:
    content = one_image()
    content["annotations"] *= 2
    dataset = open_coco(write_coco(tmp_path, content))
    assert len(objects_of(dataset["train"][0])) == 2
    assert [(one.code, one.severity) for one in dataset.problems] == [("duplicate-id", "warning")]


def test_many_faults_of_one_kind_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco_index, "_SHOWN_FAULTS", 5)
    content = one_image()
    content["annotations"] = [
        content["annotations"][0] | {"id": number, "category_id": 9} for number in range(12)
    ]
    dataset = open_coco(write_coco(tmp_path, content))
    assert dataset["train"][0].instances == ()
    assert len(dataset.problems) == 6
    assert dataset.problems[-1].value == "7 more like these"


def test_an_rle_is_checked_on_access_where_the_json_has_no_size(tmp_path: Path) -> None:
    content = one_image(segmentation={"size": [10, 8], "counts": [10, 20, 50]})
    del content["images"][0]["height"], content["images"][0]["width"]
    dataset = open_coco(write_coco_of(content, tmp_path))
    with pytest.raises(DataError, match=r"train2017\.json: image a: annotation 1: its RLE is for"):
        dataset["train"][0]
    assert dataset.problems == []


def test_geometry_is_not_judged(tmp_path: Path) -> None:
    """Two points, no area, out of frame, a box elsewhere: the linter's business."""
    content = one_image(
        segmentation=[[1, 1, 2, 2], [], [90, 90, 99, 90, 99, 99]], bbox=[3, 3, 0, 0]
    )
    dataset = open_coco(write_coco(tmp_path, content))
    (instance,) = objects_of(dataset["train"][0])
    assert dataset.problems == [] and instance.box == (3, 3, 3, 3)
    assert [len(ring) for ring in instance.polygons or ()] == [2, 0, 3]
    assert instance.mask is not None and instance.mask.areas().tolist() == [0]
