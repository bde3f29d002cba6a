"""Samples of a set laid out like PASCAL VOC, read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vitrail.data.formats.files import header_size
from vitrail.data.formats.voc_coding import OBJECTS, VOID, Coding
from vitrail.data.formats.voc_objects import join
from vitrail.data.formats.voc_xml import read_annotation
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError


@dataclass(frozen=True)
class Layout:
    """Where things lie, and what the masks mean."""

    home: Path
    class_masks: str
    space: LabelSpace
    coding: Coding
    objects: bool

    @property
    def nothing(self) -> frozenset[int]:
        """Class ids that no object can have."""
        background = self.space.background
        none = {self.coding.void, VOID}
        return frozenset(none if background is None else {*none, background})

    def mask(self, id: str) -> Path:
        return self.home / self.class_masks / f"{id}.png"

    def object_mask(self, id: str) -> Path:
        return self.home / "SegmentationObject" / f"{id}.png"


class VocSource:
    """One split; samples in the order of its list, ids as listed."""

    def __init__(self, layout: Layout, ids: Sequence[str], images: Sequence[str]) -> None:
        """``images``: paths under JPEGImages, one for each id."""
        self._layout, self.ids, self._images = layout, list(ids), list(images)

    @property
    def space(self) -> LabelSpace:
        return self._layout.space

    def __len__(self) -> int:
        return len(self.ids)

    def mask_paths(self, index: int) -> list[Path]:
        """The mask files of a sample, the one of its classes first."""
        id, layout = self.ids[index], self._layout
        return [layout.mask(id), *([layout.object_mask(id)] if layout.objects else [])]

    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises
        ------
        DataError, ImageError
            a mask or the XML is damaged, or they do not fit together.
        """
        id, layout = self.ids[index], self._layout
        image = layout.home / "JPEGImages" / self._images[index]
        mask = layout.mask(id)
        if not layout.objects:
            return Sample(id, image, header_size(mask)[0], partial(layout.coding.read, mask))
        labels = layout.coding.read(mask)
        path = layout.object_mask(id)
        numbers = OBJECTS.read(path)
        if numbers.shape != labels.shape:
            raise DataError(
                f"{path}: is {numbers.shape[1]}x{numbers.shape[0]} px, the class mask "
                f"{mask.name} is {labels.shape[1]}x{labels.shape[0]}"
            )
        xml = layout.home / "Annotations" / f"{id}.xml"
        found = join(numbers, labels, layout.nothing, path, read_annotation(xml), self.space, xml)
        return Sample(id, image, (labels.shape[0], labels.shape[1]), labels, found)
