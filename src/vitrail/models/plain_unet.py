"""A U-Net with an encoder of its own: plain convolutions, learnt from the first image on.

Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation",
arXiv:1505.04597 (original code: Caffe, University of Freiburg, research licence; nothing of it
is used here), with the changes that made it usual: padded convolutions, so that the logits are as
large as the image, and 3x3 transposed convolutions on the way up. With 16 filters at the start and
dropout it is the network that beginners meet on the TGS salt images. Code: Apache-2.0.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.errors import ConfigError
from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.nn.upsample import crop_to, upsample_twice


class TwoConvolutions(nn.Sequential):
    """3x3 convolution and ReLU, twice; with a batch norm between them where wanted."""

    def __init__(self, in_channels: int, out_channels: int, batch_norm: bool) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers.append(nn.Conv2d(channels, out_channels, 3, padding=1, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(out_channels))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class Up(nn.Module):
    """Transposed convolution to twice the size, concatenation with the skip, dropout, two
    convolutions."""

    def __init__(self, width: int, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.enlarge = upsample_twice(2 * width, width, bias=True)
        self.dropout = nn.Dropout(dropout)
        self.convolve = TwoConvolutions(2 * width, width, batch_norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """``(B, 2 * width, h, w)``, and the skip ``(B, width, H, W)``, to the skip's shape."""
        x = crop_to(self.enlarge(x), skip.shape[-2:])
        return self.convolve(self.dropout(torch.cat([x, skip], dim=1)))


class PlainUNet(SemanticModel):
    """Levels of two convolutions: pooled on the way down, joined again on the way up.

    Parameters
    ----------
    widths:
        Filters of each level, finest first, each twice the one before; the last is the bottom.
    in_channels:
        Bands of the image.
    classes:
        Number of classes, background included.
    channels:
        Of the logits: ``classes``, or one for two classes.
    dropout:
        Share of values that are dropped after a pooling and after a concatenation; half of it
        after the first pooling, where few filters carry every detail.
    batch_norm:
        Whether each convolution is followed by one.
    """

    def __init__(
        self,
        widths: list[int],
        in_channels: int,
        classes: int,
        channels: int,
        *,
        dropout: float,
        batch_norm: bool,
    ) -> None:
        super().__init__()
        *levels, bottom = widths
        inputs = [in_channels, *levels]
        self.down = nn.ModuleList(
            TwoConvolutions(below, width, batch_norm)
            for below, width in zip(inputs, levels, strict=False)
        )
        self.dropouts = nn.ModuleList(
            nn.Dropout(dropout if level else dropout / 2) for level in range(len(levels))
        )
        self.bottom = TwoConvolutions(levels[-1], bottom, batch_norm)
        self.up = nn.ModuleList(Up(width, dropout, batch_norm) for width in reversed(levels))
        self.head = nn.Conv2d(widths[0], channels, 1)
        self.classes, self.channels = classes, channels
        self.stride = 2 ** len(levels)
        he_normal(self)

    def forward(self, images: Tensor) -> RawOutput:
        x, skips = images, []
        for convolve, dropout in zip(self.down, self.dropouts, strict=True):
            skips.append(convolve(x))
            x = dropout(F.max_pool2d(skips[-1], 2, ceil_mode=True))
        x = self.bottom(x)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(x, skip)
        return RawOutput(self.head(x))


def he_normal(model: nn.Module) -> None:
    """Normal weights of variance ``2 / N`` before a ReLU, ``1 / N`` elsewhere; no biases.

    ``N``: products that a value is the sum of (He et al., arXiv:1502.01852), as the paper does.
    torch's own default lets the signal fade in so many layers without norms.
    """
    for module in model.modules():
        if isinstance(module, nn.ConvTranspose2d):
            products = module.in_channels * module.weight[0, 0].numel() / 4  # stride 2 each way
            nn.init.normal_(module.weight, std=products**-0.5)
        elif isinstance(module, nn.Conv2d):
            kind = "relu" if module.kernel_size != (1, 1) else "linear"
            nn.init.kaiming_normal_(module.weight, nonlinearity=kind)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class PlainUNetArguments(BaseModel):
    """What a card or recipe may say of a plain U-Net; the defaults are those of the salt images.

    The network of the paper: ``start=64, dropout=0``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: int = Field(16, ge=1, le=512, description="filters of the first level")
    depth: int = Field(4, ge=1, le=8, description="poolings; each level has twice the filters")
    dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="after poolings (half after the first) and concatenations",
    )
    batch_norm: bool = Field(False, description="after every 3x3 convolution")
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes
    single_output: bool = Field(
        False, description="one logit (sigmoid) for two classes, instead of one for each"
    )


def build_plain_unet(arguments: PlainUNetArguments) -> PlainUNet:
    """Build the network; its widths stand here.

    Raises
    ------
    ConfigError
        a single output for more or fewer than two classes.
    """
    if arguments.single_output and arguments.classes != 2:
        raise ConfigError(
            f"unet-plain: single_output=true is for two classes, there are {arguments.classes}; "
            "leave it out"
        )
    return PlainUNet(
        [arguments.start * 2**level for level in range(arguments.depth + 1)],
        arguments.in_channels,
        arguments.classes,
        1 if arguments.single_output else arguments.classes,
        dropout=arguments.dropout,
        batch_norm=arguments.batch_norm,
    )
