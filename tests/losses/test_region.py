"""Losses on areas in closed form."""

import math

import pytest
import torch

from tests.losses.drawn_batches import IGNORE, MODES, drawn
from vitrail.losses import SemanticTargets
from vitrail.losses.region import (
    Dice,
    FocalTversky,
    IouBalanced,
    Jaccard,
    LogCoshDice,
    Lovasz,
    Region,
    SensitivitySpecificity,
    SquaredDice,
    Tversky,
)
from vitrail.losses.targets import read_planes

P = torch.tensor([0.9, 0.6, 0.2, 0.5], dtype=torch.float64)
"""Probability of the object in four pixels, of which the first two are the object."""
LOGITS = P.logit().view(1, 1, 2, 2)
TRUTH = SemanticTargets(torch.tensor([[[1, 1], [0, 0]]]), IGNORE)
TP, FP, FN = 1.5, 0.7, 0.5
TVERSKY = 1 - (TP + 1) / (TP + 0.3 * FP + 0.7 * FN + 1)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Dice(), 1 - (2 * TP + 1) / (2.2 + 2 + 1)),
        (Dice(smooth=0), 1 - 2 * TP / (2.2 + 2)),
        (SquaredDice(), 1 - (2 * TP + 1) / (0.81 + 0.36 + 0.04 + 0.25 + 2 + 1)),
        (LogCoshDice(), math.log(math.cosh(1 - (2 * TP + 1) / 5.2))),
        (Jaccard(), 1 - (TP + 1) / (2.2 + 2 - TP + 1)),
        (Tversky(), TVERSKY),
        (FocalTversky(), TVERSKY**0.75),
        (FocalTversky(gamma=0.5), TVERSKY**2),
        (
            SensitivitySpecificity(),
            0.05 * (0.1**2 + 0.4**2) / 2 + 0.95 * (0.2**2 + 0.5**2) / 2,
        ),
    ],
)
def test_formulas(loss: Region, expected: float) -> None:
    assert loss(LOGITS, TRUTH).item() == pytest.approx(expected)


def test_lovasz_is_the_jaccard_loss_of_a_hard_mistake() -> None:
    """On errors of 0 or 1 the extension is the set function itself: arXiv:1705.08790, eq. 7."""
    batch = drawn("classes")
    found = batch.logits.argmax(1)
    sure = torch.nn.functional.one_hot(found, 3).movedim(-1, 1) * 500.0
    loss = Lovasz()(sure.double(), batch.targets)
    torch.testing.assert_close(loss, Jaccard(smooth=0)(sure.double(), batch.targets))


def test_lovasz_hinge_of_two_pixels() -> None:
    # Errors 1.5 (false object) and 0.5 (weak object): 1.5 * (1 - 1/2) + 0.5 * (1 - 1/2).
    truth = SemanticTargets(torch.tensor([[[1, 0]]]), IGNORE)
    loss = Lovasz()(torch.tensor([0.5, 0.5]).view(1, 1, 1, 2), truth)
    assert loss.item() == pytest.approx(1.5 * 0.5 + 0.5 * 0.5)


@pytest.mark.parametrize("loss", [Dice, Jaccard, Tversky])
def test_classes_that_do_not_occur(loss: type) -> None:
    empty = SemanticTargets(torch.zeros(1, 2, 2, dtype=torch.int64), IGNORE)
    logits = LOGITS.clone().requires_grad_()
    without = loss()(logits, empty)
    without.backward()
    assert without.item() == 0
    assert logits.grad is not None and not logits.grad.any()
    below = 2.2 * (0.3 if loss is Tversky else 1) + 1
    assert loss(absent=True)(LOGITS, empty).item() == pytest.approx(1 - 1 / below)
    silent = torch.full_like(LOGITS, -200)
    assert loss(absent=True)(silent, empty).item() == pytest.approx(0)
    assert loss(absent=True, smooth=0)(LOGITS, empty).isfinite()


def test_the_background_may_be_left_out() -> None:
    batch = drawn("classes")
    one = batch.targets._replace(background=1)
    left = Dice(background=False)(batch.logits, one)
    torch.testing.assert_close(left, Dice(weights=(1, 0, 1))(batch.logits, one))
    labels = drawn("labels")  # independent labels: channel 0 is a label like the others
    torch.testing.assert_close(
        Dice(background=False)(labels.logits, labels.targets),
        Dice()(labels.logits, labels.targets),
    )


def test_per_image_is_the_mean_of_the_images() -> None:
    for mode in MODES:
        batch = drawn(mode)
        alone = [
            Dice()(
                batch.logits[i : i + 1],
                batch.targets._replace(labels=batch.targets.labels[i : i + 1]),
            )
            for i in range(2)
        ]
        loss = Dice(per_image=True)(batch.logits, batch.targets)
        torch.testing.assert_close(loss, torch.stack(alone).mean())


def test_focal_tversky_is_flat_where_nothing_is_left_to_learn() -> None:
    batch = drawn("classes")
    logits = (batch.perfect * 50).requires_grad_()
    loss = FocalTversky(gamma=3)(logits, batch.targets)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert logits.grad is not None and logits.grad.isfinite().all()


def two_objects() -> tuple[torch.Tensor, SemanticTargets]:
    """An object in each of two images: one found well, one hardly."""
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    labels[:, :2] = 1
    logits = torch.full((2, 1, 4, 4), -3.0, dtype=torch.float64)
    logits[0, :, :2], logits[1, :, :2] = 3.0, -0.5
    return logits, SemanticTargets(labels, IGNORE)


def test_iou_balance_moves_gradient_to_the_better_region_at_the_same_total() -> None:
    logits, truth = two_objects()
    logits.requires_grad_()
    slopes = {}
    for eta in (0, 1.5):
        loss = IouBalanced(eta=eta)(logits, truth)
        slopes[eta] = (loss.item(), torch.autograd.grad(loss, logits)[0])
    (plain, before), (balanced, after) = slopes[0], slopes[1.5]
    assert balanced == pytest.approx(plain)
    gain = after[:, 0, :2] / before[:, 0, :2]
    assert (gain[0] > 1.5).all() and (gain[1] < 1).all()
    torch.testing.assert_close(after[:, :, 2:], before[:, :, 2:])  # the background is as it was


@pytest.mark.parametrize("mode", MODES)
def test_iou_balance_takes_its_weights_as_constants(mode: str) -> None:
    batch = drawn(mode)
    logits = batch.logits.clone().requires_grad_()
    loss = IouBalanced()
    (found,) = torch.autograd.grad(loss(logits, batch.targets), logits)

    fixed = loss.weight(read_planes(batch.logits, batch.targets))

    def frozen(x: torch.Tensor) -> torch.Tensor:
        planes = read_planes(x, batch.targets)
        return loss.pixel_mean(planes, fixed * planes.nll)

    (expected,) = torch.autograd.grad(frozen(logits), logits)
    torch.testing.assert_close(found, expected)
    assert torch.autograd.gradcheck(frozen, logits, fast_mode=True)
