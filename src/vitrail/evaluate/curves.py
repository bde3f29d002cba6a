"""Precision and recall of each class at every threshold of its probability, in bounded memory."""

from __future__ import annotations

import numpy as np

from vitrail.metrics.base import Empty, ratio

BINS = 2048
_REACH = 16.0
"""Greatest log-odds told apart: a probability of 1 - 1e-7, where float32 ends."""
_STRIP = 1 << 20
"""Probabilities computed at once."""


class PrecisionRecall:
    """Counts of pixels by class and log-odds, from which all thresholds can be read.

    Each class is scored against all others by its probability. Log-odds ``ln(p / (1 - p))`` from
    -16 to 16 are counted in 2048 bins of 1/64: trained networks crowd near 0 and 1, where bins of
    equal probability would tell nothing apart. Pixels in one bin share a threshold, so the area
    under the curve is that of the probabilities rounded to bins.

    Parameters
    ----------
    classes : number of classes C
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts = np.zeros((classes, BINS, 2), np.int64)
        """(C, bins, 2): pixels of other classes, and of the class itself."""

    def update(self, truth: np.ndarray, probabilities: np.ndarray) -> None:
        """Add pixels: (n,) class ids and (C, n) float32 probabilities of each class.

        An id of C or more is counted nowhere.
        """
        kept = truth < self.classes
        truth = truth[kept]
        for c in range(self.classes):
            p = probabilities[c][kept].astype(np.float64)
            with np.errstate(divide="ignore"):
                odds = np.log(p) - np.log1p(-np.minimum(p, 1.0))
            scaled = (np.clip(odds, -_REACH, _REACH) + _REACH) * (BINS / (2 * _REACH))
            level = np.minimum(scaled.astype(np.int64), BINS - 1)
            pairs = np.bincount(level * 2 + (truth == c), minlength=2 * BINS)
            self.counts[c] += pairs.reshape(BINS, 2)

    def curve(self, class_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Recall, precision and probability threshold of a class, by falling threshold.

        Three (T,) arrays, one entry for each bin that holds pixels; empty where the class does not
        occur.
        """
        others, own = self.counts[class_id, ::-1].T
        if not own.sum():
            return np.zeros(0), np.zeros(0), np.zeros(0)
        used = others + own > 0
        right, found = np.cumsum(own)[used], np.cumsum(own + others)[used]
        lower = np.arange(BINS)[::-1][used] * (2 * _REACH / BINS) - _REACH
        return right / own.sum(), right / found, 1 / (1 + np.exp(-lower))

    def average_precision(self) -> np.ndarray:
        """(C,) area under each curve as a sum of steps (scikit-learn's); NaN without the class."""
        return np.array([_area(*self.curve(c)[:2]) for c in range(self.classes)])

    def best_f(self) -> tuple[np.ndarray, np.ndarray]:
        """(C,) greatest Dice (F1) at any one threshold, and that probability; NaN without one."""
        best, at = np.full((2, self.classes), np.nan)
        for c in range(self.classes):
            recall, precision, threshold = self.curve(c)
            if len(recall):
                f = ratio(2 * recall * precision, recall + precision, Empty.WORST)
                best[c], at[c] = f.max(), threshold[np.argmax(f)]
        return best, at


def _area(recall: np.ndarray, precision: np.ndarray) -> float:
    if not len(recall):
        return float("nan")
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def add_scores(
    curves: PrecisionRecall,
    truth: np.ndarray,
    logits: np.ndarray,
    merged: np.ndarray,
) -> None:
    """Count one image at its original size, a strip of rows at a time.

    Parameters
    ----------
    truth : (H, W) scored ids, C and above left out
    logits : (M, h, w) float32 of the model's classes
    merged : (M,) scored id of each class of the model; C: none. The probabilities of several
        classes that are scored as one are added.
    """
    height, width = truth.shape
    rows = max(1, _STRIP // (len(logits) * width))
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        p = _softmax(_interpolated(logits, part, (height, width)))
        scored = np.zeros((curves.classes, p.shape[1]), np.float32)
        for m, c in enumerate(merged.tolist()):
            if c < curves.classes:
                scored[c] += p[m]
        curves.update(truth[part].ravel(), scored)


def _interpolated(logits: np.ndarray, rows: slice, size: tuple[int, int]) -> np.ndarray:
    """Logits at some rows of the original image, (M, n): bilinear, as labels are decoded."""
    (upper, lower, down), (left, right, across) = (
        _between(length, source) for length, source in zip(size, logits.shape[1:], strict=True)
    )
    down = down[rows, None]
    lines = logits[:, upper[rows]] * (1 - down) + logits[:, lower[rows]] * down
    values = lines[:, :, left] * (1 - across) + lines[:, :, right] * across
    return values.reshape(len(logits), -1)


def _between(length: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours and weights of bilinear interpolation with aligned outer edges."""
    centres = ((np.arange(length) + 0.5) * (source / length) - 0.5).clip(0, source - 1)
    before = np.floor(centres).astype(np.intp)
    return before, np.minimum(before + 1, source - 1), (centres - before).astype(np.float32)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=0))
    return exponents / exponents.sum(axis=0)
