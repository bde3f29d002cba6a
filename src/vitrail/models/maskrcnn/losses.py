"""The five losses of a Mask R-CNN: two of its proposals, three of its regions.

Ren et al.: "Faster R-CNN", arXiv:1506.01497, equation 1; Girshick: "Fast R-CNN",
arXiv:1504.08083, equations 1 to 3; He et al.: "Mask R-CNN", arXiv:1703.06870, section 3. Weights,
averages and the smooth L1 loss's turning point of 1/9 are torchvision's, of which each term is
the same number for the same samples; its masks alone differ (:func:`mask_targets`).

Losses are computed in float32, whatever the outputs come in. A term that nothing is left for is 0
and has gradients, of 0: each parameter has one in each step, as several processes need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from vitrail.data.transforms import InstanceExample
from vitrail.models.base import Frame
from vitrail.models.instances import RawDetections
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.boxes import encode
from vitrail.models.maskrcnn.mask_targets import mask_targets
from vitrail.models.maskrcnn.matching import match_boxes
from vitrail.models.maskrcnn.proposals import by_anchor
from vitrail.models.maskrcnn.sampling import Regions, sample, sample_regions, true_boxes

_TURNING_POINT = 1 / 9


class TwoStage(Protocol):
    """What :func:`rcnn_loss` asks of a network."""

    arguments: MaskRCNNArguments

    def anchors(self, raw: RawDetections) -> Tensor:
        """``(A, 4)`` float32, of all levels: level, then y, x, ratio."""
        ...

    def proposals(
        self, raw: RawDetections, frames: Sequence[Frame], *, training: bool
    ) -> list[Tensor]:
        """``(P_i, 4)`` float32 for each image, inside its frame."""
        ...

    def box_outputs(
        self, features: Sequence[Tensor], boxes: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """``(R, 1 + classes)`` scores and ``(R, 4 * classes)`` deltas of R regions in all."""
        ...

    def mask_logits(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """``(R, classes, side, side)``; asked for where ``arguments.masks`` says so."""
        ...


def rcnn_loss(
    network: TwoStage, raw: RawDetections, targets: Sequence[InstanceExample]
) -> dict[str, Tensor]:
    """All terms of a batch: rpn_class, rpn_bbox, class, bbox and, with masks, mask.

    Parameters
    ----------
    raw:
        What the network returned for the images of ``targets``, which lie at the top left of the
        batch.
    targets:
        The objects of each image, on the network's device.
    """
    sizes = [(target.planes.shape[-2], target.planes.shape[-1]) for target in targets]
    proposals = network.proposals(raw, [Frame(size, size) for size in sizes], training=True)
    objectness = torch.cat([by_anchor(level, 1) for level in raw.objectness], 1).squeeze(-1)
    deltas = torch.cat([by_anchor(level, 4) for level in raw.deltas], 1)
    settings = network.arguments
    terms = rpn_losses(network.anchors(raw), objectness, deltas, targets, settings)
    regions = sample_regions(proposals, targets, settings)
    terms |= head_losses(*network.box_outputs(raw.features, regions.boxes), regions, settings)
    if settings.masks:
        regions = regions.with_masks(targets)
        logits = network.mask_logits(raw.features, regions.boxes)
        terms["mask"] = mask_loss(logits, regions, targets, settings)
    return terms


def rpn_losses(
    anchors: Tensor,
    objectness: Tensor,
    deltas: Tensor,
    targets: Sequence[InstanceExample],
    arguments: MaskRCNNArguments,
) -> dict[str, Tensor]:
    """Whether anchors hold an object, and how far they are from it.

    Parameters
    ----------
    anchors:
        ``(A, 4)`` float32 boxes of the network, the same for all images.
    objectness:
        ``(B, A)`` logits.
    deltas:
        ``(B, A, 4)``, as :func:`~vitrail.models.maskrcnn.boxes.encode` returns them.
    targets:
        The objects of each image, on the same device.

    Returns
    -------
    ``rpn_class``: binary cross-entropy, mean of the sampled anchors; ``rpn_bbox``: smooth L1 of
    the sampled positives, summed and divided by the number of all sampled anchors.
    """
    settings = arguments.sampling
    positives: list[Tensor] = []
    negatives: list[Tensor] = []
    goals: list[Tensor] = []
    with torch.no_grad():
        for number, target in enumerate(targets):
            truth = true_boxes(target, arguments)
            low, high = settings.anchor_iou
            matched = match_boxes(anchors, truth, target.crowd, low, high, allow_low_quality=True)
            positive, negative = sample(matched, settings.anchors, settings.anchors_positive)
            found = truth[matched[positive]]
            goals.append(encode(found, anchors[positive], arguments.rpn_delta_scale))
            positives.append(positive + number * len(anchors))
            negatives.append(negative + number * len(anchors))
        positive, negative = torch.cat(positives), torch.cat(negatives)
        sampled = torch.cat([positive, negative])
        is_object = torch.zeros(len(sampled), device=sampled.device)
        is_object[: len(positive)] = 1
    logits = objectness.flatten()[sampled].float()
    count = max(1, len(sampled))
    entropy = F.binary_cross_entropy_with_logits(logits, is_object, reduction="sum")
    distance = _smooth_l1(deltas.flatten(0, 1)[positive], torch.cat(goals))
    return {"rpn_class": entropy / count, "rpn_bbox": distance / count}


def head_losses(
    scores: Tensor, deltas: Tensor, regions: Regions, arguments: MaskRCNNArguments
) -> dict[str, Tensor]:
    """Which class regions have, and how far they are from their object.

    Parameters
    ----------
    scores:
        ``(R, 1 + classes)`` logits, background first.
    deltas:
        ``(R, 4 * classes)``: dx, dy, dw, dh of the first class, then of the next.

    Returns
    -------
    ``class``: cross-entropy, mean of the regions; ``bbox``: smooth L1 of the deltas of the true
    class, summed over the regions with an object and divided by the number of all regions.
    """
    count = max(1, len(regions.class_ids))
    entropy = F.cross_entropy(scores.float(), regions.class_ids, reduction="sum")
    positive = torch.nonzero(regions.class_ids > 0).flatten()
    own = deltas.unflatten(1, (-1, 4))[positive, regions.class_ids[positive] - 1]
    boxes = torch.cat(regions.boxes)[positive]
    goals = encode(regions.truth[positive], boxes, arguments.box_delta_scale)
    return {"class": entropy / count, "bbox": _smooth_l1(own, goals) / count}


def mask_loss(
    logits: Tensor,
    regions: Regions,
    targets: Sequence[InstanceExample],
    arguments: MaskRCNNArguments,
) -> Tensor:
    """Binary cross-entropy of the true class's mask, mean of all values of all regions.

    Parameters
    ----------
    logits:
        ``(R, classes, side, side)``.
    regions:
        Those that have a mask to learn: :meth:`Regions.with_masks`.
    """
    truth = mask_targets(regions, targets, logits.shape[-1], arguments)
    numbers = torch.arange(len(logits), device=logits.device)
    own = logits[numbers, regions.class_ids - 1].float()
    entropy = F.binary_cross_entropy_with_logits(own, truth.float(), reduction="sum")
    return entropy / max(1, truth.numel())


def _smooth_l1(deltas: Tensor, goals: Tensor) -> Tensor:
    """Sum over all values, float32; 0 for none."""
    return F.smooth_l1_loss(deltas.float(), goals, beta=_TURNING_POINT, reduction="sum")
