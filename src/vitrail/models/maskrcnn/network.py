"""Faster R-CNN and Mask R-CNN over a feature pyramid.

Ren, He, Girshick, Sun: "Faster R-CNN", arXiv:1506.01497; He, Gkioxari, Dollár, Girshick: "Mask
R-CNN", arXiv:1703.06870; Lin et al.: "Feature Pyramid Networks", arXiv:1612.03144. Checked against
torchvision (BSD-3-Clause), detectron2 (Apache-2.0) and matterport's Mask_RCNN (MIT); no code of
them is used. Code: Apache-2.0; weights: see each card.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.data.transforms import InstanceExample
from vitrail.models.base import Frame
from vitrail.models.instances import DetectionParams, Detections, InstanceModel, RawDetections
from vitrail.models.maskrcnn.anchors import place_anchors
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.boxes import to_inclusive
from vitrail.models.maskrcnn.detections import Found, at_original_size, detect
from vitrail.models.maskrcnn.heads import BoxHead, BoxPredictor, MaskHead
from vitrail.models.maskrcnn.losses import rcnn_loss
from vitrail.models.maskrcnn.paste import enlarge_masks
from vitrail.models.maskrcnn.proposals import ProposalHead, propose
from vitrail.models.maskrcnn.regions import pool_regions
from vitrail.nn.encoder import TimmEncoder
from vitrail.nn.fpn import FeaturePyramid
from vitrail.result import Masks

_MASKS_AT_ONCE = 128
"""Objects that the mask head sees together: memory stays flat in their number."""


class MaskRCNN(InstanceModel):
    """Pyramid, proposals, then heads that look at each proposal; without a mask head: Faster R-CNN.

    "Boxes of the network" are ``(N, 4)`` float32 x1 y1 x2 y2 in px of the batch; where
    ``arguments.inclusive`` says so, x2 and y2 are of the last px inside.

    Parameters
    ----------
    encoder:
        Its last stages, as many as the pyramid has levels, are used.
    pyramid, rpn, box_head, box_predictor, mask_head:
        The parts, in the order in which an image meets them.
    arguments:
        What they were built from, and all numbers of the steps between them.
    """

    def __init__(
        self,
        encoder: TimmEncoder,
        pyramid: FeaturePyramid,
        rpn: ProposalHead,
        box_head: BoxHead,
        box_predictor: BoxPredictor,
        mask_head: MaskHead | None,
        arguments: MaskRCNNArguments,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pyramid = pyramid
        self.rpn = rpn
        self.box_head = box_head
        self.box_predictor = box_predictor
        self.mask_head = mask_head
        self.arguments = arguments
        self.params = arguments.detection
        self.classes = arguments.classes
        self.strides = tuple(encoder.strides[-len(pyramid.laterals) :])
        self.stride = self.strides[-1]
        channels, roi = arguments.pyramid_channels, arguments.roi
        self.heads = {
            "box_head": (channels, roi.box_size, roi.box_size),
            "box_predictor": (arguments.box_width,),
        }
        if mask_head is not None:
            self.heads["mask_head"] = (channels, roi.mask_size, roi.mask_size)

    def forward(self, images: Tensor) -> RawDetections:
        images = _pad_to_multiple(images, self.stride)
        levels = self.pyramid(self.encoder(images)[-len(self.strides) :])
        levels.append(levels[-1][..., ::2, ::2])
        objectness, deltas = self.rpn(levels)
        return RawDetections(
            tuple(levels), objectness, deltas, (images.shape[-2], images.shape[-1])
        )

    def forward_with_heads(self, images: Tensor) -> dict[str, Tensor | tuple[Tensor, ...]]:
        """:meth:`forward`, then each head on as many regions as :meth:`regions` says, all alike:
        what the network costs, whatever is in the images."""
        raw = MaskRCNN.forward(self, images)
        boxes, objects = (len(images) * n for n in self.regions(training=self.training))
        feature = raw.features[0].flatten()[0]
        scores, deltas = self.box_predictor(
            self.box_head(feature.expand(boxes, *self.heads["box_head"]))
        )
        outputs = {**raw._asdict(), "scores": scores, "box_deltas": deltas}
        if self.mask_head is not None:
            outputs["masks"] = self.mask_head(feature.expand(objects, *self.heads["mask_head"]))
        return outputs

    def regions(self, *, training: bool) -> tuple[int, int]:
        """Of an image, at most: how many the box head looks at, and how many the mask head."""
        sampling = self.arguments.sampling
        if training:
            return sampling.regions, int(sampling.regions * sampling.regions_positive)
        return self.arguments.proposals.kept, self.params.max_detections

    def loss(self, raw: RawDetections, targets: Sequence[InstanceExample]) -> dict[str, Tensor]:
        return rcnn_loss(self, raw, targets)

    @torch.inference_mode()
    def decode(
        self,
        raw: RawDetections,
        frames: Sequence[Frame],
        params: DetectionParams | None = None,
        *,
        mirrored: RawDetections | None = None,
    ) -> list[Detections]:
        params = params or self.params
        proposals = self.proposals(raw, frames, training=False)
        if mirrored is None:
            scores, deltas = self.box_outputs(raw.features, proposals)
        else:
            others = self._mirror(self.proposals(mirrored, frames, training=False), frames)
            proposals = _best_of_both(proposals, others, self.arguments.proposals.kept)
            scores, deltas = self._mean_box_outputs(raw, mirrored, proposals, frames)
        found = self.detect(scores, deltas, proposals, frames, params)
        placed = [
            at_original_size(one.boxes, frame, self.arguments)
            for one, frame in zip(found, frames, strict=True)
        ]
        if self.arguments.mask_paste == "resize":  # whole boxes: some have no px left
            visible = [(boxes[:, 2:] > boxes[:, :2]).all(1) for boxes in placed]
            found = [one.only(kept) for one, kept in zip(found, visible, strict=True)]
            placed = [boxes[kept] for boxes, kept in zip(placed, visible, strict=True)]
        masks = self._enlarged(raw, mirrored, found, placed, frames, params)
        return [
            Detections(boxes.cpu(), one.scores.cpu(), one.class_ids.cpu(), mask, one.capped)
            for one, boxes, mask in zip(found, placed, masks, strict=True)
        ]

    def anchors(self, raw: RawDetections) -> Tensor:
        """``(A, 4)`` boxes of the network, of all levels: level, then y, x, ratio."""
        return torch.cat(self._level_anchors(raw))

    def proposals(
        self, raw: RawDetections, frames: Sequence[Frame], *, training: bool
    ) -> list[Tensor]:
        """For each image ``(P_i, 4)`` boxes of the network, best first; no gradients."""
        windows = self._windows(frames, raw.objectness[0].device)
        if self.arguments.proposals.in_padding:
            whole = [Frame(raw.size, raw.size)] * len(frames)
            windows = self._windows(whole, windows.device)
        return propose(
            raw.objectness,
            raw.deltas,
            self._level_anchors(raw),
            windows,
            self.arguments,
            training=training,
        )

    def box_outputs(
        self, features: Sequence[Tensor], boxes: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Scores ``(R, 1 + classes)``, background first, before the softmax, and deltas ``(R, 4 *
        classes)`` of regions, image after image.

        Parameters
        ----------
        features:
            Of :class:`RawDetections`.
        boxes:
            For each image ``(R_i, 4)`` boxes of the network.
        """
        pooled = self._pooled(features, boxes, self.arguments.roi.box_size)
        return self.box_predictor(self.box_head(_as(pooled, self.box_head)))

    def detect(
        self,
        scores: Tensor,
        deltas: Tensor,
        proposals: Sequence[Tensor],
        frames: Sequence[Frame],
        params: DetectionParams | None = None,
    ) -> list[Found]:
        """The objects of each image, from what :meth:`box_outputs` says of its proposals."""
        windows = self._windows(frames, scores.device)
        return detect(scores, deltas, proposals, windows, self.arguments, params or self.params)

    def mask_logits(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Logits ``(R, classes, 2 * size, 2 * size)`` of regions, image after image.

        Parameters as for :meth:`box_outputs`; there must be a mask head.
        """
        assert self.mask_head is not None
        pooled = self._pooled(features, boxes, self.arguments.roi.mask_size)
        return self.mask_head(_as(pooled, self.mask_head))

    def mask_probabilities(
        self, features: Sequence[Tensor], boxes: Sequence[Tensor], class_ids: Sequence[Tensor]
    ) -> Tensor:
        """Probabilities ``(R, 2 * size, 2 * size)`` float32 of the given class of each region.

        Parameters as for :meth:`mask_logits`; ``class_ids`` are ``(R_i,)`` from 0 for each image.
        """
        assert self.mask_head is not None
        pooled = self._pooled(features, boxes, self.arguments.roi.mask_size)
        logits = self.mask_head.of_class(_as(pooled, self.mask_head), torch.cat(list(class_ids)))
        return logits.float().sigmoid()

    def _mean_box_outputs(
        self,
        raw: RawDetections,
        mirrored: RawDetections,
        boxes: Sequence[Tensor],
        frames: Sequence[Frame],
    ) -> tuple[Tensor, Tensor]:
        """:meth:`box_outputs` of the images and of the mirrored ones: the logarithm of the mean
        probabilities, and the mean deltas."""
        scores, deltas = self.box_outputs(raw.features, boxes)
        others = self.box_outputs(mirrored.features, self._mirror(boxes, frames))
        probabilities = (scores.float().softmax(1) + others[0].float().softmax(1)) / 2
        across = torch.tensor([-1.0, 1.0, 1.0, 1.0], device=deltas.device)  # dx alone turns round
        turned = others[1].float().unflatten(1, (-1, 4)) * across
        return probabilities.log(), (deltas.float() + turned.flatten(1)) / 2

    def _mirror(self, boxes: Sequence[Tensor], frames: Sequence[Frame]) -> list[Tensor]:
        """Boxes of the network where their images are mirrored, each in its own frame."""
        last = 1 if self.arguments.inclusive else 0
        sums = [2 * frame.corner[1] + frame.resized[1] - last for frame in frames]
        return [
            torch.stack([edges - one[:, 2], one[:, 1], edges - one[:, 0], one[:, 3]], 1)
            for one, edges in zip(boxes, sums, strict=True)
        ]

    def _enlarged(
        self,
        raw: RawDetections,
        mirrored: RawDetections | None,
        found: Sequence[Found],
        placed: Sequence[Tensor],
        frames: Sequence[Frame],
        params: DetectionParams,
    ) -> list[Masks | None]:
        """Masks of the objects of each image at its original size."""
        if self.mask_head is None:
            return [None] * len(found)
        owners = torch.cat([torch.full((len(one.boxes),), at) for at, one in enumerate(found)])
        boxes = torch.cat([one.boxes for one in found])
        classes = torch.cat([one.class_ids for one in found])
        small: list[Tensor] = []
        for start in range(0, len(boxes), _MASKS_AT_ONCE):
            part = slice(start, start + _MASKS_AT_ONCE)
            counts = owners[part].bincount(minlength=len(found)).tolist()
            ids, regions = classes[part].split(counts), boxes[part].split(counts)
            shares = self.mask_probabilities(raw.features, regions, ids)
            if mirrored is not None:
                regions = self._mirror(regions, frames)
                other = self.mask_probabilities(mirrored.features, regions, ids)
                shares = (shares + other.flip(2)) / 2
            small.append(shares)
        if not small:
            return [Masks.from_crops((), frame.original) for frame in frames]
        each = torch.cat(small).cpu().split([len(one.boxes) for one in found])
        return [
            Masks.from_crops(
                enlarge_masks(
                    probabilities.numpy(),
                    where.cpu().numpy(),
                    frame.original,
                    rule=self.arguments.mask_paste,
                    threshold=params.mask_threshold,
                ),
                frame.original,
            )
            for probabilities, where, frame in zip(each, placed, frames, strict=True)
        ]

    def _pooled(self, features: Sequence[Tensor], boxes: Sequence[Tensor], size: int) -> Tensor:
        return pool_regions(
            features[: len(self.strides)],
            self.strides,
            boxes,
            size,
            self.arguments.roi,
            inclusive=self.arguments.inclusive,
        )

    def _level_anchors(self, raw: RawDetections) -> list[Tensor]:
        return place_anchors(
            [(level.shape[-2], level.shape[-1]) for level in raw.objectness],
            [*self.strides, 2 * self.stride],
            raw.size,
            self.arguments.anchors,
            inclusive=self.arguments.inclusive,
            device=raw.objectness[0].device,
        )

    def _windows(self, frames: Sequence[Frame], device: torch.device) -> Tensor:
        """``(B, 4)`` boxes of the network: where the images lie in the batch."""
        corners = [
            (x, y, x + w, y + h) for (h, w), (y, x) in ((one.resized, one.corner) for one in frames)
        ]
        windows = torch.tensor(corners, dtype=torch.float32, device=device).reshape(-1, 4)
        return to_inclusive(windows) if self.arguments.inclusive else windows

    def train(self, mode: bool = True) -> MaskRCNN:
        super().train(mode)
        if self.arguments.frozen_norm:
            for module in self.encoder.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


def _best_of_both(ones: Sequence[Tensor], others: Sequence[Tensor], most: int) -> list[Tensor]:
    """For each image the first of one list of boxes and the first of the other, half and half."""
    half = -(-most // 2)
    return [torch.cat([one[:half], other[:half]]) for one, other in zip(ones, others, strict=True)]


def _as(pooled: Tensor, head: nn.Module) -> Tensor:
    """In the number format of the head's weights."""
    weight = next(head.parameters(), None)  # layers that were fused for speed have none, and cast
    return pooled if weight is None else pooled.to(weight.dtype)


def _pad_to_multiple(images: Tensor, stride: int) -> Tensor:
    """Zeros at the right and bottom, where the sides are no multiples of ``stride``."""
    below, beside = (-side % stride for side in images.shape[-2:])
    return F.pad(images, (0, beside, 0, below)) if below or beside else images
