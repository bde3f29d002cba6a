"""Ways up, from a feature pyramid back to full resolution, and what goes with them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvNormAct(nn.Sequential):
    """3x3 convolution, batch normalisation, ReLU; the shape is kept."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class PlainLevel(nn.ModuleList):
    """One level of the plain decoder: enlarge, join the skip, convolve twice."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            [ConvNormAct(in_channels, out_channels), ConvNormAct(out_channels, out_channels)]
        )

    def forward(self, x: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        """``(B, C, h, w)``, and the skip at ``size``, to ``(B, out_channels, *size)``."""
        x = F.interpolate(x, size=size, mode="nearest")
        x = x if skip is None else torch.cat([x, skip], dim=1)
        for convolve in self:
            x = convolve(x)
        return x


class PlainDecoder(nn.Module):
    """Nearest-neighbour upsampling, concatenation with the skip, two 3x3 convolutions a level.

    The form of segmentation_models.pytorch's ``Unet`` (MIT), against which it is checked: five
    levels over a five-stage encoder, the last one at full resolution without a skip. Over an
    encoder that begins at stride 4 the last level enlarges by 4. With fewer levels the result
    stays at the stride of the last skip used: the full resolution is half of the work.

    Parameters
    ----------
    encoder_channels:
        Widths of the encoder's stages, finest first.
    channels:
        Widths of the levels, coarsest first; at most one more than there are skips.
    """

    def __init__(self, encoder_channels: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        *skips, deepest = encoder_channels
        skip_widths = [*reversed(skips), 0]
        if not 1 <= len(channels) <= len(skip_widths):
            raise ValueError(
                f"an encoder of {len(skip_widths)} stages takes 1 to {len(skip_widths)} widths, "
                f"got {len(channels)}"
            )
        inputs = [deepest, *channels[:-1]]
        self.levels = nn.ModuleList(
            PlainLevel(below + skip, width)
            for below, skip, width in zip(inputs, skip_widths, channels, strict=False)
        )
        self.out_channels = channels[-1]

    def forward(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Features, finest first, to ``(B, out_channels, *size)``, or to the size of the last skip
        used where there are fewer levels than stages."""
        *skips, x = features
        for level, skip in zip(self.levels, [*reversed(skips), None], strict=False):
            x = level(x, skip, size if skip is None else skip.shape[-2:])
        return x


class Pix2PixDecoder(nn.Module):
    """The pix2pix upsampler: transposed 3x3 stride-2 convolution, batch norm, ReLU, concatenation.

    As the TensorFlow segmentation tutorial uses it over MobileNetV2 (512-256-128-64); from Isola
    et al., "Image-to-Image Translation with Conditional Adversarial Networks", arXiv:1611.07004.
    The result stays at the finest skip's stride: the last transposed convolution, which yields
    the logits, belongs to the model.
    """

    def __init__(
        self, encoder_channels: Sequence[int], channels: Sequence[int] = (512, 256, 128, 64)
    ) -> None:
        super().__init__()
        *skips, below = encoder_channels
        if len(channels) != len(skips):
            raise ValueError(f"{len(skips)} levels need as many widths, got {len(channels)}")
        self.levels = nn.ModuleList()
        for skip, width in zip(reversed(skips), channels, strict=True):
            self.levels.append(
                nn.Sequential(
                    upsample_twice(below, width, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                )
            )
            below = width + skip
        self.out_channels = below

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features, finest first, to ``(B, out_channels, h, w)`` at the finest feature's size."""
        *skips, x = features
        for level, skip in zip(self.levels, reversed(skips), strict=True):
            x = torch.cat([crop_to(level(x), skip.shape[-2:]), skip], dim=1)
        return x


def upsample_twice(in_channels: int, out_channels: int, *, bias: bool) -> nn.ConvTranspose2d:
    """Transposed 3x3 convolution of stride 2: ``(h, w)`` becomes exactly ``(2h, 2w)``."""
    return nn.ConvTranspose2d(
        in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=bias
    )


def crop_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """Drop the last row or column that doubling an odd size (rounded up) has added."""
    return x[..., : size[0], : size[1]]


def enlarge(x: Tensor, size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    """Bilinear, to ``(B, C, *size)``; as it is where it has that size already.

    ``align_corners``: the corner values in the corners, as PSPNet enlarges. The features of an
    encoder whose strided filters lie around every other pixel, from the first on, stand exactly
    there in images of ``k * stride + 1`` pixels, such as the paper's 473 and 713.
    """
    if x.shape[-2:] == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=align_corners)


def full_size(
    logits: Tensor, padded: Tensor, size: Sequence[int], *, align_corners: bool = False
) -> Tensor:
    """Logits of padded images, laid over these and cut to the ``size`` before padding.

    Without gradients, float32 and each class in one piece: what reads them then goes class by
    class, many times slower where the classes of a pixel lie together (channels-last).
    """
    if not torch.is_grad_enabled():
        logits = logits.float().contiguous()
    return crop_to(enlarge(logits, padded.shape[-2:], align_corners=align_corners), size)


def pad_to_least(images: Tensor, side: int) -> Tensor:
    """Zeros at the right and bottom of images with a side below ``side`` px; others as they are."""
    height, width = images.shape[-2:]
    below, beside = max(0, side - height), max(0, side - width)
    return F.pad(images, (0, beside, 0, below)) if below or beside else images
