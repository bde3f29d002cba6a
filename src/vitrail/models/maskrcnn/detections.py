"""From what the box head says of each region to the objects of each image.

Girshick: "Fast R-CNN", arXiv:1504.08083, section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vitrail.models.base import Frame
from vitrail.models.instances import DetectionParams
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.boxes import MAX_GROWTH, clip, decode, from_inclusive
from vitrail.models.maskrcnn.suppression import best_after_suppression


class Found(NamedTuple):
    """The objects of one image in the frame of the batch, best first."""

    boxes: Tensor
    """``(N, 4)`` float32 boxes of the network, px of the batch."""
    scores: Tensor
    """``(N,)`` float32."""
    class_ids: Tensor
    """``(N,)`` int64, from 0: background is no class."""
    capped: bool
    """Whether there would have been more."""

    def only(self, chosen: Tensor) -> Found:
        """Some of them, by number or by ``(N,)`` bool."""
        return Found(self.boxes[chosen], self.scores[chosen], self.class_ids[chosen], self.capped)


def detect(
    scores: Tensor,
    deltas: Tensor,
    regions: Sequence[Tensor],
    windows: Tensor,
    arguments: MaskRCNNArguments,
    params: DetectionParams,
) -> list[Found]:
    """The objects among the regions, each told once.

    Parameters
    ----------
    scores:
        ``(R, 1 + classes)`` before the softmax, background first; image after image.
    deltas:
        ``(R, 4 * classes)``.
    regions:
        For each image ``(R_i, 4)``: the boxes that the deltas start from.
    windows:
        ``(B, 4)``: what each image's boxes are clipped to.
    """
    probabilities = scores.float().softmax(1)
    if arguments.one_class_a_region:
        best, classes = probabilities.max(1)
        region = torch.nonzero((classes > 0) & (best >= params.score_threshold)).flatten()
        classes, best = classes[region] - 1, best[region]
    else:
        region, classes = torch.nonzero(
            probabilities[:, 1:] >= params.score_threshold, as_tuple=True
        )
        best = probabilities[region, classes + 1]
    images = torch.cat(
        [torch.full((len(one),), at, device=one.device) for at, one in enumerate(regions)]
    )[region]
    boxes = decode(
        deltas.unflatten(1, (-1, 4))[region, classes],
        torch.cat(list(regions))[region],
        arguments.box_delta_scale,
        MAX_GROWTH if arguments.clamp_growth else None,
    )
    boxes = clip(boxes, windows[images])
    shortest = (boxes[:, 2:] - boxes[:, :2]).amin(1)
    found: list[Found] = []
    for image in range(len(regions)):
        kept = images == image
        if not arguments.inclusive:  # a box that ends in the px it begins with is a px there
            kept &= shortest > 0
        if arguments.min_box:
            kept &= shortest >= arguments.min_box
        some = Found(boxes[kept], best[kept], classes[kept], False)
        chosen, more = best_after_suppression(
            some.boxes, some.scores, some.class_ids, params.nms, params.max_detections
        )
        found.append(some.only(chosen)._replace(capped=more))
    return found


def at_original_size(boxes: Tensor, frame: Frame, arguments: MaskRCNNArguments) -> Tensor:
    """Boxes of the network ``(N, 4)`` in px of the original image, x2 and y2 behind the last px.

    Where masks are enlarged to whole boxes as matterport does, its boxes are whole too.
    """
    (height, width), (h, w), (y, x) = frame
    last = 1 if arguments.inclusive else 0
    factors = [
        max(1, whole - last) / max(1, part - last) for whole, part in ((width, w), (height, h))
    ]
    scaled = (boxes - boxes.new_tensor((x, y)).repeat(2)) * boxes.new_tensor(factors).repeat(2)
    if arguments.inclusive:
        scaled = from_inclusive(scaled)
    if arguments.mask_paste == "resize":
        scaled = scaled.round()
    return clip(scaled, scaled.new_tensor((0, 0, width, height)))
