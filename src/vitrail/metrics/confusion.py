"""Pixel counts of truth against prediction, and the scores that follow from them."""

from __future__ import annotations

from typing import Self

import numpy as np

from vitrail.errors import DataError


class ConfusionMatrix:
    """A ``(C, C)`` count of pixels, rows the truth, columns the prediction, pooled over images.

    Counts are int64, so that adding is exact in any order and parts computed by several
    processes can be merged.
    """

    def __init__(self, classes: int, *, ignore: int | None = None) -> None:
        self.classes = classes
        self.ignore = ignore
        self.counts = np.zeros((classes, classes), np.int64)

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Add one image or batch: integer arrays of equal shape; ignored truth is left out.

        Raises
        ------
        DataError
            the shapes differ, or a class id is outside ``0..classes-1``.
        """
        if truth.shape != predicted.shape:
            raise DataError(f"truth is {truth.shape}, prediction {predicted.shape}")
        if self.ignore is not None:
            keep = truth != self.ignore
            truth, predicted = truth[keep], predicted[keep]
        if not truth.size:
            return
        for name, ids in (("truth", truth), ("prediction", predicted)):
            if ids.min() < 0 or ids.max() >= self.classes:
                raise DataError(
                    f"the {name} holds class ids {ids.min()}..{ids.max()}, "
                    f"expected 0..{self.classes - 1}"
                )
        pair = truth.astype(np.int32).ravel() * self.classes + predicted.ravel()
        counts = np.bincount(pair, minlength=self.classes**2)
        self.counts += counts.reshape(self.classes, self.classes)

    def merge(self, other: Self) -> None:
        """Add the counts of another matrix over the same classes."""
        self.counts += other.counts

    def reset(self) -> None:
        """Forget all counts."""
        self.counts[:] = 0

    def iou(self) -> np.ndarray:
        """Intersection over union per class, ``(C,)``; NaN for a class nowhere seen."""
        hit = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(0) + self.counts.sum(1) - hit
        return np.divide(hit, union, out=np.full(self.classes, np.nan), where=union > 0)

    def mean_iou(self) -> float:
        """Mean IoU over the classes that occur in truth or prediction."""
        iou = self.iou()
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")

    def pixel_accuracy(self) -> float:
        """Fraction of labelled pixels with the right class."""
        total = self.counts.sum()
        return float(np.diag(self.counts).sum() / total) if total else float("nan")

    def compute(self) -> dict[str, float]:
        """``mean_iou`` and ``pixel_accuracy``, each in ``[0, 1]``."""
        return {"mean_iou": self.mean_iou(), "pixel_accuracy": self.pixel_accuracy()}
