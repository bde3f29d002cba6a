"""Overlap scores kept image by image: three ways to average them, and how sure they are.

The same predictions get different numbers by the order of averaging:

- ``pooled``: pixels of all images are counted together, then each class is scored, then the
  classes are averaged. The usual mean IoU of VOC, Cityscapes and CamVid.
- ``per_image``: each image is scored, the classes in it averaged, then the images averaged.
- ``per_class``: each class is averaged over the images, then the classes are averaged.

The last two weigh small objects more; Wang et al., "Revisiting evaluation metrics for semantic
segmentation" (arXiv:2310.19252) compare them as mIoU-D, mIoU-I and mIoU-C.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Self

import numpy as np

from vitrail.errors import ParameterError
from vitrail.metrics.base import Empty, Rows, State, check_same, policy, ratio
from vitrail.metrics.confusion import confusion
from vitrail.metrics.overlap import MEANS, chosen, class_mean, class_scores, reduce_confusion
from vitrail.metrics.overlap import summary as summarise

_DRAWS = 250
"""Bootstrap draws handled at once: bounds the memory at 250 weights an image."""


class Aggregation(StrEnum):
    """The order of averaging; see the module."""

    POOLED = "pooled"
    PER_IMAGE = "per_image"
    PER_CLASS = "per_class"


class PerImage:
    """Pixel counts of each class in each image, ``(N, 3, C)``: right, in truth, predicted.

    Parameters
    ----------
    classes, ignore, empty : as for :class:`ConfusionMatrix`. ``empty`` matters more here, as most
        images lack most classes: ``skip`` averages over the images where a class occurs in truth
        or prediction, ``perfect`` rewards every image that rightly shows none of it.
    """

    def __init__(
        self, classes: int, *, ignore: int | None = None, empty: Empty | str = Empty.SKIP
    ) -> None:
        if classes < 1:
            raise ParameterError(f"classes is {classes}, expected 1 or more")
        self.classes = classes
        self.ignore = ignore
        self.empty = policy(empty)
        self._rows = Rows(counts=(np.int64, (3, classes)))

    def __len__(self) -> int:
        """Images counted."""
        return len(self._rows)

    @property
    def counts(self) -> np.ndarray:
        """``(N, 3, C)`` int64, images in the order they came."""
        return self._rows["counts"]

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Add ONE image: integer arrays of equal shape; ignored truth is left out.

        Raises
        ------
        DataError
            the shapes differ, or a class id is outside ``0..classes-1``.
        """
        counts = confusion(truth, predicted, self.classes, self.ignore)
        self._rows.add(counts=reduce_confusion(counts)[None])

    def merge(self, other: Self) -> None:
        """Add the images of another."""
        check_same(self, other, ("classes", "ignore", "empty"))
        self._rows.merge(other._rows)

    def reset(self) -> None:
        """Forget all images."""
        self._rows.reset()

    def state(self) -> State:
        """``counts``, ``(N, 3, C)`` int64, a copy."""
        return self._rows.state()

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace all images by those that :meth:`state` gave."""
        self._rows.load(state)

    def images(self, score: str = "mean_iou", classes: Sequence[int] | None = None) -> np.ndarray:
        """One summary score of each image, ``(N,)``, in the order they came: find the worst."""
        values = summarise(self.counts[..., chosen(classes, self.classes)], self.empty)
        return values[_known(score, values)]

    def compute(
        self,
        aggregation: Aggregation | str = Aggregation.POOLED,
        classes: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """The scores of :meth:`ConfusionMatrix.compute`, averaged in the given order.

        ``per_class`` has no ``pixel_accuracy`` and no ``frequency_weighted_iou``: they are not
        averages over classes.
        """
        counts = self._sorted(classes)
        once = np.ones((1, len(counts)))
        scores = _draw(once, counts, _aggregation(aggregation), self.empty)
        return {name: float(value[0]) for name, value in scores.items()}

    def intervals(
        self,
        aggregation: Aggregation | str = Aggregation.POOLED,
        classes: Sequence[int] | None = None,
        *,
        level: float = 0.95,
        draws: int = 1000,
        seed: int = 0,
    ) -> dict[str, tuple[float, float]]:
        """Percentile bootstrap interval of each score: images are drawn with replacement.

        It says how much the number would move with other images of the same kind; not how much
        with another training.

        Parameters
        ----------
        level : of confidence, in (0, 1)
        draws : number of resampled sets
        seed : of the draws; equal seeds and equal images (in any order) give equal intervals

        Returns
        -------
        ``(low, high)`` by score name; NaN without images.
        """
        if not 0 < level < 1 or draws < 1:
            raise ParameterError(
                f"level is {level} and draws is {draws}, expected 0 < level < 1 and draws >= 1"
            )
        order, counts = _aggregation(aggregation), self._sorted(classes)
        rng = np.random.default_rng(seed)
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, draws, _DRAWS):
            size = min(_DRAWS, draws - start)
            number = max(len(counts), 1)
            weights = rng.multinomial(len(counts), np.full(number, 1 / number), size)
            parts.append(_draw(weights[:, : len(counts)].astype(float), counts, order, self.empty))
        tails = [(1 - level) / 2, (1 + level) / 2]
        found: dict[str, tuple[float, float]] = {}
        for name in parts[0]:
            values = np.concatenate([part[name] for part in parts])
            values = values[~np.isnan(values)]
            low, high = np.quantile(values, tails) if values.size else (np.nan, np.nan)
            found[name] = float(low), float(high)
        return found

    def _sorted(self, classes: Sequence[int] | None) -> np.ndarray:
        """Counts of the chosen classes in an order that does not depend on how images came."""
        counts = self.counts
        order = np.lexsort(counts.reshape(len(counts), 3 * self.classes).T)
        return counts[order][..., chosen(classes, self.classes)]


def _draw(
    weights: np.ndarray, counts: np.ndarray, order: Aggregation, empty: Empty
) -> dict[str, np.ndarray]:
    """Scores of R weighted sets of images: ``(R, N)`` weights and ``(N, 3, C)`` counts."""
    if order is Aggregation.POOLED:
        # Whole numbers below 2**53: exact in float64, and much faster than integer products.
        pooled = weights @ counts.reshape(len(counts), 3 * counts.shape[2]).astype(float)
        return summarise(pooled.reshape(len(weights), *counts.shape[1:]), empty)
    if order is Aggregation.PER_IMAGE:
        images = summarise(counts, empty)
        return {name: _weighted(weights, value[:, None])[:, 0] for name, value in images.items()}
    return {
        name: class_mean(_weighted(weights, class_scores(counts, score, empty)))
        for name, score in MEANS.items()
    }


def _weighted(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Weighted means of ``(N, K)`` values that are not NaN: ``(R, K)``."""
    known = ~np.isnan(values)
    return ratio(weights @ np.where(known, values, 0.0), weights @ known.astype(float), Empty.SKIP)


def _aggregation(value: Aggregation | str) -> Aggregation:
    try:
        return Aggregation(value)
    except ValueError:
        known = ", ".join(repr(one.value) for one in Aggregation)
        raise ParameterError(f"aggregation is {value!r}, expected one of {known}") from None


def _known(score: str, values: Mapping[str, np.ndarray]) -> str:
    if score not in values:
        raise ParameterError(f"score is {score!r}, expected one of {', '.join(values)}")
    return score
