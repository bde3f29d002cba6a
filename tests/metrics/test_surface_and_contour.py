"""Surface distances, boundary IoU and boundary F by hand, and what must not change them."""

import math

import numpy as np
import pytest

from tests.metrics.drawn_labels import check_contract, label_maps
from vitrail.errors import DataError, ParameterError
from vitrail.metrics import BoundaryF, BoundaryIoU, SurfaceDistance
from vitrail.metrics.contour import inner_band, outline
from vitrail.metrics.surface import surface_distances, surface_scores


def square(y: int, x: int, side: int = 10, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_a_moved_square() -> None:
    numbers = surface_scores(square(5, 5), square(5, 9), spacing=(1.0, 0.5))
    assert numbers["hausdorff"] == 2.0
    assert numbers["hausdorff95"] == 2.0
    assert surface_scores(square(5, 5), square(5, 5)) == dict.fromkeys(numbers, 0.0)
    # One far pixel: it is all of Hausdorff's distance, and nothing of the percentile's.
    outlier = square(5, 5, 20)
    outlier[5, 45] = True
    numbers = surface_scores(square(5, 5, 20), outlier)
    assert numbers["hausdorff"] == 21 and numbers["hausdorff95"] == 0
    assert numbers["average_surface_distance"] == pytest.approx(21 / 77)
    assert numbers["symmetric_surface_distance"] == pytest.approx(21 / (77 + 76))


@pytest.mark.parametrize(
    ("missing", "value"),
    [("infinite", math.inf), ("diagonal", math.hypot(40, 100)), ("skip", math.nan)],
)
def test_a_missed_object(missing: str, value: float) -> None:
    none = np.zeros((40, 50), bool)
    for pair in ((square(5, 5), none), (none, square(5, 5))):
        numbers = surface_scores(*pair, spacing=(1, 2), missing=missing)
        np.testing.assert_array_equal(list(numbers.values()), [value] * 4)


@pytest.mark.parametrize(("empty", "value"), [("skip", math.nan), ("perfect", 0.0)])
def test_nothing_on_either_side(empty: str, value: float) -> None:
    none = np.zeros((4, 5), bool)
    numbers = surface_scores(none, none, empty=empty)
    np.testing.assert_array_equal(list(numbers.values()), [value] * 4)


def test_band_is_what_lies_near_the_outside() -> None:
    """By brute force: Chebyshev distance to the nearest pixel outside, the frame included."""
    rng = np.random.default_rng(0)
    mask = rng.random((14, 17)) < 0.97
    outside = np.argwhere(~np.pad(mask, 1))
    for width in (1, 2, 4):
        near = np.zeros_like(mask)
        for y, x in np.argwhere(mask):
            near[y, x] = np.abs(outside - (y + 1, x + 1)).max(axis=1).min() <= width
        np.testing.assert_array_equal(inner_band(mask, width), near)


def test_boundary_iou_by_hand() -> None:
    """Bands one pixel wide of two squares of 10, one moved by 1: they share two sides' 9 each."""
    metric = BoundaryIoU(2, ratio=0.02)
    truth, predicted = (square(5, x).astype(int) for x in (5, 6))
    metric.update(truth, predicted)  # 0.02 x 64 pixels = 1
    band = 36
    shared = 2 * 9
    assert metric.per_class()[1] == pytest.approx(shared / (2 * band - shared))


def test_outline_lies_at_one_place_for_an_object_and_its_ground() -> None:
    mask = square(5, 5)
    np.testing.assert_array_equal(outline(mask), outline(~mask))
    assert outline(mask).sum() == 11 * 11 - 9 * 9
    assert not outline(np.ones((4, 4), bool)).any()


def test_boundary_f_by_hand() -> None:
    metric = BoundaryF(2, tolerances=(1, 3, 0.05))
    metric.update(square(5, 5).astype(int), square(5, 8).astype(int))
    numbers = metric.compute()
    assert list(numbers) == ["boundary_f@1", "boundary_f@3", "boundary_f@0.05"]
    assert 0 < numbers["boundary_f@1"] < numbers["boundary_f@3"] == 1
    assert numbers["boundary_f@0.05"] == 1  # 0.05 x 64 pixels, rounded up: 4
    # A contour in only one of the two.
    metric.reset()
    metric.update(square(5, 5).astype(int), np.zeros((40, 50), int))
    assert set(metric.compute().values()) == {0.0}
    metric.reset()
    metric.update(np.zeros((40, 50), int), np.zeros((40, 50), int))
    assert all(np.isnan(list(metric.compute().values())))
    davis = BoundaryF(2, empty="perfect")
    davis.update(np.zeros((40, 50), int), np.zeros((40, 50), int))
    assert set(davis.compute().values()) == {1.0}


@pytest.mark.parametrize(
    "make",
    [
        lambda: SurfaceDistance(5, background=True, ignore=255),
        lambda: BoundaryIoU(5, ignore=255),
        lambda: BoundaryF(5, ignore=255),
    ],
)
def test_contract_and_ignored_pixels(make) -> None:
    truth, predicted = label_maps(4, classes=4, void=255)
    check_contract(make, list(zip(truth, predicted, strict=True)))
    one, two, perfect = make(), make(), make()
    for t, p in zip(truth, predicted, strict=True):
        one.update(t, p)
        two.update(t, np.where(t == 255, 3, p))
        perfect.update(t, np.where(t == 255, 1, t))
    assert one.compute() == two.compute()
    best = 0.0 if isinstance(perfect, SurfaceDistance) else 1.0
    assert set(perfect.compute().values()) == {best}


def test_faults_are_named() -> None:
    with pytest.raises(ParameterError, match=r"spacing is \[1.0\], expected 2 numbers"):
        surface_scores(square(5, 5), square(5, 5), (1.0,))
    with pytest.raises(DataError, match="prediction is an empty mask"):
        surface_distances(square(5, 5), np.zeros((40, 50), bool))
    with pytest.raises(ParameterError, match="missing is 'inf', expected one of 'infinite'"):
        SurfaceDistance(2, missing="inf")
    with pytest.raises(ParameterError, match="classes is 1"):
        SurfaceDistance(1)
    with pytest.raises(DataError, match=r"expected one image \(H, W\)"):
        BoundaryIoU(2).update(np.zeros((1, 4, 4), int), np.zeros((1, 4, 4), int))
    with pytest.raises(ParameterError, match="one or more tolerances"):
        BoundaryF(2, tolerances=())
    with pytest.raises(ParameterError, match="ratio is 2"):
        BoundaryIoU(2, ratio=2)
