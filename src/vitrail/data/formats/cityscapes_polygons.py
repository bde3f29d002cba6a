"""Polygons of Cityscapes: objects painted one over the other, and outlines that paint a picture.

A ``*_polygons.json`` lists objects from the farthest to the nearest; drawn in this order they give
the label files. Drawing is Pillow's, as in the set's own scripts (``json2labelImg.py`` and
``json2instanceImg.py`` of cityscapesScripts): vertices are pixel centres and edges are filled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw

from vitrail.codecs import Limits
from vitrail.data.formats.cityscapes_labels import Coding, Label
from vitrail.data.formats.files import read_json
from vitrail.errors import DataError, nearest
from vitrail.result.masks import Masks, occurring

_FARTHEST = 1e6
"""Pixels from the image beyond which a number is no coordinate."""
_GROUP = "group"


@dataclass(frozen=True)
class Drawing:
    """What a polygons file says; nothing is painted yet."""

    size: tuple[int, int]
    """``(H, W)``, px."""
    polygons: tuple[tuple[int, np.ndarray], ...]
    """Value of instanceIds and ``(K, 2)`` float64 of x, y, from the farthest to the nearest."""
    unlabelled: int = 0
    """The value where there is none."""

    def paint(self) -> np.ndarray:
        """``(H, W)`` uint16, as instanceIds has it."""
        height, width = self.size
        picture = PIL.Image.new("I", (width, height), self.unlabelled)
        pen = PIL.ImageDraw.Draw(picture)
        for value, points in self.polygons:
            if len(points):
                # Pillow takes no polygon of fewer than two points.
                ring = points if len(points) > 1 else np.repeat(points, 2, axis=0)
                pen.polygon([(float(x), float(y)) for x, y in ring], fill=value)
        return np.asarray(picture).astype(np.uint16)


def read_polygons(path: Path, coding: Coding) -> Drawing:
    """Read a ``*_polygons.json``.

    An object of a label with instances gets the next number of its label, one whose label is a
    label's name with "group" behind it gets none, as the set's own scripts have it; an
    ``instanceId`` (as vitrail writes) goes before that. Deleted objects are left out.

    Raises
    ------
    DataError
        it is not valid JSON, lacks a key, names an unknown label, or a coordinate is no number.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: is a {type(content).__name__}, expected an object with `objects`")
    height, width = (_side(content, key, path) for key in ("imgHeight", "imgWidth"))
    Limits.of().check(str(path), width, height, 4)
    objects = content.get("objects")
    if not isinstance(objects, list):
        raise DataError(f"{path}: `objects` is {objects!r:.60}, expected a list")
    counts: dict[int, int] = {}
    polygons: list[tuple[int, np.ndarray]] = []
    for number, item in enumerate(objects):
        where = f"{path}: object {number}"
        if not isinstance(item, dict):
            raise DataError(f"{where}: is {item!r:.60}, expected an object with label and polygon")
        if item.get("deleted"):
            continue
        label, group = _label(item.get("label"), coding, where)
        if label.id >= 0:
            value = _value(item.get("instanceId"), label, group, counts, coding, where)
            polygons.append((value, _points(item.get("polygon"), where)))
    blank = coding.by_name.get("unlabeled")
    return Drawing((height, width), tuple(polygons), max(blank.id, 0) if blank else 0)


def _side(content: Mapping[str, Any], key: str, path: Path) -> int:
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise DataError(f"{path}: {key} is {value!r:.60}, expected a number of pixels")
    return value


def _label(name: Any, coding: Coding, where: str) -> tuple[Label, bool]:
    """The label of a name, and whether it names a group."""
    if isinstance(name, str):
        if name in coding.by_name:
            return coding.by_name[name], False
        single = coding.by_name.get(name.removesuffix(_GROUP))
        if single is not None:
            return single, True
        raise DataError(f"{where}: has the unknown label {name!r}; {nearest(name, coding.by_name)}")
    raise DataError(f"{where}: its label is {name!r:.60}, expected a name")


