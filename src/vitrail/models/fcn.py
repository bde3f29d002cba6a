"""Fully convolutional networks: the first form, with its skips, and the dilated one.

Long, Shelhamer, Darrell: "Fully Convolutional Networks for Semantic Segmentation",
arXiv:1411.4038 (original code: https://github.com/shelhamer/fcn.berkeleyvision.org, Caffe,
BSD-2-Clause; its weights are free to use without restriction). The dilated form is torchvision's
``fcn_resnet50`` and ``fcn_resnet101`` (BSD-3-Clause; their weights have no licence of their own),
against which it is checked. No code of either is used. Code: Apache-2.0; weights: see each card.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.errors import ConfigError
from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.nn.encoder import TimmEncoder
from vitrail.nn.upsample import full_size, pad_to_least

_DEEPEST = 32
"""Stride of the coarsest scores, px: those of ``pool5``."""


class Doubling(nn.Sequential):
    """Learned 2x upsampling of scores, which begins as the bilinear one.

    A transposed convolution from all channels to all, 4x4, stride 2, without bias; at first each
    channel sees itself alone. The border is repeated before, so that the result is exactly
    ``F.interpolate(..., mode="bilinear")`` at first; the original reads zeros there, far outside
    of the image that it pads by 100 px. ``(B, C, h, w)`` to ``(B, C, 2h, 2w)``.
    """

    def __init__(self, channels: int) -> None:
        # Padding 3: one for the filter, and two for the repeated value, doubled.
        enlarge = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=3, bias=False)
        ramp = torch.tensor([0.25, 0.75, 0.75, 0.25])
        with torch.no_grad():
            enlarge.weight.copy_(torch.eye(channels)[..., None, None] * torch.outer(ramp, ramp))
        super().__init__(nn.ReplicationPad2d(1), enlarge)


class FCN(SemanticModel):
    """Scores of the deepest stage, doubled and added to those of finer ones, then bilinear.

    Parameters
    ----------
    encoder:
        Ends at stride 32; or at 16, as timm's VGG, which gives each stage before its pooling:
        then its features are pooled once more.
    hidden:
        Width of two more layers on the deepest stage, the ``fc6`` (7x7) and ``fc7`` (1x1) of VGG;
        0 for none.
    finest:
        Stride of the finest scores, px: 32 (FCN-32s), 16 (with pool4) or 8 (with pool3 too).
    classes:
        Number of classes, background included.

    Raises
    ------
    ConfigError
        the encoder has no stages at these strides.
    """

    def __init__(self, encoder: TimmEncoder, *, hidden: int, finest: int, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        pooling = 2 if 2 * encoder.strides[-1] == _DEEPEST else 1
        self.pool = nn.MaxPool2d(pooling) if pooling > 1 else nn.Identity()
        strides = [pooling * stride for stride in encoder.strides]
        wanted = [stride for stride in (32, 16, 8) if stride >= finest]
        if missing := [stride for stride in wanted if stride not in strides]:
            raise ConfigError(
                f"FCN-{finest}s reads stages at strides {wanted}, the encoder has none at "
                f"{missing} (it has {strides}); choose another encoder or another finest"
            )
        self.stages = [strides.index(stride) for stride in wanted]
        deepest, *skips = (encoder.channels[stage] for stage in self.stages)
        self.hidden = _fully_connected(deepest, hidden) if hidden else nn.Identity()
        self.score = nn.Conv2d(hidden or deepest, classes, 1)
        self.skip_scores = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in skips)
        self.doublings = nn.ModuleList(Doubling(classes) for _ in skips)
        for score in self.skip_scores:  # section 4.2: the network starts with its deep scores alone
            for parameter in score.parameters():
                nn.init.zeros_(parameter)
        self.classes = self.channels = classes
        self.stride = _DEEPEST

    def forward(self, images: Tensor) -> RawOutput:
        height, width = images.shape[-2:]
        # Whole strides: every stage is then exactly half of the one before it.
        images = F.pad(images, (0, -width % self.stride, 0, -height % self.stride))
        features = self.encoder(images)
        deepest, *skips = (self.pool(features[stage]) for stage in self.stages)
        scores = self.score(self.hidden(deepest))
        for double, score, skip in zip(self.doublings, self.skip_scores, skips, strict=True):
            scores = double(scores) + score(skip)
        return RawOutput(full_size(scores, images, (height, width)))


def _fully_connected(in_channels: int, width: int) -> nn.Sequential:
    """VGG's two wide layers as convolutions (section 3.1); padded, so that the size is kept."""
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 7, padding=3),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Conv2d(width, width, 1),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
    )


