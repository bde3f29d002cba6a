"""What all results share: size, classes, segments, and the ways out (picture, files, JSON)."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import cv2
import numpy as np

from vitrail.errors import ParameterError
from vitrail.result.masks import Masks

if TYPE_CHECKING:
    from vitrail.image import Image, ImageSource
    from vitrail.result.table import Table

FORMAT = 1
"""Version of the ``vitrail`` block in the JSON; rises when a reader has to change."""


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """One object, region or class area: what it is, where it lies, and its exact mask."""

    class_id: int
    class_name: str
    area: int
    """Pixels."""
    bbox: tuple[int, int, int, int]
    """Tight box of the mask: x1, y1, x2, y2 in pixels, x2 and y2 exclusive; empty mask: zeros."""
    score: float | None
    """Confidence in [0, 1]; None where the method gives none."""
    masks: Masks
    """The mask as stored, a ``Masks`` of length 1 over the full frame."""

    @property
    def mask(self) -> np.ndarray:
        """(h, w) bool, the mask inside ``bbox``; unpacked anew on each use."""
        return self.masks.crop(0)[2]

    @property
    def coco_bbox(self) -> list[int]:
        """``[x, y, width, height]`` in pixels, as COCO writes boxes."""
        x1, y1, x2, y2 = self.bbox
        return [x1, y1, x2 - x1, y2 - y1]

    def cutout(self, image: ImageSource) -> np.ndarray:
        """The object alone: (h, w, 4) uint8 RGBA, transparent outside the mask.

        Raises
        ------
        ParameterError
            the image has another size than the result.
        """
        pixels = picture_of(image, self.masks.size)
        x1, y1, x2, y2 = self.bbox
        mask = self.mask
        rgba = np.empty((y2 - y1, x2 - x1, 4), np.uint8)
        rgba[..., :3] = pixels[y1:y2, x1:x2] * mask[..., None]
        rgba[..., 3] = mask * np.uint8(255)
        return rgba


class Result(ABC):
    """The answer to one image, at that image's size. See the four kinds."""

    kind: ClassVar[str]
    size: tuple[int, int]
    """(H, W) of the image that was segmented."""
    classes: tuple[str, ...]
    """Names; a class id is an index into them."""
    image: Image | None
    """The image that was segmented, by reference, for pictures and colours."""

    @abstractmethod
    def segments(self) -> list[Segment]:
        """What was found, piece by piece."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """How much of each class there is; the unit is the kind's own."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes this result holds, the image left out."""

    def plot(self, image: ImageSource | None = None, **style: Any) -> np.ndarray:
        """The result as a picture, (H, W, 3) uint8 RGB; see :class:`vitrail.result.draw.Style`.

        ``image`` is what to draw over: default the image that was segmented; without any, the
        result is drawn on a plain ground.

        Raises
        ------
        ParameterError
            an unknown style, or an image of another size.
        """
        from vitrail.result.draw import Style, draw

        return draw(self, image, Style.from_params(style))

    def save(
        self,
        directory: str | Path,
        stem: str | None = None,
        *,
        crops: bool = False,
        overlay: bool = True,
        quality: int = 90,
        **style: Any,
    ) -> list[Path]:
        """Write pictures, masks and JSON into a folder; see :func:`vitrail.result.write.write`.

        ``stem`` names the files; default the image's own name. Returns the paths written.
        """
        from vitrail.result.draw import Style
        from vitrail.result.write import write

        look = Style.from_params(style)
        return write(
            self, directory, stem, crops=crops, overlay=overlay, style=look, quality=quality
        )

    def to_coco(self) -> dict[str, Any]:
        """The segments as a COCO data set of one image, masks as compressed RLE.

        ``bbox`` is the mask's tight box (x, y, width, height), ``area`` its pixels, ``iscrowd``
        0 and ``category_id`` the class id (which counts from 0, so a background class keeps 0).
        """
        height, width = self.size
        annotations: list[dict[str, Any]] = []
        for number, segment in enumerate(self.segments(), start=1):
            annotation: dict[str, Any] = {
                "id": number,
                "image_id": 1,
                "category_id": segment.class_id,
                "segmentation": segment.masks.rle()[0],
                "area": segment.area,
                "bbox": segment.coco_bbox,
                "iscrowd": 0,
            }
            if segment.score is not None:
                annotation["score"] = segment.score
            annotations.append(annotation)
        source = self.image.source if self.image is not None else None
        # Of a URL, the path's last part: no query, no fragment.
        path = urlsplit(source).path if source and "://" in source else source
        name = PurePath(path).name if path else ""
        return {
            "info": {"description": f"vitrail {self.kind} result"},
            "images": [{"id": 1, "width": width, "height": height, "file_name": name}],
            "annotations": annotations,
            "categories": [{"id": i, "name": name} for i, name in enumerate(self.classes)],
        }

    def to_json(self) -> str:
        """:meth:`to_coco` and a ``vitrail`` block with what COCO has no place for."""
        block = {
            "kind": self.kind,
            "format": FORMAT,
            "size": list(self.size),
            "source": self.image.source if self.image is not None else None,
            "counts": self.counts(),
            **self._extras(),
        }
        return json.dumps({"vitrail": block, **self.to_coco()}, ensure_ascii=False)

    def _extras(self) -> dict[str, Any]:
        """What the kind adds to the ``vitrail`` block of its JSON."""
        return {}

    def measure(self, image: ImageSource | None = None, **options: Any) -> Table:
        """Area, perimeter, centroid, box, mean colour and more of each segment, as a table.

        See :func:`vitrail.result.measure.measure`, which takes the options.
        """
        from vitrail.result.measure import measure

        return measure(self, image, **options)


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Class names as a tuple; :class:`ParameterError` for a bare string or other types."""
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise ParameterError(f"classes are {classes!r}, expected a sequence of names")
    return tuple(classes)


def check_image(image: Image | None, size: tuple[int, int]) -> None:
    """:class:`ParameterError` where an image has another size than its result."""
    if image is not None and tuple(image.size) != size:
        raise ParameterError(
            f"the image is {image.size[0]} x {image.size[1]} pixels, the result"
            f" {size[0]} x {size[1]} (height x width); results keep their image's size"
        )


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to; the caller's own array stays as it is."""
    view = array.view()
    view.flags.writeable = False
    return view


