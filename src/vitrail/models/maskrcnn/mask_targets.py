"""The masks that the mask head learns: true masks, cut out and reduced by RoIAlign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

from vitrail.data.transforms import InstanceExample
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.boxes import from_inclusive
from vitrail.models.maskrcnn.sampling import Regions

_PIXELS = 1 << 22
"""Pixels of regions that are cut out at once: about 40 MB of scratch memory."""

_HALF = 0.5 - 1e-5
"""Half a pixel is inside, whatever the order in which its samples were added up."""


@torch.no_grad()
def mask_targets(
    regions: Regions, targets: Sequence[InstanceExample], side: int, arguments: MaskRCNNArguments
) -> Tensor:
    """``(R, side, side)`` bool: what each region shows of its object.

    RoIAlign of the mask with as many samples a bin as it has pixels, shifted by half a pixel so
    that pixels lie where boxes say; true from 0.5 on, as detectron2 has it. torchvision neither
    shifts the region nor makes the result a mask again.

    Memory does not depend on the number of objects, and no mask is laid out in a full frame: the
    pixels of a few regions at a time are cut out of the planes of object numbers.

    Parameters
    ----------
    regions:
        All with an object, inside the image.
    targets:
        The objects of each image, on the same device.
    """
    parts = [torch.zeros(0, side, side, dtype=torch.bool, device=regions.class_ids.device)]
    objects = regions.objects.split([len(boxes) for boxes in regions.boxes])
    for boxes, numbers, target in zip(regions.boxes, objects, targets, strict=True):
        extents = from_inclusive(boxes) if arguments.inclusive else boxes
        parts.append(_of_image(extents, numbers, target, side))
    return torch.cat(parts)


def _of_image(boxes: Tensor, objects: Tensor, target: InstanceExample, side: int) -> Tensor:
    result = torch.zeros(len(boxes), side, side, dtype=torch.bool, device=boxes.device)
    # Bilinear samples lie half a pixel off the pixels that the box covers at most.
    corners = (boxes[:, :2] - 0.5).floor().clamp(min=0)
    sides = ((boxes[:, 2:] - 0.5).floor() + 2 - corners).clamp(min=1).long()
    corners = corners.long()
    for chosen, (width, height) in _alike(sides):
        x, y = corners[chosen].unbind(1)
        crops = _crops(target, objects[chosen], (y, x), (height, width))
        shifted = boxes[chosen] - torch.stack([x, y, x, y], 1)
        numbers = torch.arange(len(chosen), device=boxes.device, dtype=boxes.dtype)
        rois = torch.cat([numbers[:, None], shifted], 1)
        shares = roi_align(crops[:, None], rois, side, aligned=True)
        result[chosen] = shares[:, 0] >= _HALF
    return result


def _alike(sides: Tensor) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Numbers of regions of similar ``(width, height)``, and the size that holds each of them."""
    order = sides.prod(1).argsort()
    sizes = sides[order].tolist()
    first = 0
    while first < len(sizes):
        width, height = sizes[first]
        end = first + 1
        while end < len(sizes):
            wider, higher = max(width, sizes[end][0]), max(height, sizes[end][1])
            if wider * higher * (end + 1 - first) > _PIXELS:
                break
            width, height, end = wider, higher, end + 1
        yield order[first:end], (width, height)
        first = end


def _crops(
    target: InstanceExample, objects: Tensor, corner: tuple[Tensor, Tensor], size: tuple[int, int]
) -> Tensor:
    """``(R, *size)`` float32 cut out of the mask of an object each; beyond the image its last
    row and column go on, which is how RoIAlign reads the half pixel there."""
    (y, x), (height, width) = corner, size
    last_row, last_column = (length - 1 for length in target.planes.shape[1:])
    rows = (y[:, None] + torch.arange(height, device=y.device)).clamp(max=last_row)
    columns = (x[:, None] + torch.arange(width, device=x.device)).clamp(max=last_column)
    planes = target.plane[objects][:, None, None]
    found = target.planes[planes, rows[:, :, None], columns[:, None, :]]
    return (found == (objects + 1).to(found.dtype)[:, None, None]).float()
