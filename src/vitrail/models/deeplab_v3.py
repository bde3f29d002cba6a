"""DeepLabv3: atrous spatial pyramid pooling with image-level features.

Chen, Papandreou, Schroff, Adam: "Rethinking Atrous Convolution for Semantic Image Segmentation",
arXiv:1706.05587 (original code: TensorFlow models, Apache-2.0). Takes the weights of torchvision's
``deeplabv3_*`` (BSD-3-Clause; trained on COCO) and of segmentation_models.pytorch's ``DeepLabV3``
(MIT). Code: Apache-2.0; weights: see each card.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.errors import ConfigError
from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.models.fcn import FCNHead
from vitrail.nn.aspp import ASPP
from vitrail.nn.dilation import dilated_encoder
from vitrail.nn.encoder import TimmEncoder
from vitrail.nn.mobilenetv3 import TorchvisionMobileNetV3
from vitrail.nn.upsample import ConvNormAct, full_size, pad_to_least


class DeepLabV3(SemanticModel):
    """Dilated encoder, ASPP, 3x3 convolution, 1x1 convolution to the logits, bilinear to full size.

    Parameters
    ----------
    encoder:
        Its last stage goes to the classifier, the one before to the auxiliary classifier.
    classifier, auxiliary:
        Features to logits at the features' size; without ``auxiliary`` there is one loss only.
    align_corners:
        How the logits are laid over the image: by pixel areas, or by the centres of the corners.
    """

    def __init__(
        self,
        encoder: TimmEncoder,
        classifier: DeepLabV3Head,
        classes: int,
        *,
        auxiliary: nn.Module | None = None,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = classifier
        self.aux_classifier = auxiliary
        self.align_corners = align_corners
        self.classes = self.channels = classes
        self.stride = encoder.strides[-1]

    def forward(self, images: Tensor) -> RawOutput:
        size = images.shape[-2:]
        images = pad_to_least(images, self.stride)
        *_, middle, deepest = self.encoder(images)
        scores = self.classifier(deepest)
        logits = full_size(scores, images, size, align_corners=self.align_corners)
        auxiliary = ()
        if self.training and self.aux_classifier is not None:
            auxiliary = (full_size(self.aux_classifier(middle), images, size),)
        return RawOutput(logits, auxiliary)


class DeepLabV3Head(nn.Sequential):
    """ASPP, 3x3 convolution with batch norm and ReLU, 1x1 convolution to the logits."""

    def __init__(self, aspp: ASPP, classes: int) -> None:
        width = aspp.out_channels
        super().__init__(aspp, *ConvNormAct(width, width), nn.Conv2d(width, classes, 1))


class DeepLabV3Arguments(BaseModel):
    """What a card or recipe may say of a DeepLabv3."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field("resnet50", description="timm model name")
    output_stride: Literal[8, 16] = Field(16, description="input px per feature of the last stage")
    multi_grid: tuple[Annotated[int, Field(ge=1, le=16)], ...] | None = Field(
        None,
        description="over a resnet: factors on the dilation of the last stage's blocks; the "
        "paper's: [1, 2, 4]",
    )
    dilate_first: bool = Field(
        False,
        description="dilate the convolutions that lost their stride too, as the weights of smp's "
        "own encoders need",
    )
    torchvision: bool = Field(
        False,
        description="tap and dilate the encoder as torchvision does, for its weights; needs "
        "mobilenetv3_large_100 or mobilenetv3_small_100",
    )
    channels: int = Field(256, ge=1, le=4096, description="width of the ASPP's branches")
    rates: tuple[Annotated[int, Field(ge=1, le=96)], ...] | None = Field(
        None,
        min_length=1,
        description="dilation of the ASPP's branches, in features; default 6-12-18, doubled at "
        "output stride 8",
    )
    separable: bool = Field(False, description="separable convolutions in the ASPP")
    dropout: float = Field(0.5, ge=0, lt=1, description="share dropped behind the ASPP")
    auxiliary: bool = Field(
        False, description="a second, plain classifier on the stage before the last, in training"
    )
    align_corners: bool = Field(
        False, description="enlarge by the corners' centres, as smp's weights need"
    )
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_deeplab_v3(arguments: DeepLabV3Arguments) -> DeepLabV3:
    """Build the parts and join them; all numbers of the architecture stand here."""
    encoder = _encoder(arguments)
    aspp = ASPP(
        encoder.channels[-1],
        arguments.channels,
        arguments.rates or paper_rates(arguments.output_stride),
        separable=arguments.separable,
        dropout=arguments.dropout,
    )
    middle = encoder.channels[-2]
    return DeepLabV3(
        encoder,
        DeepLabV3Head(aspp, arguments.classes),
        arguments.classes,
        auxiliary=FCNHead(middle, arguments.classes) if arguments.auxiliary else None,
        align_corners=arguments.align_corners,
    )


def _encoder(arguments: DeepLabV3Arguments) -> TimmEncoder:
    if not arguments.torchvision:
        return dilated_encoder(
            arguments.encoder,
            in_channels=arguments.in_channels,
            output_stride=arguments.output_stride,
            multi_grid=arguments.multi_grid,
            dilate_first=arguments.dilate_first,
        )
    if arguments.output_stride != 16 or arguments.multi_grid or arguments.dilate_first:
        raise ConfigError(
            "deeplab-v3: torchvision=true fixes the encoder's dilations; leave out output_stride, "
            "multi_grid and dilate_first"
        )
    return TorchvisionMobileNetV3(arguments.encoder, in_channels=arguments.in_channels)


def paper_rates(output_stride: int) -> tuple[int, ...]:
    """6, 12, 18 features at output stride 16, twice that at 8 (arXiv:1706.05587, section 3.3)."""
    return tuple(rate * 16 // output_stride for rate in (6, 12, 18))
