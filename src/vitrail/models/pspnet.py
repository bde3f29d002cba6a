"""PSPNet: an encoder, pyramid pooling over its last feature, a convolution to the logits.

Zhao, Shi, Qi, Wang, Jia: "Pyramid Scene Parsing Network", arXiv:1612.01105 (original code:
https://github.com/hszhao/PSPNet, Caffe, BSD-2-Clause; nothing of it is used here). The lighter
form is that of segmentation_models.pytorch (MIT), against which it is checked. Code: Apache-2.0;
weights: see each card.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.models.fcn import FCNHead
from vitrail.nn.dilation import dilated_encoder
from vitrail.nn.encoder import TimmEncoder
from vitrail.nn.pyramid_pooling import PyramidPooling
from vitrail.nn.upsample import ConvNormAct, full_size, pad_to_least

DEPTH = 5
"""Stages of a whole encoder."""


class PSPNet(SemanticModel):
    """Figure 3 of the paper.

    Parameters
    ----------
    encoder:
        Its last feature is pooled.
    pyramid:
        Lays the means of parts of the image beside that feature.
    fuse:
        Convolves both to ``width`` channels, with dropout behind.
    head:
        Convolution to the logits.
    auxiliary:
        On the last feature but one, in training only (section 3.3); ``None`` for none.
    classes:
        Number of classes, background included.
    """

    def __init__(
        self,
        encoder: TimmEncoder,
        pyramid: PyramidPooling,
        fuse: nn.Sequential,
        head: nn.Conv2d,
        auxiliary: FCNHead | None,
        classes: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pyramid = pyramid
        self.fuse = fuse
        self.head = head
        self.auxiliary = auxiliary
        self.classes = self.channels = classes
        self.stride = encoder.strides[-1]

    def forward(self, images: Tensor) -> RawOutput:
        size = images.shape[-2:]
        images = pad_to_least(images, self.stride)
        features = self.encoder(images)
        scores = [self.head(self.fuse(self.pyramid(features[-1])))]
        if self.training and self.auxiliary is not None:
            scores.append(self.auxiliary(features[-2]))
        logits, *auxiliary = (
            full_size(score, images, size, align_corners=True) for score in scores
        )
        return RawOutput(logits, tuple(auxiliary))


class PSPNetArguments(BaseModel):
    """What a card or recipe may say of a PSPNet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field("resnet50", description="timm model name")
    form: Literal["paper", "smp"] = Field(
        "paper",
        description="paper: a whole encoder, dilated, and 3x3 fusion; smp: the first three stages, "
        "1x1 fusion and a 3x3 head, as segmentation_models.pytorch's PSPNet",
    )
    depth: int | None = Field(
        None, ge=2, le=DEPTH, description="stages of the encoder; default 5 (paper) or 3 (smp)"
    )
    output_stride: Literal[8, 16, 32] = Field(
        8, description="input pixels per feature of the last stage used"
    )
    width: int = Field(512, ge=1, le=4096, description="channels of the fused map")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="before the logits; default 0.1 (paper) or 0.2 (smp)"
    )
    auxiliary: bool | None = Field(
        None, description="an FCN head on the last feature but one, to train; default: paper only"
    )
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_pspnet(arguments: PSPNetArguments) -> PSPNet:
    """Build the parts and join them; all numbers of the architecture stand here.

    Raises
    ------
    UnknownNameError
        timm has no such encoder.
    ConfigError
        the encoder does not have that output stride at that depth.
    """
    paper, width = arguments.form == "paper", arguments.width
    depth = arguments.depth or (DEPTH if paper else 3)
    if depth == DEPTH:
        encoder = dilated_encoder(
            arguments.encoder,
            in_channels=arguments.in_channels,
            output_stride=arguments.output_stride,
        )
    else:
        encoder = TimmEncoder(
            arguments.encoder,
            in_channels=arguments.in_channels,
            depth=depth,
            output_stride=arguments.output_stride,
        )
    pyramid = PyramidPooling(encoder.channels[-1], norm_whole=paper)
    dropout = arguments.dropout
    if paper:
        fuse = nn.Sequential(
            *ConvNormAct(pyramid.out_channels, width),
            nn.Dropout(0.1 if dropout is None else dropout),
        )
    else:
        fuse = nn.Sequential(
            nn.Conv2d(pyramid.out_channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.2 if dropout is None else dropout),
        )
    kernel = 1 if paper else 3
    head = nn.Conv2d(width, arguments.classes, kernel, padding=kernel // 2)
    auxiliary = None
    if paper if arguments.auxiliary is None else arguments.auxiliary:
        auxiliary = FCNHead(encoder.channels[-2], arguments.classes)
    return PSPNet(encoder, pyramid, fuse, head, auxiliary, arguments.classes)
