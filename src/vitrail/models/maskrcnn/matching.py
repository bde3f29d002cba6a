"""Which object of the truth an anchor or a region stands for.

Ren et al.: "Faster R-CNN", arXiv:1506.01497, section 3.1.2. Objects that nobody separated
("crowds") are no object to be found, and not background either.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitrail.models.maskrcnn.boxes import areas, pairwise_intersection, pairwise_iou

BACKGROUND = -1
NEITHER = -2

CROWD_SHARE = 0.5
"""An anchor or region of which at least this share lies in a crowd's box is no background."""

_PAIRS = 1 << 21
"""Overlaps computed at once; arithmetic on boxes needs about ten numbers for each."""


def match(iou: Tensor, low: float, high: float, *, allow_low_quality: bool = False) -> Tensor:
    """The object that each box stands for.

    Parameters
    ----------
    iou:
        ``(T, P)`` float, of T objects with P boxes; T and P may be 0.
    low, high:
        A box whose best overlap is below ``low`` is background; from ``high`` on it stands for
        the object of that overlap (the first of equals); in between it is neither.
    allow_low_quality:
        The boxes that overlap an object most, all of them where several do so equally, stand for
        an object even below ``high``: the one that they themselves overlap most, as torchvision
        and detectron2 have it. An object that no box overlaps gets none.

    Returns
    -------
    ``(P,)`` int64: number of the object, :data:`BACKGROUND` or :data:`NEITHER`.
    """
    if not iou.numel():
        return torch.full(iou.shape[1:], BACKGROUND, dtype=torch.int64, device=iou.device)
    best, objects = iou.max(0)
    matched = torch.where(best >= high, objects, NEITHER)
    matched = torch.where(best < low, BACKGROUND, matched)
    if allow_low_quality:
        most = iou.amax(1, keepdim=True)
        chosen = (iou == most.masked_fill(most <= 0, -1)).any(0)
        matched = torch.where(chosen, objects, matched)
    return matched


def match_boxes(
    boxes: Tensor,
    truth: Tensor,
    crowd: Tensor,
    low: float,
    high: float,
    *,
    allow_low_quality: bool = False,
) -> Tensor:
    """:func:`match` for the objects of one image, crowds and objects without any area included.

    Parameters
    ----------
    boxes:
        ``(P, 4)`` float32 anchors or regions, x1 y1 x2 y2.
    truth:
        ``(T, 4)`` float32, in the same coordinates.
    crowd:
        ``(T,)`` bool. A crowd is never matched; what lies in it by :data:`CROWD_SHARE` and stands
        for no object is neither.

    Returns
    -------
    ``(P,)`` int64 as :func:`match`; numbers count all of ``truth``.
    """
    findable = findable_objects(truth, crowd)
    matched = match(
        _overlaps(truth[findable], boxes), low, high, allow_low_quality=allow_low_quality
    )
    if len(findable):
        matched = torch.where(matched >= 0, findable[matched.clamp(min=0)], matched)
    crowds = truth[crowd]
    if len(crowds):
        inside = torch.stack([pairwise_intersection(one[None], boxes)[0] for one in crowds]).amax(0)
        in_crowd = (inside >= CROWD_SHARE * areas(boxes)) & (inside > 0)
        matched = torch.where((matched == BACKGROUND) & in_crowd, NEITHER, matched)
    return matched


def findable_objects(truth: Tensor, crowd: Tensor) -> Tensor:
    """Numbers ``(F,)`` int64 of the boxes ``(T, 4)`` that are no crowd and have an area."""
    return torch.nonzero(~crowd & (truth[:, 2:] > truth[:, :2]).all(1)).flatten()


def _overlaps(truth: Tensor, boxes: Tensor) -> Tensor:
    """``pairwise_iou(truth, boxes)``, in parts: a quarter of a million anchors are usual."""
    iou = boxes.new_empty(len(truth), len(boxes))
    columns = max(1, _PAIRS // max(1, len(truth)))
    for start in range(0, len(boxes) if len(truth) else 0, columns):
        part = slice(start, start + columns)
        iou[:, part] = pairwise_iou(truth, boxes[part])
    return iou
