"""One labelled image, whatever data set it comes from.

A sample carries labels for every pixel, or a list of objects, or both. Nothing is decoded before
it is asked for: the image, a mask file and the raster of a polygon are read on first access, so
that going through the annotations of a large set costs no image decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np

from vitrail.errors import DataError
from vitrail.result.masks import Masks

Box = tuple[float, float, float, float]
"""x1 y1 x2 y2, px, in the coordinates of pixel edges: a box around pixel (0, 0) is 0 0 1 1."""


MaskFiles = Callable[[int], Sequence[Path]]
"""The mask files of the sample of an index."""


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """What the integers in a label map, or the objects' class ids, mean.

    Background and ignore are said, never guessed. Sets of objects usually have no background
    class; :meth:`with_background` gives the space of their label maps.
    """

    classes: tuple[str, ...]
    """Names by class id, from 0 without gaps."""
    background: int | None = None
    """The id of "none of the others", if the data set has one."""
    ignore: int = 255
    """The id of pixels without a known class; not a class, in no loss and no metric."""
    original_ids: tuple[int, ...] | None = None
    """The data set's own number of each class, where it differs (COCO's 1..90)."""
    colours: tuple[tuple[int, int, int], ...] | None = None
    """RGB of each class, where the data set has its own."""

    def with_background(self) -> LabelSpace:
        """This space, or the one with "background" put before its classes if it has none."""
        if self.background is not None:
            return self
        taken = "background" in self.classes
        return LabelSpace(
            ("(background)" if taken else "background", *self.classes),
            0,
            max(self.ignore, 255 if len(self.classes) < 255 else 65535),
        )


@dataclass(frozen=True, eq=False)
class Instance:
    """One annotated object. Build with :meth:`from_masks`, ``from_polygons`` or ``from_box``."""

    class_id: int
    size: tuple[int, int]
    """``(H, W)`` of the image."""
    box: Box
    """As annotated where the data set has boxes, otherwise around the mask or the outline."""
    polygons: tuple[np.ndarray, ...] | None = None
    """Outlines as annotated, each ``(K, 2)`` float64 of x, y in px; their union is the object."""
    crowd: bool = False
    """A region of many objects that nobody separated (COCO's ``iscrowd``)."""
    id: str = ""
    """The data set's own name for it; unique within the image, where there is one."""
    attributes: Mapping[str, object] = field(default_factory=dict)
    """Whatever else the data set says of it (occluded, truncated, difficult ...)."""
    stored: Masks | None = None
    """Its mask, where the data set stores one; use :attr:`mask`."""

    @classmethod
    def from_masks(cls, class_id: int, mask: Masks, *, box: Box | None = None, **more) -> Instance:
        """From exactly one mask; ``more``: crowd, id, attributes, polygons."""
        if len(mask) != 1:
            raise ValueError(f"an instance has one mask, got {len(mask)}")
        x1, y1, x2, y2 = (float(v) for v in mask.boxes()[0])
        return cls(class_id, mask.size, box or (x1, y1, x2, y2), stored=mask, **more)

    @classmethod
    def from_polygons(
        cls,
        class_id: int,
        rings: Sequence[np.ndarray],
        size: tuple[int, int],
        *,
        box: Box | None = None,
        **more,
    ) -> Instance:
        """From outlines, each ``(K, 2)`` of x, y; ``more``: crowd, id, attributes."""
        polygons = tuple(np.asarray(ring, np.float64).reshape(-1, 2) for ring in rings)
        if box is None:
            points = np.concatenate(polygons) if polygons else np.zeros((0, 2))
            low, high = (points.min(0), points.max(0)) if len(points) else (np.zeros(2),) * 2
            box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        return cls(class_id, size, box, polygons, **more)

    @classmethod
    def from_box(cls, class_id: int, box: Box, size: tuple[int, int], **more) -> Instance:
        """An object of which only the box is known; ``more``: crowd, id, attributes."""
        return cls(class_id, size, box, **more)

    @cached_property
    def mask(self) -> Masks | None:
        """Its one mask; from outlines as COCO fills them, cut at the frame; None for a bare box.

        Raises
        ------
        DataError
            an outline holds NaN or infinity.
        """
        if self.stored is not None or self.polygons is None:
            return self.stored
        from vitrail.data.polygon import rasterise

        return rasterise(self.polygons, self.size)


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with its labels, each read on first access."""

    id: str
    """The data set's own name for it; unique within its split."""
    picture: Path | np.ndarray | Callable[[], np.ndarray]
    """The image file, or ``(H, W, 3)`` uint8 RGB, or what decodes it; use :attr:`image`."""
    size: tuple[int, int]
    """``(H, W)`` of the annotations' frame, px."""
    label_map: np.ndarray | Callable[[], np.ndarray] | None = None
    """``(H, W)`` uint8 or uint16 class ids, or what reads them; use :attr:`labels`."""
    instances: tuple[Instance, ...] | None = None
    """Its objects; None where the data set has no objects, empty where this image has none."""
    unlabelled: frozenset[int] = field(default_factory=frozenset)
    """Classes that nobody annotated in this image: background may hide them."""

    @cached_property
    def image(self) -> np.ndarray:
        """``(H, W, 3)`` uint8 RGB in the frame of the annotations.

        EXIF rotation is applied, unless the annotations have the size of the picture as stored.

        Raises
        ------
        DataError
            the picture has another size than its annotations.
        ImageError, SourceError
            it cannot be read.
        """
        if isinstance(self.picture, np.ndarray):
            pixels = self.picture
        elif callable(self.picture):
            pixels = self.picture()
        else:
            from vitrail.image import read_image

            pixels = read_image(self.picture).rgb()
            if pixels.shape[:2] != self.size and pixels.shape[1::-1] == self.size:
                pixels = _as_stored(self.picture, pixels)
        if pixels.shape[:2] != self.size:
            raise DataError(
                f"{self.path or self.id}: the image is {pixels.shape[1]}x{pixels.shape[0]} px, its "
                f"annotations are for {self.size[1]}x{self.size[0]}"
            )
        return pixels

    @property
    def path(self) -> Path | None:
        """The image file, if it is one."""
        return self.picture if isinstance(self.picture, Path) else None

    @cached_property
    def labels(self) -> np.ndarray | None:
        """``(H, W)`` class ids of the data set's own label map; None where it has only objects."""
        made = self.label_map() if callable(self.label_map) else self.label_map
        if made is not None and made.shape != self.size:
            raise DataError(
                f"{self.id}: the mask is {made.shape[1]}x{made.shape[0]} px, expected "
                f"{self.size[1]}x{self.size[0]}"
            )
        return made

    def semantic(self, space: LabelSpace) -> np.ndarray:
        """``(H, W)`` class ids in ``space.with_background()``: the label map, or painted objects.

        Objects are painted by falling area, so that small ones lie on top; crowds become
        ``ignore`` where no object covers them. Class ids of objects move up by one when ``space``
        itself has no background. Objects without a mask are not painted.
        """
        if self.labels is not None:
            return self.labels
        target = space.with_background()
        shift = 0 if space.background is not None else 1
        dtype = np.uint8 if target.ignore < 256 else np.uint16
        painted = np.full(self.size, target.background, dtype)
        masked = [(one, one.mask) for one in self.instances or () if one.mask is not None]
        masked.sort(key=lambda pair: (not pair[0].crowd, -int(pair[1].areas()[0])))
        for instance, mask in masked:
            y, x, crop = mask.crop(0)
            window = painted[y : y + crop.shape[0], x : x + crop.shape[1]]
            window[crop] = target.ignore if instance.crowd else instance.class_id + shift
        return painted


def _as_stored(path: Path, upright: np.ndarray) -> np.ndarray:
    """The picture without its EXIF rotation; ``upright`` itself where it has none."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    return upright if pixels is None else pixels


class SampleSource(Protocol):
    """One split of a data set: a length, items read on access, and what its labels mean.

    Made to be handed to worker processes: picklable, without open files.
    """

    @property
    def space(self) -> LabelSpace:
        """The meaning of the labels and class ids."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """The samples' names in order, known without reading them."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises
        ------
        DataError
            its annotation is damaged; names the file, the value and what was expected.
        """
        ...


def class_ids(names: Sequence[str], space: LabelSpace) -> frozenset[int]:
    """Ids of class names; ``KeyError`` with the offending name where one is unknown."""
    index = {name: number for number, name in enumerate(space.classes)}
    return frozenset(index[name] for name in names)


def label_space(source: SampleSource) -> LabelSpace:
    """The meaning of a source's label maps: its space, with a background where objects are painted.

    Told by the first sample that can be opened; nothing is decoded.
    """
    for index in range(len(source)):
        try:
            painted = source[index].label_map is None
        except DataError:
            continue
        return source.space.with_background() if painted else source.space
    return source.space


def mask_files(source: SampleSource) -> MaskFiles:
    """How to get a source's mask files, where it can name them.

    Sources may have a method ``mask_paths(index)`` that returns a list of paths, the file of the
    label map first.
    """
    method = getattr(source, "mask_paths", None)
    return cast(MaskFiles, method) if callable(method) else lambda index: ()
