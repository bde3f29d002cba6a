"""BSDS boundary detection: ODS, OIS and AP against several annotators.

The protocol of Martin, Fowlkes and Malik (PAMI 2004) and Arbelaez et al., "Contour detection and
hierarchical image segmentation" (PAMI 2011), whose code is ``boundaryBench`` of the BSDS500
package (https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html). A map
of boundary strength is cut at 99 thresholds and thinned, and its pixels are matched one to one with
each annotator's, at most 0.0075 of the image's diagonal apart. A predicted pixel is right if any
annotator has it; recall is over all annotators' pixels.

The original finds the pairs with Goldberg's CSA on a graph with random outlier nodes, six a pixel,
which approximates the assignment of least cost; unmatched pixels cost so much that it makes nearly
as many pairs as there can be. Here the number of pairs is exactly the most possible, so that recall
is never below the original's, and nothing is random. Where several greatest matchings exist, strong
pixels keep their partners when weaker ones appear; the original minimises the summed distance.
Which predicted pixels are right for *any* annotator can differ thereby.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from vitrail.errors import DataError, ParameterError
from vitrail.metrics.base import Rows, State, check_same
from vitrail.metrics.boundary_match import matched_levels
from vitrail.metrics.thinning import thin, thin_levels

_FINE = np.linspace(0.0, 1.0, 100)
"""Steps between two thresholds where the original looks for the best F."""


def region_boundaries(labels: np.ndarray) -> np.ndarray:
    """The boundary of a segmentation, one pixel wide, (H, W) bool: an annotator's, or a method's.

    A pixel is on it where its right, lower or lower right neighbour has another label (BSDS's
    ``seg2bdry`` at image size), thinned.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2:
        raise DataError(f"labels have shape {labels.shape}, expected (H, W)")
    on = np.zeros(labels.shape, bool)
    on[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    on[:-1] |= labels[:-1] != labels[1:]
    on[:-1, :-1] |= labels[:-1, :-1] != labels[1:, 1:]
    return thin(on)


class BoundaryDetection:
    """ODS, OIS and AP of maps of boundary strength.

    Parameters
    ----------
    thresholds : how many, evenly spaced inside (0, 1)
    max_distance : of two pixels that may be a pair, as part of the image's diagonal

    Empty policy, the original's: precision without predicted pixels and recall without true ones
    are 0, and so is F where both are 0.
    """

    def __init__(self, *, thresholds: int = 99, max_distance: float = 0.0075) -> None:
        if thresholds < 1 or not 0 <= max_distance < 1:
            raise ParameterError(
                f"thresholds is {thresholds} and max_distance is {max_distance}, expected"
                " thresholds >= 1 and 0 <= max_distance < 1"
            )
        self.thresholds = thresholds
        self.max_distance = max_distance
        self._rows = Rows(counts=(np.int64, (thresholds, 4)))

    @property
    def levels(self) -> np.ndarray:
        """The thresholds, rising, ``(T,)``; a pixel is on where its strength is at least that."""
        return np.linspace(
            1 / (self.thresholds + 1), 1 - 1 / (self.thresholds + 1), self.thresholds
        )

    def update(self, annotators: Sequence[np.ndarray], strength: np.ndarray) -> None:
        """Add one image.

        Parameters
        ----------
        annotators : one or more (H, W) bool boundaries, one pixel wide; from segmentations,
            :func:`region_boundaries`
        strength : (H, W) in [0, 1], where the boundary is; best after non-maximum suppression,
            as in the original: a thick band is thinned anew at each threshold

        Raises
        ------
        DataError
            no annotators, other shapes, or strengths outside [0, 1].
        """
        strength = np.asarray(strength, np.float64)
        if strength.ndim != 2 or not ((strength >= 0) & (strength <= 1)).all():
            raise DataError(
                f"strength has shape {strength.shape}, expected (H, W) with values in [0, 1]"
            )
        if not len(annotators):
            raise DataError("there is no annotator's boundary, expected one or more")
        truths = [np.asarray(one).astype(bool) for one in annotators]
        for number, truth in enumerate(truths):
            if truth.shape != strength.shape:
                raise DataError(
                    f"annotator {number} is {truth.shape}, the strength {strength.shape}"
                )
        pixels, on = thin_levels(strength, self.levels)
        radius = self.max_distance * math.hypot(*strength.shape)
        right = np.zeros(on.shape, bool)
        row = np.zeros((self.thresholds, 4), np.int64)
        for truth in truths:
            found, used = matched_levels(pixels, on, truth, radius)
            row[:, 0] += found
            row[:, 1] += np.count_nonzero(truth)
            right |= used
        row[:, 2] = np.count_nonzero(right, axis=1)
        row[:, 3] = np.count_nonzero(on, axis=1)
        self._rows.add(counts=row[None])

    def merge(self, other: Self) -> None:
        """Add the images of another."""
        check_same(self, other, ("thresholds", "max_distance"))
        self._rows.merge(other._rows)

    def reset(self) -> None:
        """Forget all images."""
        self._rows.reset()

    def state(self) -> State:
        """``counts``, ``(N, T, 4)``: true pixels found and all, predicted pixels right and all."""
        return self._rows.state()

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace all images by those that :meth:`state` gave."""
        self._rows.load(state)

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Recall and precision of all images at each threshold, ``(T,)`` each."""
        recall, precision = _recall_precision(self._rows["counts"].sum(axis=0))
        return recall, precision

    def compute(self) -> dict[str, float]:
        """``ODS`` (best F at one threshold for all images; between two thresholds, linearly), its
        ``threshold``, ``recall`` and ``precision``; ``OIS`` (F of the pixels at each image's own
        best threshold); ``AP`` (area under the curve). NaN without images.
        """
        counts = self._rows["counts"]
        if not len(counts):
            names = ("ODS", "threshold", "recall", "precision", "OIS", "AP")
            return dict.fromkeys(names, math.nan)
        recall, precision = self.curve()
        best, level, at_recall, at_precision = _best(self.levels, recall, precision)
        own = np.argmax(_f(*_recall_precision(counts)), axis=1)
        chosen = counts[np.arange(len(counts)), own].sum(axis=0)
        return {
            "ODS": best,
            "threshold": level,
            "recall": at_recall,
            "precision": at_precision,
            "OIS": float(_f(*_recall_precision(chosen))),
            "AP": _area(recall, precision),
        }


def _recall_precision(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(..., 4)`` counts to recall and precision, ``(...)`` each; 0 where there is nothing."""
    found, true, right, predicted = np.moveaxis(counts, -1, 0)
    return found / np.maximum(true, 1), right / np.maximum(predicted, 1)


def _f(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    total = recall + precision
    return 2 * recall * precision / np.where(total == 0, 1, total)


def _best(
    levels: np.ndarray, recall: np.ndarray, precision: np.ndarray
) -> tuple[float, float, float, float]:
    """Greatest F on the line through the points, its threshold, recall and precision."""
    if len(levels) == 1:
        return float(_f(recall, precision)[0]), float(levels[0]), recall.item(), precision.item()
    lines = [
        values[1:, None] * _FINE + values[:-1, None] * (1 - _FINE)
        for values in (levels, recall, precision)
    ]
    scores = _f(lines[1], lines[2])
    place = np.unravel_index(np.argmax(scores), scores.shape)
    level, r, p = (float(line[place]) for line in lines)
    return float(scores[place]), level, r, p


def _area(recall: np.ndarray, precision: np.ndarray) -> float:
    """Mean of the precision at recalls 0, 0.01 to 1 (times 1.01); 0 beyond the recalls reached."""
    # Of equal recalls, the highest threshold's precision, as the original's unique() kept.
    known, last = np.unique(recall[::-1], return_index=True)
    values = precision[::-1][last]
    grid = np.linspace(0, 1, 101)
    return float(np.interp(grid, known, values, left=0.0, right=0.0).sum() * 0.01)
