"""EdgeResult: edges part the picture into regions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from skimage import data, draw, feature, filters, metrics

from vitrail.errors import ParameterError
from vitrail.result import EdgeResult


def grid(shape: tuple[int, int] = (60, 90)) -> np.ndarray:
    """Thin lines: one across, one down, so four areas."""
    strength = np.zeros(shape, np.float32)
    strength[20] = strength[:, 30] = 1
    return strength


def test_binary_lines_part_the_picture() -> None:
    labels = EdgeResult(grid()).regions().labels
    assert len(np.unique(labels)) == 4
    for rows in (slice(0, 20), slice(21, 60)):
        for columns in (slice(0, 30), slice(31, 90)):
            assert len(np.unique(labels[rows, columns])) == 1
    assert labels[0, 0] == 0 and labels[0, 89] == 1


def test_a_diagonal_line_one_pixel_wide_does_not_leak() -> None:
    strength = np.zeros((50, 50), np.float32)
    rows, columns = draw.line(0, 0, 49, 49)
    strength[rows, columns] = 1
    labels = EdgeResult(strength).regions().labels
    assert labels[0, 49] != labels[49, 0]
    assert len(np.unique(labels)) == 2


def test_a_gap_parts_nothing() -> None:
    strength = grid()
    strength[20, 80] = strength[20, 5] = strength[50, 30] = 0
    assert len(EdgeResult(strength).regions()) == 1


def test_canny_circles_become_their_discs() -> None:
    picture = np.zeros((120, 200))
    discs = np.zeros((120, 200), int)
    for number, (y, x) in enumerate([(40, 50), (70, 140)], start=1):
        rows, columns = draw.disk((y, x), 25)
        picture[rows, columns] = 0.8
        discs[rows, columns] = number
    found = EdgeResult(feature.canny(picture, 1).astype(np.float32)).regions()
    assert len(found) == 3
    assert metrics.adapted_rand_error(discs, found.labels)[0] < 0.03


def test_sobel_strength_of_a_photo_gives_whole_regions() -> None:
    strength = filters.sobel(data.coins() / 255).astype(np.float32)
    found = EdgeResult(strength).regions()
    assert found.labels.shape == strength.shape and found.labels.min() == 0
    assert 15 <= len(found) <= 60  # 24 coins, some parted by their relief
    assert set(np.unique(found.labels)) == set(range(len(found)))


def test_min_area_and_threshold_decide_about_seeds() -> None:
    strength = grid()
    assert len(EdgeResult(strength).regions(min_area=700)) == 3
    assert len(EdgeResult(strength).regions(min_area=10_000)) == 1
    strength[20], strength[20, 30] = 0.3, 1
    assert len(EdgeResult(strength).regions(threshold=0.5)) == 2
    assert len(EdgeResult(strength).regions(threshold=0.1)) == 4


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_constant_strength_is_one_region(level: float) -> None:
    found = EdgeResult(np.full((9, 9), level, np.float32)).regions()
    assert len(found) == 1 and not found.labels.any()


def test_one_pixel_is_one_region() -> None:
    assert EdgeResult(np.zeros((1, 1), np.float32)).regions().labels.tolist() == [[0]]


def test_edges_have_no_segments_of_their_own() -> None:
    found = EdgeResult(grid(), image=None)
    assert (found.segments(), found.counts(), found.classes) == ([], {}, ())
    written = json.loads(found.to_json())
    assert written["annotations"] == [] and written["vitrail"]["strength_max"] == 1.0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((np.zeros(3),), r"expected \(H, W\)"),
        ((np.zeros((0, 3)),), r"expected \(H, W\)"),
        ((np.full((2, 2), np.nan),), "not finite"),
        ((np.full((2, 2), -1.0),), "expected >= 0"),
        ((np.zeros((2, 2)), np.zeros((2, 3))), "horizontal has shape"),
        ((np.zeros((2, 2)), None, np.full((2, 2), np.inf)), "vertical holds"),
    ],
)
def test_what_does_not_fit_is_refused(arrays, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        EdgeResult(*arrays)


def test_min_area_below_one_is_refused() -> None:
    with pytest.raises(ParameterError, match="min_area is 0"):
        EdgeResult(grid()).regions(min_area=0)
