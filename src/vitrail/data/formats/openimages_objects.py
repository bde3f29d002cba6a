"""The objects of one image of Open Images: rows of masks and of boxes put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from vitrail.data.formats.folders_masks import read_grey
from vitrail.data.formats.openimages_csv import Row, Table
from vitrail.data.formats.openimages_index import BOX, FLAGS, MASK_BOX, read_box
from vitrail.data.sample import Box, Instance
from vitrail.result.masks import Masks

_CLOSE = 1e-6
"""Masks' boxes are published with six digits, boxes with more."""

ATTRIBUTES = {flag: flag.removeprefix("Is").lower() for flag in FLAGS if flag != "IsGroupOf"}
"""What flags are called as attributes; IsGroupOf is ``crowd``."""


class FileInstance(Instance):
    """An object whose mask is in a file of its own: ``stored`` is given as what reads it."""

    @property
    def stored(self) -> Masks | None:
        """Its mask; the file is read on first access."""
        return self._loaded

    @stored.setter
    def stored(self, given: Any) -> None:
        self.__dict__["_given"] = given

    @cached_property
    def _loaded(self) -> Masks | None:
        given: Any = self.__dict__["_given"]
        return given() if callable(given) else given  # pyright: ignore[reportReturnType]


class Annotated(NamedTuple):
    """A row that can be used."""

    label: str
    box: tuple[float, float, float, float] | None
    """``x1, x2, y1, y2`` as shares of width and height."""
    attributes: Mapping[str, object]
    crowd: bool = False
    id: str = ""
    mask: Path | None = None


def box_row(table: Table, row: Row) -> Annotated:
    """What a row of boxes says. Flags are attributes where they are known: -1 is not."""
    attributes: dict[str, object] = {}
    for flag, name in ATTRIBUTES.items():
        value = table.number(row, flag)
        if value in (0, 1):
            attributes[name] = bool(value)
    if source := table.text(row, "Source"):
        attributes["source"] = source
    confidence = table.number(row, "Confidence")
    if confidence not in (None, 1):
        attributes["confidence"] = confidence
    crowd = table.number(row, "IsGroupOf") == 1
    return Annotated(table.text(row, "LabelName"), read_box(table, row, BOX), attributes, crowd)


def mask_row(table: Table, row: Row, mask: Path) -> Annotated:
    """What a row of masks says."""
    attributes: dict[str, object] = {}
    try:
        quality = table.number(row, "PredictedIoU")
    except ValueError:
        quality = None
    if quality is not None and np.isfinite(quality):
        attributes["predicted_iou"] = quality
    if clicks := table.text(row, "Clicks"):
        attributes["clicks"] = clicks
    label, box = table.text(row, "LabelName"), read_box(table, row, MASK_BOX)
    return Annotated(label, box, attributes, False, table.text(row, "BoxID"), mask)


def join(
    masks: Sequence[Annotated],
    boxes: Sequence[Annotated],
    classes: Mapping[str, int],
    size: tuple[int, int],
    *,
    bare: bool,
) -> tuple[Instance, ...]:
    """The objects of an image: those with masks first, each list in its order.

    A mask belongs to the first free box of its label with the same coordinates, and has its flags
    then; the published files have no other link. ``bare``: boxes without a mask are objects, too.
    """
    free = list(boxes)
    found: list[Instance] = []
    for one in masks:
        partner = next((other for other in free if _same(one, other)), None)
        attributes, box, crowd = one.attributes, one.box, one.crowd
        if partner is not None:
            free.remove(partner)
            attributes = {**partner.attributes, **attributes}
            box, crowd = partner.box, partner.crowd
        assert one.mask is not None
        loader = partial(read_mask, one.mask, size)
        told = {"crowd": crowd, "id": one.id, "attributes": attributes}
        if box is None:
            found.append(Instance.from_masks(classes[one.label], loader(), **told))
            continue
        lazy: Any = loader
        where = in_pixels(box, size)
        found.append(FileInstance(classes[one.label], size, where, stored=lazy, **told))
    if bare:
        found += [
            Instance.from_box(
                classes[one.label],
                in_pixels(one.box, size),
                size,
                crowd=one.crowd,
                attributes=one.attributes,
            )
            for one in free
            if one.box is not None
        ]
    return tuple(found)


def _same(mask: Annotated, box: Annotated) -> bool:
    if mask.box is None or box.box is None or mask.label != box.label:
        return False
    return max(abs(a - b) for a, b in zip(mask.box, box.box, strict=True)) <= _CLOSE


def in_pixels(box: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    """``x1, x2, y1, y2`` as shares to x1 y1 x2 y2 in px."""
    height, width = size
    x1, x2, y1, y2 = box
    return x1 * width, y1 * height, x2 * width, y2 * height


def read_mask(path: Path, size: tuple[int, int]) -> Masks:
    """One mask: what is not zero, scaled to ``(H, W)`` by nearest neighbours.

    Masks of Open Images often have another size than the image that one downloads.

    Raises
    ------
    DataError, ImageError
        it cannot be read, or is in colour.
    """
    shape = read_grey(path) != 0
    if shape.shape != size:
        height, width = size
        scaled = cv2.resize(shape.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        shape = scaled.astype(bool)
    return Masks.from_crops([(0, 0, shape)], size)
