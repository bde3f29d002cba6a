"""FastFCN: a plain encoder whose pyramid is joined at stride 8, in place of a dilated one.

Wu, Zhang, Huang, Liang, Yu: "FastFCN: Rethinking Dilated Convolution in the Backbone for Semantic
Segmentation", arXiv:1903.11816 (original code: https://github.com/wuhuikai/FastFCN, built on
PyTorch-Encoding, MIT; nothing of it is used here). The heads: FCN as in arXiv:1605.06211; pyramid
pooling, Zhao et al., arXiv:1612.01105; atrous spatial pyramid pooling, Chen et al.,
arXiv:1706.05587; context encoding, Zhang et al., arXiv:1803.08904. Code: Apache-2.0; weights: see
each card.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.errors import ConfigError
from vitrail.losses import SemanticTargets
from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.models.fcn import FCNHead
from vitrail.models.presence import presence_loss
from vitrail.nn.aspp import ASPP
from vitrail.nn.dilation import dilated_encoder
from vitrail.nn.encoder import TimmEncoder
from vitrail.nn.encoding import ContextEncoding
from vitrail.nn.jpu import JointPyramidUpsampling
from vitrail.nn.pyramid_pooling import PyramidPooling
from vitrail.nn.upsample import ConvNormAct, full_size, pad_to_least

DROPOUT = 0.1
"""Share of the values dropped before the logits, as in the original code."""


class HeadOutput(NamedTuple):
    """What a head makes of the features at stride 8."""

    logits: Tensor
    """``(B, classes, h, w)``, at the features' size."""
    presence: Tensor | None
    """``(B, classes)``, see :class:`~vitrail.models.base.RawOutput`."""


