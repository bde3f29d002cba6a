"""Distances between the surfaces of two masks, in 2D or 3D: Hausdorff, HD95, average.

The surface of a mask are its pixels (voxels) with a neighbour along an axis outside the mask, or
at the frame's edge. Distances run between pixel centres, scaled by ``spacing``. These are MONAI's
definitions (``compute_hausdorff_distance``, ``compute_average_surface_distance``), in float64:

- ``hausdorff``: the greatest distance from either surface to the other.
- ``hausdorff95``: the greater of the two directions' 95th percentiles (linear interpolation).
- ``average_surface_distance``: from the prediction's surface to the truth's, averaged.
- ``symmetric_surface_distance``: the average over the points of both surfaces.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Self

import numpy as np

from vitrail.errors import DataError, ParameterError
from vitrail.metrics.base import (
    Empty,
    Rows,
    State,
    check_pair,
    check_same,
    mean_known,
    mean_known_by,
    policy,
)

NAMES = (
    "hausdorff",
    "hausdorff95",
    "average_surface_distance",
    "symmetric_surface_distance",
)


class Missing(StrEnum):
    """The distance where one of the two masks is empty and the other is not."""

    INFINITE = "infinite"
    """Infinity, as MONAI: one missed object makes a mean infinite, and nobody overlooks it."""
    DIAGONAL = "diagonal"
    """The diagonal of the frame, in the units of ``spacing``."""
    SKIP = "skip"
    """NaN, left out of every mean. Flattering: who finds nothing is never wrong."""


def surface_distances(
    truth: np.ndarray, predicted: np.ndarray, spacing: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distances from each point of one mask's surface to the other's nearest.

    Parameters
    ----------
    truth, predicted : bool of one shape, 2D or 3D, neither empty
    spacing : size of a pixel along each axis, in array order; default: 1 each

    Returns
    -------
    from the prediction to the truth, and back : (P,) and (T,) float64, in units of ``spacing``

    Raises
    ------
    DataError
        the shapes differ, or a mask is empty: an empty mask has no surface.
    """
    from scipy.spatial import KDTree

    truth, predicted = check_pair(truth, predicted)
    scale = _spacing(spacing, truth.ndim)
    points = [np.argwhere(_surface(mask)) * scale for mask in (truth > 0, predicted > 0)]
    for name, found in zip(("truth", "prediction"), points, strict=True):
        if not len(found):
            raise DataError(f"the {name} is an empty mask, which has no surface")
    there = KDTree(points[0], leafsize=32).query(points[1])[0]
    back = KDTree(points[1], leafsize=32).query(points[0])[0]
    return np.asarray(there), np.asarray(back)


def surface_scores(
    truth: np.ndarray,
    predicted: np.ndarray,
    spacing: Sequence[float] | None = None,
    *,
    empty: Empty | str = Empty.SKIP,
    missing: Missing | str = Missing.INFINITE,
) -> dict[str, float]:
    """The four distances of one pair of masks; see the module.

    Parameters
    ----------
    truth, predicted, spacing : as for :func:`surface_distances`, but may be empty
    empty : the value where both are empty
    missing : the value where just one is
    """
    truth, predicted = check_pair(truth, predicted)
    truth, predicted = truth > 0, predicted > 0
    scale = _spacing(spacing, truth.ndim)
    either = (truth.any(), predicted.any())
    if not any(either):
        return dict.fromkeys(NAMES, policy(empty).distance)
    if not all(either):
        diagonal = math.hypot(*(np.array(truth.shape) * scale))
        values = {
            Missing.INFINITE: math.inf,
            Missing.DIAGONAL: diagonal,
            Missing.SKIP: math.nan,
        }
        return dict.fromkeys(NAMES, values[_missing(missing)])
    there, back = surface_distances(truth, predicted, scale.tolist())
    return {
        "hausdorff": float(max(there.max(), back.max())),
        "hausdorff95": float(max(np.quantile(there, 0.95), np.quantile(back, 0.95))),
        "average_surface_distance": float(there.mean()),
        "symmetric_surface_distance": float(np.concatenate((there, back)).mean()),
    }


class SurfaceDistance:
    """The four distances of each class in each image or volume, averaged over images, then classes.

    Parameters
    ----------
    classes : number of classes; distances are of classes 1 and up unless ``background``
    background : also measure class 0
    ignore : the id of truth pixels that belong to no class, in truth and prediction alike
    empty, missing : see :func:`surface_scores`
    """

    def __init__(
        self,
        classes: int,
        *,
        background: bool = False,
        ignore: int | None = None,
        empty: Empty | str = Empty.SKIP,
        missing: Missing | str = Missing.INFINITE,
    ) -> None:
        if classes < 1 + (not background):
            raise ParameterError(f"classes is {classes}, which leaves none to measure")
        self.classes = classes
        self.background = background
        self.ignore = ignore
        self.empty = policy(empty)
        self.missing = _missing(missing)
        self._rows = Rows(distances=(np.float64, (self._measured(), len(NAMES))))

    def update(
        self,
        truth: np.ndarray,
        predicted: np.ndarray,
        spacing: Sequence[float] | None = None,
    ) -> None:
        """Add one image (H, W) or volume (D, H, W) of class ids, with its pixel spacing."""
        truth, predicted = check_pair(truth, predicted)
        counted = np.ones(truth.shape, bool) if self.ignore is None else truth != self.ignore
        row = [
            list(
                surface_scores(
                    (truth == c) & counted,
                    (predicted == c) & counted,
                    spacing,
                    empty=self.empty,
                    missing=self.missing,
                ).values()
            )
            for c in range(not self.background, self.classes)
        ]
        self._rows.add(distances=[row])

    def merge(self, other: Self) -> None:
        """Add the images of another."""
        check_same(self, other, ("classes", "background", "ignore", "empty", "missing"))
        self._rows.merge(other._rows)

    def reset(self) -> None:
        """Forget all images."""
        self._rows.reset()

    def state(self) -> State:
        """``distances``, ``(N, classes measured, 4)`` float64, a copy."""
        return self._rows.state()

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace all images by those that :meth:`state` gave."""
        self._rows.load(state)

    def per_class(self) -> dict[str, np.ndarray]:
        """Each distance's mean over images, ``(classes measured,)``."""
        means = mean_known_by(self._rows["distances"])
        return {name: means[:, i] for i, name in enumerate(NAMES)}

    def compute(self) -> dict[str, float]:
        """The four distances, averaged over images, then over classes; in units of spacing."""
        return {name: mean_known(values) for name, values in self.per_class().items()}

    def _measured(self) -> int:
        return self.classes - (not self.background)


def _surface(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask with a neighbour along an axis outside it; outside the frame counts."""
    padded = np.pad(mask, 1)
    inner = padded.copy()
    for axis in range(mask.ndim):
        inner &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    return mask & ~inner[(slice(1, -1),) * mask.ndim]


def _spacing(spacing: Sequence[float] | None, dimensions: int) -> np.ndarray:
    scale = np.ones(dimensions) if spacing is None else np.asarray(spacing, np.float64).reshape(-1)
    if len(scale) != dimensions or not (np.isfinite(scale) & (scale > 0)).all():
        raise ParameterError(
            f"spacing is {scale.tolist()}, expected {dimensions} numbers > 0, one for each axis"
        )
    return scale


def _missing(value: Missing | str) -> Missing:
    try:
        return Missing(value)
    except ValueError:
        known = ", ".join(repr(one.value) for one in Missing)
        raise ParameterError(f"missing is {value!r}, expected one of {known}") from None
