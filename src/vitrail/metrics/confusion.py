"""Pixel counts of truth against prediction, and the scores that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from vitrail.errors import DataError, ParameterError
from vitrail.metrics.base import Empty, State, check_array, check_pair, check_same, policy
from vitrail.metrics.overlap import chosen, class_scores, reduce_confusion, summary


class ConfusionMatrix:
    """A ``(C, C)`` count of pixels, rows the truth, columns the prediction, pooled over images.

    Counts are int64, so that adding is exact in any order and parts computed by several
    processes can be merged.

    Parameters
    ----------
    classes : number of classes C
    ignore : the id of truth pixels that count nowhere (void); None: every pixel counts
    empty : what 0 / 0 is, such as the IoU of a class that occurs nowhere. By default it is NaN
        and left out of the means, as torchmetrics and the VOC and Cityscapes scripts do.
    """

    def __init__(
        self, classes: int, *, ignore: int | None = None, empty: Empty | str = Empty.SKIP
    ) -> None:
        if classes < 1:
            raise ParameterError(f"classes is {classes}, expected 1 or more")
        self.classes = classes
        self.ignore = ignore
        self.empty = policy(empty)
        self.counts = np.zeros((classes, classes), np.int64)

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Add one image or batch: integer arrays of equal shape; ignored truth is left out.

        Raises
        ------
        DataError
            the shapes differ, or a class id is outside ``0..classes-1``.
        """
        self.counts += confusion(truth, predicted, self.classes, self.ignore)

    def merge(self, other: Self) -> None:
        """Add the counts of another matrix over the same classes."""
        check_same(self, other, ("classes", "ignore", "empty"))
        self.counts += other.counts

    def reset(self) -> None:
        """Forget all counts."""
        self.counts[:] = 0

    def state(self) -> State:
        """``counts``, a copy."""
        return {"counts": self.counts.copy()}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace the counts by those that :meth:`state` gave."""
        self.counts = check_array(state, "counts", self.counts, rows=False)

    def iou(self) -> np.ndarray:
        """Intersection over union per class, ``(C,)``."""
        return self._scores("iou")

    def dice(self) -> np.ndarray:
        """Dice coefficient (F1 score) per class, ``(C,)``."""
        return self._scores("dice")

    def precision(self) -> np.ndarray:
        """Fraction of a class's predicted pixels that are right, ``(C,)``."""
        return self._scores("precision")

    def recall(self) -> np.ndarray:
        """Fraction of a class's true pixels that were found (class accuracy), ``(C,)``."""
        return self._scores("recall")

    def mean_iou(self) -> float:
        """Mean IoU over the classes (with ``empty="skip"``: those that occur)."""
        return self.compute()["mean_iou"]

    def pixel_accuracy(self) -> float:
        """Fraction of labelled pixels with the right class."""
        return self.compute()["pixel_accuracy"]

    def compute(self, classes: Sequence[int] | None = None) -> dict[str, float]:
        """``pixel_accuracy``, ``mean_accuracy``, ``mean_iou``, ``mean_dice``, ``mean_precision``,
        ``mean_recall`` and ``frequency_weighted_iou``, each in ``[0, 1]`` or NaN.

        Parameters
        ----------
        classes : ids to average over, for example all but the background; default: all. Pixels
            of the other classes still count as false positives of these.
        """
        counts = reduce_confusion(self.counts)[:, chosen(classes, self.classes)]
        return {name: float(value) for name, value in summary(counts, self.empty).items()}

    def _scores(self, score: str) -> np.ndarray:
        return class_scores(reduce_confusion(self.counts), score, self.empty)


def confusion(
    truth: np.ndarray, predicted: np.ndarray, classes: int, ignore: int | None = None
) -> np.ndarray:
    """``(C, C)`` int64 pixel counts, rows the truth, of two integer arrays of equal shape.

    Raises
    ------
    DataError
        the shapes differ, or a class id is outside ``0..classes-1``.
    """
    truth, predicted = check_pair(truth, predicted)
    if ignore is not None:
        keep = truth != ignore
        truth, predicted = truth[keep], predicted[keep]
    if not truth.size:
        return np.zeros((classes, classes), np.int64)
    for name, ids in (("truth", truth), ("prediction", predicted)):
        if ids.min() < 0 or ids.max() >= classes:
            raise DataError(
                f"the {name} holds class ids {ids.min()}..{ids.max()}, expected 0..{classes - 1}"
            )
    pair = truth.astype(np.int32).ravel() * classes + predicted.astype(np.int32).ravel()
    return np.bincount(pair, minlength=classes**2).reshape(classes, classes).astype(np.int64)
