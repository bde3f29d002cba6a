"""Geometry of CVAT's shapes, from the attributes of their XML elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from vitrail.data.formats.shapes import ellipse, frame, number, placed, rectangle, shown, whole
from vitrail.data.sample import Box
from vitrail.errors import DataError
from vitrail.result.masks import Masks

AREAS = frozenset({"polygon", "box", "ellipse", "mask"})
NO_AREAS = frozenset({"polyline", "points", "skeleton", "cuboid"})
_Area = Callable[[tuple[int, int]], Masks]


def read_geometry(
    tag: str, said: Mapping[str, str], size: tuple[int, int] | None, where: str, *, boxes: bool
) -> tuple[np.ndarray | None, _Area | None, Box | None]:
    """Outline, painted area or bare box of a shape: exactly one of them.

    Parameters
    ----------
    tag, said:
        The XML element, one of ``AREAS``, and its attributes.
    size:
        ``(H, W)`` of the image, where it is said.
    where:
        File, image and shape, for messages.
    boxes:
        Upright boxes are bare boxes.

    Raises
    ------
    ValueError
        ``(what was found, what was expected)``.
    """
    if tag == "polygon":
        return _points(said.get("points", "")), None, None
    if tag == "mask":
        return None, _mask(said, size, where), None
    turn = _number(said, "rotation", "0")
    if tag == "ellipse":
        x, y, rx, ry = (_number(said, name) for name in ("cx", "cy", "rx", "ry"))
        return ellipse(x, y, rx, ry, turn), None, None
    x1, y1, x2, y2 = (_number(said, name) for name in ("xtl", "ytl", "xbr", "ybr"))
    if boxes and not turn:
        return None, None, (x1, y1, x2, y2)
    return rectangle(x1, y1, x2 - x1, y2 - y1, turn), None, None


def _mask(said: Mapping[str, str], size: tuple[int, int] | None, where: str) -> _Area:
    names = ("left", "top", "width", "height")
    found = [whole(said.get(name)) for name in names]
    values = [value for value in found if value is not None]
    if len(values) < 4 or min(values[2:]) < 1:
        told = ", ".join(f"{name} {shown(said.get(name))}" for name in names)
        raise ValueError(told, "whole numbers, and a width and height of at least 1")
    left, top, width, height = values
    if frame(width, height) is None:
        raise ValueError(f"{width}x{height} px", "the size of a part of an image")
    if size is not None and (height > size[0] or width > size[1]):
        raise ValueError(f"{width}x{height} px", f"at most {size[1]}x{size[0]}, as the image")
    text = said.get("rle", "")
    try:
        counts = np.array(text.split(","), np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"rle {shown(text)}", "lengths of runs, with commas") from None
    # Summed as floats: a sum of huge counts must not wrap around to the right number.
    total = counts.sum(dtype=np.float64)
    if (counts < 0).any() or total != width * height:
        raise ValueError(f"runs that sum to {total:.0f}", f"{width * height}, width times height")
    return partial(_area, counts.astype(np.int32), (height, width), top, left, where)


def _area(
    counts: np.ndarray,
    shape: tuple[int, int],
    top: int,
    left: int,
    where: str,
    size: tuple[int, int],
) -> Masks:
    """A mask of alternating runs, row by row, beginning with what is not the object."""
    if shape[0] > size[0] or shape[1] > size[1]:
        raise DataError(f"{where}: a mask of {shape[1]}x{shape[0]} px, larger than its image")
    values = np.arange(len(counts)) % 2 == 1
    return placed(np.repeat(values, counts).reshape(shape), top, left, size)


def _points(text: str) -> np.ndarray:
    pairs = text.replace(";", ",").split(",")
    found = [number(value) for value in pairs]
    if None in found or len(found) % 2:
        raise ValueError(f"points {shown(text)}", "x,y;x,y;... of finite numbers")
    return np.array(found, np.float64).reshape(-1, 2)


def _number(said: Mapping[str, str], name: str, default: str | None = None) -> float:
    value = number(said.get(name, default))
    if value is None:
        raise ValueError(f"{name} {shown(said.get(name))}", "a finite number")
    return value
