"""Suppression in groups, against torchvision's group by group."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor

from vitrail.models.maskrcnn import suppression
from vitrail.models.maskrcnn.suppression import best_after_suppression, suppress


def crowded(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=dice) * 40
    boxes = torch.cat([corner, corner + 5 + torch.rand(count, 2, generator=dice) * 30], 1)
    scores = torch.rand(count, generator=dice)
    return boxes, scores, torch.randint(0, 6, (count,), generator=dice)


def test_each_group_is_suppressed_for_itself() -> None:
    boxes, scores, groups = crowded(400)
    expected: list[int] = []
    for group in range(6):
        of_group = torch.nonzero(groups == group).flatten()
        kept = torchvision.ops.nms(boxes[of_group], scores[of_group], 0.4)
        expected += of_group[kept].tolist()
    expected.sort(key=lambda at: -scores[at].item())
    assert suppress(boxes, scores, groups, 0.4).tolist() == expected


def test_many_boxes_are_suppressed_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal scores among them: of these the first is the better, in any number."""
    boxes, scores, groups = crowded(3000)
    scores = (scores * 50).round() / 50
    found = suppress(boxes, scores, groups, 0.6)
    monkeypatch.setattr(suppression, "_MANY", 3000)
    few = suppress(boxes, scores, groups, 0.6)
    assert len(found) > 200
    assert torch.equal(found.sort().values, few.sort().values)
    assert torch.equal(scores[found], scores[few])


def test_groups_far_apart_change_no_overlap() -> None:
    # In float32 the offset of group 60,000 would swallow these boxes' fractions.
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.3, 0, 1.3, 1], [999, 999, 1000, 1000]])
    groups = torch.full((3,), 60_000)
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert suppress(boxes, scores, groups, 0.55).tolist() == [0, 1, 2]
    assert suppress(boxes, scores, groups, 0.53).tolist() == [0, 2]


@pytest.mark.parametrize("most", [1, 3, 20, 10_000])
def test_the_best_few_are_those_of_all(most: int) -> None:
    boxes, scores, groups = crowded(600)
    every = suppress(boxes, scores, groups, 0.3)
    kept, more = best_after_suppression(boxes, scores, groups, 0.3, most)
    assert torch.equal(kept, every[:most])
    assert more == (len(every) > most)


def test_many_copies_of_one_box_do_not_hide_the_rest() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(500, 1)
    boxes[-1] += 50
    scores = torch.linspace(1, 0, 500)
    kept, more = best_after_suppression(boxes, scores, torch.zeros(500).long(), 0.5, 2)
    assert kept.tolist() == [0, 499] and not more


def test_of_equal_scores_the_first_stays() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 9, 10]])
    kept, _ = best_after_suppression(boxes, torch.ones(3), torch.zeros(3).long(), 0.5, 5)
    assert kept.tolist() == [0]


def test_nothing_at_all() -> None:
    nothing = torch.zeros(0)
    kept, more = best_after_suppression(torch.zeros(0, 4), nothing, nothing.long(), 0.5, 10)
    assert kept.shape == (0,) and kept.dtype == torch.int64 and not more
