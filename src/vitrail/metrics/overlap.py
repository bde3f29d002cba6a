"""Overlap scores from pixel counts: formulas that hold for one image, many, or a whole set.

Everything here works on ``(..., 3, C)`` integer counts of the pixels of each class that are right
(true positives), in the truth, and in the prediction; see :func:`reduce_confusion`.

====================== ============================================================
``iou``                ``tp / (truth + predicted - tp)`` (Jaccard)
``dice``               ``2 tp / (truth + predicted)`` (F1, the harmonic mean of the next two)
``precision``          ``tp / predicted``
``recall``             ``tp / truth`` (class accuracy)
====================== ============================================================

Pixel accuracy, mean accuracy, mean IoU and frequency-weighted IoU are those of Long, Shelhamer and
Darrell, "Fully convolutional networks for semantic segmentation" (arXiv:1411.4038), section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from vitrail.errors import ParameterError
from vitrail.metrics.base import Empty, ratio

Fraction: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

FRACTIONS: dict[str, Fraction] = {
    "iou": lambda tp, truth, predicted: (tp, truth + predicted - tp),
    "dice": lambda tp, truth, predicted: (2 * tp, truth + predicted),
    "precision": lambda tp, truth, predicted: (tp, predicted),
    "recall": lambda tp, truth, predicted: (tp, truth),
}
"""Numerator and denominator of each score of a class."""

MEANS = {
    "mean_accuracy": "recall",
    "mean_iou": "iou",
    "mean_dice": "dice",
    "mean_precision": "precision",
    "mean_recall": "recall",
}
"""Summary name of the class mean of each score; mean accuracy is mean recall's other name."""


def reduce_confusion(confusion: np.ndarray) -> np.ndarray:
    """``(..., C, C)`` counts, rows the truth, to ``(..., 3, C)``: right, in truth, predicted."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return np.stack((right, confusion.sum(-1), confusion.sum(-2)), axis=-2)


def class_scores(counts: np.ndarray, score: str, empty: Empty) -> np.ndarray:
    """One score of each class: ``(..., 3, C)`` counts to ``(..., C)`` in [0, 1] (or NaN)."""
    tp, truth, predicted = (counts[..., i, :] for i in range(3))
    return ratio(*FRACTIONS[score](tp, truth, predicted), empty)


def class_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(-1), known.sum(-1), Empty.SKIP)


def summary(counts: np.ndarray, empty: Empty) -> dict[str, np.ndarray]:
    """Pixel accuracy, class means and frequency-weighted IoU, each ``(...)``.

    With some classes left out of ``counts``, pixel accuracy and the frequencies are over the
    truth's pixels of the classes that remain.
    """
    tp, truth = counts[..., 0, :], counts[..., 1, :]
    labelled = truth.sum(-1)
    weighted = np.where(truth > 0, truth * class_scores(counts, "iou", Empty.WORST), 0.0).sum(-1)
    named = {name: class_mean(class_scores(counts, key, empty)) for name, key in MEANS.items()}
    return {
        "pixel_accuracy": ratio(tp.sum(-1), labelled, empty),
        **named,
        "frequency_weighted_iou": ratio(weighted, labelled, empty),
    }


def chosen(classes: Sequence[int] | None, count: int) -> np.ndarray:
    """Class ids to score as an array; all of them by default."""
    ids = np.arange(count) if classes is None else np.asarray(classes, np.int64).reshape(-1)
    if not ids.size or ids.min() < 0 or ids.max() >= count or len(set(ids.tolist())) != ids.size:
        raise ParameterError(
            f"classes is {ids.tolist()}, expected one or more different ids in 0..{count - 1}"
        )
    return ids
