"""One COCO annotation: what is checked of it when a set is opened, and the object it becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vitrail.data.formats.shapes import frame, number, shown, whole
from vitrail.data.sample import Box, Instance
from vitrail.errors import DataError, ParameterError
from vitrail.result import rle
from vitrail.result.masks import Masks

_KEY_POINTS = ("keypoints", "num_keypoints")
_KNOWN = frozenset(
    ("id", "image_id", "category_id", "segmentation", "bbox", "iscrowd", "attributes")
)
"""Fields that do not become attributes."""

_POLYGONS = "a list of polygons [[x1, y1, x2, y2, ...], ...] or an RLE"


class MalformedError(Exception):
    """An annotation that cannot be read."""

    def __init__(self, value: str, expected: str) -> None:
        super().__init__(value, expected)
        self.value, self.expected = value, expected


class Shape(NamedTuple):
    """What an annotation says of where its object is, checked."""

    rings: list[list[float]] | None
    counts: list[int] | str | None
    """Run lengths, compressed or not."""
    frame: tuple[int, int] | None
    """``(H, W)`` of the run lengths."""
    box: Box | None
    crowd: bool


def read_shape(annotation: Mapping[str, Any]) -> Shape:
    """Check an annotation's numbers, but not whether they make a sensible shape.

    Raises
    ------
    MalformedError
        something is not a number, or the run lengths do not fill their frame.
    """
    segmentation = annotation.get("segmentation")
    box = _box(annotation.get("bbox"))
    crowd = _crowd(annotation)
    rings, counts, size = None, None, None
    if isinstance(segmentation, Mapping):
        counts, size = _run_lengths(segmentation)
    elif isinstance(segmentation, list):
        for ring in segmentation:
            _check_ring(ring)
        rings = segmentation or None
    elif segmentation is not None:
        raise MalformedError(f"segmentation is {shown(segmentation)}", _POLYGONS)
    if box is None and rings is None and counts is None:
        raise MalformedError("has neither segmentation nor bbox", "one of the two")
    return Shape(rings, counts, size, box, crowd)


def _crowd(annotation: Mapping[str, Any]) -> bool:
    crowd = annotation.get("iscrowd") or 0
    if crowd not in (0, 1):
        raise MalformedError(f"iscrowd is {shown(crowd)}", "0 or 1")
    return bool(crowd)


def _box(value: Any) -> Box | None:
    if value is None or value == []:
        return None
    numeric = isinstance(value, list) and all(isinstance(one, int | float) for one in value)
    if not numeric or len(value) != 4 or any(number(one) is None for one in value):
        raise MalformedError(f"bbox is {shown(value)}", "four finite numbers x, y, width, height")
    x, y, width, height = (float(one) for one in value)
    if width < 0 or height < 0:
        raise MalformedError(f"bbox is {shown(value)}", "a width and a height of at least 0")
    return x, y, x + width, y + height


def _check_ring(ring: Any) -> None:
    if not isinstance(ring, list):
        raise MalformedError(f"segmentation holds {shown(ring)}", _POLYGONS)
    try:
        # One pass in C: text and lists cannot be added, NaN and infinity stay in the sum.
        finite = math.isfinite(sum(ring))
    except (TypeError, OverflowError):
        finite = False
    if not finite:
        wrong = [one for one in ring if isinstance(one, str) or number(one) is None]
        raise MalformedError(
            f"segmentation holds {shown(wrong[0] if wrong else max(ring, key=abs))}",
            "finite numbers",
        )
    if len(ring) % 2:
        raise MalformedError(f"a polygon of {len(ring)} numbers", "pairs x, y: an even number")


def _run_lengths(segmentation: Mapping[str, Any]) -> tuple[list[int] | str, tuple[int, int]]:
    counts, size = segmentation.get("counts"), segmentation.get("size")
    sides = frame(size[1], size[0]) if isinstance(size, list) and len(size) == 2 else None
    if sides is None:
        raise MalformedError(f"the size of its RLE is {shown(size)}", "[height, width] in pixels")
    if isinstance(counts, str):
        try:
            lengths = rle.decompress(counts)
        except ParameterError as error:
            raise MalformedError(str(error), "a compressed RLE") from None
        # Sums of what was damaged may overflow; a count beyond the frame is wrong by itself.
        fits = bool((lengths >= 0).all() and (lengths <= sides[0] * sides[1]).all())
        total = int(lengths.sum()) if fits else -1
    elif isinstance(counts, list) and all(type(one) is int for one in counts):
        fits, total = min(counts, default=0) >= 0, sum(counts)
    else:
        expected = "a list of integers, or a compressed RLE as text"
        raise MalformedError(f"the counts of its RLE are {shown(counts)}", expected)
    if not fits or total != sides[0] * sides[1]:
        found = f"sum to {total}" if fits else "hold a number outside the frame"
        raise MalformedError(
            f"the counts of its RLE {found}",
            f"a sum of {sides[0]} x {sides[1]} = {sides[0] * sides[1]}",
        )
    return counts, sides


class SegmentInfo(NamedTuple):
    """One entry of ``segments_info`` of a panoptic file, checked."""

    id: int
    category: int
    box: Box | None
    crowd: bool
    attributes: dict[str, object]


def read_segment(info: Any) -> SegmentInfo:
    """Check an entry of ``segments_info``.

    Raises
    ------
    MalformedError
        it has no id that fits 24 bits, no category, or a box that is none.
    """
    if not isinstance(info, Mapping):
        raise MalformedError(f"segments_info holds {shown(info)}", "objects")
    number, category = whole(info.get("id")), whole(info.get("category_id"))
    if number is None or not 0 < number < 1 << 24:
        raise MalformedError(f"a segment's id is {shown(info.get('id'))}", "1 to 16777215")
    if category is None:
        found = shown(info.get("category_id"))
        raise MalformedError(f"category_id of segment {number} is {found}", "an integer")
    crowd = _crowd(info)
    return SegmentInfo(number, category, _box(info.get("bbox")), crowd, _attributes(info))


def to_instance(annotation: Mapping[str, Any], class_id: int, size: tuple[int, int]) -> Instance:
    """The object of an annotation that :func:`read_shape` accepts.

    Raises
    ------
    DataError
        its run lengths are for another image size.
    """
    shape = read_shape(annotation)
    name = annotation.get("id")
    about: dict[str, Any] = {
        "crowd": shape.crowd,
        "id": "" if name is None else str(name),
        "attributes": _attributes(annotation),
    }
    if shape.counts is not None:
        if shape.frame != size:
            raise DataError(
                f"annotation {name}: its RLE is for {shape.frame} (height, width), its image has "
                f"{size}"
            )
        item = {"counts": shape.counts, "size": size}
        return Instance.from_masks(class_id, Masks.from_rle([item]), box=shape.box, **about)
    if shape.rings is not None:
        rings = [np.array(ring, np.float64).reshape(-1, 2) for ring in shape.rings]
        return Instance.from_polygons(class_id, rings, size, box=shape.box, **about)
    assert shape.box is not None  # read_shape has seen to it
    return Instance.from_box(class_id, shape.box, size, **about)


def _attributes(annotation: Mapping[str, Any]) -> dict[str, object]:
    """Whatever else is said: ``area``, other fields, and what tools put into ``attributes``."""
    found: dict[str, object] = {
        key: value
        for key, value in annotation.items()
        if key not in _KNOWN and key not in _KEY_POINTS
    }
    more = annotation.get("attributes")
    if isinstance(more, Mapping):
        found.update(more)
    return found
