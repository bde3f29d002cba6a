"""What every network that finds objects has in common: its raw output, loss and decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor, nn

from vitrail.data.transforms import InstanceExample
from vitrail.models.base import Frame
from vitrail.models.detection_params import DetectionParams as DetectionParams
from vitrail.result import Masks


class RawDetections(NamedTuple):
    """What a two-stage detector returns, in training and in evaluation alike.

    The heads that look at regions run in :meth:`InstanceModel.loss` and
    :meth:`InstanceModel.decode`: which regions they look at depends on the targets there.
    """

    features: tuple[Tensor, ...]
    """The pyramid, finest first, ``(B, channels, h_i, w_i)`` each; the last level is for proposals
    alone."""
    objectness: tuple[Tensor, ...]
    """For each level ``(B, A, h_i, w_i)``, before the sigmoid: whether an anchor is an object."""
    deltas: tuple[Tensor, ...]
    """For each level ``(B, 4 * A, h_i, w_i)``: dx, dy, dw, dh of anchor 0, then of anchor 1 ..."""
    size: tuple[int, int]
    """``(H, W)`` of the batch, padding included, px."""


class Detections(NamedTuple):
    """The objects of one image, best first."""

    boxes: Tensor
    """``(N, 4)`` float32 on the CPU: x1 y1 x2 y2 in px of the original image."""
    scores: Tensor
    """``(N,)`` float32."""
    class_ids: Tensor
    """``(N,)`` int64, from 0: background is no class."""
    masks: Masks | None
    """At the original size; None from a network that finds boxes only."""
    capped: bool
    """Whether ``max_detections`` left out objects that the other thresholds would have kept."""


class InstanceModel(nn.Module):
    """Base of the networks that find objects; subclasses write all four methods."""

    classes: int
    """Number of classes of objects; background is none of them."""
    stride: int
    """Height and width of the input are multiples of this, px."""
    params: DetectionParams
    """The thresholds that the network was published or trained with."""
    heads: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    """Submodules that :meth:`decode` runs on regions, with the shape of one region's input: what
    they are folded and fused by."""

    def forward(self, images: Tensor) -> RawDetections:
        """Images ``(B, C, H, W)``, normalised as the card says, padded to :attr:`stride`."""
        raise NotImplementedError

    def loss(self, raw: RawDetections, targets: Sequence[InstanceExample]) -> dict[str, Tensor]:
        """Named terms that sum to the training loss; targets in the frame of the batch."""
        raise NotImplementedError

    def decode(
        self,
        raw: RawDetections,
        frames: Sequence[Frame],
        params: DetectionParams | None = None,
        *,
        mirrored: RawDetections | None = None,
    ) -> list[Detections]:
        """The objects of each image, in px of the original image.

        ``mirrored`` is of the same images in the same frames, left and right exchanged: what the
        network says of both is averaged.
        """
        raise NotImplementedError
