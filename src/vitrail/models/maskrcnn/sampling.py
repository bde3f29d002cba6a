"""Which anchors and regions a step learns from: a few hundred, positives and negatives balanced.

Girshick: "Fast R-CNN", arXiv:1504.08083, section 2.3; Ren et al.: "Faster R-CNN",
arXiv:1506.01497, section 3.1.3. What is drawn follows torch's global generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vitrail.data.transforms import InstanceExample
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.boxes import to_inclusive
from vitrail.models.maskrcnn.matching import BACKGROUND, findable_objects, match_boxes


class Regions(NamedTuple):
    """The regions of a batch that the heads learn from; R in all, image after image.

    In each image those that stand for an object come first.
    """

    boxes: list[Tensor]
    """For each image ``(R_i, 4)`` float32 x1 y1 x2 y2, px of the batch (one less in x2 and y2
    where the network's boxes are inclusive)."""
    class_ids: Tensor
    """``(R,)`` int64: 0 is background, 1 the first class."""
    objects: Tensor
    """``(R,)`` int64: number of the object among those of its image; -1 for background."""
    truth: Tensor
    """``(R, 4)`` float32: the box of that object, as ``boxes``; 0 for background."""

    def with_masks(self, targets: Sequence[InstanceExample]) -> Regions:
        """Those that stand for an object of which more than its box is known."""
        sizes = [len(boxes) for boxes in self.boxes]
        chosen: list[Tensor] = []
        for objects, target in zip(self.objects.split(sizes), targets, strict=True):
            positive = torch.nonzero(objects >= 0).flatten()
            chosen.append(positive[target.outlined[objects[positive]]])
        boxes = [found[numbers] for found, numbers in zip(self.boxes, chosen, strict=True)]
        starts = [sum(sizes[:image]) for image in range(len(sizes))]
        kept = torch.cat([start + one for start, one in zip(starts, chosen, strict=True)])
        return Regions(boxes, self.class_ids[kept], self.objects[kept], self.truth[kept])


def sample(matched: Tensor, count: int, positive_share: float) -> tuple[Tensor, Tensor]:
    """Draw from what :func:`~vitrail.models.maskrcnn.matching.match_boxes` returned for one image.

    Parameters
    ----------
    matched:
        ``(P,)`` int64.
    count:
        How many in all, at most.
    positive_share:
        Share of ``count`` that positives fill at most; negatives fill the rest.

    Returns
    -------
    Numbers of the positives and of the negatives, int64, in no order.
    """
    positive = torch.nonzero(matched >= 0).flatten()
    negative = torch.nonzero(matched == BACKGROUND).flatten()
    positive = _drawn(positive, int(count * positive_share))
    return positive, _drawn(negative, count - len(positive))


@torch.no_grad()
def sample_regions(
    proposals: Sequence[Tensor], targets: Sequence[InstanceExample], arguments: MaskRCNNArguments
) -> Regions:
    """Draw regions from the proposals and the true boxes of each image.

    Parameters
    ----------
    proposals:
        For each image ``(P_i, 4)`` float32 boxes of the network; P_i may be 0.
    targets:
        The objects of each image, on the same device.
    """
    settings = arguments.sampling
    boxes: list[Tensor] = []
    class_ids: list[Tensor] = []
    objects: list[Tensor] = []
    truths: list[Tensor] = []
    for found, target in zip(proposals, targets, strict=True):
        truth = true_boxes(target, arguments)
        findable = findable_objects(truth, target.crowd)
        candidates = torch.cat([found.float(), truth[findable]])
        threshold = settings.region_iou
        matched = match_boxes(candidates, truth, target.crowd, threshold, threshold)
        positive, negative = sample(matched, settings.regions, settings.regions_positive)
        chosen = matched[positive]
        boxes.append(candidates[torch.cat([positive, negative])])
        class_ids += [target.class_ids[chosen] + 1, torch.zeros_like(negative)]
        objects += [chosen, torch.full_like(negative, BACKGROUND)]
        truths += [truth[chosen], truth.new_zeros(len(negative), 4)]
    return Regions(boxes, torch.cat(class_ids), torch.cat(objects), torch.cat(truths))


def true_boxes(target: InstanceExample, arguments: MaskRCNNArguments) -> Tensor:
    """``(N, 4)`` float32: the boxes of a target in the coordinates of the network's boxes."""
    boxes = target.boxes.float()
    return to_inclusive(boxes) if arguments.inclusive else boxes


def _drawn(numbers: Tensor, count: int) -> Tensor:
    """``count`` of the numbers, or all if there are fewer.

    It takes from the generator what torchvision's sampler takes: the same seed draws the same.
    """
    return numbers[torch.randperm(len(numbers), device=numbers.device)[:count]]
