"""Bootstrap intervals of the scores of each class."""

from __future__ import annotations

import numpy as np

from vitrail.metrics import PerImage
from vitrail.metrics.overlap import FRACTIONS, class_scores

_DRAWS = 250
"""Resampled sets handled at once."""


def class_intervals(
    metric: PerImage, *, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Percentile bootstrap interval of each class's pooled scores; images are resampled.

    The draws are those of :meth:`PerImage.intervals` with the same seed, so that means and classes
    speak of the same resampled sets.

    Returns
    -------
    ``iou``, ``dice``, ``precision`` and ``recall``, each (C, 2): low and high, NaN for a class
    that occurs in no image.
    """
    counts = metric.counts
    number, _, classes = counts.shape
    # Sorted, so that the order in which images came plays no part.
    flat = counts[np.lexsort(counts.reshape(number, -1).T)].reshape(number, -1).astype(float)
    rng = np.random.default_rng(seed)
    found: dict[str, list[np.ndarray]] = {score: [] for score in FRACTIONS}
    for start in range(0, draws, _DRAWS):
        size = min(_DRAWS, draws - start)
        weights = rng.multinomial(number, np.full(number, 1 / number), size).astype(float)
        pooled = (weights @ flat).reshape(size, 3, classes)
        for score, parts in found.items():
            parts.append(class_scores(pooled, score, metric.empty))
    tails = [(1 - level) / 2, (1 + level) / 2]
    return {score: _quantiles(np.concatenate(parts), tails) for score, parts in found.items()}


def _quantiles(values: np.ndarray, tails: list[float]) -> np.ndarray:
    """(R, C) with NaN where a resampled set has nothing of a class, to (C, 2)."""
    rows = [column[~np.isnan(column)] for column in values.T]
    return np.array([np.quantile(row, tails) if row.size else [np.nan] * 2 for row in rows])