class ContextHead(nn.Module):
    """Context from around each pixel, dropout, 1x1 convolution to the logits."""

    def __init__(self, context: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.context = context
        self.dropout = nn.Dropout(DROPOUT)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> HeadOutput:
        return HeadOutput(self.classify(self.dropout(self.context(x))), None)


class EncodingHead(nn.Module):
    """EncNet's head: a narrower map, context encoding, dropout, 1x1 convolution to the logits."""

    def __init__(self, reduce: nn.Module, encode: ContextEncoding, width: int, classes: int):
        super().__init__()
        self.reduce = reduce
        self.encode = encode
        self.dropout = nn.Dropout(DROPOUT)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> HeadOutput:
        pixels, presence = self.encode(self.reduce(x))
        return HeadOutput(self.classify(self.dropout(pixels)), presence)


class FastFCN(SemanticModel):
    """Encoder, features at stride 8, head, bilinear enlarging to the image.

    Parameters
    ----------
    encoder:
        With strides 8, 16 and 32 at the end where there is a JPU, else dilated to stride 8.
    upsample:
        Joins the encoder's last three features; without it, the last feature is taken.
    head:
        On the features at stride 8.
    auxiliary:
        On the last feature but one, in training only; ``None`` for none.
    classes:
        Number of classes, background included.
    """

    auxiliary_weight = 0.2
    """As in the original code's options."""
    presence_weight = 0.2
    """Of the semantic encoding loss (arXiv:1803.08904, section 4)."""

    def __init__(
        self,
        encoder: TimmEncoder,
        upsample: JointPyramidUpsampling | None,
        head: ContextHead | EncodingHead,
        auxiliary: FCNHead | None,
        classes: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.upsample = upsample
        self.head = head
        self.auxiliary = auxiliary
        self.classes = self.channels = classes
        self.stride = encoder.strides[-1]

    def forward(self, images: Tensor) -> RawOutput:
        size = images.shape[-2:]
        images = pad_to_least(images, self.stride)
        features = self.encoder(images)
        joined = features[-1] if self.upsample is None else self.upsample(features[-3:])
        output = self.head(joined)
        scores = [output.logits]
        if self.training and self.auxiliary is not None:
            scores.append(self.auxiliary(features[-2]))
        logits, *auxiliary = (full_size(score, images, size) for score in scores)
        return RawOutput(logits, tuple(auxiliary), output.presence)

    def loss(self, raw: RawOutput, targets: SemanticTargets) -> dict[str, Tensor]:
        """The recipe's loss, that of the auxiliary head, and which classes are present."""
        terms = super().loss(raw, targets)
        if raw.presence is not None:
            loss = presence_loss(raw.presence, raw.logits, targets)
            terms["presence"] = self.presence_weight * loss
        return terms


class FastFCNArguments(BaseModel):
    """What a card or recipe may say of a FastFCN."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field("resnet50", description="timm model name")
    upsampling: Literal["jpu", "dilated"] = Field(
        "jpu",
        description="jpu: joint pyramid upsampling of strides 8, 16 and 32; dilated: an encoder "
        "that stays at stride 8, as the networks that FastFCN replaces",
    )
    head: Literal["fcn", "psp", "aspp", "encnet"] = Field(
        "encnet",
        description="fcn: 3x3 convolution; psp: pyramid pooling (PSPNet); aspp: atrous spatial "
        "pyramid pooling (DeepLabv3); encnet: context encoding (EncNet)",
    )
    jpu_channels: int = Field(
        512, ge=8, le=4096, description="width of the JPU's convolutions; it returns four times it"
    )
    codewords: int = Field(32, ge=1, le=1024, description="of the encnet head")
    auxiliary: bool = Field(True, description="an FCN head on the last feature but one, to train")
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_fastfcn(arguments: FastFCNArguments) -> FastFCN:
    """Build the parts and join them; all numbers of the architecture stand here.

    Raises
    ------
    UnknownNameError
        timm has no such encoder.
    ConfigError
        the encoder does not have the strides that are needed.
    """
    classes, upsample = arguments.classes, None
    if arguments.upsampling == "jpu":
        encoder = TimmEncoder(arguments.encoder, in_channels=arguments.in_channels)
        if encoder.strides[-3:] != [8, 16, 32]:
            raise ConfigError(
                f"encoder {arguments.encoder} has strides {encoder.strides}; upsampling=jpu needs "
                "8, 16 and 32 at the end; choose another encoder, such as resnet50"
            )
        upsample = JointPyramidUpsampling(encoder.channels[-3:], arguments.jpu_channels)
        width = upsample.out_channels
    else:
        encoder = dilated_encoder(
            arguments.encoder, in_channels=arguments.in_channels, output_stride=8
        )
        width = encoder.channels[-1]
    head = _HEADS[arguments.head](width, arguments)
    auxiliary = FCNHead(encoder.channels[-2], classes) if arguments.auxiliary else None
    return FastFCN(encoder, upsample, head, auxiliary, classes)


def _fcn_head(width: int, arguments: FastFCNArguments) -> ContextHead:
    inner = width // 4
    return ContextHead(ConvNormAct(width, inner), inner, arguments.classes)


def _psp_head(width: int, arguments: FastFCNArguments) -> ContextHead:
    pyramid, inner = PyramidPooling(width), width // 4
    context = nn.Sequential(pyramid, ConvNormAct(pyramid.out_channels, inner))
    return ContextHead(context, inner, arguments.classes)


def _aspp_head(width: int, arguments: FastFCNArguments) -> ContextHead:
    inner = width // 8
    context = nn.Sequential(ASPP(width, inner, (12, 24, 36)), ConvNormAct(inner, inner))
    return ContextHead(context, inner, arguments.classes)


def _encnet_head(width: int, arguments: FastFCNArguments) -> EncodingHead:
    inner = width // 4
    encode = ContextEncoding(inner, arguments.classes, arguments.codewords)
    reduce: nn.Module = ConvNormAct(width, inner)
    if arguments.upsampling == "jpu":  # which has looked around each pixel already
        reduce = nn.Sequential(
            nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(inplace=True)
        )
    return EncodingHead(reduce, encode, inner, arguments.classes)


_HEADS: dict[str, Callable[[int, FastFCNArguments], ContextHead | EncodingHead]] = {
    "fcn": _fcn_head,
    "psp": _psp_head,
    "aspp": _aspp_head,
    "encnet": _encnet_head,
}
