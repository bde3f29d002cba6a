"""Non-maximum suppression within groups (classes, levels), all groups at once."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float) -> Tensor:
    """Drop each box that overlaps a better one of its group by more than ``iou``.

    Parameters
    ----------
    boxes:
        ``(N, 4)`` x1 y1 x2 y2.
    scores:
        ``(N,)``; of equal ones the first is the better.
    groups:
        ``(N,)`` integers: boxes of different groups leave each other alone.

    Returns
    -------
    ``(K,)`` int64: what is kept, best first.
    """
    if not len(boxes):
        return groups.new_zeros(0, dtype=torch.int64)
    # Groups are moved apart; in float64, since far from 0 float32 would change the overlaps.
    apart = boxes.max().double() - boxes.min() + 1
    moved = boxes.double() + (groups * apart)[:, None]
    return torchvision.ops.nms(moved, scores.double(), iou)


def best_after_suppression(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou: float, most: int
) -> tuple[Tensor, bool]:
    """The ``most`` best boxes that :func:`suppress` keeps, and whether it keeps more.

    Only better boxes suppress one, so the best candidates are looked at first, and the others
    where those do not suffice: with a score threshold of 0 there are a hundred thousand.
    """
    order = scores.sort(descending=True, stable=True).indices
    looked_at = 8 * most
    while True:
        part = order[:looked_at]
        kept = part[suppress(boxes[part], scores[part], groups[part], iou)]
        if len(kept) > most or looked_at >= len(order):
            return kept[:most], len(kept) > most
        looked_at *= 4
