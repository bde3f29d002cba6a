"""A partition of the image without classes: what classical methods give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vitrail.errors import ParameterError
from vitrail.result.base import (
    Result,
    Segment,
    check_classes,
    check_image,
    count_labels,
    read_only,
    segments_of,
)
from vitrail.result.masks import Masks

if TYPE_CHECKING:
    from vitrail.image import Image


@dataclass(frozen=True, eq=False, repr=False)
class RegionResult(Result):
    """A partition of the image into regions.

    Parameters
    ----------
    labels : (H, W) integer >= 0, the region of each pixel; kept as int32
    classes : a name per region id; default "region 0", "region 1", ...
    values : what the method found beside the map, such as ``{"centers": (K, C) array}``
    image : the image that was segmented

    Raises
    ------
    ParameterError
        labels of another shape or type, negative, or with no name.
    """

    kind: ClassVar[str] = "regions"

    labels: np.ndarray
    classes: tuple[str, ...] = field(default=(), kw_only=True)
    values: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    image: Image | None = field(default=None, kw_only=True)
    size: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim != 2 or labels.dtype.kind not in "uib" or not labels.size:
            raise ParameterError(
                f"labels are {labels.dtype} of shape {labels.shape}, expected whole numbers (H, W)"
            )
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= 1 << 24:
            raise ParameterError(
                f"labels run from {low} to {high}, expected 0 to {(1 << 24) - 1}; number the"
                " regions from 0 upwards"
            )
        names: Sequence[str] = self.classes or [f"region {i}" for i in range(high + 1)]
        classes = check_classes(names)
        if high >= len(classes):
            raise ParameterError(f"labels hold {high}, but there are {len(classes)} names")
        labels = labels.astype(np.int32, copy=False)
        object.__setattr__(self, "labels", read_only(labels))
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "values", dict(self.values or {}))
        object.__setattr__(self, "size", (labels.shape[0], labels.shape[1]))
        check_image(self.image, self.size)

    @cached_property
    def _pixels(self) -> np.ndarray:
        return count_labels(self.labels, len(self.classes))

    def __repr__(self) -> str:
        return f"RegionResult({self.size[0]} x {self.size[1]} px: {len(self)} regions)"

    def __len__(self) -> int:
        return int(np.count_nonzero(self._pixels))

    @property
    def nbytes(self) -> int:
        return self.labels.nbytes

    def counts(self) -> dict[str, int]:
        """Pixels of each region that occurs."""
        return {self.classes[i]: int(self._pixels[i]) for i in np.flatnonzero(self._pixels)}

    def segments(self) -> list[Segment]:
        """One segment per region that occurs, by id; a region need not be connected."""
        ids = np.flatnonzero(self._pixels)
        return segments_of(Masks.from_labels(self.labels, ids), ids, self.classes)

    def _extras(self) -> dict[str, Any]:
        return {"values": {key: _plain(value) for key, value in self.values.items()}}


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: arrays and NumPy numbers become lists and numbers."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
