"""Joint Pyramid Upsampling: what a dilated encoder would see, made from a plain one's pyramid.

Wu, Zhang, Huang, Liang, Yu: "FastFCN: Rethinking Dilated Convolution in the Backbone for Semantic
Segmentation", arXiv:1903.11816, section 3.3. Written from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitrail.nn.aspp import dilated_conv
from vitrail.nn.upsample import ConvNormAct, enlarge


class JointPyramidUpsampling(nn.Module):
    """Features at strides 8, 16 and 32 joined to one at stride 8.

    Each is convolved (3x3, batch norm, ReLU) to one width and enlarged to the finest; side by side
    they go through separable 3x3 convolutions of several dilations, whose results are joined. The
    dilations 1, 2, 4 and 8 reach what the three strides hold: the first what stands in the finest
    feature alone, the others what the coarser ones add to it.

    Parameters
    ----------
    in_channels:
        Widths of the features, finest first.
    width:
        Of every convolution's result; the joined one has ``len(dilations)`` times that.
    dilations:
        Of the parallel convolutions, in features.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        width: int = 512,
        dilations: Sequence[int] = (1, 2, 4, 8),
    ) -> None:
        super().__init__()
        self.project = nn.ModuleList(ConvNormAct(channels, width) for channels in in_channels)
        joined = len(in_channels) * width
        self.dilated = nn.ModuleList(
            SeparableConvNormAct(joined, width, dilation) for dilation in dilations
        )
        self.out_channels = len(dilations) * width

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features, finest first, to ``(B, out_channels, h, w)`` at the finest one's size."""
        projected = [
            project(feature) for project, feature in zip(self.project, features, strict=True)
        ]
        size = (projected[0].shape[2], projected[0].shape[3])
        pyramid = torch.cat([enlarge(feature, size) for feature in projected], dim=1)
        return torch.cat([convolve(pyramid) for convolve in self.dilated], dim=1)


class SeparableConvNormAct(nn.Sequential):
    """Depthwise 3x3 convolution, batch norm, 1x1 convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__(
            dilated_conv(in_channels, in_channels, dilation, groups=in_channels, bias=False),
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )
