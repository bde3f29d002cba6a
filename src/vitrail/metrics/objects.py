"""Objects found at IoU thresholds, without classes or scores: as in DSB 2018 and StarDist.

At each threshold the objects of an image are paired one to one, and ``TP / (TP + FP + FN)`` says
how many were found. The 2018 Data Science Bowl averages that over thresholds 0.50 to 0.95 and
then over images; StarDist's ``matching`` pools the counts of all images. Often called AP, but no
curve is involved.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from vitrail.errors import ParameterError
from vitrail.metrics.base import Empty, Rows, State, check_same, mean_known, policy, ratio
from vitrail.metrics.contingency import Contingency, contingency

DSB_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.5, 0.55 to 0.95, each the float64 nearest to its decimal."""


def match_objects(table: Contingency, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of objects with IoU >= threshold: as many as possible, of those the greatest IoU.

    That is StarDist's definition (an optimal assignment). Above 0.5 no object can have two
    partners, and no choice is left.

    Returns
    -------
    (N,) indices into ``table.truth_ids`` and ``table.predicted_ids``.
    """
    iou = table.iou()
    near = np.flatnonzero(iou >= threshold)
    rows, columns = table.rows[near], table.columns[near]
    if len(set(rows.tolist())) == len(set(columns.tolist())) == len(near):
        return rows, columns
    from scipy.optimize import linear_sum_assignment

    some_rows, row = np.unique(rows, return_inverse=True)
    some_columns, column = np.unique(columns, return_inverse=True)
    # One pair more outweighs all that IoU can differ by.
    gain = np.zeros((len(some_rows), len(some_columns)))
    gain[row, column] = 1 + iou[near] / (2 * min(gain.shape))
    i, j = linear_sum_assignment(gain, maximize=True)
    paired = gain[i, j] > 0
    return some_rows[i[paired]], some_columns[j[paired]]


class ObjectScores:
    """Counts of objects found at each IoU threshold, per image.

    Parameters
    ----------
    thresholds : of IoU in (0, 1]; default those of DSB 2018. An IoU of exactly the threshold
        counts, as in StarDist (the competition's own script wants more than the threshold).
    background : the label that is no object, in both maps
    ignore : the label of truth pixels that are left out
    empty : the score of an image with objects in neither map; 1 in the competition's spirit is
        ``perfect``, while ``skip`` leaves the image out of the mean over images
    """

    def __init__(
        self,
        *,
        thresholds: Sequence[float] = DSB_THRESHOLDS,
        background: int = 0,
        ignore: int | None = None,
        empty: Empty | str = Empty.SKIP,
    ) -> None:
        self.thresholds = tuple(float(value) for value in thresholds)
        if not self.thresholds or not all(0 < value <= 1 for value in self.thresholds):
            raise ParameterError(f"thresholds is {self.thresholds}, expected numbers in (0, 1]")
        self.background = background
        self.ignore = ignore
        self.empty = policy(empty)
        shape = (len(self.thresholds),)
        self._rows = Rows(counts=(np.int64, (*shape, 3)), overlap=(np.float64, shape))

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Add one image: integer label maps (H, W) or (D, H, W), one label an object."""
        table = contingency(truth, predicted, self.ignore).drop(self.background, self.background)
        counts = np.zeros((len(self.thresholds), 3), np.int64)
        overlap = np.zeros(len(self.thresholds))
        iou = {
            (row, column): value
            for row, column, value in zip(
                table.rows.tolist(), table.columns.tolist(), table.iou().tolist(), strict=True
            )
        }
        for i, threshold in enumerate(self.thresholds):
            rows, columns = match_objects(table, threshold)
            right = len(rows)
            counts[i] = right, len(table.predicted_ids) - right, len(table.truth_ids) - right
            pairs = zip(rows.tolist(), columns.tolist(), strict=True)
            overlap[i] = math.fsum(iou[pair] for pair in pairs)
        self._rows.add(counts=counts[None], overlap=overlap[None])

    def merge(self, other: Self) -> None:
        """Add the images of another."""
        check_same(self, other, ("thresholds", "background", "ignore", "empty"))
        self._rows.merge(other._rows)

    def reset(self) -> None:
        """Forget all images."""
        self._rows.reset()

    def state(self) -> State:
        """``counts`` (N, T, 3): right, wrong and missed objects; ``overlap`` (N, T): sum of IoU."""
        return self._rows.state()

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace all images by those that :meth:`state` gave."""
        self._rows.load(state)

    def images(self) -> np.ndarray:
        """``TP / (TP + FP + FN)`` of each image and threshold, ``(N, T)``."""
        counts = self._rows["counts"]
        return ratio(counts[..., 0], counts.sum(axis=-1), self.empty)

    def pooled(self) -> dict[str, np.ndarray]:
        """StarDist's scores of all images' objects together, ``(T,)`` each.

        ``accuracy`` is TP / (TP + FP + FN); ``mean_matched_iou`` that of the pairs;
        ``mean_true_iou`` counts missed objects as 0; ``panoptic_quality`` is their sum over
        TP + FP / 2 + FN / 2.
        """
        right, wrong, missed = self._rows["counts"].sum(axis=0).T
        sums = np.array([math.fsum(column) for column in self._rows["overlap"].T.tolist()])
        sums = sums if len(sums) else np.zeros(len(self.thresholds))
        return {
            "accuracy": ratio(right, right + wrong + missed, self.empty),
            "precision": ratio(right, right + wrong, self.empty),
            "recall": ratio(right, right + missed, self.empty),
            "f1": ratio(2 * right, 2 * right + wrong + missed, self.empty),
            "mean_matched_iou": ratio(sums, right, self.empty),
            "mean_true_iou": ratio(sums, right + missed, self.empty),
            "panoptic_quality": ratio(2 * sums, 2 * right + wrong + missed, self.empty),
        }

    def compute(self) -> dict[str, float]:
        """``dsb_ap``: averaged over thresholds, then images. ``pooled_ap``: of all objects
        together, averaged over thresholds; and ``pooled_ap@t`` at each.
        """
        of_images = np.array([mean_known(row) for row in self.images()])
        accuracy = self.pooled()["accuracy"]
        each = zip(self.thresholds, accuracy.tolist(), strict=True)
        return {
            "dsb_ap": mean_known(of_images),
            "pooled_ap": mean_known(accuracy),
            **{f"pooled_ap@{threshold:g}": value for threshold, value in each},
        }
