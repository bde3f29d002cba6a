"""Boxes and what a detector predicts of them: deltas, overlaps, clipping.

All boxes are float32 ``x1 y1 x2 y2`` in px and continuous: a box covers ``x2 - x1`` columns.
matterport's "inclusive" boxes, whose last corner is one less, go through the same functions: they
are shifted before and after (:func:`to_inclusive`, :func:`from_inclusive`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MAX_GROWTH = math.log(1000 / 16)
"""What torchvision and detectron2 let dw and dh be at most: a side grows 62.5-fold."""

_FINITE_GROWTH = 50.0
"""Beyond any image, and still finite in float32: without it, 0 * exp(100) were no number."""


def encode(boxes: Tensor, anchors: Tensor, scale: tuple[float, float, float, float]) -> Tensor:
    """Deltas that lead from anchors to boxes (Ren et al., arXiv:1506.01497, equation 2).

    Parameters
    ----------
    boxes, anchors:
        ``(..., 4)`` x1 y1 x2 y2, of shapes that broadcast; their sides are above 0.
    scale:
        What dx, dy, dw and dh are multiplied by here and divided by in :func:`decode`.

    Returns
    -------
    ``(..., 4)`` float32: dx, dy in sides of the anchor, dw, dh as natural logarithms.
    """
    centres, sides = _centres(boxes.float())
    anchor_centres, anchor_sides = _centres(anchors.float())
    shift = (centres - anchor_centres) / anchor_sides
    growth = torch.log(sides / anchor_sides)
    return torch.cat([shift, growth], -1) * shift.new_tensor(scale)


def decode(
    deltas: Tensor,
    anchors: Tensor,
    scale: tuple[float, float, float, float],
    clamp: float | None = MAX_GROWTH,
) -> Tensor:
    """Boxes that deltas lead to from anchors: the reverse of :func:`encode`.

    Parameters
    ----------
    deltas, anchors:
        ``(..., 4)``, of shapes that broadcast; any floating type, computed in float32.
    scale:
        What dx, dy, dw and dh are divided by.
    clamp:
        What dw and dh are at most, after the division; None: no limit.

    Returns
    -------
    ``(..., 4)`` float32 x1 y1 x2 y2.
    """
    deltas = deltas.float()
    if any(factor != 1 for factor in scale):
        deltas = deltas / deltas.new_tensor(scale)
    centres, sides = _centres(anchors.float())
    growth = deltas[..., 2:].clamp(max=_FINITE_GROWTH if clamp is None else clamp)
    centres = centres + deltas[..., :2] * sides
    half = 0.5 * sides * torch.exp(growth)
    return torch.cat([centres - half, centres + half], -1)


def pairwise_intersection(one: Tensor, two: Tensor) -> Tensor:
    """Area that each of ``(N, 4)`` boxes shares with each of ``(M, 4)``: ``(N, M)``, px²."""
    # Corner by corner, each in one piece: a last axis of two numbers is several times slower.
    x1, y1, x2, y2 = one.t().contiguous()[:, :, None]
    left, top, right, bottom = two.t().contiguous()[:, None, :]
    width = torch.minimum(x2, right).sub_(torch.maximum(x1, left)).clamp_(min=0)
    height = torch.minimum(y2, bottom).sub_(torch.maximum(y1, top)).clamp_(min=0)
    return width.mul_(height)


def pairwise_iou(one: Tensor, two: Tensor) -> Tensor:
    """Intersection over union of each of ``(N, 4)`` boxes with each of ``(M, 4)``: ``(N, M)``.

    0 where neither box has any area.
    """
    shared = pairwise_intersection(one, two)
    union = areas(one)[:, None] + areas(two)[None, :] - shared
    return torch.where(union > 0, shared / union.clamp(min=1e-12), 0.0)


def areas(boxes: Tensor) -> Tensor:
    """``(..., 4)`` boxes to ``(...)`` px²."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def clip(boxes: Tensor, windows: Tensor) -> Tensor:
    """The part of each box inside its window; both ``(..., 4)``, of shapes that broadcast.

    A box outside becomes one without any area, on the window's edge.
    """
    corners = boxes.unflatten(-1, (2, 2))
    low, high = windows[..., None, :2], windows[..., None, 2:]
    return torch.minimum(torch.maximum(corners, low), high).flatten(-2)


def to_inclusive(boxes: Tensor) -> Tensor:
    """Boxes whose x2 and y2 are of the last pixel inside, no longer of the first one behind."""
    return boxes - boxes.new_tensor((0, 0, 1, 1))


def from_inclusive(boxes: Tensor) -> Tensor:
    """The reverse of :func:`to_inclusive`."""
    return boxes + boxes.new_tensor((0, 0, 1, 1))


def _centres(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """``(..., 2)`` centres and ``(..., 2)`` sides, x before y."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, sides
