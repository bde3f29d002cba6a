"""Dilated depthwise convolutions whose gradients are right in bfloat16 on a CPU.

oneDNN's weight gradient of a grouped convolution with few channels a group, dilated, channels-last
and in bfloat16, is wrong from some 29 columns on: it is of the right size and of no use, and holds
memory that nobody wrote, at times NaN (torch 2.15, AVX512-BF16; float32, other layouts, dense
convolutions and the other gradients are right). In float32 these layers cost next to nothing.
"""

from __future__ import annotations

import torch
from timm.layers import Conv2dSame  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn


class _InFloat32(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        mixed = input.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if not mixed or self.weight.dtype != torch.float32:
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float()).to(input.dtype)


class DilatedDepthwiseConv2d(_InFloat32):
    """A convolution computed in float32 under autocast on a CPU."""


class DilatedDepthwiseConv2dSame(_InFloat32, Conv2dSame):
    """The same with timm's padding after TensorFlow."""


_CAREFUL = {nn.Conv2d: DilatedDepthwiseConv2d, Conv2dSame: DilatedDepthwiseConv2dSame}


def make_gradients_right(model: nn.Module) -> None:
    """Let a network's dilated grouped convolutions compute in float32 where bfloat16 is not right.

    In place; names and values of parameters stay.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and max(module.dilation) > 1:
            module.__class__ = _CAREFUL.get(type(module), type(module))