def _value(
    said: Any, label: Label, group: bool, counts: dict[int, int], coding: Coding, where: str
) -> int:
    """The value of instanceIds that an object is painted with."""
    if said is not None:
        known = isinstance(said, int) and label.id in (said, said // coding.divisor)
        if not known or not 0 <= said <= 65535:
            raise DataError(
                f"{where}: its instanceId is {said!r:.60}, expected {label.id} or {label.id} * "
                f"{coding.divisor} + n, as its label is {label.name!r}"
            )
        return said
    if group or not label.has_instances:
        return label.id
    number = counts.get(label.id, 0)
    counts[label.id] = number + 1
    if number >= coding.divisor or label.id * coding.divisor + number > 65535:
        raise DataError(f"{where}: is one of more than {number} objects of {label.name!r}")
    return label.id * coding.divisor + number


def _points(polygon: Any, where: str) -> np.ndarray:
    if not isinstance(polygon, list):
        raise DataError(f"{where}: its polygon is {polygon!r:.60}, expected [[x, y], ...]")
    if not polygon:
        return np.zeros((0, 2))
    try:
        points = np.asarray(polygon, np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.zeros(0)
    if points.shape != (len(polygon), 2):
        raise DataError(f"{where}: its polygon is {polygon!r:.60}, expected [[x, y], ...]")
    wrong = ~(np.abs(points) <= _FARTHEST)
    if wrong.any():
        raise DataError(f"{where}: has the coordinate {points[wrong][0]}, expected a pixel's")
    return points


# Writing ----------------------------------------------------------------------------------------


def polygons_text(values: np.ndarray, coding: Coding, groups: frozenset[int]) -> str:
    """The ``*_polygons.json`` that paints ``values``, ``(H, W)`` uint16 of instanceIds, exactly.

    ``groups``: the values that are groups. An object of several parts is several polygons with one
    ``instanceId``; other programs, which do not know that key, take each for an object.
    """
    height, width = values.shape
    lines: list[str] = []
    for value, points in outlines(values):
        label = coding.by_id[value // coding.divisor if value >= coding.divisor else value]
        name = label.name + (_GROUP if value in groups else "")
        item = {"label": name, "polygon": points.tolist(), "instanceId": value}
        lines.append(json.dumps(item, ensure_ascii=False))
    objects = ",\n  ".join(lines)
    return f'{{"imgHeight": {height}, "imgWidth": {width}, "objects": [\n  {objects}\n]}}\n'


def outlines(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """``(value, (K, 2) int x, y)`` polygons that, drawn in this order, give a picture exactly.

    Outer outlines of every part, the larger first, so that what lies in a hole comes after what
    is around it; then rows of pixels wherever these leave something wrong (parts of one value that
    touch by a corner only, across another one).
    """
    rings: list[tuple[int, int, np.ndarray]] = []
    ids = occurring(values).tolist()
    for value, (y, x, crop) in zip(ids, _crops(values, ids), strict=True):
        contours, tree = cv2.findContours(
            crop.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
        )
        for contour, links in zip(contours, np.asarray(tree).reshape(-1, 4), strict=True):
            if links[3] < 0:  # not the edge of a hole
                ring = np.asarray(contour).reshape(-1, 2)
                width, height = np.ptp(ring, axis=0) + 1
                rings.append((-int(width) * int(height), value, _three(ring + np.array([x, y]))))
    rings.sort(key=lambda one: one[0])
    drawn = [(value, ring) for _, value, ring in rings]
    height, width = values.shape
    painted = Drawing((height, width), tuple(drawn)).paint()
    yield from drawn
    for y in np.flatnonzero((painted != values).any(axis=1)).tolist():
        row, wrong = values[y].astype(np.int32), painted[y] != values[y]
        coded = np.where(wrong, row, -1)
        edges = np.flatnonzero(np.diff(coded, prepend=-1, append=-1))
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if coded[start] >= 0:
                yield int(coded[start]), _three(np.array([[start, y], [end - 1, y]]))


def _crops(values: np.ndarray, ids: list[int]) -> Iterator[tuple[int, int, np.ndarray]]:
    masks = Masks.from_labels(values, ids)
    return (masks.crop(i) for i in range(len(masks)))


def _three(ring: np.ndarray) -> np.ndarray:
    """At least three points: programs refuse polygons of fewer."""
    return ring if len(ring) > 2 else np.concatenate([ring, np.repeat(ring[-1:], 3 - len(ring), 0)])
