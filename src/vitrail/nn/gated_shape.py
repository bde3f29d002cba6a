"""The shape stream: what of the fine features belongs to a boundary, told by the deep ones.

Takikawa et al., "Gated-SCNN: Gated Shape CNNs for Semantic Segmentation", arXiv:1907.05740;
written from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from vitrail.nn.upsample import ConvNormAct, enlarge


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around which the input passes; He et al., arXiv:1512.03385."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNormAct(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to the same shape."""
        return torch.relu(x + self.norm(self.second(self.first(x))))


class GatedConv(nn.Module):
    """Gated convolution: a deep feature says where the shape stream's features count double.

    What the deep feature knows passes through the gate only, and not into the stream itself.
    ``attention = sigmoid(norm(conv1x1(shape || deep)))``, then a 1x1 convolution of
    ``shape * attention + shape``.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(channels + 1, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid()
        )
        self.weigh = nn.Conv2d(channels, out_channels, 1, bias=False)

    def forward(self, shape: Tensor, deep: Tensor) -> tuple[Tensor, Tensor]:
        """Shape features ``(B, C, h, w)`` and a deep one ``(B, 1, h, w)`` to
        ``(B, out_channels, h, w)`` and the attention, ``(B, 1, h, w)`` in 0..1."""
        attention = self.gate(torch.cat([shape, deep], dim=1))
        return self.weigh(shape * attention + shape), attention


class ShapeStream(nn.Module):
    """Residual blocks, each followed by a gate that a deeper feature controls.

    Parameters
    ----------
    in_channels:
        Width of the fine features that it begins with.
    gate_channels:
        Widths of the deeper features, one for each gate, finest first.
    channels:
        Width of the stream before the first gate, and behind each gate.
    """

    def __init__(
        self, in_channels: int, gate_channels: Sequence[int], channels: Sequence[int]
    ) -> None:
        super().__init__()
        if len(channels) != len(gate_channels) + 1:
            raise ValueError(
                f"{len(gate_channels)} gates need {len(gate_channels) + 1} widths, "
                f"got {len(channels)}"
            )
        self.begin = nn.Conv2d(in_channels, channels[0], 1)
        self.blocks = nn.ModuleList(ResidualBlock(width) for width in channels[:-1])
        # Without bias: the gate's batch norm would take it away again.
        self.reduce = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in gate_channels)
        self.gates = nn.ModuleList(GatedConv(*widths) for widths in pairwise(channels))
        self.draw = nn.Conv2d(channels[-1], 1, 1)

    def forward(
        self, fine: Tensor, deep: Sequence[Tensor], size: tuple[int, int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Run at ``size``.

        Returns
        -------
        Boundary logits ``(B, 1, *size)``, and the attention of each gate, shaped alike, in 0..1.
        """
        shape = enlarge(self.begin(fine), size)
        attentions: list[Tensor] = []
        for block, reduce, gate, feature in zip(
            self.blocks, self.reduce, self.gates, deep, strict=True
        ):
            shape, attention = gate(block(shape), enlarge(reduce(feature), size))
            attentions.append(attention)
        return self.draw(shape), attentions
