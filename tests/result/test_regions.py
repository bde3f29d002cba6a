"""RegionResult: a partition, its names, and what the method found beside it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as coco

from vitrail.errors import ParameterError
from vitrail.result import RegionResult


def test_one_segment_per_region_that_occurs() -> None:
    labels = np.array([[0, 0, 3], [1, 0, 3]])
    found = RegionResult(labels)
    assert len(found) == 3
    assert found.classes == ("region 0", "region 1", "region 2", "region 3")
    assert found.labels.dtype == np.int32
    assert [(row.class_id, row.area) for row in found.segments()] == [(0, 3), (1, 1), (3, 2)]
    assert found.counts() == {"region 0": 3, "region 1": 1, "region 3": 2}


def test_names_and_values_reach_the_json() -> None:
    centers = np.array([[1.5, 2.0], [3.0, 4.0]], np.float32)
    values = {"centers": centers, "inertia": np.float64(7.5), "rounds": 3}
    found = RegionResult(np.eye(3, dtype=int), classes=("off", "on"), values=values)
    block = json.loads(found.to_json())["vitrail"]
    assert block["values"] == {"centers": [[1.5, 2.0], [3.0, 4.0]], "inertia": 7.5, "rounds": 3}
    assert block["counts"] == {"off": 6, "on": 3}


def test_every_pixel_comes_back_from_the_json() -> None:
    labels = np.random.default_rng(0).integers(0, 40, (30, 50))
    back = np.full((30, 50), -1)
    for row in json.loads(RegionResult(labels).to_json())["annotations"]:
        back[coco.decode(row["segmentation"]).astype(bool)] = row["category_id"]
    np.testing.assert_array_equal(back, labels)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (np.zeros((2, 2)), {}, "whole numbers"),
        (np.zeros(4, int), {}, r"expected whole numbers \(H, W\)"),
        (np.array([[-1, 0]]), {}, "run from -1"),
        (np.array([[1 << 24, 0]]), {}, "number the regions"),
        (np.array([[2, 0]]), {"classes": ("a", "b")}, "2 names"),
    ],
)
def test_what_does_not_fit_is_refused(labels, options, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        RegionResult(labels, **options)
