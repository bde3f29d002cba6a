"""Pixel-by-pixel losses in closed form."""

import math

import pytest
import torch

from tests.losses.drawn_batches import IGNORE, drawn
from vitrail.losses import SemanticTargets
from vitrail.losses.distribution import (
    BalancedCrossEntropy,
    BinaryCrossEntropy,
    CrossEntropy,
    Focal,
    MeanSquaredError,
    Ohem,
    WeightedBinaryCrossEntropy,
)

P = torch.tensor([0.9, 0.6, 0.2, 0.5], dtype=torch.float64)
"""Probability of the object in four pixels, of which the first two are the object."""
LOGITS = P.logit().view(1, 1, 2, 2)
TRUTH = SemanticTargets(torch.tensor([[[1, 1], [0, 0]]]), IGNORE)
LOGS = [math.log(0.9), math.log(0.6), math.log(0.8), math.log(0.5)]


def test_binary_formulas() -> None:
    assert BinaryCrossEntropy()(LOGITS, TRUTH).item() == pytest.approx(-sum(LOGS) / 4)
    expected = -(3 * LOGS[0] + 3 * LOGS[1] + LOGS[2] + LOGS[3]) / 4
    assert WeightedBinaryCrossEntropy(beta=3)(LOGITS, TRUTH).item() == pytest.approx(expected)
    expected = -(0.8 * (LOGS[0] + LOGS[1]) + 0.2 * (LOGS[2] + LOGS[3])) / 4
    assert BalancedCrossEntropy(beta=0.8)(LOGITS, TRUTH).item() == pytest.approx(expected)
    assert MeanSquaredError()(LOGITS, TRUTH).item() == pytest.approx(
        (0.1**2 + 0.4**2 + 0.2**2 + 0.5**2) / 4
    )


def test_focal_formula() -> None:
    expected = -(
        0.25 * (0.1**2 * LOGS[0] + 0.4**2 * LOGS[1]) + 0.75 * (0.2**2 * LOGS[2] + 0.5**2 * LOGS[3])
    )
    assert Focal()(LOGITS, TRUTH).item() == pytest.approx(expected / 4)
    plain = BinaryCrossEntropy()(LOGITS, TRUTH)
    torch.testing.assert_close(Focal(gamma=0, alpha=None)(LOGITS, TRUTH), plain)


def test_beta_of_each_image_is_the_share_without_object() -> None:
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    labels[0, 0, 0] = 1  # 1 of 16 in the first image
    labels[1, :2] = 1  # and 4 of 8 labelled pixels in the second
    labels[1, 1], labels[1, 3] = IGNORE, IGNORE
    loss = BalancedCrossEntropy()(torch.zeros(2, 1, 4, 4), SemanticTargets(labels, IGNORE))
    expected = (15 / 16 + 15 * 1 / 16 + 4 * 0.5 + 4 * 0.5) * math.log(2) / 24
    assert loss.item() == pytest.approx(expected)


def test_an_image_without_object_is_balanced_away() -> None:
    logits = torch.randn(1, 1, 4, 4, requires_grad=True)
    truth = SemanticTargets(torch.zeros(1, 4, 4, dtype=torch.int64), IGNORE)
    BalancedCrossEntropy()(logits, truth).backward()
    assert logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("loss", [BalancedCrossEntropy(), CrossEntropy(), Focal(alpha=None)])
def test_two_classes_are_the_binary_case(loss) -> None:
    batch = drawn("binary")
    two = torch.cat([torch.zeros_like(batch.logits), batch.logits], dim=1)
    torch.testing.assert_close(loss(two, batch.targets), loss(batch.logits, batch.targets))


def test_alpha_of_two_classes_is_the_binary_alpha() -> None:
    batch = drawn("binary")
    two = torch.cat([torch.zeros_like(batch.logits), batch.logits], dim=1)
    loss = Focal(alpha=0.9)
    torch.testing.assert_close(loss(two, batch.targets), loss(batch.logits, batch.targets))


def test_focal_of_a_background_that_may_be_another_class() -> None:
    """``p(label)`` is the likelihood that omission gives the background: here 0.2 + 0.1 * 0.5."""
    logits = torch.tensor([0.2, 0.5, 0.3]).log().view(1, 3, 1, 1)
    truth = SemanticTargets(
        torch.zeros(1, 1, 1, dtype=torch.int64),
        IGNORE,
        0,
        torch.tensor([[False, True, False]]),
        0.1,
    )
    loss = Focal(gamma=2, alpha=None)(logits, truth)
    assert loss.item() == pytest.approx(-(0.75**2) * math.log(0.25), rel=1e-5)
    all_left_out = truth._replace(
        unlabelled=torch.tensor([[False, True, True]]), omission_weight=1.0
    )
    logits.requires_grad_()
    loss = Focal(gamma=0.5, alpha=None)(logits, all_left_out)  # anything may be background
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_a_small_gamma_has_a_finite_gradient_at_the_optimum() -> None:
    for channels in (1, 3):
        logits = torch.full((1, channels, 2, 2), -200.0, requires_grad=True)
        truth = SemanticTargets(torch.zeros(1, 2, 2, dtype=torch.int64), IGNORE)
        if channels == 3:
            logits = torch.tensor([200.0, -200, -200]).view(1, 3, 1, 1).repeat(1, 1, 2, 2)
            logits.requires_grad_()
        Focal(gamma=0.3)(logits, truth).backward()
        assert logits.grad is not None and logits.grad.isfinite().all()


def test_ohem_keeps_the_hard_and_at_least_its_share() -> None:
    # label probabilities: 0.9, 0.6, 0.8, 0.5
    assert Ohem(threshold=0.7, keep=0.1)(LOGITS, TRUTH).item() == pytest.approx(
        -(LOGS[1] + LOGS[3]) / 2
    )
    assert Ohem(threshold=0.1, keep=0.75)(LOGITS, TRUTH).item() == pytest.approx(
        -(LOGS[1] + LOGS[2] + LOGS[3]) / 3
    )
    everything = Ohem(threshold=1, keep=1)(LOGITS, TRUTH)
    torch.testing.assert_close(everything, CrossEntropy()(LOGITS, TRUTH))
    batch = drawn("classes")
    weights = (1.0, 4.0, 0.5)
    torch.testing.assert_close(
        Ohem(threshold=1, keep=1, weights=weights)(batch.logits, batch.targets),
        CrossEntropy(weights=weights)(batch.logits, batch.targets),
    )


def test_easy_pixels_have_no_gradient_in_ohem() -> None:
    logits = LOGITS.clone().requires_grad_()
    Ohem(threshold=0.7, keep=0.1)(logits, TRUTH).backward()
    assert logits.grad is not None
    assert (logits.grad.flatten() != 0).tolist() == [False, True, False, True]


def test_smoothing_moves_the_optimum() -> None:
    """The least loss is where p is the smoothed truth, and is its entropy."""
    truth = SemanticTargets(torch.tensor([[[1]]]), IGNORE)
    logits = torch.tensor(0.95).logit().view(1, 1, 1, 1).requires_grad_()
    loss = BinaryCrossEntropy(smoothing=0.1)(logits, truth)
    loss.backward()
    entropy = -(0.95 * math.log(0.95) + 0.05 * math.log(0.05))
    assert loss.item() == pytest.approx(entropy, rel=1e-5)
    assert logits.grad is not None and logits.grad.item() == pytest.approx(0, abs=1e-6)
