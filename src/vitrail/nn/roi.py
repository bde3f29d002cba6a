"""Features of regions: each box of any size becomes a map of one size.

RoIAlign: He et al., "Mask R-CNN", arXiv:1703.06870, section 3; half a feature's shift
("aligned"): detectron2's ROIAlign V2. RoIPool: Girshick, "Fast R-CNN", arXiv:1504.08083, section
2.1. Crop-and-resize: ``tf.image.crop_and_resize``. Which level of a pyramid a region is cut out
of: Lin et al., "Feature Pyramid Networks", arXiv:1612.03144, equation 1.

On the CPU a bin is a weighted sum over rows of the feature map, features last, which torch has a
fast kernel for (an embedding bag): several times the speed of ``torchvision.ops.roi_align`` there,
forward and backward, and in bfloat16 too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

_WHOLE_IMAGE = 224
"""Side of a region, px, that is cut out of level 4: stride 16."""
_JUST_BELOW = 1e-6
"""Added to a level before it is rounded down: a side of exactly 224 px must reach its level."""

_ROUNDING = 2.0**-21
"""Of a map's side: how far the last sample of a box on the border can miss it in float32."""

Axis = tuple[Tensor, Tensor]
"""``(R, size, N)`` int32 positions along an axis and float32 weights: what each bin adds up."""


def level_of(sides: Tensor, strides: Sequence[int], rule: Literal["floor", "round"]) -> Tensor:
    """Which level of a pyramid each region is cut out of.

    Parameters
    ----------
    sides:
        ``(R,)`` square roots of the regions' areas, px; 0 gives the finest level.
    strides:
        Of the levels, px, finest first, doubling; where all are the same, the first counts.
    rule:
        For a region between two levels: the finer one, or the nearer one (a tie to the even
        number, counting from stride 1).

    Returns
    -------
    ``(R,)`` int64 indices into ``strides``.
    """
    finest, coarsest = (round(math.log2(stride)) for stride in (strides[0], strides[-1]))
    wanted = 4 + torch.log2(sides.float() / _WHOLE_IMAGE)
    wanted = torch.floor(wanted + _JUST_BELOW) if rule == "floor" else torch.round(wanted)
    return wanted.clamp(finest, coarsest).long() - finest


