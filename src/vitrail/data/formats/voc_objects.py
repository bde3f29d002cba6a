"""Objects of PASCAL VOC: a mask of numbers, the class under each, and what the XML says of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from vitrail.data.formats.voc_coding import VOID
from vitrail.data.formats.voc_xml import Annotated
from vitrail.data.sample import Box, Instance, LabelSpace
from vitrail.errors import DataError, nearest
from vitrail.result.masks import Masks, occurring

_SAME = 0.5
"""IoU from which a box of the XML is that of a mask; void borders make masks a little smaller."""


def join(
    numbers: np.ndarray,
    labels: np.ndarray,
    nothing: Collection[int],
    path: Path,
    annotated: Sequence[Annotated],
    space: LabelSpace,
    xml: Path,
) -> tuple[Instance, ...]:
    """The objects of one image.

    Parameters
    ----------
    numbers, labels:
        ``(H, W)`` uint8: SegmentationObject (0 none, 1.. objects, 255 void) and class ids.
    nothing:
        Class ids that no object has: background, void.
    path, xml:
        Where numbers and annotated come from, for messages.
    annotated:
        What the XML says. An entry is joined to the mask of its class whose box it fits best;
        failing that, to the mask of its class with its number that its box touches. Entries with a
        box that no mask fits become objects without a mask.

    Returns
    -------
    Masks by number, then bare boxes in the order of the XML. An object's class is that of most of
    its pixels (where none has a class, that of the XML's entry with its number); its id is its
    number.

    Raises
    ------
    DataError
        an object has no pixel of a class, or the XML names an unknown class.
    """
    ids = [number for number in occurring(numbers).tolist() if number not in (0, VOID)]
    masks = Masks.from_labels(numbers, ids)
    named = {name: number for number, name in enumerate(space.classes)}
    for entry in annotated:
        if entry.name not in named:
            raise DataError(
                f"{xml}: names the class {entry.name!r}, which the set does not have; "
                + nearest(entry.name, space.classes)
            )
    boxes = [_box(row) for row in masks.boxes().tolist()]
    kinds = [named[entry.name] for entry in annotated]
    classes = _classes(numbers, labels, ids, nothing, kinds, path)
    pairs = _pair(ids, classes, boxes, annotated, kinds)
    found: list[Instance] = []
    for i, number in enumerate(ids):
        entry = annotated[pairs[i]] if i in pairs else None
        found.append(
            Instance.from_masks(
                classes[i],
                masks[i],
                box=entry.box if entry else None,
                id=str(number),
                attributes=dict(entry.attributes) if entry else {},
            )
        )
    joined, taken = set(pairs.values()), set(ids)
    size = (labels.shape[0], labels.shape[1])
    for j, entry in enumerate(annotated):
        if j not in joined and entry.box is not None:
            id = str(j + 1) if j + 1 not in taken else f"box {j + 1}"
            more = dict(entry.attributes)
            found.append(Instance.from_box(kinds[j], entry.box, size, id=id, attributes=more))
    return tuple(found)


def _classes(
    numbers: np.ndarray,
    labels: np.ndarray,
    ids: Sequence[int],
    nothing: Collection[int],
    kinds: Sequence[int],
    path: Path,
) -> list[int]:
    """The class of each object."""
    joint = numbers.astype(np.uint16) << 8 | labels
    votes = np.bincount(joint.ravel(), minlength=1 << 16).reshape(256, 256)
    votes[:, list(nothing)] = 0
    classes: list[int] = []
    for number in ids:
        if votes[number].any():
            classes.append(int(votes[number].argmax()))
        elif number <= len(kinds):
            classes.append(kinds[number - 1])
        else:
            y, x = (int(v) for v in np.argwhere(numbers == number)[0])
            raise DataError(
                f"{path}: object {number} (at x={x}, y={y}) has no pixel of a class in the class "
                "mask; expected the two masks to cover the same objects"
            )
    return classes


def _pair(
    ids: Sequence[int],
    classes: Sequence[int],
    boxes: Sequence[Box],
    annotated: Sequence[Annotated],
    kinds: Sequence[int],
) -> Mapping[int, int]:
    """Positions in the XML by position of the mask."""
    fits: list[tuple[float, bool, int, int]] = []
    for i, box in enumerate(boxes):
        for j, entry in enumerate(annotated):
            if kinds[j] == classes[i]:
                score = 0.0 if entry.box is None else iou(box, entry.box)
                own = ids[i] == j + 1
                # A person's point has no extent; only its number can tell whose it is.
                if score >= _SAME or (own and (score > 0 or entry.box is None)):
                    fits.append((score if score >= _SAME else 0.0, own, i, j))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, _, i, j in sorted(fits, key=lambda fit: (-fit[0], not fit[1], fit[2], fit[3])):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return pairs


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes; 0 for boxes without an area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height)


def _box(row: Sequence[float]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in row)
    return x1, y1, x2, y2
