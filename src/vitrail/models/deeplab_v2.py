"""DeepLabv2: summed scores of several dilations, and the best of several image scales.

Chen, Papandreou, Kokkinos, Murphy, Yuille: "DeepLab: Semantic Image Segmentation with Deep
Convolutional Nets, Atrous Convolution, and Fully Connected CRFs", arXiv:1606.00915 (original code:
Caffe, the authors' fork, BSD; the authors' weights: no licence given; nothing of either is used
here). Its dense CRF is a step of its own behind the network. Code: Apache-2.0; weights: see each
card.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.nn.aspp import AtrousScores
from vitrail.nn.dilation import dilated_encoder
from vitrail.nn.encoder import TimmEncoder
from vitrail.nn.upsample import full_size, pad_to_least


class DeepLabV2(SemanticModel):
    """Dilated encoder and summed dilated branches, run on each scale of the image.

    At every pixel and for every class the greatest score of all scales counts (paper, section
    3.2). In training each scale has a loss of its own besides, of full weight: the "extra
    supervision" of Chen et al., "Attention to Scale", arXiv:1511.03339.
    """

    auxiliary_weight = 1.0

    def __init__(
        self,
        encoder: TimmEncoder,
        head: AtrousScores,
        classes: int,
        scales: Sequence[float] = (1.0, 0.75, 0.5),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.scales = tuple(scales)
        self.classes = self.channels = classes
        self.stride = encoder.strides[-1]

    def forward(self, images: Tensor) -> RawOutput:
        size = images.shape[-2:]
        images = pad_to_least(images, self.stride)
        scores = (self._scores(images, scale) for scale in self.scales)
        logits, *others = (full_size(score, images, size) for score in scores)
        if not others:
            return RawOutput(logits)
        fused = logits
        for other in others:
            fused = torch.maximum(fused, other)
        return RawOutput(fused, (logits, *others) if self.training else ())

    def _scores(self, images: Tensor, scale: float) -> Tensor:
        """Scores of the images at one scale, at the features' size there."""
        height, width = images.shape[-2:]
        if scale != 1:
            # Below the stride nothing would be left of the image.
            scaled = [max(self.stride, round(side * scale)) for side in (height, width)]
            images = F.interpolate(images, size=scaled, mode="bilinear", align_corners=False)
        return self.head(self.encoder(images)[-1])


class DeepLabV2Arguments(BaseModel):
    """What a card or recipe may say of a DeepLabv2."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field("resnet101", description="timm model name; the paper's: resnet101, vgg16")
    output_stride: Literal[8, 16] = Field(8, description="input px per feature of the last stage")
    rates: tuple[Annotated[int, Field(ge=1, le=96)], ...] = Field(
        (6, 12, 18, 24), min_length=1, description="dilation of each branch, in features"
    )
    hidden: int = Field(
        1024,
        ge=0,
        le=8192,
        description="width of fc6 and fc7; 0: branches straight to the scores, as in the "
        "authors' network over resnet101",
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="share dropped behind fc6 and fc7")
    scales: tuple[Annotated[float, Field(ge=0.25, le=2)], ...] = Field(
        (1.0, 0.75, 0.5), min_length=1, description="of the image; [1] for a single pass"
    )
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_deeplab_v2(arguments: DeepLabV2Arguments) -> DeepLabV2:
    """Build the parts and join them; all numbers of the architecture stand here."""
    encoder = dilated_encoder(
        arguments.encoder,
        in_channels=arguments.in_channels,
        output_stride=arguments.output_stride,
    )
    head = AtrousScores(
        encoder.channels[-1],
        arguments.classes,
        arguments.rates,
        hidden=arguments.hidden,
        dropout=arguments.dropout,
    )
    return DeepLabV2(encoder, head, arguments.classes, arguments.scales)
