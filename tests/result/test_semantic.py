"""SemanticResult: labels checked on the way in, segments and JSON on the way out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as coco

from vitrail.errors import ParameterError
from vitrail.image import Image
from vitrail.result import Masks, SemanticResult

CLASSES = ("background", "person", "animal")


def labels() -> np.ndarray:
    labels = np.zeros((40, 60), np.uint8)
    labels[5:15, 5:15] = 2
    labels[8:10, 8:10] = 0  # a hole
    labels[20:30, 20:50] = 2
    labels[:, 59] = 255
    return labels


def result(**options) -> SemanticResult:
    return SemanticResult(labels(), CLASSES, background=0, ignore=255, **options)


def test_segments_are_the_classes_that_occur() -> None:
    (animal,) = result().segments()
    assert (animal.class_id, animal.class_name, animal.score) == (2, "animal", None)
    assert animal.area == 100 - 4 + 300
    assert animal.bbox == (5, 5, 50, 30)
    assert animal.coco_bbox == [5, 5, 45, 25]
    np.testing.assert_array_equal(animal.mask, labels()[5:30, 5:50] == 2)


def test_background_is_a_segment_on_request_and_ignore_never() -> None:
    segments = result().segments(include_background=True)
    assert [segment.class_id for segment in segments] == [0, 2]
    assert sum(segment.area for segment in segments) == 40 * 59
    unnamed = SemanticResult(labels(), CLASSES, ignore=255)
    assert [segment.class_id for segment in unnamed.segments()] == [0, 2]


def test_connected_parts_come_largest_first_with_their_holes() -> None:
    parts = result().segments(connected=True)
    assert [part.area for part in parts] == [300, 96]
    assert [part.bbox for part in parts] == [(20, 20, 50, 30), (5, 5, 15, 15)]
    assert not parts[1].mask[3:5, 3:5].any()


def test_connected_parts_together_are_the_class() -> None:
    rng = np.random.default_rng(0)
    noisy = SemanticResult(rng.integers(0, 3, (50, 70)).astype(np.uint8), CLASSES)
    together = np.zeros((50, 70), np.uint8)
    for part in noisy.segments(connected=True):
        together += part.masks.dense()[0] * np.uint8(part.class_id + 1)
    np.testing.assert_array_equal(together, noisy.labels + 1)


def test_counts_are_pixels() -> None:
    assert result().counts() == {"background": 40 * 59 - 396, "animal": 396}
    assert "animal 16.5%" in repr(result())


def test_json_tells_what_is_ignored_and_what_background() -> None:
    found = json.loads(
        result(image=Image(np.zeros((40, 60, 3), np.uint8), source="a/b.png")).to_json()
    )
    block = found["vitrail"]
    assert (block["kind"], block["size"], block["source"]) == ("semantic", [40, 60], "a/b.png")
    assert (block["background"], block["ignore"]) == (0, 255)
    np.testing.assert_array_equal(coco.decode(block["ignored"]), labels() == 255)
    assert found["images"][0]["file_name"] == "b.png"
    assert [row["name"] for row in found["categories"]] == list(CLASSES)


def test_every_pixel_comes_back_from_the_json() -> None:
    found = json.loads(result().to_json())
    back = np.zeros((40, 60), np.uint8)
    for row in found["annotations"]:
        back[coco.decode(row["segmentation"]).astype(bool)] = row["category_id"]
    back[coco.decode(found["vitrail"]["ignored"]).astype(bool)] = 255
    np.testing.assert_array_equal(back, labels())


def test_a_boundary_comes_back_from_the_json_where_it_is_likely() -> None:
    boundary = np.zeros((40, 60))
    boundary[5:15, 5] = 0.5
    boundary[20, :] = 0.49
    found = result(boundary=boundary)
    assert found.boundary is not None and found.boundary.dtype == np.float32
    assert not found.boundary.flags.writeable
    assert found.nbytes == result().nbytes + 40 * 60 * 4
    block = json.loads(found.to_json())["vitrail"]
    np.testing.assert_array_equal(coco.decode(block["boundary"]), boundary == 0.5)
    assert result().boundary is None
    assert "boundary" not in json.loads(result().to_json())["vitrail"]


def test_the_labels_cannot_be_changed_but_the_callers_array_can() -> None:
    mine = labels()
    taken = SemanticResult(mine, CLASSES, ignore=255)
    with pytest.raises(ValueError, match="read-only"):
        taken.labels[0, 0] = 1
    mine[0, 0] = 1
    with pytest.raises(AttributeError):
        taken.labels = mine  # pyright: ignore[reportAttributeAccessIssue]


def test_signed_labels_become_the_smallest_unsigned_type() -> None:
    assert SemanticResult(labels().astype(np.int64), CLASSES, ignore=255).labels.dtype == np.uint8
    wide = np.full((2, 2), 300, np.int64)
    assert SemanticResult(wide, [str(i) for i in range(301)]).labels.dtype == np.uint16


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.zeros((2, 2)), CLASSES), {}, "whole numbers"),
        ((np.zeros((2, 2, 1), np.uint8), CLASSES), {}, r"\(2, 2, 1\)"),
        ((np.zeros((0, 2), np.uint8), CLASSES), {}, r"\(0, 2\)"),
        ((np.full((2, 2), -1), CLASSES), {}, "ignore="),
        ((np.full((2, 2), 3), CLASSES), {}, "3 classes"),
        ((np.full((2, 2), 255), CLASSES), {"ignore": 254}, "ignore=255"),
        ((np.zeros((2, 2), int), "background"), {}, "sequence of names"),
        ((np.zeros((2, 2), int), CLASSES), {"background": 3}, "background is 3"),
        ((np.zeros((2, 2), int), CLASSES), {"ignore": -1}, "ignore is -1"),
        ((np.zeros((2, 2), int), CLASSES), {"palette": np.zeros((2, 3))}, "palette"),
        ((np.zeros((2, 2), int), CLASSES), {"boundary": np.zeros((2, 3))}, r"boundary .*\(2, 3\)"),
        ((np.zeros((2, 2), int), CLASSES), {"boundary": np.full((2, 2), 1.5)}, "sigmoid"),
        ((np.zeros((2, 2), int), CLASSES), {"boundary": np.full((2, 2), np.nan)}, "0..1"),
        (
            (np.zeros((2, 2), int), CLASSES),
            {"image": Image(np.zeros((2, 3, 3), np.uint8))},
            "2 x 3 pixels",
        ),
    ],
)
def test_what_does_not_fit_is_refused(arguments, options, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        SemanticResult(*arguments, **options)


def test_cutout_is_the_object_alone() -> None:
    pixels = np.random.default_rng(0).integers(1, 256, (40, 60, 3)).astype(np.uint8)
    (animal,) = result().segments()
    rgba = animal.cutout(pixels)
    assert rgba.shape == (25, 45, 4)
    inside = labels()[5:30, 5:50] == 2
    np.testing.assert_array_equal(rgba[..., 3], inside * 255)
    np.testing.assert_array_equal(rgba[inside, :3], pixels[5:30, 5:50][inside])
    assert not rgba[~inside].any()
    with pytest.raises(ParameterError, match="results keep their image's size"):
        animal.cutout(pixels[1:])


def test_a_segment_holds_the_mask_packed() -> None:
    (animal,) = result().segments()
    assert isinstance(animal.masks, Masks) and len(animal.masks) == 1
    assert animal.masks.nbytes < 25 * 45 // 4
