"""Regions cut out of a pyramid: of several images, each from the level that suits its size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vitrail.models.maskrcnn.arguments import RoIArguments
from vitrail.models.maskrcnn.boxes import from_inclusive, to_inclusive
from vitrail.nn.roi import crop_and_resize, level_of, roi_align, roi_pool


def pool_regions(
    features: Sequence[Tensor],
    strides: Sequence[int],
    boxes: Sequence[Tensor],
    size: int,
    arguments: RoIArguments,
    *,
    inclusive: bool,
) -> Tensor:
    """The features of each region.

    Parameters
    ----------
    features:
        For each level ``(B, C, h, w)``, finest first.
    strides:
        Of those, px; the first level covers the image without a rest.
    boxes:
        For each of the B images ``(R_i, 4)`` float32, px.
    size:
        Bins a side.
    inclusive:
        Whether x2 and y2 of the boxes are of the last px inside.

    Returns
    -------
    ``(R, C, size, size)``, image after image.
    """
    images = torch.cat(
        [torch.full((len(one),), number, device=one.device) for number, one in enumerate(boxes)]
    )
    all_boxes = torch.cat(list(boxes))
    canvas = all_boxes.new_tensor([side * strides[0] for side in features[0].shape[:1:-1]])
    if arguments.pooling == "crop-and-resize":
        # From the centre of the first px to that of the last one.
        corners = all_boxes if inclusive else to_inclusive(all_boxes)
        all_boxes = corners / (canvas - 1).repeat(2)
        sides = ((all_boxes[:, 2:] - all_boxes[:, :2]) * canvas).prod(1)
    else:
        all_boxes = from_inclusive(all_boxes) if inclusive else all_boxes
        sides = (all_boxes[:, 2:] - all_boxes[:, :2]).prod(1)
    levels = level_of(sides.clamp(min=0).sqrt(), strides, arguments.level)

    def pool(level: int, chosen: Tensor | slice) -> Tensor:
        feature, some, where = features[level], all_boxes[chosen], images[chosen]
        match arguments.pooling:
            case "crop-and-resize":
                return crop_and_resize(feature, some, where, size)
            case "pool":
                return roi_pool(feature, some, where, size, stride=strides[level])
            case "align":
                return roi_align(
                    feature,
                    some,
                    where,
                    size,
                    stride=strides[level],
                    samples=arguments.samples,
                    aligned=arguments.aligned,
                )

    parts = [torch.nonzero(levels == level).flatten() for level in range(len(strides))]
    pooled = [pool(level, part) for level, part in enumerate(parts)]
    return torch.cat(pooled)[torch.cat(parts).argsort()]
