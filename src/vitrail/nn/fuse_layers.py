"""Convolutions for the CPU that do more in one go: oneDNN's fused primitives.

The weights are kept in the order that oneDNN likes best for the size of the input. Left as they
are they would be put in that order on every call, which costs a small input up to half its time.
For inference only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = tuple[str, list[float]]
"""Name and limits, as oneDNN takes them."""
NOTHING: Activation = ("none", [])
RELU: Activation = ("relu", [])
RELU6: Activation = ("hardtanh", [0.0, 6.0])

_OWN_PADDING = 6
"""Padding up to which oneDNN has a kernel for depthwise convolutions. With more, as dilated ones
have, it takes a general kernel that is ten times slower; an input padded before is fast again."""


class AddedConv2d(nn.Conv2d):
    """``relu(y + conv(x))``: one of the two halves of a convolution over a concatenation."""

    def forward(self, y: Tensor, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return F.relu(y + super().forward(x))


class _Packed(nn.Module):
    """Weights in oneDNN's order for the last input's shape; ordered anew for another shape.

    Several threads may use it, each with inputs of its own size.
    """

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        # No buffers: packed tensors cannot be copied or saved.
        self.weight = conv.weight.detach()
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.geometry: tuple[Any, ...] = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self.stride = conv.stride  # MobileNetV2's taps are found by it
        self.packed: tuple[torch.Size, Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "packed": None}

    def ordered(self, x: Tensor) -> Tensor:
        """The weights for this input."""
        packed = self.packed  # read once: another thread may replace it
        if packed is None or packed[0] != x.shape:
            packed = self.packed = x.shape, self.order(list(x.shape))
        return packed[1]

    def order(self, shape: list[int]) -> Tensor:
        return torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self.geometry, shape)


class FusedConv2d(_Packed):
    """A convolution whose activation is computed while its output is in the cache."""

    def __init__(self, conv: nn.Conv2d, activation: Activation) -> None:
        super().__init__(conv)
        self.activation = activation
        self.around: list[int] = []
        padding, *others = self.geometry
        if conv.groups == conv.in_channels > 1 and max(padding) > _OWN_PADDING:
            self.around = [padding[1], padding[1], padding[0], padding[0]]
            self.geometry = ((0, 0), *others)

    def forward(self, x: Tensor) -> Tensor:
        if self.around:
            x = F.pad(x, self.around)
        return torch.ops.mkldnn._convolution_pointwise(
            x.to(self.weight.dtype),
            self.ordered(x),
            self.bias,
            *self.geometry,
            *self.activation,
            "",
        )


class FusedConvTranspose2d(_Packed):
    """A transposed convolution with its activation."""

    def __init__(self, conv: nn.ConvTranspose2d, activation: Activation) -> None:
        super().__init__(conv)
        self.activation = activation
        self.geometry = (
            conv.padding,
            conv.output_padding,
            conv.stride,
            conv.dilation,
            conv.groups,
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_transpose_pointwise(
            x.to(self.weight.dtype),
            self.ordered(x),
            self.bias,
            *self.geometry,
            *self.activation,
            "",
        )

    def order(self, shape: list[int]) -> Tensor:
        return torch.ops.mkldnn._reorder_convolution_transpose_weight(
            self.weight, *self.geometry, shape
        )


class FusedAddedConv2d(_Packed):
    """:class:`AddedConv2d`, its output written over ``y``, which nothing else may read."""

    def __init__(self, conv: AddedConv2d) -> None:
        super().__init__(conv)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            y,
            x.to(self.weight.dtype),
            self.ordered(x),
            self.bias,
            *self.geometry,
            "add",
            1.0,
            *RELU,
            "",
        )
