"""The default loss, ``ce + dice``, on sets in which some classes were left out."""

import pytest
import torch
from torch.nn import functional as F

from vitrail.losses import SemanticTargets, build_loss
from vitrail.losses.distribution import CrossEntropy
from vitrail.losses.region import Dice

IGNORE = 255
cross_entropy, soft_dice = CrossEntropy(), Dice()


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2, 9, 7))
    labels[:, 0] = IGNORE
    return torch.randn(2, 4, 9, 7, dtype=torch.float64) * 3, labels


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_equals_torch_where_all_is_annotated(batch: tuple, weight: float) -> None:
    logits, labels = batch
    nothing_left_out = torch.zeros(2, 4, dtype=torch.bool)
    for unlabelled in (None, nothing_left_out):
        truth = SemanticTargets(labels, IGNORE, 0, unlabelled, weight)
        expected = F.cross_entropy(logits, labels, ignore_index=IGNORE)
        torch.testing.assert_close(cross_entropy(logits, truth), expected)


def test_weight_zero_is_plain_cross_entropy(batch: tuple) -> None:
    logits, labels = batch
    left_out = torch.tensor([[False, True, False, False], [False, False, True, True]])
    truth = SemanticTargets(labels, IGNORE, 0, left_out, 0.0)
    expected = F.cross_entropy(logits, labels, ignore_index=IGNORE)
    torch.testing.assert_close(cross_entropy(logits, truth), expected)


def test_background_may_be_a_class_left_out() -> None:
    p = torch.tensor([0.2, 0.5, 0.3])
    logits = p.log().view(1, 3, 1, 1)
    left_out = torch.tensor([[False, True, False]])
    background = torch.zeros(1, 1, 1, dtype=torch.int64)
    loss = cross_entropy(logits, SemanticTargets(background, IGNORE, 0, left_out, 0.1))
    torch.testing.assert_close(loss, -torch.log(torch.tensor(0.2 + 0.1 * 0.5)))
    drawn = torch.full((1, 1, 1), 2)  # an annotated class keeps its ordinary likelihood
    loss = cross_entropy(logits, SemanticTargets(drawn, IGNORE, 0, left_out, 0.1))
    torch.testing.assert_close(loss, -torch.log(torch.tensor(0.3)))


def test_a_confident_bystander_costs_little_and_pulls_hardly() -> None:
    """With w, at most -log w, and a gradient that vanishes; with w = 0 both grow without bound."""
    logits = torch.tensor([-9.0, 9.0, 0.0]).view(1, 3, 1, 1).requires_grad_()
    background = torch.zeros(1, 1, 1, dtype=torch.int64)
    left_out = torch.tensor([[False, True, False]])
    gradients = {}
    for weight in (0.0, 0.05):
        loss = cross_entropy(logits, SemanticTargets(background, IGNORE, 0, left_out, weight))
        (gradient,) = torch.autograd.grad(loss, logits)
        gradients[weight] = (loss.item(), gradient.abs().max().item())
    assert gradients[0.0][0] > 17 and gradients[0.0][1] > 0.9
    assert gradients[0.05][0] < 3.01 and gradients[0.05][1] < 1e-3


def test_a_perfect_prediction_costs_nothing(batch: tuple) -> None:
    _, labels = batch
    logits = F.one_hot(labels.where(labels != IGNORE, 0), 4).movedim(-1, 1) * 200.0
    terms = build_loss("ce + dice")(logits, SemanticTargets(labels, IGNORE, 0))
    assert all(term.item() == pytest.approx(0, abs=1e-6) for term in terms.values())


def test_ignored_pixels_change_nothing(batch: tuple) -> None:
    logits, labels = batch
    truth = SemanticTargets(labels, IGNORE, 0)
    other = logits.clone()
    other[:, :, 0] = torch.randn_like(other[:, :, 0]) * 50
    for loss in (cross_entropy, soft_dice):
        torch.testing.assert_close(loss(logits, truth), loss(other, truth))


def test_nothing_labelled_gives_zero_with_a_gradient(batch: tuple) -> None:
    logits = batch[0].clone().requires_grad_()
    terms = build_loss("ce + dice")(
        logits, SemanticTargets(torch.full((2, 9, 7), IGNORE), IGNORE, 0)
    )
    total = terms["ce"] + terms["dice"]
    total.backward()
    assert total.item() == 0
    assert logits.grad is not None and not logits.grad.any()


def test_dice_leaves_out_what_was_not_annotated() -> None:
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    labels[0, :2], labels[1, :2] = 1, 2
    left_out = torch.tensor([[False, False, True], [False, True, False]])
    logits = torch.zeros(2, 3, 4, 4)
    logits[0, 2], logits[1, 1] = 50.0, 50.0  # each image full of the class nobody drew in it
    truth = SemanticTargets(labels, IGNORE, 0, left_out, 0.05)
    hidden = soft_dice(logits, truth)
    logits[0, 1, :2] = 100.0
    logits[1, 2, :2] = 100.0  # now the annotated ones are right as well
    assert soft_dice(logits, truth) < 0.05 < hidden


def test_the_first_light_s_numbers_hold() -> None:
    """Made by the first release's own code for these logits: a recipe trained then is unchanged."""
    logits = torch.linspace(-3, 3, 2 * 3 * 4 * 4).view(2, 3, 4, 4).sin()
    labels = torch.arange(32).view(2, 4, 4) % 3
    labels[0, 0] = IGNORE
    left_out = torch.tensor([[False, True, False], [False, False, False]])
    terms = build_loss("ce + dice")(logits, SemanticTargets(labels, IGNORE, 0, left_out, 0.05))
    assert list(terms) == ["ce", "dice"]
    assert terms["ce"].item() == pytest.approx(1.1228451, rel=1e-6)
    assert terms["dice"].item() == pytest.approx(0.60536617, rel=1e-6)
