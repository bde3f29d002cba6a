"""From anchors to proposals."""

from __future__ import annotations

import torch
from torch import Tensor

from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.proposals import ProposalHead, by_anchor, propose

WINDOW = torch.tensor([[0.0, 0, 100, 100]])
FAR = torch.tensor([[0.0, 0, 10, 10], [40, 40, 50, 50], [80, 80, 90, 90], [0, 60, 10, 70]])
"""Four boxes that share no px."""


def proposed(
    objectness: list[list[float]],
    anchors: list[Tensor],
    *,
    training: bool = False,
    **values: object,
) -> Tensor:
    """Proposals of one image with one anchor a feature and deltas of 0."""
    arguments = MaskRCNNArguments.model_validate({"classes": 1, "proposals": values})
    scores = [torch.tensor(level).view(1, 1, 1, -1) for level in objectness]
    deltas = [torch.zeros(1, 4, 1, level.shape[-1]) for level in scores]
    return propose(scores, deltas, anchors, WINDOW, arguments, training=training)[0]


def test_best_first_over_all_levels() -> None:
    found = proposed([[0.1, 0.4], [0.3, 0.2]], [FAR[:2], FAR[2:]])
    torch.testing.assert_close(found, FAR[[1, 2, 3, 0]])


def test_candidates_are_counted_by_level_or_over_all() -> None:
    objectness, anchors = [[0.9, 0.8], [0.3, 0.2]], [FAR[:2], FAR[2:]]
    torch.testing.assert_close(proposed(objectness, anchors, candidates=1), FAR[[0, 2]])
    over_all = proposed(objectness, anchors, candidates=2, by_level=False)
    torch.testing.assert_close(over_all, FAR[[0, 1]])


def test_levels_do_not_suppress_each_other_unless_joined() -> None:
    same = [FAR[:1], FAR[:1]]
    assert len(proposed([[0.9], [0.8]], same)) == 2
    assert len(proposed([[0.9], [0.8]], same, by_level=False)) == 1


def test_training_has_its_own_numbers() -> None:
    values = {"kept": 1, "kept_training": 3, "candidates_training": 3}
    objectness = [[0.4, 0.3, 0.2, 0.1]]
    assert len(proposed(objectness, [FAR], **values)) == 1
    assert len(proposed(objectness, [FAR], training=True, **values)) == 3


def test_clipped_and_the_small_dropped() -> None:
    anchors = torch.tensor([[-5.0, -5, 5, 5], [99, 20, 130, 40], [200, 0, 210, 10]])
    objectness = [[0.3, 0.2, 0.1]]
    clipped = torch.tensor([[0.0, 0, 5, 5], [99, 20, 100, 40], [100, 0, 100, 10]])
    torch.testing.assert_close(proposed(objectness, [anchors]), clipped)
    torch.testing.assert_close(proposed(objectness, [anchors], min_size=0.5), clipped[:2])
    torch.testing.assert_close(proposed(objectness, [anchors], min_size=2), clipped[:1])


def test_the_improbable_dropped() -> None:
    """Probability 0.73 is a score of 1."""
    scores = [[3.0, 1.0, 0.9, -2.0]]
    kept = proposed(scores, [FAR], min_score=torch.tensor(1.0).sigmoid().item())
    torch.testing.assert_close(kept, FAR[:2])
    assert len(proposed(scores, [FAR], min_score=0.99)) == 0


def test_no_anchor_may_be_left() -> None:
    outside = FAR + 500
    assert proposed([[0.4, 0.3, 0.2, 0.1]], [outside], min_size=1e-3).shape == (0, 4)


def test_deltas_belong_to_their_anchor() -> None:
    # Two anchors a feature, three features: only anchor 1 of feature 2 moves.
    scores = torch.arange(6.0).view(3, 2).T.reshape(1, 2, 1, 3)
    deltas = torch.zeros(1, 8, 1, 3)
    deltas[0, 4, 0, 2] = 0.5
    anchors = torch.stack([torch.tensor([i * 15.0, 0, i * 15 + 10, 10]) for i in range(6)])
    arguments = MaskRCNNArguments.model_validate({"classes": 1})
    (found,) = propose([scores], [deltas], [anchors], WINDOW, arguments, training=False)
    expected = anchors.flip(0).clone()
    expected[0, [0, 2]] += 5
    torch.testing.assert_close(found, expected)


def test_head_gives_each_anchor_a_score_and_four_deltas() -> None:
    head = ProposalHead(6, 10, 2, 3)
    levels = [torch.randn(2, 6, 5, 7), torch.randn(2, 6, 3, 4)]
    objectness, deltas = head(levels)
    assert [one.shape for one in objectness] == [(2, 3, 5, 7), (2, 3, 3, 4)]
    assert [one.shape for one in deltas] == [(2, 12, 5, 7), (2, 12, 3, 4)]
    assert by_anchor(deltas[0], 4).shape == (2, 5 * 7 * 3, 4)
    torch.testing.assert_close(by_anchor(deltas[0], 4)[1, 7 * 3 + 4], deltas[0][1, 4:8, 1, 1])
