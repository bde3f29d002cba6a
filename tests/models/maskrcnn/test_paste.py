"""Small masks enlarged, against torchvision's and against samples of the whole image."""

from __future__ import annotations

import tracemalloc
from importlib.metadata import version

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image

from vitrail.models.maskrcnn.paste import Rule, enlarge_masks
from vitrail.result import Masks

TORCHVISION = f"torchvision-{version('torchvision')}"
SIZE = (90, 120)
RULES: tuple[Rule, ...] = ("edges", "padded", "resize")


def drawn(count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Smooth masks of 28 x 28; boxes inside, at and across the edges, large and of a few px."""
    dice = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, 5, 5, generator=dice)
    masks = F.interpolate(coarse, (28, 28), mode="bicubic").clamp(0, 1)[:, 0].numpy()
    corner = torch.rand(count, 2, generator=dice) * torch.tensor([90.0, 60.0])
    boxes = torch.cat([corner, corner + torch.rand(count, 2, generator=dice) * 60 + 1], 1).numpy()
    boxes[0] = 0, 0, 120, 90
    boxes[1] = 100.5, 70.2, 120, 90
    boxes[2] = 7.3, 8.1, 8.6, 60
    return masks, boxes


def enlarged(
    masks: np.ndarray, boxes: np.ndarray, rule: Rule, threshold: float = 0.5
) -> np.ndarray:
    crops = enlarge_masks(masks, boxes, SIZE, rule=rule, threshold=threshold)
    return Masks.from_crops(crops, SIZE).dense()


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_padded_is_torchvisions(threshold: float) -> None:
    masks, boxes = drawn()
    theirs = paste_masks_in_image(torch.from_numpy(masks)[:, None], torch.from_numpy(boxes), SIZE)[
        :, 0
    ]
    ours = enlarged(masks, boxes, "padded", threshold)
    differing = ours != (theirs.numpy() >= threshold)
    assert (np.abs(theirs.numpy()[differing] - threshold) < 1e-5).all()  # rounding, on the line


def test_edges_is_a_sample_at_the_centre_of_each_pixel() -> None:
    """What detectron2 0.6 computes for every pixel of the image (``_do_paste_mask``)."""
    masks, boxes = drawn()
    x1, y1, x2, y2 = torch.from_numpy(boxes)[:, :, None].unbind(1)
    x = (torch.arange(SIZE[1]) + 0.5 - x1) / (x2 - x1) * 2 - 1
    y = (torch.arange(SIZE[0]) + 0.5 - y1) / (y2 - y1) * 2 - 1
    grid = torch.stack(
        [x[:, None, :].expand(-1, SIZE[0], -1), y[:, :, None].expand(-1, -1, SIZE[1])], -1
    )
    theirs = F.grid_sample(torch.from_numpy(masks)[:, None], grid, align_corners=False)[:, 0]
    for threshold in (0.5, 0.1):
        differing = enlarged(masks, boxes, "edges", threshold) != (theirs.numpy() >= threshold)
        assert (np.abs(theirs.numpy()[differing] - threshold) < 1e-4).all()


def test_resize_keeps_to_whole_boxes() -> None:
    masks, boxes = drawn()
    boxes = boxes.round()
    found = enlarged(masks, boxes, "resize")
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    x1, y1, x2, y2 = boxes[:, :, None, None].transpose(1, 0, 2, 3)
    inside = (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2)
    assert not found[~inside].any() and found.any((1, 2)).all()


def test_resize_does_not_darken_a_mask_that_is_lit_everywhere() -> None:
    lit = np.full((1, 28, 28), 0.51, np.float32)
    box = np.array([[10.0, 20, 30, 60]], np.float32)
    assert enlarged(lit, box, "resize").sum() == 20 * 40
    assert enlarged(lit, box, "edges").sum() < 20 * 40


@pytest.mark.parametrize("rule", RULES)
def test_boxes_of_no_extent_and_outside(rule: Rule) -> None:
    masks = np.ones((5, 28, 28), np.float32)
    boxes = np.array(
        [[5, 5, 5, 5], [5, 5, 5, 40], [120, 90, 120, 90], [0, 0, 0, 0], [119, 89, 120, 90]],
        np.float32,
    )
    found = enlarged(masks, boxes, rule)
    assert found.shape == (5, *SIZE)
    # The border that "padded" adds makes one px three, of which two lie in the image.
    assert found[4, 89, 119] and found[4].sum() == (4 if rule == "padded" else 1)


@pytest.mark.parametrize("rule", RULES)
def test_no_masks(rule: Rule) -> None:
    nothing = np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32)
    assert list(enlarge_masks(*nothing, SIZE, rule=rule, threshold=0.5)) == []


def test_memory_does_not_grow_with_the_number_of_objects() -> None:
    size = (1500, 2000)
    masks = np.ones((20, 28, 28), np.float32)
    boxes = np.tile(np.array([[3.0, 3, 1990, 1490]], np.float32), (20, 1))
    tracemalloc.start()
    try:
        found = Masks.from_crops(
            enlarge_masks(masks, boxes, size, rule="edges", threshold=0.5), size
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 20
    assert peak - found.nbytes < 12 * size[0] * size[1]
