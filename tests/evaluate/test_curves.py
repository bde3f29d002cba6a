"""Precision-recall counts: closed cases, and probabilities at the size of the image."""

import numpy as np
import torch
import torch.nn.functional as F

from vitrail.evaluate.curves import PrecisionRecall, add_scores


def test_a_perfect_ranking_has_area_one() -> None:
    curves = PrecisionRecall(2)
    truth = np.array([0, 0, 1, 1])
    own = np.array([0.1, 0.2, 0.8, 0.9], np.float32)
    curves.update(truth, np.stack((1 - own, own)))
    np.testing.assert_array_equal(curves.average_precision(), [1, 1])
    best, at = curves.best_f()
    np.testing.assert_array_equal(best, [1, 1])
    assert 0.2 < at[1] <= 0.8


def test_one_curve_by_hand() -> None:
    curves = PrecisionRecall(1)
    curves.update(np.array([0, 1, 0]), np.array([[0.9, 0.6, 0.3]], np.float32))
    recall, precision, threshold = curves.curve(0)
    # An id of C or more is nothing: two pixels of class 0 alone.
    np.testing.assert_allclose(recall, [0.5, 1])
    np.testing.assert_allclose(precision, [1, 1])
    np.testing.assert_allclose(threshold, [0.9, 0.3], atol=0.01)


def test_probabilities_of_nought_and_one_have_a_place() -> None:
    curves = PrecisionRecall(2)
    curves.update(np.array([0, 1]), np.array([[1, 0], [0, 1]], np.float32))
    assert curves.counts.sum() == 4 and (curves.average_precision() == 1).all()


def test_a_class_that_does_not_occur_has_no_curve() -> None:
    curves = PrecisionRecall(2)
    curves.update(np.array([0, 0]), np.full((2, 2), 0.5, np.float32))
    assert len(curves.curve(1)[0]) == 0
    assert curves.average_precision()[0] == 1 and np.isnan(curves.average_precision()[1])
    assert np.isnan(curves.best_f()[0][1])


def test_logits_are_enlarged_as_labels_are_decoded(monkeypatch) -> None:
    """Against torch's bilinear interpolation and softmax; strips of one row change nothing."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4, 9, 12)).astype(np.float32)
    truth = rng.integers(0, 4, (23, 31))
    enlarged = F.interpolate(
        torch.from_numpy(logits)[None], size=truth.shape, mode="bilinear", align_corners=False
    )
    merged = np.array([0, 1, 1, 3])  # two classes scored as one, one left out
    p = enlarged[0].softmax(0).numpy().reshape(4, -1)
    expected = PrecisionRecall(3)
    expected.update(truth.ravel(), np.stack((p[0], p[1] + p[2], np.zeros_like(p[0]))))
    for values in (1 << 20, 1):
        monkeypatch.setattr("vitrail.evaluate.curves._STRIP", values)
        found = PrecisionRecall(3)
        add_scores(found, truth, logits, merged)
        assert found.counts.sum() == expected.counts.sum()
        # A float32 rounding may move a pixel to the bin beside.
        moved = np.abs(np.cumsum(found.counts - expected.counts, axis=1))
        assert moved.max() <= 3
