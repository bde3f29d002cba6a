"""Features of regions, against torchvision's and by hand."""

from __future__ import annotations

from importlib.metadata import version

import pytest
import torch
import torchvision
from torch import Tensor

from vitrail.nn.roi import crop_and_resize, level_of, roi_align, roi_pool

TORCHVISION = f"torchvision-{version('torchvision')}"
STRIDE = 8


def drawn(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A feature map of two images of 96 x 160 px; boxes inside, across and beyond the edges."""
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(2, 5, 12, 20, generator=generator)
    corner = torch.rand(30, 2, generator=generator) * 150 - 20
    sides = torch.rand(30, 2, generator=generator) * torch.tensor([150.0, 60.0])
    boxes = torch.cat([corner, corner + sides], 1)
    boxes[0] = torch.tensor([0.0, 0, 160, 96])
    boxes[1] = torch.tensor([40.0, 40, 40, 40])
    boxes[2] = torch.tensor([500.0, 500, 600, 600])
    boxes[3] = torch.tensor([-300.0, -300, 400, 400])
    return feature, boxes, torch.arange(30) % 2


def rois(boxes: Tensor, images: Tensor) -> Tensor:
    return torch.cat([images[:, None].float(), boxes], 1)


@pytest.mark.parametrize("samples", [0, 1, 2, 3])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("size", [1, 7])
def test_align_is_torchvisions(size: int, aligned: bool, samples: int) -> None:
    feature, boxes, images = drawn()
    ours = roi_align(feature, boxes, images, size, stride=STRIDE, samples=samples, aligned=aligned)
    theirs = torchvision.ops.roi_align(
        feature, rois(boxes, images), size, 1 / STRIDE, samples or -1, aligned
    )
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("samples", [0, 2])
def test_gradients_are_torchvisions(samples: int) -> None:
    feature, boxes, images = drawn()
    upstream = torch.randn(30, 5, 7, 7, generator=torch.Generator().manual_seed(1))
    one, two = (feature.clone().requires_grad_() for _ in range(2))
    roi_align(one, boxes, images, 7, stride=STRIDE, samples=samples).backward(upstream)
    theirs = torchvision.ops.roi_align(
        two, rois(boxes, images), 7, 1 / STRIDE, samples or -1, aligned=True
    )
    theirs.backward(upstream)
    assert one.grad is not None and two.grad is not None
    torch.testing.assert_close(one.grad, two.grad, atol=1e-3, rtol=1e-4)


def test_memory_layout_makes_no_difference() -> None:
    feature, boxes, images = drawn()
    last = feature.to(memory_format=torch.channels_last)
    results = [roi_align(one, boxes, images, 7, stride=STRIDE) for one in (feature, last)]
    assert torch.equal(*results)


def test_bfloat16_rounds_values_but_no_coordinates() -> None:
    feature = torch.arange(2000.0).expand(1, 3, 1, 2000) / 2000
    boxes = torch.tensor([[12_000.0, 0, 12_080, 8]])
    images = torch.zeros(1, dtype=torch.int64)
    whole = roi_align(feature, boxes, images, 5, stride=8, samples=2)
    narrow = roi_align(feature.bfloat16(), boxes, images, 5, stride=8, samples=2)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), whole, atol=0, rtol=2**-6)


def test_pool_is_torchvisions() -> None:
    feature, boxes, images = drawn()
    ours = roi_pool(feature, boxes, images, 7, stride=STRIDE)
    theirs = torchvision.ops.roi_pool(feature, rois(boxes, images), 7, 1 / STRIDE)
    assert torch.equal(ours, theirs)
    assert roi_pool(feature.bfloat16(), boxes, images, 7, stride=STRIDE).dtype == torch.bfloat16


def test_no_regions() -> None:
    feature, boxes, images = drawn()
    for pooled in (
        roi_align(feature, boxes[:0], images[:0], 7, stride=STRIDE),
        roi_align(feature, boxes[:0], images[:0], 7, stride=STRIDE, samples=2),
        roi_pool(feature, boxes[:0], images[:0], 7, stride=STRIDE),
        crop_and_resize(feature, boxes[:0], images[:0], 7),
    ):
        assert pooled.shape == (0, 5, 7, 7)


def test_crop_and_resize_puts_samples_on_the_corners() -> None:
    feature = (10.0 * torch.arange(4)[:, None] + torch.arange(5)).expand(1, 2, 4, 5)
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.25, 0, 0.75, 1], [-0.25, 0, 1.25, 1 / 3]])
    images = torch.zeros(3, dtype=torch.int64)
    found = crop_and_resize(feature, boxes, images, 2)[:, 0]
    assert found[0].tolist() == [[0, 4], [30, 34]]
    assert found[1].tolist() == [[1, 3], [31, 33]]
    assert found[2].tolist() == [[0, 0], [0, 0]]
    centre = crop_and_resize(feature, boxes, images, 1)[:, 0, 0, 0]
    assert centre.tolist() == pytest.approx([17, 17, 7])


def test_crop_and_resize_is_the_bilinear_sample_of_grid_sample() -> None:
    feature, _, images = drawn()
    boxes = torch.rand(30, 4, generator=torch.Generator().manual_seed(3)) * 0.98 + 0.01
    ours = crop_and_resize(feature, boxes, images, 5)
    steps = torch.linspace(0, 1, 5)
    x = boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * steps
    y = boxes[:, 1:2] + (boxes[:, 3:] - boxes[:, 1:2]) * steps
    grid = torch.stack([x[:, None, :].expand(-1, 5, -1), y[:, :, None].expand(-1, -1, 5)], -1)
    theirs = torch.nn.functional.grid_sample(feature[images], 2 * grid - 1, align_corners=True)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_rounding_takes_no_sample_of_a_box_at_the_border_outside() -> None:
    """Of one in forty the last sample is computed to lie a rounding error beyond."""
    low = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) * 0.9
    boxes = torch.cat([low, torch.ones(2000, 2)], 1)
    images = torch.zeros(2000, dtype=torch.int64)
    pooled = crop_and_resize(torch.ones(1, 1, 128, 96), boxes, images, 7)
    torch.testing.assert_close(pooled, torch.ones(2000, 1, 7, 7))
    boxes[:, 2:] += 1e-3  # a tenth of a feature
    beyond = crop_and_resize(torch.ones(1, 1, 128, 96), boxes, images, 7)
    assert not beyond[..., -1].any() and not beyond[..., -1, :].any()


def test_levels() -> None:
    sides = torch.tensor([0.0, 1, 111.9, 112, 223.9, 224, 316, 317, 447, 448, 5000])
    strides = (4, 8, 16, 32)
    assert level_of(sides, strides, "floor").tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3]
    assert level_of(sides, strides, "round").tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    assert level_of(sides, (8, 16), "floor").tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert not level_of(sides, (32, 32), "floor").any()  # as in torchvision's MobileNetV3 detector


def test_levels_are_torchvisions() -> None:
    sides = torch.rand(500, generator=torch.Generator().manual_seed(0)) * 900
    boxes = torch.stack([sides * 0, sides * 0, sides, sides], 1)
    mapper = torchvision.ops.poolers.initLevelMapper(2, 5)
    assert torch.equal(level_of(sides, (4, 8, 16, 32), "floor"), mapper([boxes]))
