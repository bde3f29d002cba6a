"""ODS, OIS and AP by hand, and what must not change them."""

import cv2
import numpy as np
import pytest

from tests.metrics.drawn_labels import SIZE, check_contract, smooth_labels
from vitrail.errors import DataError, ParameterError
from vitrail.metrics import BoundaryDetection, region_boundaries


def image(seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Two annotators who differ a little, and a strength map that is strong on one of them."""
    rng = np.random.default_rng(seed)
    one = region_boundaries(smooth_labels(rng, 4))
    other = np.roll(one, 1, axis=0)
    noise = cv2.GaussianBlur(rng.random(SIZE), (0, 0), 1)
    strength = np.where(one, 0.4 + 0.6 * rng.random(SIZE), noise - noise.min())
    return [one, other], np.clip(strength, 0, 1)


def test_a_perfect_map_scores_one() -> None:
    metric = BoundaryDetection()
    for seed in range(3):
        truths, _ = image(seed)
        metric.update(truths[:1], truths[0].astype(float))
    numbers = metric.compute()
    assert numbers["ODS"] == numbers["OIS"] == numbers["recall"] == numbers["precision"] == 1
    # The curve is one point, at recall 1.
    assert numbers["AP"] == pytest.approx(0.01)


def test_by_hand() -> None:
    """A line of 20 found at 0.8 for 10 of its pixels, at 0.3 for all, with 20 more that are wrong.

    Two images with the strengths of the second halved: one threshold cannot serve both.
    """
    truth = np.zeros((60, 60), bool)
    truth[10, 10:30] = True
    strength = np.zeros((60, 60))
    strength[10, 10:20], strength[10, 20:30], strength[40, 10:30] = 0.8, 0.35, 0.25
    metric = BoundaryDetection(max_distance=0.01)
    metric.update([truth], strength)
    recall, precision = metric.curve()
    assert (recall[29], precision[29]) == (1, 1)  # at 0.30
    assert (recall[59], precision[59]) == (0.5, 1)
    assert (recall[9], precision[9]) == (1, 0.5)
    assert metric.compute()["ODS"] == 1
    metric.update([truth], strength / 2)
    numbers = metric.compute()
    assert numbers["OIS"] == 1
    assert numbers["ODS"] < 1


def test_a_pixel_is_right_for_any_annotator_and_missed_by_each() -> None:
    """Precision is over the union of the annotators, recall over the sum of their pixels."""
    first, second = np.zeros((2, 60, 60), bool)
    first[10, 10:30] = True
    second[40, 10:30] = True
    strength = np.where(first, 0.9, 0.0)
    metric = BoundaryDetection()
    metric.update([first, second], strength)
    recall, precision = metric.curve()
    assert (recall[50], precision[50]) == (0.5, 1)
    metric.reset()
    metric.update([first, second], np.where(first | second, 0.9, 0.0))
    recall, precision = metric.curve()
    assert (recall[50], precision[50]) == (1, 1)


def test_pairs_are_one_to_one() -> None:
    """Two lines beside one true line: the second finds nothing left."""
    truth = np.zeros((60, 60), bool)
    truth[20, 10:30] = True
    strength = np.zeros((60, 60))
    strength[19, 10:30] = strength[21, 10:30] = 0.9
    metric = BoundaryDetection(max_distance=0.03)
    metric.update([truth], strength)
    recall, precision = metric.curve()
    assert recall[50] == 1
    assert precision[50] == pytest.approx(0.5)


def test_distance_is_part_of_the_diagonal() -> None:
    truth = np.zeros((300, 400), bool)
    truth[100, 50:300] = True
    for shift, recall in ((3, 1.0), (4, 0.0)):  # 0.0075 x 500 pixels = 3.75
        metric = BoundaryDetection()
        metric.update([truth], np.roll(truth, shift, axis=0).astype(float))
        assert metric.curve()[0][50] == recall


def test_contract() -> None:
    check_contract(lambda: BoundaryDetection(thresholds=19), [image(seed) for seed in range(4)])


def test_region_boundaries_are_one_pixel_wide() -> None:
    labels = np.zeros((20, 20), int)
    labels[5:15, 5:15] = 7
    boundary = region_boundaries(labels)
    assert boundary.sum() == 4 * 10 - 4  # thinning cuts the corners of the square
    parts, _ = cv2.connectedComponents((~boundary).astype(np.uint8), connectivity=4)
    assert parts == 3  # the line itself, inside and outside: it is closed
    assert not region_boundaries(np.full((5, 5), 3)).any()


def test_faults_are_named() -> None:
    metric = BoundaryDetection()
    truth = np.zeros((4, 4), bool)
    with pytest.raises(DataError, match="no annotator"):
        metric.update([], np.zeros((4, 4)))
    with pytest.raises(DataError, match=r"annotator 1 is \(3, 4\), the strength \(4, 4\)"):
        metric.update([truth, truth[1:]], np.zeros((4, 4)))
    with pytest.raises(DataError, match=r"values in \[0, 1\]"):
        metric.update([truth], np.full((4, 4), 255.0))
    with pytest.raises(ParameterError, match="max_distance is 2"):
        BoundaryDetection(max_distance=2)
    assert all(np.isnan(list(metric.compute().values())))
    metric.update([truth], np.zeros((4, 4)))  # nothing to find, nothing found
    assert metric.compute()["ODS"] == 0
