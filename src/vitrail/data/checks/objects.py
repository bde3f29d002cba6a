"""The objects of one image: each by itself, and whether one of them is there twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vitrail.data.checks.finding import Pen
from vitrail.data.checks.geometry import check_instance
from vitrail.data.checks.outlines import measure
from vitrail.data.sample import Instance, LabelSpace
from vitrail.errors import VitrailError

SAME_BOX = 0.9
"""IoU of two boxes from which their masks are compared."""
SAME_MASK = 0.9
"""IoU of two masks of one class from which they are one object annotated twice."""
SAME_REGION = 0.98
"""IoU from which objects without masks, or of two classes, are the same region."""
_PAIRS = 1 << 18
"""Pairs of boxes that are compared at a time: some ten megabytes."""


def check_objects(
    instances: Sequence[Instance], space: LabelSpace, frame: tuple[int, int], pen: Pen
) -> np.ndarray:
    """Judge the objects of one image.

    Returns
    -------
    Objects of each class, ``(C,)`` int64, those with an unknown class left out.
    """
    counts = np.zeros(len(space.classes), np.int64)
    sound: list[int] = []
    outlines = measure([ring for one in instances for ring in one.polygons or ()])
    begin = 0
    for number, one in enumerate(instances):
        name = object_name(one, number, pen.id)
        own = outlines[begin : begin + len(one.polygons or ())]
        begin += len(own)
        if not 0 <= one.class_id < len(counts):
            expected = f"class ids 0..{len(counts) - 1}"
            pen.note("unknown-class-id", str(one.class_id), expected, id=name, box=one.box)
            continue
        counts[one.class_id] += 1
        try:
            if check_instance(one, own, name, frame, pen) and not one.crowd:
                sound.append(number)
        except VitrailError as error:
            pen.note("bad-coordinates", str(error), "finite numbers of px", id=name)
    try:
        _check_twice(instances, sound, space, pen)
    except VitrailError as error:  # coordinates beyond what can be filled
        pen.note("bad-coordinates", str(error), "px near the image")
    return counts


def object_name(one: Instance, number: int, image: str) -> str:
    """The object's own id, or the image's and its position: ``street_7#3``."""
    return one.id or f"{image}#{number + 1}"


def _check_twice(
    instances: Sequence[Instance], sound: Sequence[int], space: LabelSpace, pen: Pen
) -> None:
    """Findings on pairs of objects that are one."""
    if len(sound) < 2:
        return
    again: set[int] = set()  # of three copies, the second and the third are too many, not three
    for i, j, boxes in _alike(np.array([instances[k].box for k in sound])):
        first, second = sound[i], sound[j]
        one, other = instances[first], instances[second]
        if second in again:
            continue
        overlap = _overlap(one, other, boxes)
        same_class = one.class_id == other.class_id
        masked = one.mask is not None and other.mask is not None
        if overlap < (SAME_MASK if same_class and masked else SAME_REGION):
            continue
        again.add(second)
        names = object_name(one, first, pen.id), object_name(other, second, pen.id)
        what = "mask" if masked else "box"
        if same_class:
            value = f"its {what} has IoU {overlap:.2f} with that of {names[0]}, of the same class"
            code, expected = "duplicate-annotation", "one annotation an object"
        else:
            classes = [space.classes[k.class_id] for k in (one, other)]
            value = f"its {what} is that of {names[0]}; they are {classes[0]} and {classes[1]}"
            code, expected = "conflicting-annotation", "one class a region"
        pen.note(code, value, expected, id=names[1], box=other.box, weight=overlap)


def _alike(boxes: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Pairs i < j of ``(N, 4)`` boxes whose IoU is at least ``SAME_BOX``, and that IoU."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    rows = max(1, _PAIRS // max(1, len(boxes)))
    for start in range(0, len(boxes), rows):
        block = boxes[start : start + rows, None]
        low = np.maximum(block[..., :2], boxes[None, :, :2])
        high = np.minimum(block[..., 2:], boxes[None, :, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=2)
        union = areas[start : start + rows, None] + areas[None] - shared
        near = shared >= SAME_BOX * np.maximum(union, 1e-9)
        for i, j in np.argwhere(near):
            if i + start < j:
                yield int(i) + start, int(j), float(shared[i, j] / union[i, j])


def _overlap(one: Instance, other: Instance, boxes: float) -> float:
    """IoU of two masks, or of the boxes where one of them has no mask."""
    if one.mask is None or other.mask is None:
        return boxes
    (y1, x1, a), (y2, x2, b) = one.mask.crop(0), other.mask.crop(0)
    top, left = max(y1, y2), max(x1, x2)
    bottom = min(y1 + a.shape[0], y2 + b.shape[0])
    right = min(x1 + a.shape[1], x2 + b.shape[1])
    if bottom <= top or right <= left:
        return 0.0
    part = a[top - y1 : bottom - y1, left - x1 : right - x1]
    shared = int(np.count_nonzero(part & b[top - y2 : bottom - y2, left - x2 : right - x2]))
    union = int(np.count_nonzero(a)) + int(np.count_nonzero(b)) - shared
    return shared / union
