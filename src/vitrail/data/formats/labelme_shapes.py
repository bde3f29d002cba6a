"""Shapes of labelme files, checked, and their way into objects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.data.formats.embedded import decode_mask, png_size
from vitrail.data.formats.shapes import Shape, ellipse, placed, points, rectangle, shown
from vitrail.errors import DataError
from vitrail.result.masks import Masks

RESERVED = frozenset(
    {"label", "points", "group_id", "shape_type", "flags", "description", "mask", "id"}
)
_LINES = frozenset({"point", "points", "line", "linestrip"})
_CROWD = ("iscrowd", "is_crowd")
BOX_ONLY = "box_only"
"""Flag of a rectangle that is a bare box, not an area."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one shape."""

    code: str
    severity: str
    value: str
    expected: str
    advice: str = "mend or remove the shape"


def _area(text: str, y: int, x: int, where: str, size: tuple[int, int]) -> Masks:
    claimed = png_size(text) or (0, 0)
    if claimed[0] > size[0] + 1 or claimed[1] > size[1] + 1:
        raise DataError(f"{where}: {_too_large(claimed)}, expected at most {_extent(size)}")
    return placed(decode_mask(text, claimed, where), y, x, size)


def _extent(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]} px"


def _too_large(claimed: tuple[int, int]) -> str:
    return f"the embedded mask claims {_extent(claimed)}"


def read_shapes(
    shapes: list[Any], file: Path, size: tuple[int, int] | None, rectangles: str, groups: bool
) -> Iterator[tuple[str, Shape | Fault]]:
    """Every shape with its number from 1, as what it is or what is wrong with it.

    Parameters
    ----------
    shapes:
        The list of a file.
    file:
        That file, for messages.
    size:
        ``(H, W)`` of the image, where the file says it.
    rectangles:
        "areas": a rectangle is all it encloses; "boxes": it is a bare box.
    groups:
        Whether a ``group_id`` joins shapes.
    """
    for number, shape in enumerate(shapes, 1):
        read = _read(shape, f"{file}, shape {number}", size, rectangles == "boxes")
        if isinstance(read, Shape):
            id, group = shape.get("id"), shape.get("group_id")
            read = replace(
                read,
                id=str(id) if isinstance(id, str | int) else str(number),
                group=str(group) if groups and group is not None else "",
            )
        yield str(number), read


def _malformed(value: str, expected: str) -> Fault:
    return Fault("malformed-annotation", "error", value, expected)


def _read(shape: object, where: str, size: tuple[int, int] | None, bare: bool) -> Shape | Fault:
    if not isinstance(shape, dict):
        return _malformed(shown(shape), "an object with label and points")
    label, flags = shape.get("label"), shape.get("flags") or {}
    if not isinstance(label, str):
        return _malformed(f"label {shown(label)}", "a text")
    if not isinstance(flags, dict):
        return _malformed(f"flags {shown(flags)}", "names and whether they are set")
    kind = shape.get("shape_type") or "polygon"
    corners = points(shape.get("points"))
    if corners is None or not len(corners):
        return _malformed(f"points {shown(shape.get('points'))}", "pairs of finite numbers")
    outline, box, area = None, None, None
    if kind in ("polygon", "oriented_rectangle", "rotation"):
        outline = corners
    elif kind == "rectangle" and len(corners) in (2, 4):
        (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        if bare or flags.get(BOX_ONLY) is True:
            box = (x1, y1, x2, y2)
        else:
            outline = corners if len(corners) == 4 else rectangle(x1, y1, x2 - x1, y2 - y1)
    elif kind == "circle" and len(corners) == 2:
        (x, y), edge = corners[0].tolist(), corners[1].tolist()
        radius = math.hypot(edge[0] - x, edge[1] - y)
        outline = ellipse(x, y, radius, radius)
    elif kind == "mask":
        text = shape.get("mask")
        claimed = png_size(text) if isinstance(text, str) else None
        if claimed is None or not isinstance(text, str):
            return _malformed(f"mask {shown(text)}", "a base64 PNG")
        if size is not None and (claimed[0] > size[0] + 1 or claimed[1] > size[1] + 1):
            return _malformed(_too_large(claimed), f"at most {_extent(size)}, as the image")
        x, y = np.clip(np.round(corners.min(axis=0)), -1e9, 1e9).astype(int).tolist()
        area = partial(_area, text, y, x, where)
    elif kind in ("rectangle", "circle"):
        return _malformed(f"a {kind} of {len(corners)} points", "two points")
    else:
        line = isinstance(kind, str) and kind in _LINES
        what = "a line or point, which is no area" if line else "a shape of another kind"
        value = f"shape_type {shown(kind)} is {what}"
        return Fault("unsupported-shape", "warning", value, "polygon, rectangle, circle or mask")
    crowd = any(flags.get(name) is True for name in _CROWD)
    attributes = _attributes(shape, flags)
    return Shape(label, "", outline, area, box, crowd=crowd, attributes=attributes)


def _attributes(shape: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, object]:
    """Flags, description, group, and keys of other programs."""
    found: dict[str, object] = {
        key: value for key, value in flags.items() if key not in (*_CROWD, BOX_ONLY)
    }
    found |= {key: value for key, value in shape.items() if key not in RESERVED}
    for key in ("description", "group_id"):
        if shape.get(key) not in (None, ""):
            found[key] = shape[key]
    return found
