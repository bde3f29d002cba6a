"""COCO scores by hand, and what must not change them."""

from typing import Any

import numpy as np
import pytest

from tests.metrics.drawn_labels import check_contract
from tests.metrics.drawn_objects import draw_image
from vitrail.errors import DataError, ParameterError
from vitrail.metrics import CocoAP, CocoObjects
from vitrail.result.masks import Masks

BOXES = np.array([[0, 0, 40, 40], [50, 50, 90, 90]], float)


def objects(*values: Any, **named: Any) -> CocoObjects:
    """Lists where the class says arrays: it makes arrays of them."""
    return CocoObjects(*values, **named)


def test_by_hand() -> None:
    """IoU 0.8 and the surer of two detections wrong: precision 1/2 up to 7 of 10 thresholds."""
    metric = CocoAP(1, kind="box")
    truth = objects([0], BOXES[:1])
    found = objects([0, 0], np.array([[0, 0, 40, 32], [50, 50, 90, 90]]), scores=[0.5, 0.9])
    metric.update(0, truth, found)
    numbers = metric.compute()
    assert numbers["AP"] == pytest.approx(0.7 / 2)
    assert numbers["AP50"] == numbers["AP75"] == pytest.approx(1 / 2)
    assert numbers["AR@1"] == 0 and numbers["AR@10"] == pytest.approx(0.7)
    assert np.isnan(numbers["AP_small"]) and np.isnan(numbers["AP_large"])


def test_a_crowd_swallows_detections_and_is_not_missed() -> None:
    metric = CocoAP(1, kind="box")
    inside = np.array([[51, 51, 60, 60], [60, 60, 70, 70]], float)
    truth = objects([0, 0], BOXES, crowd=[False, True])
    found = objects([0, 0, 0], np.vstack((BOXES[:1], inside)), scores=[0.5, 0.9, 0.8])
    metric.update(0, truth, found)
    assert metric.compute()["AP"] == pytest.approx(1)


def test_a_perfect_prediction_scores_one() -> None:
    rng = np.random.default_rng(0)
    for kind in ("box", "mask"):
        metric = CocoAP(3, kind=kind)
        for number in range(12):
            truth, _ = draw_image(rng, 3)
            kept = np.flatnonzero(~truth.is_crowd())
            assert truth.boxes is not None and truth.masks is not None
            one = (truth.class_ids[kept], truth.boxes[kept], truth.masks[kept])
            metric.update(number, objects(*one), objects(*one, rng.random(len(kept))))
        values = np.array(list(metric.compute().values()))
        recall_at_one = list(metric.compute()).index("AR@1")
        scores = np.delete(values, recall_at_one)
        np.testing.assert_allclose(scores[~np.isnan(scores)], 1, rtol=1e-12)


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_contract(kind: str) -> None:
    rng = np.random.default_rng(5)
    updates = [(number, *draw_image(rng, 3)) for number in range(10)]
    check_contract(lambda: CocoAP(3, kind=kind), updates)


def test_only_the_masks_are_kept_bounded() -> None:
    """A detection costs tens of bytes, however large its mask."""
    metric = CocoAP(1)
    masks = Masks.from_dense(np.ones((1, 900, 900), bool))
    for number in range(50):
        metric.update(number, objects([0], masks=masks), objects([0], None, masks, [0.5]))
    assert sum(array.nbytes for array in metric.state().values()) < 50 * 60
    assert metric.compute()["AP_large"] == pytest.approx(1)


def test_faults_are_named() -> None:
    truth = objects([0], BOXES[:1])
    found = objects([0], BOXES[:1], scores=[1.0])
    metric = CocoAP(1, kind="box")
    metric.update(7, truth, found)
    with pytest.raises(DataError, match="image 7 was added before"):
        metric.update(7, truth, found)
    other = CocoAP(1, kind="box")
    other.update(7, truth, found)
    with pytest.raises(DataError, match="1 images are in both parts, for example 7"):
        metric.merge(other)
    with pytest.raises(DataError, match="detections of image 8 have no scores"):
        metric.update(8, truth, truth)
    with pytest.raises(DataError, match=r"truth of image 8 hold class ids 3..3, expected 0..0"):
        metric.update(8, objects([3], BOXES[:1]), found)
    with pytest.raises(DataError, match="masks are compared"):
        CocoAP(1).update(8, truth, found)
    with pytest.raises(DataError, match="2 class ids and 1 boxes"):
        objects([0, 0], BOXES[:1])
    with pytest.raises(DataError, match="neither boxes nor masks"):
        objects([0])
    with pytest.raises(DataError, match="scores hold a value that is not finite"):
        objects([0], BOXES[:1], scores=[np.nan])
    with pytest.raises(ParameterError, match="kind is 'bbox', expected 'box' or 'mask'"):
        CocoAP(1, kind="bbox")
    with pytest.raises(ParameterError, match=r"max_detections is \(100, 1\)"):
        CocoAP(1, max_detections=(100, 1))
    with pytest.raises(ParameterError, match="kind is"):
        metric.merge(CocoAP(1, kind="mask"))