def picture_of(image: ImageSource, size: tuple[int, int]) -> np.ndarray:
    """An image as (H, W, 3) uint8 RGB, not to be written to; its size is checked."""
    from vitrail.image import Image, read_image

    picture = image if isinstance(image, Image) else read_image(image)
    check_image(picture, size)
    return picture.rgb()


def segments_of(
    masks: Masks,
    class_ids: Sequence[int] | np.ndarray,
    classes: Sequence[str],
    scores: np.ndarray | None = None,
) -> list[Segment]:
    """One :class:`Segment` per mask."""
    areas, boxes = masks.areas(), masks.boxes()
    return [
        Segment(
            class_id=int(class_id),
            class_name=classes[int(class_id)],
            area=int(areas[i]),
            bbox=(int(boxes[i, 0]), int(boxes[i, 1]), int(boxes[i, 2]), int(boxes[i, 3])),
            score=None if scores is None else float(scores[i]),
            masks=masks[i],
        )
        for i, class_id in enumerate(class_ids)
    ]


def count_labels(labels: np.ndarray, length: int) -> np.ndarray:
    """Pixels of each label 0 to ``length - 1``, (length,) int64; ``labels`` are (H, W), >= 0."""
    counts = np.zeros(max(length, 256), np.int64)
    # A strip at a time: bincount widens its input to int64, and calcHist counts in float32, exact
    # up to 2^24.
    rows = max(1, (1 << 20) // max(1, labels.shape[1]))
    for top in range(0, labels.shape[0], rows):
        strip = labels[top : top + rows]
        if labels.dtype == np.uint8:
            counts[:256] += (
                cv2.calcHist([strip], [0], None, [256], [0, 256]).ravel().astype(np.int64)
            )
        else:
            counts[:length] += np.bincount(strip.ravel(), minlength=length)[:length]
    return counts[:length]
