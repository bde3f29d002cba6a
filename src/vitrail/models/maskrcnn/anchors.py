"""Anchors: the boxes that proposals start from, of every shape at every feature.

Ren et al.: "Faster R-CNN", arXiv:1506.01497, section 3.1.1; one size a level: Lin et al.,
arXiv:1612.03144, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vitrail.models.maskrcnn.arguments import AnchorArguments
from vitrail.models.maskrcnn.boxes import to_inclusive


def anchor_shapes(arguments: AnchorArguments) -> Tensor:
    """``(levels, A, 4)`` float32: the anchors around the point (0, 0), px; ratio, then size."""
    sizes = torch.tensor(arguments.by_level, dtype=torch.float64)[:, None]
    roots = torch.tensor(arguments.ratios, dtype=torch.float64).sqrt()[:, None]
    half = torch.stack([sizes / roots, sizes * roots], -1).flatten(1, 2) / 2
    boxes = torch.cat([-half, half], -1).float()
    return boxes.round() if arguments.rounded else boxes


def place_anchors(
    levels: Sequence[tuple[int, int]],
    strides: Sequence[int],
    size: tuple[int, int],
    arguments: AnchorArguments,
    *,
    inclusive: bool,
    device: torch.device,
) -> list[Tensor]:
    """The anchors of each level of a pyramid.

    Parameters
    ----------
    levels:
        ``(h, w)`` of each, in features, finest first.
    strides:
        Px a feature, of each.
    size:
        ``(H, W)`` of the image, padding included, px.
    inclusive:
        Whether x2 and y2 shall be of the last px inside.

    Returns
    -------
    ``(h * w * A, 4)`` float32 x1 y1 x2 y2 each, in the order y, x, ratio, size. The centre of
    the first is (0, 0).
    """
    placed: list[Tensor] = []
    shapes = anchor_shapes(arguments).to(device)
    if inclusive:
        shapes = to_inclusive(shapes)
    for (height, width), stride, shape in zip(levels, strides, shapes, strict=True):
        down, across = stride, stride
        if arguments.whole_steps:
            down, across = size[0] // height, size[1] // width
        y = torch.arange(height, device=device, dtype=torch.float32)[:, None] * down
        x = torch.arange(width, device=device, dtype=torch.float32)[None, :] * across
        centres = torch.stack(torch.broadcast_tensors(x, y, x, y), -1)
        placed.append((centres[:, :, None] + shape).reshape(-1, 4))
    return placed
