"""Scores of a partition against those of several annotators: covering, PRI and VI.

After Arbelaez et al., "Contour detection and hierarchical image segmentation" (PAMI 2011), section
3.2. Labels are names only: which number a region has plays no role.

- **Covering** of the truth by the prediction: each true region's best IoU with any predicted one,
  weighted by its pixels.
- **Probabilistic Rand index** (Unnikrishnan et al. 2007): the part of pixel pairs on which the two
  partitions agree (same region, or not), averaged over annotators.
- **Variation of information** (Meila 2005): ``H(truth | predicted) + H(predicted | truth)`` in
  bits, averaged over annotators; 0 is best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from vitrail.errors import DataError
from vitrail.metrics.base import Rows, State, check_same, mean_known
from vitrail.metrics.contingency import Contingency, contingency


def covering(table: Contingency) -> float:
    """How well the predicted regions cover the true ones, in [0, 1]; NaN without pixels."""
    if not table.total:
        return math.nan
    return _covered(table) / table.total


def rand_index(table: Contingency) -> float:
    """Part of the pixel pairs on which both partitions agree; NaN with fewer than two pixels."""
    total = table.total
    if total < 2:
        return math.nan
    # Python integers: squares of areas of large volumes exceed 64 bits.
    both, truth, predicted = (
        sum(n * (n - 1) // 2 for n in counts.tolist())
        for counts in (table.pixels, table.truth_areas, table.predicted_areas)
    )
    pairs = total * (total - 1) // 2
    return (pairs + 2 * both - truth - predicted) / pairs


def adapted_rand_error(table: Contingency) -> float:
    """1 - F of the pairs that are in one region (SNEMI3D), in [0, 1]; 0 is best.

    Sums are of squared areas over the pixels, the SNEMI3D script's; NaN without pixels. Truth
    pixels that count nowhere are left out by the table's ``ignore``.
    """
    if not table.total:
        return math.nan
    both, truth, predicted = (
        sum(n * n for n in counts.tolist()) - table.total
        for counts in (table.pixels, table.truth_areas, table.predicted_areas)
    )
    return 1 - 2 * both / (truth + predicted) if truth + predicted else 0.0


def variation_of_information(table: Contingency) -> tuple[float, float]:
    """``H(truth | predicted)`` and ``H(predicted | truth)`` in bits: false merges, false splits.

    NaN without pixels.
    """
    if not table.total:
        return math.nan, math.nan
    share = table.pixels / table.total
    merged = share * np.log2(table.predicted_areas[table.columns] / table.pixels)
    split = share * np.log2(table.truth_areas[table.rows] / table.pixels)
    return math.fsum(merged.tolist()), math.fsum(split.tolist())


class RegionScores:
    """Covering, PRI and VI of partitions, averaged over images.

    Covering pools all annotators' regions of all images by their pixels, as the BSDS script does;
    PRI and VI are averaged over the annotators of an image, then over images.

    Parameters
    ----------
    ignore : the label of truth pixels that are left out

    Empty policy: an annotator's map without any labelled pixel is left out; an image with no other
    does not count. One region in both maps is a perfect agreement: covering 1, PRI 1, VI 0.
    """

    def __init__(self, *, ignore: int | None = None) -> None:
        self.ignore = ignore
        self._rows = Rows(
            covered=(np.float64, ()),
            pixels=(np.int64, ()),
            rand=(np.float64, ()),
            information=(np.float64, ()),
        )

    def update(self, annotators: Sequence[np.ndarray], predicted: np.ndarray) -> None:
        """Add one image: one or more (H, W) label maps of annotators, and the predicted one."""
        if not len(annotators):
            raise DataError("there is no annotator's label map, expected one or more")
        tables = [contingency(truth, predicted, self.ignore) for truth in annotators]
        tables = [table for table in tables if table.total]
        self._rows.add(
            covered=[math.fsum(_covered(table) for table in tables)],
            pixels=[sum(table.total for table in tables)],
            rand=[mean_known(np.array([rand_index(table) for table in tables]))],
            information=[
                mean_known(np.array([sum(variation_of_information(table)) for table in tables]))
            ],
        )

    def merge(self, other: Self) -> None:
        """Add the images of another."""
        check_same(self, other, ("ignore",))
        self._rows.merge(other._rows)

    def reset(self) -> None:
        """Forget all images."""
        self._rows.reset()

    def state(self) -> State:
        """``covered`` and ``pixels``, ``rand``, ``information``: (N,) each."""
        return self._rows.state()

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace all images by those that :meth:`state` gave."""
        self._rows.load(state)

    def compute(self) -> dict[str, float]:
        """``covering`` and ``pri`` in [0, 1], ``vi`` in bits; NaN without images."""
        pixels = int(self._rows["pixels"].sum())
        covered = math.fsum(self._rows["covered"].tolist())
        return {
            "covering": covered / pixels if pixels else math.nan,
            "pri": mean_known(self._rows["rand"]),
            "vi": mean_known(self._rows["information"]),
        }


def _covered(table: Contingency) -> float:
    """Sum over true regions of their pixels times their best IoU."""
    best = np.zeros(len(table.truth_ids))
    np.maximum.at(best, table.rows, table.iou())
    return math.fsum((best * table.truth_areas).tolist())
