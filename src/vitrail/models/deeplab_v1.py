"""DeepLab-LargeFOV (DeepLabv1): dense features, and a classifier with a large field of view.

Chen, Papandreou, Kokkinos, Murphy, Yuille: "Semantic Image Segmentation with Deep Convolutional
Nets and Fully Connected CRFs", arXiv:1412.7062 (original code: Caffe, the authors' fork, BSD; the
authors' weights: no licence given; nothing of either is used here). Its dense CRF is a step of its
own behind the network. Code: Apache-2.0; weights: see each card.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.nn.aspp import AtrousScores
from vitrail.nn.dilation import dilated_encoder
from vitrail.nn.encoder import TimmEncoder
from vitrail.nn.upsample import full_size, pad_to_least


class DeepLabV1(SemanticModel):
    """Dilated encoder, one dilated branch fc6-fc7-fc8 to the scores, bilinear to full size."""

    def __init__(self, encoder: TimmEncoder, head: AtrousScores, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.classes = self.channels = classes
        self.stride = encoder.strides[-1]

    def forward(self, images: Tensor) -> RawOutput:
        size = images.shape[-2:]
        images = pad_to_least(images, self.stride)
        scores = self.head(self.encoder(images)[-1])
        return RawOutput(full_size(scores, images, size))


class DeepLabV1Arguments(BaseModel):
    """What a card or recipe may say of a DeepLabv1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field("vgg16", description="timm model name; the paper's is vgg16")
    output_stride: Literal[8, 16] = Field(8, description="input px per feature of the last stage")
    rate: int = Field(12, ge=1, le=96, description="dilation of fc6, in features")
    hidden: int = Field(1024, ge=1, le=8192, description="width of fc6 and fc7")
    dropout: float = Field(0.5, ge=0, lt=1, description="share dropped behind fc6 and fc7")
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_deeplab_v1(arguments: DeepLabV1Arguments) -> DeepLabV1:
    """Build the parts and join them; all numbers of the architecture stand here."""
    encoder = dilated_encoder(
        arguments.encoder,
        in_channels=arguments.in_channels,
        output_stride=arguments.output_stride,
    )
    head = AtrousScores(
        encoder.channels[-1],
        arguments.classes,
        (arguments.rate,),
        hidden=arguments.hidden,
        dropout=arguments.dropout,
    )
    return DeepLabV1(encoder, head, arguments.classes)
