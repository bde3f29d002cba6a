"""How the segments of two label maps overlap: the table that region scores start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitrail.errors import DataError
from vitrail.metrics.base import check_pair


@dataclass(frozen=True, eq=False)
class Contingency:
    """Segments of two label maps, and the pixels of each pair that overlaps.

    Parameters
    ----------
    truth_ids, predicted_ids : (T,), (P,) the labels that occur, ascending
    truth_areas, predicted_areas : (T,), (P,) int64 pixels
    rows, columns, pixels : (K,) each: indices into the two, and the pixels they share (> 0)
    """

    truth_ids: np.ndarray
    predicted_ids: np.ndarray
    truth_areas: np.ndarray
    predicted_areas: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    pixels: np.ndarray

    @property
    def total(self) -> int:
        """Pixels counted."""
        return int(self.truth_areas.sum())

    def iou(self) -> np.ndarray:
        """IoU of each pair that overlaps, ``(K,)``; correctly rounded."""
        union = self.truth_areas[self.rows] + self.predicted_areas[self.columns] - self.pixels
        return self.pixels / union

    def drop(self, truth_id: int | None, predicted_id: int | None) -> Contingency:
        """Without one label of each map, such as the background. Areas keep all their pixels."""
        keep_t = np.flatnonzero(self.truth_ids != truth_id)
        keep_p = np.flatnonzero(self.predicted_ids != predicted_id)
        kept = np.isin(self.rows, keep_t) & np.isin(self.columns, keep_p)
        return Contingency(
            self.truth_ids[keep_t],
            self.predicted_ids[keep_p],
            self.truth_areas[keep_t],
            self.predicted_areas[keep_p],
            np.searchsorted(keep_t, self.rows[kept]),
            np.searchsorted(keep_p, self.columns[kept]),
            self.pixels[kept],
        )


def contingency(truth: np.ndarray, predicted: np.ndarray, ignore: int | None = None) -> Contingency:
    """Count the pixels of every pair of labels.

    Parameters
    ----------
    truth, predicted : integer label maps of one shape
    ignore : the label of truth pixels that are left out altogether

    Raises
    ------
    DataError
        the shapes differ, or the labels are not integers.
    """
    truth, predicted = check_pair(truth, predicted)
    if ignore is not None:
        keep = truth != ignore
        truth, predicted = truth[keep], predicted[keep]
    truth_ids, row = _ranks(truth)
    predicted_ids, column = _ranks(predicted)
    width = max(len(predicted_ids), 1)
    pair, pixels = _counts(row * width + column, len(truth_ids) * width)
    rows, columns = np.divmod(pair, width)
    return Contingency(
        truth_ids,
        predicted_ids,
        np.bincount(row, minlength=len(truth_ids)).astype(np.int64),
        np.bincount(column, minlength=len(predicted_ids)).astype(np.int64),
        rows,
        columns,
        pixels,
    )


def _ranks(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels that occur, ascending, and each pixel's place among them."""
    flat = labels.ravel()
    if flat.size and flat.dtype == np.uint64 and flat.max() > np.iinfo(np.int64).max:
        raise DataError(f"a label is {flat.max()}, expected less than 2**63")
    flat = flat.astype(np.int64)
    if not flat.size:
        return flat, flat
    low, high = int(flat.min()), int(flat.max())
    if high - low > 1 << 22:
        ids, ranks = np.unique(flat, return_inverse=True)
        return ids, ranks.reshape(-1)
    # A flag per label: no sorting of pixels.
    seen = np.zeros(high - low + 1, bool)
    seen[flat - low] = True
    return np.flatnonzero(seen) + low, (np.cumsum(seen) - 1)[flat - low]


def _counts(pairs: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    if most > 1 << 22:
        return np.unique(pairs, return_counts=True)
    counts = np.bincount(pairs, minlength=most)
    found = np.flatnonzero(counts)
    return found, counts[found].astype(np.int64)
