"""Non-maximum suppression within groups (classes, levels)."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor

_MANY = 2000
"""Boxes from which on groups are faster one by one."""


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
    if boxes.device.type == "mps":  # has no float64
        return suppress(boxes.cpu(), scores.cpu(), groups.cpu(), iou).to(boxes.device)
    boxes, scores = boxes.double(), scores.double()
    if len(boxes) > _MANY and boxes.device.type == "cpu":  # compares all pairs, one after another
        order = scores.sort(descending=True, stable=True).indices
        kept = torch.zeros(len(boxes), dtype=torch.bool)
        for group in groups.unique():
            own = order[groups[order] == group]
            kept[own[torchvision.ops.nms(boxes[own], scores[own], iou)]] = True
        return order[kept[order]]
    # Groups are moved apart; in float64, since far from 0 float32 would change the overlaps.
    apart = boxes.max() - boxes.min() + 1
    return torchvision.ops.nms(boxes + (groups * apart)[:, None], scores, iou)


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
