"""Encoders that keep their resolution: dilated convolutions where there were strides.

Chen et al., arXiv:1412.7062, section 3.1 ("hole algorithm"), and arXiv:1706.05587, section 3.1.
timm's own ``output_stride`` does most of it; here are VGG, which has none of its own, and two
details of which networks differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from vitrail.errors import ConfigError
from vitrail.nn.encoder import TimmEncoder


def dilated_encoder(
    name: str,
    *,
    in_channels: int = 3,
    output_stride: int = 16,
    multi_grid: Sequence[int] | None = None,
    dilate_first: bool = False,
) -> TimmEncoder:
    """A timm encoder whose coarsest stage has a given output stride.

    Parameters
    ----------
    name, in_channels:
        As for :class:`TimmEncoder`.
    output_stride:
        8, 16 or 32 input pixels per feature of the last stage.
    multi_grid:
        Of a ResNet: one factor for each block of the last stage, by which its dilation is
        multiplied (arXiv:1706.05587, section 3.1: (1, 2, 4) over ResNet-50 and ResNet-101).
    dilate_first:
        Whether the convolution that lost its stride is dilated as well. Usually it is not: the
        features that it reads are as dense as ever. segmentation_models.pytorch's encoders do it
        (but for those of timm), and their weights expect it.

    Raises
    ------
    UnknownNameError
        timm has no such network.
    ConfigError
        it cannot have that output stride, or not that multi-grid.
    """
    if name.startswith("vgg") and output_stride < 32:
        encoder = TimmEncoder(name, in_channels=in_channels, depth=6)
        _dilate_vgg(encoder, output_stride)
    else:
        encoder = TimmEncoder(name, in_channels=in_channels, output_stride=output_stride)
    if dilate_first:
        _dilate_first(encoder, TimmEncoder(name, in_channels=in_channels))
    if multi_grid is not None:
        _apply_multi_grid(encoder, name, multi_grid)
    return encoder


def _dilate_vgg(encoder: TimmEncoder, output_stride: int) -> None:
    """VGG's pools behind ``output_stride`` as 3x3 with stride 1, and dilated convolutions behind
    those, as the authors' DeepLab-LargeFOV has them."""
    stride = dilation = 1
    for module in encoder.net.modules():
        if isinstance(module, nn.MaxPool2d):
            if stride < output_stride:
                stride *= 2
            else:
                module.kernel_size, module.stride, module.padding = 3, 1, 1
                dilation *= 2
        elif isinstance(module, nn.Conv2d):
            _set_dilation(module, dilation)
    # fc6 sets the last dilation itself: it is the one that reads the last pool.
    encoder.strides = [min(stride, output_stride) for stride in encoder.strides]


def _dilate_first(encoder: TimmEncoder, strided: TimmEncoder) -> None:
    """Multiply the dilation of each convolution by the stride that it lost."""
    pairs = zip(_spatial(encoder.net), _spatial(strided.net), strict=True)
    for convolution, original in pairs:
        lost = original.stride[0] // convolution.stride[0]
        if lost > 1:
            _set_dilation(convolution, convolution.dilation[0] * lost)


def _apply_multi_grid(encoder: TimmEncoder, name: str, factors: Sequence[int]) -> None:
    """Multiply the dilation of the last stage, block by block."""
    stage = dict(encoder.net.named_children()).get("layer4")
    if not isinstance(stage, nn.Sequential):
        raise ConfigError(f"encoder {name} has no multi-grid: it is for ResNets; leave it out")
    if len(stage) != len(factors):
        raise ConfigError(
            f"the last stage of encoder {name} has {len(stage)} blocks, and multi_grid="
            f"{tuple(factors)} is for {len(factors)}; give one factor for each block"
        )
    dilation = max(convolution.dilation[0] for convolution in _spatial(stage))
    for block, factor in zip(stage, factors, strict=True):
        for convolution in _spatial(block):
            _set_dilation(convolution, dilation * factor)


def _spatial(module: nn.Module) -> Iterator[nn.Conv2d]:
    """The convolutions that look beyond a single pixel, in order."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size[0] > 1:
            yield part


def _set_dilation(convolution: nn.Conv2d, dilation: int) -> None:
    """Dilate a convolution of stride 1 in place; the shape of its output stays."""
    reach = dilation * (convolution.kernel_size[0] - 1)
    convolution.dilation, convolution.padding = (dilation, dilation), (reach // 2, reach // 2)
