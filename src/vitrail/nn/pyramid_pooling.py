"""Pyramid pooling: the means of an image's parts, from the whole of it to a sixth of each side.

Zhao, Shi, Qi, Wang, Jia: "Pyramid Scene Parsing Network", arXiv:1612.01105, section 3.2 and
figure 3. Written from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitrail.nn.aspp import normalise_pooled
from vitrail.nn.upsample import enlarge


class PooledMap(nn.Module):
    """Means over a grid of ``bins`` x ``bins`` parts, convolved (1x1) and enlarged again."""

    def __init__(self, in_channels: int, out_channels: int, bins: int, *, norm: bool) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(bins)
        self.convolve = nn.Conv2d(in_channels, out_channels, 1, bias=not norm)
        self.norm = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.activate = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, h, w)`` to ``(B, out_channels, h, w)``."""
        pooled = self.activate(normalise_pooled(self.norm, self.convolve(self.pool(x))))
        return enlarge(pooled, x.shape[2:], align_corners=True)


class PyramidPooling(nn.Module):
    """A feature beside its means over coarser and coarser grids, which share its width.

    Parameters
    ----------
    in_channels:
        Width of the feature, at least the number of grids; the result has about twice that.
    bins:
        Side of each grid.
    norm_whole:
        Whether the mean of the whole image is batch-normalised like the others; without, its
        convolution has a bias.
    """

    def __init__(
        self, in_channels: int, bins: Sequence[int] = (1, 2, 3, 6), *, norm_whole: bool = True
    ) -> None:
        super().__init__()
        width = in_channels // len(bins)
        if width == 0:
            raise ValueError(f"{in_channels} channels cannot be shared by {len(bins)} grids")
        self.maps = nn.ModuleList(
            PooledMap(in_channels, width, side, norm=norm_whole or side > 1) for side in bins
        )
        self.out_channels = in_channels + len(bins) * width

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, h, w)`` to ``(B, out_channels, h, w)``: the maps, then ``x``."""
        return torch.cat([*(pooled(x) for pooled in self.maps), x], dim=1)
