"""Which object of the truth an anchor or a region stands for.

Ren et al.: "Faster R-CNN", arXiv:1506.01497, section 3.1.2. Objects that nobody separated
("crowds") are no object to be found, and not background either.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vitrail.models.maskrcnn.boxes import areas, pairwise_intersection, pairwise_iou

BACKGROUND = -1
NEITHER = -2

CROWD_SHARE = 0.5
"""An anchor or region of which at least this share lies in a crowd's box is no background."""

_PAIRS = 1 << 16
"""Overlaps computed at once: what is computed with them then stays in the processor's cache, and
memory does not grow with a quarter of a million anchors times hundreds of objects."""


def match_boxes(
    boxes: Tensor,
    truth: Tensor,
    crowd: Tensor,
    low: float,
    high: float,
    *,
    allow_low_quality: bool = False,
) -> Tensor:
    """The object of one image that each box stands for.

    Parameters
    ----------
    boxes:
        ``(P, 4)`` float32 anchors or regions, x1 y1 x2 y2.
    truth:
        ``(T, 4)`` float32, in the same coordinates. One without any area is never matched.
    crowd:
        ``(T,)`` bool. A crowd is never matched either; what lies in it by :data:`CROWD_SHARE` and
        stands for no object is neither.
    low, high:
        A box whose best overlap is below ``low`` is background; from ``high`` on it stands for
        the object of that overlap (the first of equals); in between it is neither.
    allow_low_quality:
        The boxes that overlap an object most, all of them where several do so equally, stand for
        an object even below ``high``: the one that they themselves overlap most, as torchvision
        and detectron2 have it. An object that no box overlaps gets none.

    Returns
    -------
    ``(P,)`` int64: number of the object in ``truth``, :data:`BACKGROUND` or :data:`NEITHER`.
    """
    findable = findable_objects(truth, crowd)
    if len(findable):
        matched = _matched(boxes, truth[findable], low, high, allow_low_quality=allow_low_quality)
        matched = torch.where(matched >= 0, findable[matched.clamp(min=0)], matched)
    else:
        matched = torch.full(boxes.shape[:1], BACKGROUND, device=boxes.device)
    crowds = truth[crowd]
    for part in _parts(len(boxes), len(crowds)):
        inside = pairwise_intersection(crowds, boxes[part]).amax(0)
        in_crowd = (inside >= CROWD_SHARE * areas(boxes[part])) & (inside > 0)
        matched[part][(matched[part] == BACKGROUND) & in_crowd] = NEITHER
    return matched


def _matched(
    boxes: Tensor, truth: Tensor, low: float, high: float, *, allow_low_quality: bool
) -> Tensor:
    """:func:`match_boxes` where every one of ``truth`` can be found, and there is one at least."""
    best = boxes.new_zeros(len(boxes))
    objects = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    most = boxes.new_zeros(len(truth))
    for part in _parts(len(boxes), len(truth)):
        iou = pairwise_iou(truth, boxes[part])
        best[part], objects[part] = iou.max(0)
        most = torch.maximum(most, iou.amax(1))
    matched = torch.where(best >= high, objects, NEITHER)
    matched = torch.where(best < low, BACKGROUND, matched)
    if allow_low_quality:  # the others' best boxes stand for an object anyway
        poor = torch.nonzero((most > 0) & (most < high)).flatten()
        for part in _parts(len(boxes), len(poor)):
            chosen = (pairwise_iou(truth[poor], boxes[part]) == most[poor, None]).any(0)
            matched[part][chosen] = objects[part][chosen]
    return matched


def findable_objects(truth: Tensor, crowd: Tensor) -> Tensor:
    """Numbers ``(F,)`` int64 of the boxes ``(T, 4)`` that are no crowd and have an area."""
    return torch.nonzero(~crowd & (truth[:, 2:] > truth[:, :2]).all(1)).flatten()


def _parts(boxes: int, objects: int) -> Iterator[slice]:
    """Boxes in parts of :data:`_PAIRS` overlaps with the objects; none without objects."""
    step = max(1, _PAIRS // max(1, objects))
    return (slice(start, start + step) for start in range(0, boxes if objects else 0, step))
