"""Scores of the contours of label maps: boundary IoU, and boundary F at a tolerance in pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Self

import cv2
import numpy as np

from vitrail.errors import DataError, ParameterError
from vitrail.metrics.base import (
    Empty,
    Rows,
    State,
    check_array,
    check_pair,
    check_same,
    mean_known,
    mean_known_by,
    policy,
    ratio,
)


def inner_band(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels of a mask at most ``width`` from its outside, (H, W) bool.

    The distance is the greater of rows and columns (erosion by a 3 x 3 square, ``width`` times),
    and the outside of the frame is outside the mask.
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)
    return mask.astype(bool) & (eroded[1:-1, 1:-1] == 0)


def outline(mask: np.ndarray) -> np.ndarray:
    """One-pixel contour of a mask, (H, W) bool, as DAVIS draws it.

    A pixel is on it where its right, lower or lower right neighbour differs; thus the contour
    lies on one side of the border whichever of the two is the object.
    """
    right, below = mask.copy(), mask.copy()
    right[:, :-1], below[:-1] = mask[:, 1:], mask[1:]
    corner = right.copy()
    corner[:-1] = right[1:]
    return (mask ^ right) | (mask ^ below) | (mask ^ corner)


class BoundaryIoU:
    """IoU of the inner bands of truth and prediction (Cheng et al., arXiv:2103.16562).

    Each class's pixels within ``ratio`` times the image's diagonal of their border are compared,
    pooled over the images.

    Parameters
    ----------
    classes : number of classes
    ratio : width of the band as part of the image's diagonal, at least one pixel; the paper's
        0.02 (its Cityscapes scores use 0.005)
    ignore : the id of truth pixels that belong to no class, in truth and prediction alike
    empty : the value of a class that occurs nowhere
    """

    def __init__(
        self,
        classes: int,
        *,
        ratio: float = 0.02,
        ignore: int | None = None,
        empty: Empty | str = Empty.SKIP,
    ) -> None:
        if classes < 1 or not 0 < ratio < 1:
            raise ParameterError(
                f"classes is {classes} and ratio is {ratio}, expected classes >= 1, 0 < ratio < 1"
            )
        self.classes = classes
        self.ratio = ratio
        self.ignore = ignore
        self.empty = policy(empty)
        self._counts = np.zeros((classes, 2), np.int64)

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Add one image: (H, W) class ids."""
        truth, predicted, counted = _label_maps(truth, predicted, self.ignore)
        width = max(1, round(self.ratio * math.hypot(*truth.shape)))
        for c in range(self.classes):
            masks = (truth == c) & counted, (predicted == c) & counted
            ours, theirs = (inner_band(mask, width) for mask in masks)
            self._counts[c] += np.count_nonzero(ours & theirs), np.count_nonzero(ours | theirs)

    def merge(self, other: Self) -> None:
        """Add the counts of another."""
        check_same(self, other, ("classes", "ratio", "ignore", "empty"))
        self._counts += other._counts

    def reset(self) -> None:
        """Forget all counts."""
        self._counts[:] = 0

    def state(self) -> State:
        """``counts``, ``(C, 2)`` int64: pixels of the intersection and the union."""
        return {"counts": self._counts.copy()}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace the counts by those that :meth:`state` gave."""
        self._counts = check_array(state, "counts", self._counts, rows=False)

    def per_class(self) -> np.ndarray:
        """Boundary IoU of each class, ``(C,)``."""
        return ratio(self._counts[:, 0], self._counts[:, 1], self.empty)

    def compute(self) -> dict[str, float]:
        """``boundary_iou``: the mean over classes."""
        return {"boundary_iou": mean_known(self.per_class())}


class BoundaryF:
    """F score of contours within a tolerance of each other, by class and image.

    Precision is the part of the predicted contour within the tolerance of the true one, recall
    the part of the true contour near the predicted one (Perazzi et al., "A benchmark dataset and
    evaluation methodology for video object segmentation", CVPR 2016). Contours are
    :func:`outline`, distances Euclidean between pixel centres. F is averaged over images, then
    over classes, as Gated-SCNN does (arXiv:1907.05740).

    Parameters
    ----------
    classes : number of classes
    tolerances : in pixels (>= 1), or, below 1, as part of the image's diagonal and rounded up:
        Gated-SCNN reports 3, 5, 9 and 12 pixels, DAVIS 0.008
    ignore : the id of truth pixels that belong to no class, in truth and prediction alike
    empty : F of a class with a contour in neither truth nor prediction of an image. ``perfect``
        is DAVIS's; ``skip`` averages over the images where there is one. A contour in only one of
        the two scores 0.
    """

    def __init__(
        self,
        classes: int,
        *,
        tolerances: Sequence[float] = (3, 5, 9, 12),
        ignore: int | None = None,
        empty: Empty | str = Empty.SKIP,
    ) -> None:
        self.tolerances = tuple(float(value) for value in tolerances)
        if classes < 1 or not self.tolerances or min(self.tolerances) <= 0:
            raise ParameterError(
                f"classes is {classes} and tolerances is {self.tolerances}, expected classes >= 1"
                " and one or more tolerances > 0"
            )
        self.classes = classes
        self.ignore = ignore
        self.empty = policy(empty)
        self._rows = Rows(counts=(np.int64, (classes, len(self.tolerances), 4)))

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Add one image: (H, W) class ids."""
        truth, predicted, counted = _label_maps(truth, predicted, self.ignore)
        reach = np.array(
            [t if t >= 1 else math.ceil(t * math.hypot(*truth.shape)) for t in self.tolerances]
        )
        row = np.zeros((self.classes, len(reach), 4), np.int64)
        for c in range(self.classes):
            ours = outline((truth == c) & counted)
            theirs = outline((predicted == c) & counted)
            for i, (one, other) in enumerate(((theirs, ours), (ours, theirs))):
                row[c, :, 2 * i] = _near(one, other, reach)
                row[c, :, 2 * i + 1] = np.count_nonzero(one)
        self._rows.add(counts=row[None])

    def merge(self, other: Self) -> None:
        """Add the images of another."""
        check_same(self, other, ("classes", "tolerances", "ignore", "empty"))
        self._rows.merge(other._rows)

    def reset(self) -> None:
        """Forget all images."""
        self._rows.reset()

    def state(self) -> State:
        """``counts``, ``(N, C, tolerances, 4)``: predicted near and all, true near and all."""
        return self._rows.state()

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace all images by those that :meth:`state` gave."""
        self._rows.load(state)

    def images(self) -> np.ndarray:
        """F of each image, class and tolerance, ``(N, C, tolerances)``."""
        near, predicted, found, true = np.moveaxis(self._rows["counts"], -1, 0)
        precision = ratio(near, predicted, Empty.WORST)
        recall = ratio(found, true, Empty.WORST)
        score = ratio(2 * precision * recall, precision + recall, Empty.WORST)
        return np.where(predicted + true > 0, score, self.empty.score)

    def per_class(self) -> np.ndarray:
        """Mean F over images, ``(C, tolerances)``."""
        return mean_known_by(self.images())

    def compute(self) -> dict[str, float]:
        """``boundary_f@t`` for each tolerance: the mean over images, then over classes."""
        means = self.per_class()
        return {
            f"boundary_f@{tolerance:g}": mean_known(means[:, i])
            for i, tolerance in enumerate(self.tolerances)
        }


def _near(one: np.ndarray, other: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Pixels of one contour within each distance of the other, ``(len(reach),)``."""
    from scipy import ndimage

    if not one.any() or not other.any():
        return np.zeros(len(reach), np.int64)
    # Exact: squared distances are whole numbers, so compare their nearest whole number.
    squared = np.rint(np.asarray(ndimage.distance_transform_edt(~other))[one] ** 2)
    return np.count_nonzero(squared[:, None] <= reach**2, axis=0)


def _label_maps(
    truth: np.ndarray, predicted: np.ndarray, ignore: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth, predicted = check_pair(truth, predicted)
    if truth.ndim != 2:
        raise DataError(f"label maps have shape {truth.shape}, expected one image (H, W)")
    counted = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    return truth, predicted, counted
