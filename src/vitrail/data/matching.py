"""Which object of a list became which of another: by equality, then by greatest overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from vitrail.data.sample import Instance
from vitrail.result.masks import Masks

BOX_TOLERANCE = 0.01
"""Pixels by which a box may move: formats keep coordinates as decimal text."""

_STRUCTURE = frozenset({"area", "group_id"})
"""Attributes that follow from the mask, or say which parts are one object; written anew."""

_NOTHING = (None, False, "", 0, "Unspecified")
"""Values that say nothing; the last is PASCAL VOC's pose."""


def match(
    old: Sequence[Instance], new: Sequence[Instance], table: Sequence[int | None]
) -> dict[int, tuple[int, float]]:
    """For each object the one that it became, and their IoU; objects that became none are absent.

    Equal objects in the same place of both lists are pairs; of the others of a class, those with
    the greatest IoU. Bare boxes are pairs where they are equal to :data:`BOX_TOLERANCE`.
    """
    pairs: dict[int, tuple[int, float]] = {}
    if len(old) == len(new):
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            same_kind = table[one.class_id] == other.class_id and one.crowd == other.crowd
            if same_kind and _same(one, other):
                pairs[i] = (i, 1.0)
    left = [i for i in range(len(old)) if i not in pairs]
    free = [j for j in range(len(new)) if len(old) != len(new) or j not in pairs]
    if not left or not free:
        return pairs
    candidates: list[tuple[float, bool, int, int]] = []
    boxes = np.array([_extent(new[j]) for j in free])
    for i in left:
        x1, y1, x2, y2 = _extent(old[i])
        near = (boxes[:, 0] <= x2) & (boxes[:, 2] >= x1) & (boxes[:, 1] <= y2) & (boxes[:, 3] >= y1)
        for j in (free[k] for k in np.flatnonzero(near).tolist()):
            if table[old[i].class_id] == new[j].class_id:
                score = _likeness(old[i], new[j])
                if score is not None:
                    candidates.append((-score, old[i].crowd != new[j].crowd, i, j))
    taken: set[int] = set()
    for score, _, i, j in sorted(candidates):
        if i not in pairs and j not in taken:
            pairs[i] = (j, -score)
            taken.add(j)
    return pairs


def has_mask(one: Instance) -> bool:
    """Whether an object is more than a bare box; its outlines are not filled to tell."""
    return one.stored is not None or one.polygons is not None


def lost_attributes(old: Instance, new: Instance) -> list[str]:
    """Names of attributes that say something and do not come back, or come back as another."""
    return [
        name
        for name, value in old.attributes.items()
        if name not in _STRUCTURE
        and value not in _NOTHING
        and _plain(value) != _plain(new.attributes.get(name))
    ]


def _plain(value: object) -> object:
    """A value as any format would tell it: text formats know no types."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return float(value)
    text = str(value)
    try:
        return float(text)
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text


def _same(one: Instance, other: Instance) -> bool:
    """Whether two objects have the same pixels, cheaply: the same outlines need no raster."""
    if one.stored is None and other.stored is None and one.polygons and other.polygons:
        rings = len(one.polygons) == len(other.polygons)
        if rings and all(map(np.array_equal, one.polygons, other.polygons)):
            return True
    if not has_mask(one) or not has_mask(other):
        return not has_mask(one) and not has_mask(other) and _near(one, other)
    return one.mask == other.mask


def _near(one: Instance, other: Instance) -> bool:
    return bool(np.abs(np.subtract(one.box, other.box)).max() <= BOX_TOLERANCE)


def _extent(one: Instance) -> Iterable[float]:
    """What may touch what: the mask's own box, or the bare box."""
    return one.box if one.mask is None else one.mask.boxes()[0].tolist()


def _likeness(one: Instance, other: Instance) -> float | None:
    """IoU of two masks; None where they share nothing, or one of the two is a bare box."""
    if one.mask is None or other.mask is None:
        return 1.0 if one.mask is None and other.mask is None and _near(one, other) else None
    total = int(one.mask.areas()[0] + other.mask.areas()[0])
    if not total:
        return 1.0
    shared = _shared(one.mask, other.mask)
    return shared / (total - shared) if shared else None


def _shared(one: Masks, other: Masks) -> int:
    y, x, crop = one.crop(0)
    return int(np.count_nonzero(crop & window(other, y, x, crop.shape)))


def within(piece: Masks, whole: Masks) -> bool:
    """Whether a mask, not empty, lies inside another."""
    area = int(piece.areas()[0])
    return area > 0 and _shared(piece, whole) == area


def window(mask: Masks, y: int, x: int, shape: Sequence[int]) -> np.ndarray:
    """What a mask has in the window of (h, w) whose corner is at y, x; ``(h, w)`` bool."""
    inside = np.zeros(shape, bool)
    top, left, crop = mask.crop(0)
    y1, x1 = max(y, top), max(x, left)
    y2 = min(y + shape[0], top + crop.shape[0])
    x2 = min(x + shape[1], left + crop.shape[1])
    if y1 < y2 and x1 < x2:
        inside[y1 - y : y2 - y, x1 - x : x2 - x] = crop[y1 - top : y2 - top, x1 - left : x2 - left]
    return inside


def filled_holes(crop: np.ndarray, back: np.ndarray) -> int:
    """How many holes (4 neighbours connect) of a ``(h, w)`` bool crop another one fills wholly."""
    # With a margin, all that is outside is one region, the one of the corner.
    empty = np.pad(~crop, 1, constant_values=True).view(np.uint8)
    count, ids = cv2.connectedComponents(empty, connectivity=4)
    inner = ids[1:-1, 1:-1]
    filled = np.bincount(inner[back], minlength=count) == np.bincount(
        inner.ravel(), minlength=count
    )
    filled[[0, ids[0, 0]]] = False
    return int(filled.sum())
