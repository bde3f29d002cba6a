"""How much of an edge there is at every pixel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np

from vitrail.errors import ParameterError
from vitrail.result.base import Result, Segment, check_image, read_only
from vitrail.result.regions import RegionResult

if TYPE_CHECKING:
    from vitrail.image import Image


@dataclass(frozen=True, eq=False, repr=False)
class EdgeResult(Result):
    """How much of an edge there is at every pixel.

    Parameters
    ----------
    strength : (H, W) float32 >= 0; binary edges (Canny) are 0 and 1
    horizontal, vertical : (H, W) float32, the signed responses of the two kernels, where the
        method has them
    image : the image the edges were found in

    It has no classes and no segments: :meth:`regions` makes some.

    Raises
    ------
    ParameterError
        arrays of another shape or of different sizes, or values that are not finite.
    """

    kind: ClassVar[str] = "edges"

    strength: np.ndarray
    horizontal: np.ndarray | None = None
    vertical: np.ndarray | None = None
    image: Image | None = field(default=None, kw_only=True)
    size: tuple[int, int] = field(init=False)
    classes: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        shape = np.shape(self.strength)
        if len(shape) != 2 or 0 in shape:
            raise ParameterError(f"strength has shape {shape}, expected (H, W)")
        for name in ("strength", "horizontal", "vertical"):
            value = getattr(self, name)
            if value is None:
                continue
            array = np.asarray(value, np.float32)
            if array.shape != shape:
                raise ParameterError(f"{name} has shape {array.shape}, expected {shape}")
            if not np.isfinite(array).all():
                raise ParameterError(f"{name} holds values that are not finite")
            object.__setattr__(self, name, read_only(array))
        if self.strength.min() < 0:
            raise ParameterError(f"strength goes down to {self.strength.min()}, expected >= 0")
        object.__setattr__(self, "size", (shape[0], shape[1]))
        check_image(self.image, self.size)

    def __repr__(self) -> str:
        return f"EdgeResult({self.size[0]} x {self.size[1]} px: up to {self.strength.max():.3g})"

    @property
    def nbytes(self) -> int:
        arrays = (self.strength, self.horizontal, self.vertical)
        return sum(array.nbytes for array in arrays if array is not None)

    def counts(self) -> dict[str, int]:
        """Nothing: edges have no classes."""
        return {}

    def segments(self) -> list[Segment]:
        """Nothing: edges enclose no area until :meth:`regions` says so."""
        return []

    def regions(
        self, *, threshold: float | None = None, min_area: int | None = None
    ) -> RegionResult:
        """The areas that the edges part, as a partition: every pixel belongs to one.

        Where the strength is at or below the threshold, connected areas (4-neighbours, so that
        a diagonal edge one pixel wide holds) of enough pixels become seeds; a watershed on the
        strength then gives every other pixel to the seed it is reached from over the lowest
        edge. Edges with a gap do not part anything.

        Parameters
        ----------
        threshold : in units of the strength; default Otsu's
        min_area : pixels below which an area is no seed; default 1/10,000 of the image, at
            least 9

        Returns
        -------
        RegionResult, regions numbered from 0 in the order of their first pixel; one region where
        nothing reaches ``min_area``
        """
        if min_area is None:
            min_area = max(9, self.strength.size // 10_000)
        elif min_area < 1:
            raise ParameterError(f"min_area is {min_area}, expected pixels >= 1")
        if threshold is None:
            threshold = self._otsu()
        flat = (self.strength <= threshold).astype(np.uint8)
        count, seeds, stats, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
        large = stats[:, cv2.CC_STAT_AREA] >= min_area
        large[0] = False
        if count < 2 or not large.any():
            return RegionResult(np.zeros(self.size, np.int32), image=self.image)
        numbers = np.zeros(count, np.int32)
        numbers[large] = np.arange(1, np.count_nonzero(large) + 1)

        from skimage.segmentation import watershed

        labels = watershed(self.strength, markers=numbers[np.asarray(seeds, np.int32)]) - 1
        return RegionResult(labels, image=self.image)

    def _otsu(self) -> float:
        """Otsu's threshold; the one value itself where there is only one."""
        from skimage.filters import threshold_otsu

        if self.strength.min() == self.strength.max():
            return float(self.strength.max())
        return float(threshold_otsu(self.strength))

    def _extras(self) -> dict[str, Any]:
        return {"strength_max": float(self.strength.max())}
