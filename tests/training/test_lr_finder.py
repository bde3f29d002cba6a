"""The range test finds the rate at which a known problem learns fastest, and stops in time."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vitrail.errors import ConfigError, ParameterError
from vitrail.training.lr_finder import RateCurve, find_learning_rate

CURVATURE = 4.0
"""Of a parabola: plain descent diverges from a rate of 2 / 4 on."""


class Parabola(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.full((8,), 3.0))


def parabola(network: nn.Module, batch: object) -> Tensor:
    return (network.at.square().sum() * CURVATURE / 2) + 1


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.1)


def found(**more) -> RateCurve:
    arguments = {"lowest": 1e-5, "highest": 100.0, "steps": 200, **more}
    return find_learning_rate(Parabola(), [0, 1, 2], parabola, sgd, **arguments)


def test_a_parabola_is_descended_below_its_limit() -> None:
    curve = found()
    assert curve.diverged
    assert len(curve.rates) == len(curve.raw) == len(curve.losses) < 200
    # Divergence begins at 2 / curvature; a good rate lies below, within two decades.
    limit = 2 / CURVATURE
    assert limit / 100 < curve.suggestion < limit
    assert curve.suggestion == min(curve.steepest, curve.minimum_tenth)
    assert curve.losses.min() < 0.1 * curve.losses[0]


def test_the_stiffer_the_smaller() -> None:
    def stiff(network: nn.Module, batch: object) -> Tensor:
        return network.at.square().sum() * CURVATURE * 50 + 1

    steep = find_learning_rate(Parabola(), [0], stiff, sgd, lowest=1e-5, highest=100.0, steps=200)
    ratio = found().suggestion / steep.suggestion
    assert ratio == pytest.approx(100, rel=0.5)


def test_the_model_and_the_order_of_rates_stay() -> None:
    model = Parabola().eval()
    rates: list[float] = []

    def groups(network: nn.Module) -> torch.optim.Optimizer:
        parts = [{"params": [network.at], "lr": 0.01}, {"params": [torch.zeros(1)], "lr": 0.1}]
        optimizer = torch.optim.SGD(parts)
        optimizer.register_step_pre_hook(
            lambda *_: rates.append(
                optimizer.param_groups[0]["lr"] / optimizer.param_groups[1]["lr"]
            )
        )
        return optimizer

    curve = find_learning_rate(model, [0], parabola, groups, lowest=1e-4, highest=1, steps=20)
    assert torch.equal(model.at, torch.full((8,), 3.0)) and not model.training
    assert rates == pytest.approx([0.1] * len(rates))
    assert np.allclose(np.diff(np.log(curve.rates)), np.log(1e4) / 19)


def test_a_test_that_reaches_its_end_says_so() -> None:
    curve = found(highest=0.01, steps=50)
    assert not curve.diverged and len(curve.rates) == 50


def test_noise_does_not_decide() -> None:
    generator = torch.Generator().manual_seed(0)

    def noisy(network: nn.Module, batch: object) -> Tensor:
        return parabola(network, batch) * (1 + 0.1 * torch.randn((), generator=generator))

    arguments = {"lowest": 1e-5, "highest": 100.0, "steps": 200}
    curve = find_learning_rate(Parabola(), [0], noisy, sgd, **arguments)
    assert abs(math.log10(curve.suggestion / found().suggestion)) < 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lowest": 1.0, "highest": 0.1}, "expected 0 < lowest < highest"),
        ({"lowest": 0.0}, "expected 0 < lowest < highest"),
        ({"steps": 9}, "steps=9: expected at least 10"),
    ],
)
def test_parameters_are_checked(arguments: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        found(**arguments)


def test_no_batches_and_no_finite_loss() -> None:
    with pytest.raises(ConfigError, match="there are no batches"):
        find_learning_rate(Parabola(), [], parabola, sgd)
    with pytest.raises(ConfigError, match="diverged at once"):
        find_learning_rate(Parabola(), [0], lambda m, _: m.at.sum() * math.nan, sgd)


def test_a_loss_that_never_falls_has_no_suggestion() -> None:
    rates = np.geomspace(1e-4, 1, 20)
    losses = np.linspace(1, 2, 20)
    curve = RateCurve(rates, losses, losses, False)
    with pytest.raises(ConfigError, match=r"falls at no rate between 1\.0e-04 and 1\.0e\+00"):
        _ = curve.suggestion
    assert curve.plot().shape == (480, 960, 3)


def test_the_picture_shows_curve_and_suggestion() -> None:
    curve = found()
    picture = curve.plot()
    assert picture.shape == (480, 960, 3) and picture.dtype == np.uint8
    red = (picture == (214, 39, 40)).all(-1)
    (columns,) = np.nonzero(red.sum(0) > 300)
    x = np.log10(curve.rates)
    place = 70 + (math.log10(curve.suggestion) - x[0]) / (x[-1] - x[0]) * (960 - 70 - 30)
    assert columns.mean() == pytest.approx(place, abs=2)
    blue = (np.abs(picture.astype(int) - (31, 119, 180)).sum(-1) < 30).sum(0) > 0
    assert blue[75:925].mean() > 0.95
