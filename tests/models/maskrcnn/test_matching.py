"""Which object a box stands for, by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from vitrail.models.maskrcnn import matching
from vitrail.models.maskrcnn.matching import findable_objects, match_boxes

NO_CROWD = torch.zeros(1, dtype=torch.bool)
Match = Callable[..., Tensor]


@pytest.fixture
def match(monkeypatch: pytest.MonkeyPatch) -> Match:
    """What boxes with the given overlaps ``(T, P)`` stand for."""

    def match(iou: Tensor, low: float, high: float, *, allow_low_quality: bool = False) -> Tensor:
        monkeypatch.setattr(
            matching, "pairwise_iou", lambda one, two: iou[one[:, 0].long()][:, two[:, 0].long()]
        )
        truth, boxes = (
            torch.tensor([[at, 0.0, at + 1, 1] for at in range(count)]).reshape(-1, 4)
            for count in iou.shape
        )
        crowd = torch.zeros(len(truth), dtype=torch.bool)
        return match_boxes(boxes, truth, crowd, low, high, allow_low_quality=allow_low_quality)

    return match


def test_thresholds_belong_to_what_is_above(match: Match) -> None:
    iou = torch.tensor([[0.29, 0.3, 0.69, 0.7, 1.0]])
    assert match(iou, 0.3, 0.7).tolist() == [-1, -2, -2, 0, 0]
    assert match(iou, 0.5, 0.5).tolist() == [-1, -1, 0, 0, 0]


def test_the_object_that_overlaps_most_the_first_of_equals(match: Match) -> None:
    iou = torch.tensor([[0.8, 0.9, 0.8], [0.9, 0.8, 0.8]])
    assert match(iou, 0.3, 0.7).tolist() == [1, 0, 0]


def test_an_object_keeps_its_best_boxes_however_bad(match: Match) -> None:
    iou = torch.tensor([[0.2, 0.2, 0.1, 0.0], [0.0, 0.0, 0.4, 0.9]])
    assert match(iou, 0.3, 0.7).tolist() == [-1, -1, -2, 1]
    assert match(iou, 0.3, 0.7, allow_low_quality=True).tolist() == [0, 0, -2, 1]


def test_a_box_chosen_by_one_object_stands_for_the_one_it_overlaps_most(match: Match) -> None:
    iou = torch.tensor([[0.25, 0.2], [0.28, 0.6]])
    assert match(iou, 0.3, 0.7, allow_low_quality=True).tolist() == [1, 1]


def test_an_object_that_nothing_overlaps_claims_nothing(match: Match) -> None:
    """In torchvision and detectron2 every anchor would be positive then."""
    iou = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.8, 0.0]])
    assert match(iou, 0.3, 0.7, allow_low_quality=True).tolist() == [-1, 1, -1]


@pytest.mark.parametrize("low_quality", [False, True])
def test_without_objects_or_boxes(match: Match, low_quality: bool) -> None:
    assert match(torch.zeros(0, 3), 0.3, 0.7, allow_low_quality=low_quality).tolist() == [-1] * 3
    nothing = match(torch.zeros(2, 0), 0.3, 0.7, allow_low_quality=low_quality)
    assert nothing.shape == (0,) and nothing.dtype == torch.int64


def test_crowds_and_empty_boxes_cannot_be_found() -> None:
    truth = torch.tensor([[0.0, 0, 9, 9], [5, 5, 5, 9], [5, 5, 9, 5], [0, 0, 4, 4], [6, 6, 4, 8]])
    crowd = torch.tensor([True, False, False, False, False])
    assert findable_objects(truth, crowd).tolist() == [3]
    boxes = torch.tensor([[0.0, 0, 4, 4], [5, 5, 5, 9]])
    assert match_boxes(boxes, truth, crowd, 0.5, 0.5).tolist() == [3, -1]


def test_only_crowds() -> None:
    truth = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [6, 0, 16, 10], [21, 1, 23, 3]])
    matched = match_boxes(boxes, truth, torch.ones(2, dtype=torch.bool), 0.3, 0.7)
    assert matched.tolist() == [-2, -2, -1, -2]


def test_an_object_in_a_crowd_is_still_found() -> None:
    truth = torch.tensor([[0.0, 0, 50, 50], [10, 10, 20, 20]])
    boxes = torch.tensor([[10.0, 10, 20, 20], [30, 30, 40, 40], [60, 60, 70, 70]])
    crowd = torch.tensor([True, False])
    assert match_boxes(boxes, truth, crowd, 0.5, 0.5).tolist() == [1, -2, -1]


def test_a_box_without_area_is_background_beside_a_crowd() -> None:
    boxes = torch.tensor([[60.0, 60, 60, 70]])
    truth = torch.tensor([[0.0, 0, 50, 50]])
    assert match_boxes(boxes, truth, ~NO_CROWD, 0.5, 0.5).tolist() == [-1]


@pytest.mark.parametrize("pairs", [1, 20, 1 << 20])
def test_parts_make_no_difference(monkeypatch: pytest.MonkeyPatch, pairs: int) -> None:
    """torchvision's matcher sees all overlaps at once."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(57, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + 1 + 20 * torch.rand(57, 2, generator=generator)], 1)
    truth, crowd = boxes[:7] + 4, torch.zeros(7, dtype=torch.bool)
    expected = Matcher(0.7, 0.3, allow_low_quality_matches=True)(box_iou(truth, boxes))
    monkeypatch.setattr(matching, "_PAIRS", pairs)
    found = match_boxes(boxes, truth, crowd, 0.3, 0.7, allow_low_quality=True)
    assert torch.equal(found, expected)
    assert {-2, -1, 0} <= set(expected.tolist())
    assert not torch.equal(found, match_boxes(boxes, truth, crowd, 0.3, 0.7))
