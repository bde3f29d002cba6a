"""Objects, each with a box, a score, a class and a mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vitrail.errors import ParameterError
from vitrail.result.base import (
    Result,
    Segment,
    check_classes,
    check_image,
    read_only,
    segments_of,
)
from vitrail.result.masks import Index, Masks, check_size, pick

if TYPE_CHECKING:
    from vitrail.image import Image


@dataclass(frozen=True, eq=False, repr=False)
class InstanceResult(Result):
    """Objects, each with a box, a score, a class and a mask; masks may overlap.

    ``len(result)`` is the number of objects, ``for segment in result`` goes through them, and
    ``result[index]`` with an int, slice, boolean or int array keeps those (always an
    ``InstanceResult``).

    Parameters
    ----------
    boxes : (N, 4) float32, x1 y1 x2 y2 in pixels of the original image, as the detector gave
        them (the masks' own tight boxes are ``masks.boxes()``)
    scores : (N,) float32, confidence in [0, 1]
    class_ids : (N,) int64, indices into ``classes``
    masks : N masks over the whole image
    classes : names of all classes the method knows
    size : (H, W) of the image
    outlined : False where only boxes were found; the masks are then the boxes' pixels, and are
        neither drawn nor written as outlines
    capped : whether the detector left out objects because there were too many
        (``max_detections``)
    image : the image that was segmented

    Raises
    ------
    ParameterError
        shapes that do not fit together, a class id without a name, or scores outside [0, 1].
    """

    kind: ClassVar[str] = "instances"

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    masks: Masks
    classes: tuple[str, ...]
    size: tuple[int, int] = field(kw_only=True)
    outlined: bool = field(default=True, kw_only=True)
    capped: bool = field(default=False, kw_only=True)
    image: Image | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        size = check_size(self.size)
        classes = check_classes(self.classes)
        count = len(self.masks)
        boxes = np.asarray(self.boxes, np.float32).reshape(-1, 4)
        scores = np.asarray(self.scores, np.float32).reshape(-1)
        class_ids = np.asarray(self.class_ids, np.int64).reshape(-1)
        if not len(boxes) == len(scores) == len(class_ids) == count:
            raise ParameterError(
                f"got {len(boxes)} boxes, {len(scores)} scores, {len(class_ids)} class ids and"
                f" {count} masks, expected as many of each"
            )
        if self.masks.size != size:
            raise ParameterError(f"masks are for {self.masks.size} pixels, the result for {size}")
        if count and not (class_ids.min() >= 0 and class_ids.max() < len(classes)):
            wrong = class_ids[(class_ids < 0) | (class_ids >= len(classes))][0]
            raise ParameterError(f"class id {wrong} has no name: there are {len(classes)} classes")
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ParameterError("scores hold a value outside [0, 1]; pass probabilities")
        if not np.isfinite(boxes).all():
            raise ParameterError("boxes hold a value that is not finite, expected pixels")
        object.__setattr__(self, "boxes", read_only(boxes))
        object.__setattr__(self, "scores", read_only(scores))
        object.__setattr__(self, "class_ids", read_only(class_ids))
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "size", size)
        check_image(self.image, size)

    def __repr__(self) -> str:
        found = ", ".join(f"{count} {name}" for name, count in self.counts().items()) or "nothing"
        return f"InstanceResult({self.size[0]} x {self.size[1]} px: {found})"

    def __len__(self) -> int:
        return len(self.masks)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments())

    def __getitem__(self, index: Index) -> InstanceResult:
        chosen = pick(index, len(self))
        return InstanceResult(
            self.boxes[chosen],
            self.scores[chosen],
            self.class_ids[chosen],
            self.masks[chosen],
            self.classes,
            size=self.size,
            outlined=self.outlined,
            capped=self.capped,
            image=self.image,
        )

    @property
    def nbytes(self) -> int:
        arrays = (self.boxes, self.scores, self.class_ids)
        return self.masks.nbytes + sum(array.nbytes for array in arrays)

    def counts(self) -> dict[str, int]:
        """Objects of each class that occurs, in the order of ``classes``."""
        found = Counter(self.class_ids.tolist())
        return {self.classes[i]: found[i] for i in sorted(found)}

    def segments(self) -> list[Segment]:
        """One segment per object, in the result's order."""
        return segments_of(self.masks, self.class_ids, self.classes, self.scores)

    def to_coco(self) -> dict[str, Any]:
        """As :meth:`Result.to_coco`; without outlines ``bbox`` and ``area`` are the detector's
        box's, and there is no ``segmentation``."""
        content = super().to_coco()
        if not self.outlined:
            for annotation, box in zip(content["annotations"], self.boxes.tolist(), strict=True):
                x1, y1, x2, y2 = box
                annotation["bbox"] = [round(v, 3) for v in (x1, y1, x2 - x1, y2 - y1)]
                annotation["area"] = round((x2 - x1) * (y2 - y1), 3)
                del annotation["segmentation"]
        return content

    def _extras(self) -> dict[str, Any]:
        return {
            "boxes": [[round(float(v), 3) for v in box] for box in self.boxes],
            "outlined": self.outlined,
            "capped": self.capped,
        }
