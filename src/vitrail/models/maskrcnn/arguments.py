"""What a card or recipe may say of a Faster or Mask R-CNN, and what the published families say.

Each value in which the implementations of matterport (https://github.com/matterport/Mask_RCNN),
torchvision (https://github.com/pytorch/vision) and detectron2
(https://github.com/facebookresearch/detectron2) differ is an argument; a family is a set of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.models.instances import DetectionParams

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class AnchorArguments(BaseModel):
    """The boxes that proposals start from: one size a level or several, several shapes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sizes: tuple[Positive | tuple[Positive, ...], ...] = Field(
        (32, 64, 128, 256, 512),
        description="side of a square anchor at each level, px; or a list of as many at each",
    )
    ratios: tuple[Positive, ...] = Field((0.5, 1.0, 2.0), description="height / width, in order")
    rounded: bool = Field(False, description="edges rounded to whole px, as torchvision does")
    whole_steps: bool = Field(
        False,
        description="from one to the next: image px // features, as torchvision does; it is less "
        "than the stride where a level's size was rounded up",
    )

    @property
    def by_level(self) -> tuple[tuple[float, ...], ...]:
        """The sizes of each level."""
        return tuple(one if isinstance(one, tuple) else (one,) for one in self.sizes)

    @property
    def shapes(self) -> int:
        """Anchors at each feature."""
        return len(self.ratios) * len(self.by_level[0])


class ProposalArguments(BaseModel):
    """Which anchors become proposals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidates: int = Field(1000, ge=1, description="best anchors that are looked at")
    candidates_training: int = Field(2000, ge=1, description="and in training")
    by_level: bool = Field(
        True, description="candidates and suppression for each level; false: over all levels"
    )
    nms: float = Field(0.7, ge=0, le=1, description="IoU above which the lesser one is dropped")
    kept: int = Field(1000, ge=1, description="proposals of an image, at most")
    kept_training: int = Field(1000, ge=1, description="and in training")
    min_size: float = Field(0.0, ge=0, description="least side of a proposal, px")
    min_score: float = Field(0.0, ge=0, lt=1, description="least probability of a proposal")
    in_padding: bool = Field(
        False, description="they may reach into the padding, as matterport's do"
    )


class RoIArguments(BaseModel):
    """How the features of a region are cut out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pooling: Literal["align", "pool", "crop-and-resize"] = Field(
        "align",
        description="align: RoIAlign; pool: RoIPool, whose edges are whole features; "
        "crop-and-resize: TensorFlow's, one sample a bin, corners on corners",
    )
    aligned: bool = Field(True, description="align: shifted by half a feature, as is right")
    samples: int = Field(0, ge=0, le=16, description="align: a bin's side; 0: one a feature")
    level: Literal["floor", "round"] = Field(
        "floor", description="which level a region of a size between two is cut out of"
    )
    box_size: int = Field(7, ge=1, le=64)
    mask_size: int = Field(14, ge=1, le=64)


class SamplingArguments(BaseModel):
    """What anchors and regions are learnt from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    anchors: int = Field(256, ge=2, description="of an image")
    anchors_positive: float = Field(0.5, gt=0, lt=1, description="share of them, at most")
    anchor_iou: tuple[float, float] = Field(
        (0.3, 0.7), description="below the first: background, from the second on: object"
    )
    regions: int = Field(512, ge=2, description="of an image")
    regions_positive: float = Field(0.25, gt=0, lt=1, description="share of them, at most")
    region_iou: float = Field(0.5, gt=0, lt=1, description="from here on: object")

    @model_validator(mode="after")
    def _can_be_learnt(self) -> SamplingArguments:
        low, high = self.anchor_iou
        if not 0 < low <= high <= 1:
            raise ValueError(f"anchor_iou={self.anchor_iou}: expected 0 < first <= second <= 1")
        for name in ("anchors", "regions"):
            count, share = getattr(self, name), getattr(self, f"{name}_positive")
            if int(count * share) < 1:
                raise ValueError(
                    f"{name}={count}, {name}_positive={share}: not one of them could be an object"
                )
        return self


class MaskRCNNArguments(BaseModel):
    """Everything that builds a Faster or Mask R-CNN."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: int = Field(ge=1, le=65535, description="classes of objects, without background")
    encoder: str = Field("resnet50", description="timm model name")
    torchvision: bool = Field(
        False,
        description="a pyramid of two levels at stride 32, over the features that torchvision "
        "reads, for its weights; needs mobilenetv3_large_100 or mobilenetv3_small_100",
    )
    in_channels: int = Field(3, ge=1, le=512, description="bands of the input image")
    masks: bool = Field(True, description="false: boxes only, Faster R-CNN")
    stride_in_1x1: bool = Field(
        False, description="ResNet: stages halve in their first 1x1 convolution, as in the paper"
    )
    norm_eps: float | None = Field(None, ge=0, description="of the encoder's batch norms")
    frozen_norm: bool = Field(
        False, description="training leaves the encoder's batch norms their mean and variance"
    )
    same_pool: bool = Field(
        False, description="ResNet: the first pooling pads at the right and bottom only (Keras)"
    )
    pyramid_channels: int = Field(256, ge=8, le=4096)
    pyramid_norm: bool = Field(False, description="batch norms in the pyramid")
    rpn_convs: int = Field(1, ge=1, le=8)
    rpn_channels: int = Field(256, ge=8, le=4096)
    anchors: AnchorArguments = AnchorArguments.model_validate({})
    proposals: ProposalArguments = ProposalArguments.model_validate({})
    inclusive: bool = Field(
        False,
        description="matterport's boxes: a corner at x2 - 1, y2 - 1 is what deltas and overlaps "
        "are computed with",
    )
    rpn_delta_scale: tuple[Positive, Positive, Positive, Positive] = Field(
        (1, 1, 1, 1), description="what dx, dy, dw, dh are divided by"
    )
    box_delta_scale: tuple[Positive, Positive, Positive, Positive] = Field(
        (10, 10, 5, 5), description="likewise, of the box head"
    )
    clamp_growth: bool = Field(True, description="dw and dh at most log(1000 / 16)")
    roi: RoIArguments = RoIArguments.model_validate({})
    box_convs: int = Field(0, ge=0, le=8, description="3x3 with batch norm, before the layers")
    box_layers: int = Field(2, ge=1, le=4, description="fully connected")
    box_width: int = Field(1024, ge=8, le=8192, description="of those")
    mask_convs: int = Field(4, ge=0, le=8)
    mask_channels: int = Field(256, ge=8, le=4096)
    mask_norm: bool = Field(False, description="batch norms in the mask head")
    one_class_a_region: bool = Field(
        False, description="a region is one object at most, of its best class (matterport)"
    )
    min_box: float = Field(0.0, ge=0, description="least side of an object, px of the input")
    mask_paste: Literal["edges", "padded", "resize"] = Field(
        "edges",
        description="how a small mask is enlarged; edges: its edge is the box's (detectron2); "
        "padded: a border of 0 around it, whole boxes (torchvision); resize: whole boxes "
        "(matterport)",
    )
    sampling: SamplingArguments = SamplingArguments.model_validate({})
    detection: DetectionParams = DetectionParams.model_validate({})
