"""DeepLabv3+: DeepLabv3 as the encoder of an encoder-decoder, with separable convolutions.

Chen, Zhu, Papandreou, Schroff, Adam: "Encoder-Decoder with Atrous Separable Convolution for
Semantic Image Segmentation", arXiv:1802.02611 (original code: TensorFlow models, Apache-2.0).
Takes the weights of segmentation_models.pytorch's ``DeepLabV3Plus`` (MIT). Code: Apache-2.0;
weights: see each card.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.errors import ConfigError
from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.models.deeplab_v3 import paper_rates
from vitrail.nn.aspp import ASPP, SeparableConv, dilated_conv, norm_act
from vitrail.nn.dilation import dilated_encoder
from vitrail.nn.encoder import TimmEncoder
from vitrail.nn.upsample import enlarge, full_size, pad_to_least


class DeepLabV3Plus(SemanticModel):
    """Dilated encoder and ASPP, enlarged and joined with the features at stride 4.

    Parameters
    ----------
    encoder:
        Has a stage at stride 4.
    aspp, refine:
        What the last stage goes through before it is enlarged.
    low_level:
        What the features at stride 4 go through before they are joined: few channels, or they
        would outweigh the rest (paper, section 4.1).
    fuse, head:
        Joined features to decoded features to logits, at stride 4.
    align_corners:
        How the features and the logits are enlarged: by pixel areas, or by the centres of the
        corners.
    """

    def __init__(
        self,
        encoder: TimmEncoder,
        aspp: ASPP,
        refine: nn.Module,
        low_level: nn.Module,
        fuse: nn.Module,
        head: nn.Conv2d,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.aspp = aspp
        self.refine = refine
        self.low_level = low_level
        self.fuse = fuse
        self.head = head
        self.align_corners = align_corners
        self.low_level_stage = stage_at(encoder, 4)
        self.classes = self.channels = head.out_channels
        self.stride = encoder.strides[-1]

    def forward(self, images: Tensor) -> RawOutput:
        size = images.shape[-2:]
        images = pad_to_least(images, self.stride)
        features = self.encoder(images)
        low = self.low_level(features[self.low_level_stage])
        high = self.refine(self.aspp(features[-1]))
        high = enlarge(high, low.shape[-2:], align_corners=self.align_corners)
        logits = self.head(self.fuse(torch.cat([high, low], dim=1)))
        return RawOutput(full_size(logits, images, size, align_corners=self.align_corners))


def stage_at(encoder: TimmEncoder, stride: int) -> int:
    """The last stage of that stride.

    Raises
    ------
    ConfigError
        the encoder has none.
    """
    stages = [stage for stage, own in enumerate(encoder.strides) if own == stride]
    if not stages:
        raise ConfigError(
            f"the decoder joins features at stride {stride}, and the encoder has strides "
            f"{encoder.strides}; choose an encoder with a stage at stride {stride}"
        )
    return stages[-1]


class DeepLabV3PlusArguments(BaseModel):
    """What a card or recipe may say of a DeepLabv3+."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field(
        "resnet50", description="timm model name; the paper's: xception65, resnet101"
    )
    output_stride: Literal[8, 16] = Field(16, description="input px per feature of the last stage")
    multi_grid: tuple[Annotated[int, Field(ge=1, le=16)], ...] | None = Field(
        None,
        description="over a resnet: factors on the dilation of the last stage's blocks, such as "
        "[1, 2, 4]",
    )
    dilate_first: bool = Field(
        False,
        description="dilate the convolutions that lost their stride too, as the weights of "
        "smp's own encoders need",
    )
    channels: int = Field(256, ge=1, le=4096, description="width of the ASPP and the decoder")
    low_level_channels: int = Field(
        48, ge=1, le=4096, description="width of the projected features at stride 4"
    )
    rates: tuple[Annotated[int, Field(ge=1, le=96)], ...] | None = Field(
        None,
        min_length=1,
        description="dilation of the ASPP's branches, in features; default 6-12-18, doubled at "
        "output stride 8",
    )
    separable: bool = Field(
        True, description="separable convolutions in the ASPP and in the decoder"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="share dropped behind the ASPP")
    decoder: Literal["paper", "smp"] = Field(
        "paper",
        description="paper: two 3x3 convolutions behind the joining; smp: one before, on the "
        "ASPP, and one behind",
    )
    align_corners: bool = Field(
        False, description="enlarge by the corners' centres, as smp's weights need"
    )
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_deeplab_v3plus(arguments: DeepLabV3PlusArguments) -> DeepLabV3Plus:
    """Build the parts and join them; all numbers of the architecture stand here."""
    encoder = dilated_encoder(
        arguments.encoder,
        in_channels=arguments.in_channels,
        output_stride=arguments.output_stride,
        multi_grid=arguments.multi_grid,
        dilate_first=arguments.dilate_first,
    )
    width, low = arguments.channels, arguments.low_level_channels
    aspp = ASPP(
        encoder.channels[-1],
        width,
        arguments.rates or paper_rates(arguments.output_stride),
        separable=arguments.separable,
        dropout=arguments.dropout,
    )

    def convolve(channels: int) -> nn.Module:
        if arguments.separable:
            return norm_act(SeparableConv(channels, width), width)
        return norm_act(dilated_conv(channels, width, 1, bias=False), width)

    refine = nn.Identity() if arguments.decoder == "paper" else convolve(width)
    fuse = nn.Sequential(convolve(width + low))
    if arguments.decoder == "paper":
        fuse.append(convolve(width))
    fine = encoder.channels[stage_at(encoder, 4)]
    return DeepLabV3Plus(
        encoder,
        aspp,
        refine,
        norm_act(nn.Conv2d(fine, low, 1, bias=False), low),
        fuse,
        nn.Conv2d(width, arguments.classes, 1),
        align_corners=arguments.align_corners,
    )
