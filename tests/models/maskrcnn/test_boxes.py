"""Arithmetic of boxes, against torchvision's and by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder

from vitrail.models.maskrcnn.boxes import (
    MAX_GROWTH,
    areas,
    clip,
    decode,
    encode,
    from_inclusive,
    pairwise_intersection,
    pairwise_iou,
    to_inclusive,
)

SCALE = (10.0, 10.0, 5.0, 5.0)


def some_boxes(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 200
    sides = 1 + torch.rand(count, 2, generator=generator) * 100
    return torch.cat([corner, corner + sides], 1)


def test_deltas_as_torchvisions() -> None:
    boxes, anchors = some_boxes(20), some_boxes(20, seed=1)
    coder = BoxCoder(SCALE)
    torch.testing.assert_close(encode(boxes, anchors, SCALE), coder.encode_single(boxes, anchors))
    deltas = torch.randn(20, 3, 4, generator=torch.Generator().manual_seed(2)) * 8
    theirs = coder.decode_single(deltas.flatten(1), anchors)
    ours = decode(deltas, anchors[:, None], SCALE).flatten(1)
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-5)


def test_decoding_undoes_encoding() -> None:
    boxes, anchors = some_boxes(50), some_boxes(50, seed=1)
    back = decode(encode(boxes, anchors, SCALE), anchors, SCALE)
    torch.testing.assert_close(back, boxes, atol=1e-3, rtol=1e-5)


def test_bfloat16_deltas_are_computed_in_float32() -> None:
    anchors = some_boxes(1) + 1000
    boxes = decode(torch.zeros(1, 4, dtype=torch.bfloat16), anchors, SCALE)
    assert boxes.dtype == torch.float32
    torch.testing.assert_close(boxes, anchors)


@pytest.mark.parametrize(("clamp", "width"), [(MAX_GROWTH, 62.5), (None, math.exp(6))])
def test_growth_is_clamped_where_said(clamp: float | None, width: float) -> None:
    box = decode(torch.tensor([[0.0, 0, 6, 0]]), torch.tensor([[0.0, 0, 1, 1]]), (1,) * 4, clamp)
    assert (box[0, 2] - box[0, 0]).item() == pytest.approx(width, rel=1e-5)


def test_without_a_clamp_boxes_stay_numbers() -> None:
    anchors = torch.tensor([[5.0, 5, 5, 5], [0, 0, 512, 512]])
    assert decode(torch.full((2, 4), 300.0), anchors, (1,) * 4, None).isfinite().all()


def test_iou_as_torchvisions() -> None:
    one, two = some_boxes(30), some_boxes(40, seed=1)
    torch.testing.assert_close(pairwise_iou(one, two), torchvision.ops.box_iou(one, two))


def test_overlaps_by_hand() -> None:
    one = torch.tensor([[0.0, 0, 10, 10]])
    two = torch.tensor([[5.0, 5, 15, 15], [20, 20, 30, 30], [10, 0, 20, 10], [2, 2, 4, 4]])
    assert pairwise_intersection(one, two).tolist() == [[25, 0, 0, 4]]
    assert pairwise_iou(one, two)[0].tolist() == pytest.approx([25 / 175, 0, 0, 0.04])
    assert areas(two).tolist() == [100, 100, 100, 4]


def test_boxes_without_area_overlap_nothing() -> None:
    points = torch.tensor([[3.0, 3, 3, 3], [3, 3, 3, 9]])
    assert pairwise_iou(points, points).tolist() == [[0, 0], [0, 0]]
    assert pairwise_iou(points[:0], points).shape == (0, 2)


def test_clipped_to_its_own_window() -> None:
    boxes = torch.tensor([[-5.0, 2, 50, 9], [60, 60, 70, 70]])
    windows = torch.tensor([[0.0, 4, 20, 30], [10, 10, 40, 50]])
    assert clip(boxes, windows).tolist() == [[0, 4, 20, 9], [40, 50, 40, 50]]
    assert clip(boxes[:, None], windows[:, None]).shape == (2, 1, 4)


def test_inclusive_there_and_back() -> None:
    boxes = torch.tensor([[1.0, 2, 3, 4]])
    assert to_inclusive(boxes).tolist() == [[1, 2, 2, 3]]
    assert torch.equal(from_inclusive(to_inclusive(boxes)), boxes)