class FCNHead(nn.Sequential):
    """3x3 convolution to a quarter of the width, batch norm, ReLU, dropout, 1x1 to the classes."""

    def __init__(self, in_channels: int, classes: int) -> None:
        width = max(1, in_channels // 4)
        super().__init__(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Conv2d(width, classes, 1),
        )


class DilatedFCN(SemanticModel):
    """Dilated encoder, one head, bilinear to the input's size; a second head trains the stage
    before the deepest.

    Parameters
    ----------
    encoder:
        Its last stages keep the resolution and dilate.
    head, auxiliary:
        From the deepest stage, and from the one before it (or ``None``), to logits.
    classes:
        Number of classes, background included.
    """

    def __init__(
        self, encoder: TimmEncoder, head: FCNHead, auxiliary: FCNHead | None, classes: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.auxiliary = auxiliary
        self.classes = self.channels = classes
        self.stride = encoder.strides[-1]

    def forward(self, images: Tensor) -> RawOutput:
        size = images.shape[-2:]
        images = pad_to_least(images, self.stride)
        *_, before, deepest = self.encoder(images)
        logits = full_size(self.head(deepest), images, size)
        if self.auxiliary is None or not self.training:
            return RawOutput(logits)
        return RawOutput(logits, (full_size(self.auxiliary(before), images, size),))


class FCNArguments(BaseModel):
    """What a card or recipe may say of an FCN with skips; the paper's network is
    ``encoder="vgg16", hidden=4096``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field("resnet50", description="timm model name")
    finest: Literal[32, 16, 8] = Field(
        8, description="stride of the finest scores, px: FCN-32s, FCN-16s or FCN-8s"
    )
    hidden: int = Field(
        0, ge=0, le=8192, description="width of VGG's fc6 (7x7) and fc7 (1x1); 0: neither"
    )
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


class DilatedFCNArguments(BaseModel):
    """What a card or recipe may say of a dilated FCN; the defaults are torchvision's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field("resnet50", description="timm model name, of a network that can dilate")
    output_stride: Literal[8, 16, 32] = Field(8, description="of the deepest stage, px")
    auxiliary: bool = Field(True, description="a second head while training")
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_fcn(arguments: FCNArguments) -> FCN:
    """Build the parts and join them.

    Raises
    ------
    ConfigError
        the encoder does not suit, see :class:`FCN`.
    """
    encoder = TimmEncoder(arguments.encoder, in_channels=arguments.in_channels)
    return FCN(encoder, hidden=arguments.hidden, finest=arguments.finest, classes=arguments.classes)


def build_dilated_fcn(arguments: DilatedFCNArguments) -> DilatedFCN:
    """Build the parts and join them.

    Raises
    ------
    ConfigError
        the encoder cannot keep that stride.
    """
    encoder = TimmEncoder(
        arguments.encoder,
        in_channels=arguments.in_channels,
        output_stride=arguments.output_stride,
    )
    *_, before, deepest = encoder.channels
    classes = arguments.classes
    auxiliary = FCNHead(before, classes) if arguments.auxiliary else None
    return DilatedFCN(encoder, FCNHead(deepest, classes), auxiliary, classes)
