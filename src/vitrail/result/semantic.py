"""A class for every pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
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
class SemanticResult(Result):
    """A class for every pixel.

    Parameters
    ----------
    labels : (H, W) unsigned integer (uint8 where it fits), the class of each pixel
    classes : their names, ``classes[label]``
    background : the class that counts as background, left out of ``segments()``; None: there
        is no such class
    ignore : a label, outside ``classes`` or not, that means "no answer here"; never a segment
    boundary : (H, W) float32 in 0..1, the probability that a pixel lies on a boundary of two
        classes, where the network draws boundaries
    palette : (>= len(classes), 3) uint8 RGB, the colour of each class; default vitrail's own
    image : the image that was segmented

    Raises
    ------
    ParameterError
        labels of another shape or type, or one that no class has; a boundary of another size or
        that holds no probabilities.
    """

    kind: ClassVar[str] = "semantic"

    labels: np.ndarray
    classes: tuple[str, ...]
    background: int | None = field(default=None, kw_only=True)
    ignore: int | None = field(default=None, kw_only=True)
    boundary: np.ndarray | None = field(default=None, kw_only=True)
    palette: np.ndarray | None = field(default=None, kw_only=True)
    image: Image | None = field(default=None, kw_only=True)
    size: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim != 2 or labels.dtype.kind not in "ui" or not labels.size:
            raise ParameterError(
                f"labels are {labels.dtype} of shape {labels.shape}, expected whole numbers (H, W)"
            )
        if labels.dtype.kind == "i":
            if labels.min() < 0:
                raise ParameterError(
                    f"labels hold {labels.min()}, expected >= 0; give 'no answer' a label of its"
                    " own and name it with ignore="
                )
            labels = labels.astype(np.min_scalar_type(int(labels.max())))
        classes = check_classes(self.classes)
        for name, value in (("background", self.background), ("ignore", self.ignore)):
            if value is not None and value < 0:
                raise ParameterError(f"{name} is {value}, expected a label >= 0 or None")
        if self.background is not None and self.background >= len(classes):
            raise ParameterError(
                f"background is {self.background}, expected one of the {len(classes)} class ids"
            )
        if self.boundary is not None:
            object.__setattr__(self, "boundary", _probabilities(self.boundary, labels.shape))
        if self.palette is not None:
            palette = np.asarray(self.palette)
            if palette.ndim != 2 or palette.shape[1] != 3 or len(palette) < len(classes):
                raise ParameterError(
                    f"palette has shape {palette.shape}, expected ({len(classes)}, 3) RGB"
                )
            object.__setattr__(self, "palette", read_only(palette.astype(np.uint8)))
        object.__setattr__(self, "labels", read_only(labels))
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "size", (labels.shape[0], labels.shape[1]))
        check_image(self.image, self.size)
        beyond = np.flatnonzero(self._pixels[len(classes) :]) + len(classes)
        unnamed = beyond[beyond != self.ignore] if self.ignore is not None else beyond
        if unnamed.size:
            raise ParameterError(
                f"labels hold {int(unnamed[0])}, but there are {len(classes)} classes (0 to"
                f" {len(classes) - 1}); name it, or pass ignore={int(unnamed[0])}"
            )

    @cached_property
    def _pixels(self) -> np.ndarray:
        """Pixels of each label, at least one entry per class."""
        length = max(len(self.classes), int(self.labels.max()) + 1)
        return count_labels(self.labels, length)

    def __repr__(self) -> str:
        shares = ", ".join(
            f"{name} {pixels / self.labels.size:.1%}" for name, pixels in self.counts().items()
        )
        return f"SemanticResult({self.size[0]} x {self.size[1]} px: {shares})"

    @property
    def nbytes(self) -> int:
        return self.labels.nbytes + (0 if self.boundary is None else self.boundary.nbytes)

    def counts(self) -> dict[str, int]:
        """Pixels of each class that occurs, background included, ignored pixels left out."""
        return {self.classes[i]: int(self._pixels[i]) for i in self._present(True)}

    def segments(
        self, *, include_background: bool = False, connected: bool = False
    ) -> list[Segment]:
        """One segment per class that occurs; with ``connected``, one per connected part of it.

        Parts are 8-connected, the largest first within their class.
        """
        ids = self._present(include_background)
        masks = Masks.from_labels(self.labels, ids)
        if not connected:
            return segments_of(masks, ids, self.classes)
        segments: list[Segment] = []
        for i, class_id in enumerate(ids):
            parts = Masks.from_crops(_parts(*masks.crop(i)), self.size)
            parts = parts[np.argsort(-parts.areas(), kind="stable")]
            segments += segments_of(parts, [class_id] * len(parts), self.classes)
        return segments

    def _present(self, include_background: bool) -> list[int]:
        left_out = {self.ignore} if include_background else {self.ignore, self.background}
        present = np.flatnonzero(self._pixels[: len(self.classes)]).tolist()
        return [i for i in present if i not in left_out]

    def _extras(self) -> dict[str, Any]:
        extras: dict[str, Any] = {"background": self.background, "ignore": self.ignore}
        if self.ignore is not None and self.ignore < len(self._pixels):
            # Without this, a reader could not tell pixels without an answer from background.
            extras["ignored"] = Masks.from_labels(self.labels, [self.ignore]).rle()[0]
        if self.boundary is not None:
            # The probabilities themselves are in the PNG beside the JSON.
            drawn = (self.boundary >= 0.5).view(np.uint8)
            extras["boundary"] = Masks.from_labels(drawn, [1]).rle()[0]
        return extras


def _probabilities(boundary: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    boundary = np.asarray(boundary, np.float32)
    if boundary.shape != size:
        raise ParameterError(f"boundary has shape {boundary.shape}, expected {size} as the labels")
    if not (boundary.min() >= 0 and boundary.max() <= 1):  # nan is neither
        raise ParameterError(
            f"boundary goes from {boundary.min()} to {boundary.max()}, expected probabilities in"
            " 0..1; of logits, take the sigmoid"
        )
    return read_only(boundary)


def _parts(y: int, x: int, crop: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """The 8-connected parts of one crop, as crops of their own."""
    count, ids, stats, _ = cv2.connectedComponentsWithStats(crop.view(np.uint8), connectivity=8)
    for part in range(1, count):
        left, top, width, height = (int(value) for value in stats[part, :4])
        inside = ids[top : top + height, left : left + width] == part
        yield y + top, x + left, inside
