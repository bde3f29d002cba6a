"""The U-Net of the paper itself: valid convolutions, and overlapping tiles for any image.

Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation",
arXiv:1505.04597 (original code: Caffe, University of Freiburg, research licence; nothing of it
is used here). As in its figure 1: 64 to 1024 channels, 572 x 572 px to 388 x 388. Dropout stands
after the two deepest levels, where the released network has it; that one also has a ReLU behind
every up-convolution, and twice the channels behind the last, which the figure has not. Code:
Apache-2.0; weights: see each card.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.errors import ConfigError, ParameterError
from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.models.plain_unet import he_normal


class ValidConvolutions(nn.Sequential):
    """3x3 convolution without padding, and ReLU, twice: each side loses 2 px."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3),
            nn.ReLU(inplace=True),
        )


class ValidUp(nn.Module):
    """2x2 up-convolution, concatenation with the skip's middle, two valid convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.convolve = ValidConvolutions(2 * width, width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """``(B, 2 * width, h, w)``, and a larger skip, to ``(B, width, 2h - 4, 2w - 4)``."""
        x = self.enlarge(x)
        return self.convolve(torch.cat([x, _middle(skip, x.shape[-2], x.shape[-1])], dim=1))


class ValidUNet(nn.Module):
    """The bare network: what it says of a pixel depends on nothing that it has not seen.

    Parameters
    ----------
    widths:
        Channels of each level, finest first, each twice the one before; the last is the bottom.
    in_channels, classes:
        Of the input, and of the logits.
    dropout:
        Share of values dropped after the two deepest levels.

    Attributes
    ----------
    step:
        Sides of the output are ``4 + k * step`` px: 4, 20, ... 388, ... with four poolings.
    margin:
        Of the input around the output, px: 92 with four poolings.
    """

    def __init__(self, widths: list[int], in_channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        *levels, bottom = widths
        inputs = [in_channels, *levels]
        self.down = nn.ModuleList(
            ValidConvolutions(below, width) for below, width in zip(inputs, levels, strict=False)
        )
        self.bottom = ValidConvolutions(levels[-1], bottom)
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList(ValidUp(width) for width in reversed(levels))
        self.head = nn.Conv2d(widths[0], classes, 1)
        self.step = 2 ** len(levels)
        # Two convolutions a level on each side of the bottom lose 4 px of their level's size;
        # the bottom's two lose 4 of its own: 2 * 4 * (1 + 2 + ... + step / 2) + 4 * step in all.
        self.margin = 6 * self.step - 4
        he_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, C, h, w)`` to logits ``(B, classes, h - 2 * margin, w - 2 * margin)``.

        Raises
        ------
        ParameterError
            a size at which a pooling would meet an odd side, or nothing would be left.
        """
        height, width = (side - 2 * self.margin for side in images.shape[-2:])
        if any(side < 4 or (side - 4) % self.step for side in (height, width)):
            raise ParameterError(
                f"valid U-Net: got {images.shape[-2]} x {images.shape[-1]} px, expected sides of "
                f"{2 * self.margin + 4} px and {self.step} more as often as wanted"
            )
        x, skips = images, []
        for convolve in self.down:
            x = convolve(x)
            if convolve is self.down[-1]:
                x = self.dropout(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.dropout(self.bottom(x))
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(x, skip)
        return self.head(x)


class OverlapTileUNet(SemanticModel):
    """The valid network over any image by the paper's overlap-tile strategy (figure 2).

    What lies outside of the image is extrapolated by mirroring it, as often as it takes. In
    evaluation, images larger than ``tile`` are predicted tile by tile, which is the same as in one
    piece: tiles begin where the poolings of the whole would, and overlap by what convolutions
    lose. Memory is that of one tile and of the logits.

    Parameters
    ----------
    net:
        The bare network.
    tile:
        Largest side predicted at once in evaluation, px; at least ``4 + net.step``.
    classes:
        Number of classes, background included.
    """

    def __init__(self, net: ValidUNet, *, tile: int, classes: int) -> None:
        super().__init__()
        if tile < 4 + net.step:
            raise ConfigError(
                f"tile={tile}: expected {4 + net.step} px or more with {net.step.bit_length() - 1} "
                "poolings"
            )
        self.net = net
        self.tile = tile
        self.classes = self.channels = classes
        self.stride = 1  # mirrored to a size that suits, not padded

    def forward(self, images: Tensor) -> RawOutput:
        height, width = images.shape[-2:]
        if self.training or max(height, width) <= self.tile:
            return RawOutput(self._part(images, slice(0, height), slice(0, width)))
        logits = images.new_empty(images.shape[0], self.channels, height, width)
        advance = (self.tile - 4) // self.net.step * self.net.step
        for top in range(0, height, advance):
            rows = slice(top, min(top + advance, height))
            for left in range(0, width, advance):
                columns = slice(left, min(left + advance, width))
                logits[..., rows, columns] = self._part(images, rows, columns)
        return RawOutput(logits)

    def _part(self, images: Tensor, rows: slice, columns: slice) -> Tensor:
        """Logits of one rectangle, from it and the margin around it."""
        seen = images.index_select(-2, self._seen(rows, images.shape[-2], images.device))
        seen = seen.index_select(-1, self._seen(columns, images.shape[-1], images.device))
        return self.net(seen)[..., : rows.stop - rows.start, : columns.stop - columns.start]

    def _seen(self, part: slice, length: int, device: torch.device) -> Tensor:
        """Places that the network reads to predict ``part`` of ``length`` px."""
        step, margin = self.net.step, self.net.margin
        predicted = 4 + max(0, -(-(part.stop - part.start - 4) // step)) * step
        return mirrored(part.start - margin, part.start + predicted + margin, length, device)


def mirrored(start: int, stop: int, length: int, device: torch.device | None = None) -> Tensor:
    """Places ``start`` to ``stop`` (excluded) of a line of ``length`` px that is mirrored at its
    first and last pixel, without repeating them: ``3 2 1 0 1 2 3 2 1 ...`` for 4; all 0 for 1."""
    period = max(1, 2 * (length - 1))
    places = torch.arange(start, stop, device=device).remainder(period)
    return torch.minimum(places, period - places)


def _middle(x: Tensor, height: int, width: int) -> Tensor:
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]


class ValidUNetArguments(BaseModel):
    """What a card or recipe may say of the original U-Net; the defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: int = Field(64, ge=1, le=512, description="channels of the first level")
    depth: int = Field(4, ge=1, le=6, description="poolings; each level has twice the channels")
    dropout: float = Field(0.5, ge=0, lt=1, description="after the two deepest levels")
    tile: int = Field(
        388, ge=6, le=65536, description="largest side predicted at once in evaluation, px"
    )
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_valid_unet(arguments: ValidUNetArguments) -> OverlapTileUNet:
    """Build the network; its widths stand here.

    Raises
    ------
    ConfigError
        the tile is smaller than the network's smallest but one output.
    """
    widths = [arguments.start * 2**level for level in range(arguments.depth + 1)]
    net = ValidUNet(widths, arguments.in_channels, arguments.classes, arguments.dropout)
    return OverlapTileUNet(net, tile=arguments.tile, classes=arguments.classes)
