"""U-Net over any timm encoder, with two decoders.

Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation",
arXiv:1505.04597 (original code: Caffe, University of Freiburg, research licence; nothing of it
is used here). The pix2pix variant is the network of TensorFlow's segmentation tutorial
(Apache-2.0). Code: Apache-2.0; weights: see each card.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.nn.encoder import MobileNetV2Taps, TimmEncoder
from vitrail.nn.upsample import (
    Pix2PixDecoder,
    PlainDecoder,
    crop_to,
    full_size,
    pad_to_least,
    upsample_twice,
)


class UNet(SemanticModel):
    """Encoder, plain decoder, 3x3 convolution to the logits, bilinear for what is left to go."""

    def __init__(self, encoder: TimmEncoder, decoder: PlainDecoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = nn.Conv2d(decoder.out_channels, classes, 3, padding=1)
        self.classes = self.channels = classes
        self.stride = encoder.strides[-1]

    def forward(self, images: Tensor) -> RawOutput:
        size = images.shape[-2:]
        images = pad_to_least(images, self.stride)  # patch embeddings need a whole patch
        padded = (images.shape[-2], images.shape[-1])
        pixels = self.decoder(self.encoder(images), size=padded)
        return RawOutput(full_size(self.head(pixels), images, size))


class Pix2PixUNet(SemanticModel):
    """MobileNetV2's five tutorial taps, pix2pix upsampler, transposed convolution to the logits."""

    def __init__(self, encoder: MobileNetV2Taps, decoder: Pix2PixDecoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = upsample_twice(decoder.out_channels, classes, bias=True)
        self.classes = self.channels = classes
        self.stride = encoder.strides[-1]

    def forward(self, images: Tensor) -> RawOutput:
        features = self.encoder(images)
        half = self.decoder(features)
        return RawOutput(crop_to(self.head(half), images.shape[-2:]))


class UNetArguments(BaseModel):
    """What a card or recipe may say of a U-Net."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field("mobilenetv2_100", description="timm model name")
    decoder: Literal["plain", "pix2pix"] = Field(
        "plain", description="plain: any encoder; pix2pix: the tutorial's, over a mobilenetv2"
    )
    decoder_channels: tuple[Annotated[int, Field(ge=1, le=4096)], ...] | None = Field(
        None,
        description="widths, coarsest level first; default 256-128-64-32-16 (plain; with fewer "
        "the logits stay coarser and are enlarged) or 512-256-128-64 (pix2pix)",
    )
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_unet(arguments: UNetArguments) -> UNet | Pix2PixUNet:
    """Build the parts and join them; all numbers of the architecture stand here."""
    if arguments.decoder == "pix2pix":
        taps = MobileNetV2Taps(arguments.encoder, in_channels=arguments.in_channels)
        widths = arguments.decoder_channels or (512, 256, 128, 64)
        return Pix2PixUNet(taps, Pix2PixDecoder(taps.channels, widths), arguments.classes)
    encoder = TimmEncoder(arguments.encoder, in_channels=arguments.in_channels)
    widths = arguments.decoder_channels or (256, 128, 64, 32, 16)[-len(encoder.channels) :]
    return UNet(encoder, PlainDecoder(encoder.channels, widths), arguments.classes)
