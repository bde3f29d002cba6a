"""Semantic FPN: a feature pyramid, each level enlarged step by step to stride 4, and their sum.

Kirillov, Girshick, He, Dollár: "Panoptic Feature Pyramid Networks", arXiv:1901.02446, section 3.1
and figure 3, over the pyramid of Lin et al., arXiv:1612.03144 (code in Detectron2, Apache-2.0).
segmentation_models.pytorch's ``FPN`` (MIT) is the form that it is checked against. No code of
either is used. Code: Apache-2.0; weights: see each card.
"""

from __future__ import annotations

from functools import reduce
from operator import add

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.models.arguments import Classes
from vitrail.models.base import RawOutput, SemanticModel
from vitrail.nn.encoder import TimmEncoder
from vitrail.nn.fpn import FeaturePyramid
from vitrail.nn.upsample import enlarge, full_size, pad_to_least

_LEVELS = 4
"""Stages that the pyramid is built on: strides 4, 8, 16 and 32."""


class FPN(SemanticModel):
    """Encoder, pyramid, one branch a level to the finest level's size, sum, 1x1 to the logits.

    Parameters
    ----------
    encoder:
        Its coarsest stages, as many as there are branches, make the pyramid.
    branches:
        Finest first; branch ``i`` enlarges its level ``i`` times.
    dropout:
        On the merged maps.
    concatenate:
        Join the branches' maps instead of adding them.
    align_corners:
        How maps and logits are enlarged: by pixel areas, or by the centres of the corners.
    """

    def __init__(
        self,
        encoder: TimmEncoder,
        pyramid: FeaturePyramid,
        branches: list[LevelBranch],
        dropout: nn.Module,
        head: nn.Conv2d,
        *,
        concatenate: bool = False,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pyramid = pyramid
        self.branches = nn.ModuleList(branches)
        self.dropout = dropout
        self.head = head
        self.concatenate = concatenate
        self.align_corners = align_corners
        self.classes = self.channels = head.out_channels
        self.stride = encoder.strides[-1]

    def forward(self, images: Tensor) -> RawOutput:
        size = images.shape[-2:]
        images = pad_to_least(images, self.stride)
        levels = self.pyramid(self.encoder(images)[-len(self.branches) :])
        sizes = [level.shape[-2:] for level in levels]
        maps = [
            branch(level, sizes[:depth][::-1])
            for depth, (branch, level) in enumerate(zip(self.branches, levels, strict=True))
        ]
        # In bfloat16 torch's sum over a stack takes longer than all convolutions.
        merged = torch.cat(maps[::-1], dim=1) if self.concatenate else reduce(add, maps)
        scores = self.head(self.dropout(merged))
        return RawOutput(full_size(scores, images, size, align_corners=self.align_corners))


class LevelBranch(nn.ModuleList):
    """3x3 convolutions with group norm and ReLU, each followed by a doubling; the finest level has
    one convolution and no doubling (section 3.1).

    Parameters
    ----------
    in_channels, channels:
        Width of the level, and of the branch.
    doublings:
        How many times the level is enlarged.
    align_corners:
        As for :class:`FPN`.
    """

    def __init__(
        self, in_channels: int, channels: int, doublings: int, *, align_corners: bool
    ) -> None:
        count = max(1, doublings)
        widths = [in_channels, *[channels] * count]
        super().__init__(
            nn.Sequential(
                nn.Conv2d(widths[step], channels, 3, padding=1, bias=False),
                nn.GroupNorm(32, channels),
                nn.ReLU(inplace=True),
            )
            for step in range(count)
        )
        self.align_corners = align_corners

    def forward(self, x: Tensor, sizes: list[torch.Size]) -> Tensor:
        """``(B, in_channels, h, w)`` to ``(B, channels, *sizes[-1])`` by way of ``sizes``."""
        for step, convolve in enumerate(self):
            x = convolve(x)
            if step < len(sizes):
                x = enlarge(x, sizes[step], align_corners=self.align_corners)
        return x


class FPNArguments(BaseModel):
    """What a card or recipe may say of a semantic FPN; the defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field("resnet50", description="timm model name")
    pyramid_channels: int = Field(256, ge=1, le=4096, description="width of the pyramid's levels")
    channels: int = Field(
        128, ge=64, le=4096, multiple_of=32, description="width of the branches' maps"
    )
    smooth: bool = Field(
        True, description="a 3x3 convolution on each level of the pyramid; smp's weights have none"
    )
    concatenate: bool = Field(False, description="join the branches' maps instead of adding them")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of merged channels dropped; smp: 0.2"
    )
    align_corners: bool = Field(
        False, description="enlarge by the corners' centres, as smp's weights need"
    )
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    classes: Classes


def build_fpn(arguments: FPNArguments) -> FPN:
    """Build the parts and join them; all numbers of the architecture stand here."""
    encoder = TimmEncoder(arguments.encoder, in_channels=arguments.in_channels)
    stages = encoder.channels[-_LEVELS:]
    width = arguments.channels
    branches = [
        LevelBranch(
            arguments.pyramid_channels, width, doublings, align_corners=arguments.align_corners
        )
        for doublings in range(len(stages))
    ]
    merged = width * len(stages) if arguments.concatenate else width
    return FPN(
        encoder,
        FeaturePyramid(stages, arguments.pyramid_channels, smooth=arguments.smooth),
        branches,
        nn.Dropout2d(arguments.dropout),
        nn.Conv2d(merged, arguments.classes, 1),
        concatenate=arguments.concatenate,
        align_corners=arguments.align_corners,
    )
