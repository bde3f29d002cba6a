"""What annotation tools draw: checked numbers, and shapes joined into objects."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitrail.codecs.limits import Limits
from vitrail.data.polygon import rasterise
from vitrail.data.sample import Box, Instance
from vitrail.errors import ImageError
from vitrail.result.masks import Masks

_SAGITTA = 0.05
"""px; how far the outline that stands for an ellipse may lie inside it."""
_LARGEST = 1e12
"""Numbers beyond it are none of an image's, and squares of them would overflow further on."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One drawn shape: an outline, a painted area, or a bare box. Exactly one of the three."""

    label: str
    id: str
    outline: np.ndarray | None = None
    """``(K, 2)`` float64 of x, y in px."""
    area: Callable[[tuple[int, int]], Masks] | None = None
    """What decodes its one mask, given the frame's ``(H, W)``."""
    box: Box | None = None
    group: str = ""
    """Shapes of one class and one group are one object; empty: an object by itself."""
    crowd: bool = False
    attributes: Mapping[str, object] = field(default_factory=dict)


def objects(
    shapes: Iterable[Shape], size: tuple[int, int], class_ids: Mapping[str, int]
) -> tuple[Instance, ...]:
    """Objects of one image, in the order of their first shapes; without those of other labels.

    Outlines and areas of one label and group are united into one object. A bare box within such a
    group is that object's box, if it is the only one; other bare boxes are objects by themselves.

    Raises
    ------
    DataError
        a painted area is damaged.
    """
    groups: dict[tuple[str, str], list[Shape]] = {}
    for number, shape in enumerate(shapes):
        if shape.label in class_ids:
            key = (shape.label, shape.group or f"\0{number}")
            groups.setdefault(key, []).append(shape)
    found: list[Instance] = []
    for (label, _), members in groups.items():
        class_id = class_ids[label]
        areas = [shape for shape in members if shape.box is None]
        boxes = [shape for shape in members if shape.box is not None]
        if areas:
            box = boxes.pop().box if len(boxes) == 1 else None
            found.append(_united(class_id, areas, box, size))
        found.extend(
            Instance.from_box(
                class_id,
                shape.box,
                size,
                id=shape.id,
                crowd=shape.crowd,
                attributes=shape.attributes,
            )
            for shape in boxes
            if shape.box is not None
        )
    return tuple(found)


def _united(
    class_id: int, shapes: Sequence[Shape], box: Box | None, size: tuple[int, int]
) -> Instance:
    first = shapes[0]
    crowd = any(shape.crowd for shape in shapes)
    about: dict[str, Any] = {"id": first.id, "crowd": crowd, "attributes": first.attributes}
    rings = [shape.outline for shape in shapes if shape.outline is not None]
    painted = [shape.area(size) for shape in shapes if shape.area is not None]
    if not painted:
        return Instance.from_polygons(class_id, rings, size, box=box, **about)
    if rings:
        painted.append(rasterise(rings, size))
    return Instance.from_masks(class_id, union(painted), box=box, **about)


def union(masks: Sequence[Masks]) -> Masks:
    """One mask of all pixels of several; all have one frame, and each holds one mask."""
    filled = [mask for mask in masks if mask.crop(0)[2].size]
    if len(filled) < 2:
        return (filled or masks)[0]
    boxes = np.concatenate([mask.boxes() for mask in filled])
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    canvas = np.zeros((y1 - y0, x1 - x0), bool)
    for mask in filled:
        y, x, crop = mask.crop(0)
        canvas[y - y0 : y - y0 + crop.shape[0], x - x0 : x - x0 + crop.shape[1]] |= crop
    return Masks.from_crops([(int(y0), int(x0), canvas)], filled[0].size)


def placed(crop: np.ndarray, y: int, x: int, size: tuple[int, int]) -> Masks:
    """One mask of an ``(h, w)`` bool crop whose corner lies at y, x; cut at the frame."""
    top, left = max(-y, 0), max(-x, 0)
    inside = crop[top : max(size[0] - y, 0), left : max(size[1] - x, 0)]
    if not inside.size:
        return Masks.from_crops([(0, 0, np.zeros((0, 0), bool))], size)
    return Masks.from_crops([(y + top, x + left, inside)], size)


def number(value: object) -> float | None:
    """A number of at most 1e12, of JSON or of text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and "_" in value:
        return None  # Python's float() takes 1_000
    try:
        converted = float(value)
    except (ValueError, OverflowError):
        return None
    return converted if abs(converted) <= _LARGEST else None  # NaN compares as False


def whole(value: object) -> int | None:
    """A whole number, of JSON or of text, also as 3.0; None for anything else."""
    converted = number(value)
    return int(converted) if converted is not None and converted.is_integer() else None


def points(value: object) -> np.ndarray | None:
    """``(K, 2)`` float64 of a list of pairs of numbers of at most 1e12; None for anything else."""
    if not isinstance(value, list):
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # lists of several lengths
        return None
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iuf":
        return None
    array = array.astype(np.float64)
    return array if (np.abs(array) <= _LARGEST).all() else None


def frame(width: object, height: object) -> tuple[int, int] | None:
    """``(H, W)`` of an image as an annotation claims it; None where no image has such a size."""
    wide, high = whole(width), whole(height)
    if wide is None or high is None:
        return None
    try:
        Limits.of().check("", wide, high)
    except ImageError:
        return None
    return high, wide


def rectangle(
    x: float, y: float, width: float, height: float, degrees: float = 0.0, *, about_corner=False
) -> np.ndarray:
    """``(4, 2)`` corners of a rectangle whose corner before rotation lies at x, y, px.

    It is turned clockwise as seen on the screen, about its middle or about that corner.
    """
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    if not degrees:
        return corners + np.array([x, y])
    pivot = np.zeros(2) if about_corner else np.array([width / 2, height / 2])
    return _turned(corners - pivot, degrees) + pivot + np.array([x, y])


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0.0) -> np.ndarray:
    """``(K, 2)`` outline of an ellipse about x, y, px, turned clockwise as seen on the screen.

    Its vertices lie on the ellipse; between them it is at most a twentieth of a pixel inside.
    """
    radius = max(abs(rx), abs(ry))
    step = math.acos(max(1 - _SAGITTA / radius, -1.0)) if radius > 0 else math.pi
    angles = np.linspace(0, 2 * math.pi, min(max(math.ceil(math.pi / step), 12), 10_000), False)
    offsets = np.stack([rx * np.cos(angles), ry * np.sin(angles)], axis=1)
    return _turned(offsets, degrees) + np.array([x, y])


def _turned(offsets: np.ndarray, degrees: float) -> np.ndarray:
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    return offsets @ np.array([[cosine, sine], [-sine, cosine]])


def shown(value: object) -> str:
    """A value for a message, cut to a readable length."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
