"""Lite R-ASPP: one gate from the whole image and one skip, for networks that must be fast.

Howard et al.: "Searching for MobileNetV3", arXiv:1905.02244, section 6.4 and figure 10 (original
code: https://github.com/tensorflow/models, DeepLab, Apache-2.0). torchvision's
``lraspp_mobilenet_v3_large`` (BSD-3-Clause; its weights have no licence of their own) is the form
checked against. No code of either is used. Code: Apache-2.0; weights: see each card.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.errors import ConfigError
from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.nn.encoder import TimmEncoder
from vitrail.nn.mobilenetv3 import TorchvisionMobileNetV3
from vitrail.nn.upsample import enlarge, full_size, pad_to_least


class LRASPP(SemanticModel):
    """Deep features, reduced and gated by the image's mean; their scores and those of stride 8.

    Parameters
    ----------
    encoder:
        Has a stage at stride 8, and a coarser one.
    width:
        Channels that the deepest stage is reduced to.
    classes:
        Number of classes, background included.

    Raises
    ------
    ConfigError
        the encoder has no stage at stride 8.
    """

    def __init__(self, encoder: TimmEncoder, *, width: int, classes: int) -> None:
        super().__init__()
        if 8 not in encoder.strides[:-1]:
            raise ConfigError(
                f"LR-ASPP reads a stage at stride 8 and a deeper one, the encoder has strides "
                f"{encoder.strides}; choose another encoder"
            )
        self.encoder = encoder
        self.fine = encoder.strides.index(8)
        deepest = encoder.channels[-1]
        self.reduce = nn.Sequential(
            nn.Conv2d(deepest, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        # The paper pools 49x49 px in steps; over the whole image, as here, is torchvision's form.
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(deepest, width, 1, bias=False), nn.Sigmoid()
        )
        self.coarse_score = nn.Conv2d(width, classes, 1)
        self.fine_score = nn.Conv2d(encoder.channels[self.fine], classes, 1)
        self.classes = self.channels = classes
        self.stride = encoder.strides[-1]

    def forward(self, images: Tensor) -> RawOutput:
        size = images.shape[-2:]
        images = pad_to_least(images, self.stride)
        features = self.encoder(images)
        fine, coarse = features[self.fine], features[-1]
        gated = self.reduce(coarse) * self.gate(coarse)
        gated = enlarge(gated, fine.shape[-2:])
        scores = self.coarse_score(gated) + self.fine_score(fine)
        return RawOutput(full_size(scores, images, size))


class LRASPPArguments(BaseModel):
    """What a card or recipe may say of an LR-ASPP."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field(
        "mobilenetv3_large_100", description="timm model name, of a network that can dilate"
    )
    torchvision: bool = Field(
        False,
        description="tap and dilate the encoder as torchvision does, for its weights; needs "
        "mobilenetv3_large_100 or mobilenetv3_small_100",
    )
    width: int = Field(128, ge=1, le=4096, description="channels of the reduced deepest stage")
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_lraspp(arguments: LRASPPArguments) -> LRASPP:
    """Build the parts and join them; the encoder ends at stride 16.

    Raises
    ------
    ConfigError
        the encoder does not suit.
    """
    name, bands = arguments.encoder, arguments.in_channels
    encoder = (
        TorchvisionMobileNetV3(name, in_channels=bands)
        if arguments.torchvision
        else TimmEncoder(name, in_channels=bands, output_stride=16)
    )
    return LRASPP(encoder, width=arguments.width, classes=arguments.classes)