def roi_align(
    feature: Tensor,
    boxes: Tensor,
    images: Tensor,
    size: int,
    *,
    stride: float,
    samples: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Mean of bilinear samples in each of ``size`` x ``size`` bins of a box.

    Parameters
    ----------
    feature:
        ``(B, C, h, w)``; fastest channels-last.
    boxes:
        ``(R, 4)`` float32 x1 y1 x2 y2, px of the image.
    images:
        ``(R,)`` int64: which image of the batch each box lies in.
    stride:
        Px a feature.
    samples:
        Along a side of a bin; 0: one a feature, rounded up.
    aligned:
        Shift by half a feature, so that features lie in the middle of their px.

    Returns
    -------
    ``(R, C, size, size)`` in the feature's number format; equal to
    ``torchvision.ops.roi_align`` but for rounding.
    """
    if feature.device.type != "cpu":
        rois = torch.cat([images.to(boxes)[:, None], boxes], 1)
        wide = feature.float() if feature.dtype == torch.bfloat16 else feature
        pooled = torchvision.ops.roi_align(
            wide, rois.to(wide.dtype), size, 1 / stride, samples or -1, aligned
        )
        return pooled.to(feature.dtype)
    boxes = boxes / stride - (0.5 if aligned else 0.0)
    lengths = boxes[:, 2:] - boxes[:, :2]
    if not aligned:
        lengths = lengths.clamp(min=1)
    height, width = feature.shape[-2:]
    counts = (lengths / size).ceil().long() if samples == 0 else torch.full((1, 2), samples)
    kinds, kind = counts.unique(dim=0, return_inverse=True)
    feature = feature.contiguous(memory_format=torch.channels_last)
    parts: list[Tensor] = []
    for number, (across, down) in enumerate(kinds.tolist()):
        chosen = slice(None) if len(kinds) == 1 else kind == number
        start, length = boxes[chosen, :2], lengths[chosen]
        parts.append(
            _sum_bins(
                feature,
                _aligned_axis(start[:, 1], length[:, 1], size, down, height),
                _aligned_axis(start[:, 0], length[:, 0], size, across, width),
                images[chosen],
            )
        )
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return _empty(feature, 0, size)
    # Sorted by kind as they are, each goes back to its place.
    return torch.cat(parts)[kind.argsort(stable=True).argsort()]


def roi_pool(feature: Tensor, boxes: Tensor, images: Tensor, size: int, *, stride: float) -> Tensor:
    """The greatest feature in each bin, of a box and bins rounded to whole features.

    Parameters and result as for :func:`roi_align`.
    """
    rois = torch.cat([images.to(boxes)[:, None], boxes], 1)
    pooled = torchvision.ops.roi_pool(feature.float(), rois, size, 1 / stride)
    return pooled.to(feature.dtype)


def crop_and_resize(feature: Tensor, boxes: Tensor, images: Tensor, size: int) -> Tensor:
    """One bilinear sample a bin; the first and last lie on the box's edges.

    Parameters
    ----------
    feature:
        ``(B, C, h, w)``; fastest channels-last.
    boxes:
        ``(R, 4)`` float32 x1 y1 x2 y2, where 0 is the centre of the first feature of an axis and 1
        that of the last.
    images:
        ``(R,)`` int64: which image of the batch each box lies in.

    Returns
    -------
    ``(R, C, size, size)`` in the feature's number format; samples outside the feature map are 0,
    by more than rounding.
    """
    height, width = feature.shape[-2:]
    x1, y1, x2, y2 = boxes.unbind(1)
    rows, columns = _resized_axis(y1, y2, size, height), _resized_axis(x1, x2, size, width)
    return _sum_bins(feature, rows, columns, images)


def _aligned_axis(start: Tensor, length: Tensor, size: int, samples: int, limit: int) -> Axis:
    """``samples`` in each of ``size`` bins from ``start`` on, ``(R,)`` each, in features."""
    steps = (torch.arange(size * max(1, samples), device=start.device) + 0.5) / max(1, samples)
    places = start[:, None] + steps * (length / size)[:, None]
    inside = (places >= -1) & (places <= limit)
    weights = inside / samples if samples else torch.zeros_like(places)
    positions, weights = _neighbours(places.clamp(0, limit - 1), weights, limit)
    return positions.unflatten(1, (size, -1)), weights.unflatten(1, (size, -1))


def _resized_axis(low: Tensor, high: Tensor, size: int, limit: int) -> Axis:
    """As TensorFlow computes it, but for a sample that only rounding takes outside: there it is 0,
    so that the last bit of a box at the border decides over a whole row of its features."""
    if size > 1:
        step = (high - low) * (limit - 1) / (size - 1)
        bins = torch.arange(size, device=low.device, dtype=low.dtype)
        places = (low * (limit - 1))[:, None] + bins * step[:, None]
    else:
        places = (0.5 * (low + high) * (limit - 1))[:, None]
    missed = max(1e-4, _ROUNDING * limit)
    inside = (places >= -missed) & (places <= limit - 1 + missed)
    positions, weights = _neighbours(places.clamp(0, limit - 1), inside.float(), limit)
    return positions.unflatten(1, (size, 2)), weights.unflatten(1, (size, 2))


def _neighbours(places: Tensor, weights: Tensor, limit: int) -> Axis:
    """The two features around each place, ``(R, 2 * N)``, and what of the weight each gets."""
    before = places.floor()
    share = places - before
    positions = torch.stack([before, (before + 1).clamp(max=limit - 1)], -1)
    shared = torch.stack([(1 - share) * weights, share * weights], -1)
    return positions.flatten(1).to(torch.int32), shared.flatten(1)


def _sum_bins(feature: Tensor, rows: Axis, columns: Axis, images: Tensor) -> Tensor:
    """``(R, C, size, size)``: the weighted features of each bin, added up."""
    batch, channels, height, width = feature.shape
    (y, down), (x, across) = rows, columns
    count, size = y.shape[:2]
    if not count:
        return _empty(feature, 0, size)
    first = images.to(torch.int32) * (height * width)
    y = first[:, None, None] + y * width
    places = (y[:, :, None, :, None] + x[:, None, :, None, :]).view(count * size * size, -1)
    weights = (down[:, :, None, :, None] * across[:, None, :, None, :]).view_as(places)
    table = feature.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    sums = F.embedding_bag(places, table, mode="sum", per_sample_weights=weights.to(table.dtype))
    return sums.view(count, size, size, channels).permute(0, 3, 1, 2)


def _empty(feature: Tensor, count: int, size: int) -> Tensor:
    """Room for pooled features, channels last as :func:`_sum_bins` has them."""
    return feature.new_empty(count, size, size, feature.shape[1]).permute(0, 3, 1, 2)
