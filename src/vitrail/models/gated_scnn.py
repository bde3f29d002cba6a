"""Gated-SCNN: a second, shallow stream that draws boundaries, gated by the network's deep features.

Takikawa, Acuna, Jampani, Fidler: "Gated-SCNN: Gated Shape CNNs for Semantic Segmentation",
arXiv:1907.05740 (original code and weights: NVIDIA, https://github.com/nv-tlabs/GSCNN, CC
BY-NC-SA 4.0; nothing of it is used here, this is written from the paper). The decoder is that of
DeepLabv3+, arXiv:1802.02611. Code: Apache-2.0; weights: see each card.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.errors import ConfigError
from vitrail.losses import SemanticTargets
from vitrail.losses.dual_task import DualTaskLoss
from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.nn.aspp import ASPP, norm_act
from vitrail.nn.canny import canny
from vitrail.nn.dilation import dilated_encoder
from vitrail.nn.encoder import TimmEncoder
from vitrail.nn.gated_shape import ShapeStream
from vitrail.nn.upsample import ConvNormAct, crop_to, enlarge, full_size, pad_to_least

_GATES = 3


class BoundaryFusion(nn.Module):
    """Regions and boundaries together: ASPP with the boundary map as one more branch, then up.

    Parameters
    ----------
    aspp:
        Over the deepest feature.
    low_channels:
        Width of the fine feature that the result is joined with.
    reduced:
        What that feature is reduced to, so that it does not outweigh the context.
    """

    def __init__(self, aspp: ASPP, low_channels: int, reduced: int = 48) -> None:
        super().__init__()
        width = aspp.out_channels
        self.aspp = aspp
        self.boundary = norm_act(nn.Conv2d(1, width, 1, bias=False), width)
        self.project = norm_act(nn.Conv2d(2 * width, width, 1, bias=False), width)
        self.low = norm_act(nn.Conv2d(low_channels, reduced, 1, bias=False), reduced)
        self.refine = nn.Sequential(ConvNormAct(width + reduced, width), ConvNormAct(width, width))
        self.out_channels = width

    def forward(self, deep: Tensor, low: Tensor, boundary: Tensor) -> Tensor:
        """Deepest feature, fine feature ``(B, C, h, w)`` and boundary probability ``(B, 1, H, W)``
        to ``(B, out_channels, h, w)``."""
        # The mean over what a deep pixel covers: sampled points would step over thin lines.
        there = F.interpolate(boundary, size=deep.shape[-2:], mode="area")
        context = self.project(torch.cat([self.aspp(deep), self.boundary(there)], dim=1))
        context = enlarge(context, (low.shape[-2], low.shape[-1]))
        return self.refine(torch.cat([context, self.low(low)], dim=1))


class GatedSCNN(SemanticModel):
    """Regular stream, shape stream, fusion.

    ``RawOutput.boundary`` comes in both modes. The loss has ``boundary``, ``dual_gradient`` and
    ``dual_agreement`` beside the recipe's own terms.

    Parameters
    ----------
    encoder:
        The regular stream.
    shape:
        The shape stream, over feature ``begin`` and the last of the encoder's.
    fusion:
        Over the deepest feature, feature ``low`` and the boundary map.
    classes:
        Number of classes.
    begin, low:
        Indices of the encoder's features, finest first.
    shape_stride:
        Pixels of the image per feature of the shape stream.
    shape_loss:
        The loss of the boundary, and of how well it and the classes agree.
    """

    def __init__(
        self,
        encoder: TimmEncoder,
        shape: ShapeStream,
        fusion: BoundaryFusion,
        classes: int,
        *,
        begin: int,
        low: int,
        shape_stride: int,
        shape_loss: DualTaskLoss,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.shape = shape
        self.with_gradient = nn.Conv2d(2, 1, 1)
        self.fusion = fusion
        self.head = nn.Conv2d(fusion.out_channels, classes, 1)
        self.classes = self.channels = classes
        self.stride = encoder.strides[-1]
        self.begin, self.low, self.shape_stride = begin, low, shape_stride
        self.shape_loss = shape_loss

    def forward(self, images: Tensor) -> RawOutput:
        size = images.shape[-2:]
        images = pad_to_least(images, self.stride)
        # Inference may compute the first layers in float32 and the others in bfloat16.
        features = self.encoder(images)
        features = [feature.to(features[-1].dtype) for feature in features]
        boundary = self.boundary(features, images)
        logits = self.head(self.fusion(features[-1], features[self.low], boundary.sigmoid()))
        return RawOutput(full_size(logits, images, size), boundary=crop_to(boundary, size))

    def boundary(self, features: list[Tensor], images: Tensor) -> Tensor:
        """Boundary logits ``(B, 1, H, W)`` from the shape stream and the image's gradient."""
        padded = (images.shape[-2], images.shape[-1])
        fine = features[self.begin]
        coarse = (-(-padded[0] // self.shape_stride), -(-padded[1] // self.shape_stride))
        if self.encoder.strides[self.begin] == self.shape_stride:
            coarse = (fine.shape[-2], fine.shape[-1])
        drawn, _ = self.shape(fine, features[-len(self.shape.gates) :], coarse)
        drawn = enlarge(drawn, padded)
        # Prediction pads by less than a stride: neither an edge, nor part of the range of grey.
        edges = canny(images, padding=self.stride - 1)
        return self.with_gradient(torch.cat([drawn, edges.to(drawn.dtype)], dim=1))

    def loss(self, raw: RawOutput, targets: SemanticTargets) -> dict[str, Tensor]:
        terms = super().loss(raw, targets)
        assert raw.boundary is not None
        # Noise is for learning; a loss that is only read should be the same each time.
        own = self.shape_loss(raw.logits, raw.boundary, targets, noise=self.training)
        for name, term in own.items():  # the recipe's loss may have a term "boundary", too
            terms[name] = terms.get(name, 0) + term
        return terms


class GatedSCNNArguments(BaseModel):
    """What a card or recipe may say of a Gated-SCNN."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field("mobilenetv2_100", description="timm model name")
    output_stride: Literal[8, 16] = Field(
        8, description="input pixels per feature of the last stage; the paper's is 8"
    )
    shape_stride: int | None = Field(
        None,
        ge=1,
        le=8,
        description="input pixels per feature of the shape stream; default: the encoder's finest; "
        "1 as in the paper: the full resolution, four times the work over one that begins at 2",
    )
    shape_channels: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = Field(
        (32, 24, 16, 8),
        min_length=_GATES + 1,
        max_length=_GATES + 1,
        description="widths of the shape stream: before the first gate, and behind each of three",
    )
    context_channels: int = Field(256, ge=1, le=4096, description="width of ASPP and decoder")
    rates: tuple[Annotated[int, Field(ge=1, le=128)], ...] | None = Field(
        None,
        min_length=1,
        max_length=8,
        description="ASPP's dilations; default 12-24-36 at output stride 8, 6-12-18 at 16",
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="behind ASPP")
    shape_loss: DualTaskLoss = Field(
        DualTaskLoss(),
        description="weights and limits of the boundary's losses: boundary, gradient, agreement, "
        "confident, temperature, widen",
    )
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_gated_scnn(arguments: GatedSCNNArguments) -> GatedSCNN:
    """Build the parts and join them; all numbers of the architecture stand here."""
    encoder = dilated_encoder(
        arguments.encoder,
        in_channels=arguments.in_channels,
        output_stride=arguments.output_stride,
    )
    wanted = arguments.shape_stride or encoder.strides[0]
    begin = _last_within(encoder.strides, wanted)
    if begin + _GATES >= len(encoder.strides):
        raise ConfigError(
            f"encoder {arguments.encoder} has strides {encoder.strides}; a shape stream "
            f"at shape_stride={wanted} needs {_GATES} coarser stages for its gates. Lower "
            "shape_stride, or take an encoder of more stages"
        )
    shape = ShapeStream(
        encoder.channels[begin], encoder.channels[-_GATES:], arguments.shape_channels
    )
    rates = arguments.rates or ((12, 24, 36) if arguments.output_stride == 8 else (6, 12, 18))
    aspp = ASPP(encoder.channels[-1], arguments.context_channels, rates, dropout=arguments.dropout)
    low = _last_within(encoder.strides, 4)
    return GatedSCNN(
        encoder,
        shape,
        BoundaryFusion(aspp, encoder.channels[low]),
        arguments.classes,
        begin=begin,
        low=low,
        shape_stride=wanted,
        shape_loss=arguments.shape_loss,
    )


def _last_within(strides: list[int], largest: int) -> int:
    """Index of the last stage of at most that stride; the finest where none is."""
    return max((i for i, stride in enumerate(strides) if stride <= largest), default=0)
