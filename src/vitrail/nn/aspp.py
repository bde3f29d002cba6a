"""Atrous spatial pyramid pooling: one feature map seen through several dilations at once.

Three forms, from the DeepLab series by Chen et al.: scores that are summed (arXiv:1606.00915,
section 3.2, figure 7), features that are joined with a pooling of the whole image
(arXiv:1706.05587, section 3.3), and the latter with separable convolutions (arXiv:1802.02611,
section 3.1).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 convolution, dilated or not, and a 1x1 convolution; the shape is kept."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__(
            dilated_conv(in_channels, in_channels, dilation, groups=in_channels, bias=False),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
        )


class ImagePooling(nn.Sequential):
    """The mean of the whole map, 1x1 convolution, batch norm, ReLU, laid over the map again.

    ParseNet's global context (Liu et al., arXiv:1506.04579), as DeepLabv3 uses it.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, out_channels, h, w)``, the same value everywhere."""
        pool, convolve, norm, activate = self
        pooled = activate(normalise_pooled(norm, convolve(pool(x))))
        return pooled.expand(-1, -1, *x.shape[-2:])


class ASPP(nn.Module):
    """A 1x1 convolution, dilated 3x3 convolutions and image pooling, joined and projected.

    Every branch is convolution, batch norm and ReLU; so is the projection, with dropout behind.

    Parameters
    ----------
    in_channels, out_channels:
        Width of the input, and of each branch and the result.
    rates:
        Dilation of each 3x3 branch, in features: (6, 12, 18) at output stride 16, twice that at 8.
    separable:
        3x3 branches as depthwise and 1x1 convolutions (DeepLabv3+).
    dropout:
        Share of the projected values dropped in training.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        rates: Sequence[int] = (6, 12, 18),
        *,
        separable: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        dilated = [
            SeparableConv(in_channels, out_channels, rate)
            if separable
            else dilated_conv(in_channels, out_channels, rate, bias=False)
            for rate in rates
        ]
        pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.convs = nn.ModuleList(
            norm_act(convolution, out_channels) for convolution in (pointwise, *dilated)
        )
        self.convs.append(ImagePooling(in_channels, out_channels))
        self.project = nn.Sequential(
            nn.Conv2d(len(self.convs) * out_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, h, w)`` to ``(B, out_channels, h, w)``."""
        return self.project(torch.cat([branch(x) for branch in self.convs], dim=1))


class AtrousScores(nn.ModuleList):
    """Scores from parallel dilated convolutions, summed: DeepLabv2's ASPP.

    Each branch is VGG's classifier made convolutional: fc6 (3x3, dilated) and fc7 (1x1), each with
    ReLU and dropout, and fc8 (1x1) to the scores. One branch of rate 12 is DeepLabv1's LargeFOV.

    Parameters
    ----------
    in_channels:
        Width of the input.
    classes:
        Number of scores.
    rates:
        Dilation of each branch's 3x3 convolution, in features.
    hidden:
        Width of fc6 and fc7; with 0 each branch is one dilated 3x3 convolution to the scores, as
        in the authors' network over ResNet-101.
    dropout:
        Share of the values dropped behind fc6 and fc7 in training.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        rates: Sequence[int] = (6, 12, 18, 24),
        *,
        hidden: int = 1024,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(
            _large_fov(in_channels, classes, rate, hidden, dropout)
            if hidden
            else nn.Sequential(OrderedDict(fc8=dilated_conv(in_channels, classes, rate)))
            for rate in rates
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, h, w)`` to ``(B, classes, h, w)``."""
        first, *others = self
        scores = first(x)
        for branch in others:
            scores = scores + branch(x)
        return scores


def normalise_pooled(norm: nn.Module, pooled: Tensor) -> Tensor:
    """Batch norm of a pooled map ``(B, C, h, w)``, in training also with one value per channel.

    A single value has no variance, and torch refuses it: a batch of one, pooled to a point, is
    normalised with the running statistics, as in evaluation, and leaves them as they are. (A norm
    that is synchronised between processes sees the others' values as well, and decides itself.)
    """
    if norm.training and type(norm) is nn.BatchNorm2d and pooled.numel() == norm.num_features:
        return F.batch_norm(
            pooled, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
    return norm(pooled)


def dilated_conv(
    in_channels: int, out_channels: int, dilation: int, *, groups: int = 1, bias: bool = True
) -> nn.Conv2d:
    """3x3 convolution that keeps the shape at any dilation."""
    return nn.Conv2d(
        in_channels, out_channels, 3, padding=dilation, dilation=dilation, groups=groups, bias=bias
    )


def norm_act(convolution: nn.Module, channels: int) -> nn.Sequential:
    """A convolution to ``channels``, its batch norm and a ReLU."""
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def _large_fov(
    in_channels: int, classes: int, rate: int, hidden: int, dropout: float
) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            fc6=dilated_conv(in_channels, hidden, rate),
            relu6=nn.ReLU(inplace=True),
            drop6=nn.Dropout(dropout),
            fc7=nn.Conv2d(hidden, hidden, 1),
            relu7=nn.ReLU(inplace=True),
            drop7=nn.Dropout(dropout),
            fc8=nn.Conv2d(hidden, classes, 1),
        )
    )
