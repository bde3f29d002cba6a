"""Rates by layer and by time."""

from itertools import pairwise

import pytest

from vitrail.models.registry import build
from vitrail.training.config import TrainConfig
from vitrail.training.optim import make_optimizer, parameter_groups, rate_share, set_rates


def config(**more: object) -> TrainConfig:
    return TrainConfig.model_validate({"epochs": 1, "image_size": 64, **more})


def test_one_cycle_rises_then_falls() -> None:
    rates = [rate_share(step / 100, config(warmup=0.1)) for step in range(101)]
    assert max(rates) == rates[10] == 1.0
    assert rates[5] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0, abs=1e-9)
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))


def test_poly_is_a_power_of_what_is_left() -> None:
    poly = config(schedule="poly", warmup=0, poly_power=0.9)
    assert [rate_share(t, poly) for t in (0, 0.5, 1)] == [1.0, pytest.approx(0.5**0.9), 0.0]
    assert rate_share(0.99, config(schedule="constant", warmup=0)) == 1.0


def test_earlier_stages_learn_more_slowly() -> None:
    model = build("unet", {"classes": 2, "encoder": "mobilenetv2_035"})
    groups = parameter_groups(model, config(lr=1.0, encoder_lr_scale=0.5, layer_decay=0.5))
    rates = {
        name: group["peak"]
        for group in groups
        for parameter in group["params"]
        for name, own in model.named_parameters()
        if own is parameter
    }
    assert len(rates) == len(list(model.parameters()))
    assert rates["head.weight"] == 1.0
    assert rates["encoder.net.blocks.6.0.conv_pwl.weight"] == 0.5
    assert rates["encoder.net.blocks.5.0.conv_pwl.weight"] == 0.25
    assert rates["encoder.net.conv_stem.weight"] == 0.5 * 0.5**7


def test_biases_and_norms_are_not_decayed() -> None:
    model = build("unet", {"classes": 2, "encoder": "mobilenetv2_035"})
    for group in parameter_groups(model, config(weight_decay=0.3)):
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.3 if parameter.ndim > 1 else 0.0)


def test_rates_follow_their_own_peaks() -> None:
    model = build("unet", {"classes": 2, "encoder": "mobilenetv2_035"})
    optimizer = make_optimizer(model, config(lr=0.2, optimizer="sgd", encoder_lr_scale=0.1))
    set_rates(optimizer, 0.5)
    assert {round(group["lr"], 6) for group in optimizer.param_groups} == {0.1, 0.01}
