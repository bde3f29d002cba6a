"""Rates by layer and by time."""

from itertools import pairwise

import pytest
from torch.nn.modules.batchnorm import _BatchNorm

from vitrail.errors import ConfigError
from vitrail.models.registry import build
from vitrail.training.config import TrainConfig
from vitrail.training.optim import (
    Frozen,
    make_optimizer,
    parameter_groups,
    rate_share,
    set_rates,
)


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


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenetv2_035"])
def test_first_stages_stay_as_they_are(encoder: str) -> None:
    model = build("unet", {"classes": 2, "encoder": encoder})
    frozen = Frozen(model, config(freeze_stages=2))
    model.train()
    frozen.begin(1)
    stage = "layer1." if encoder == "resnet18" else "blocks.0."
    stem = ("conv1.", "bn1.", "conv_stem.")
    for name, parameter in model.named_parameters():
        kept = name.removeprefix("encoder.net.").startswith((stage, *stem))
        assert parameter.requires_grad != kept, name
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            kept = f"{name}.".removeprefix("encoder.net.").startswith((stage, *stem))
            assert module.training != kept, name
    assert not frozen.varies(10)
    with pytest.raises(ConfigError, match=r"train.freeze_stages=99: the network has"):
        Frozen(model, config(freeze_stages=99))


def test_frozen_stages_outlast_a_frozen_encoder() -> None:
    model = build("unet", {"classes": 2, "encoder": "mobilenetv2_035"})
    frozen = Frozen(model, config(epochs=4, freeze_encoder=1, freeze_stages=1))
    counts = []
    for epoch in (1, 2):
        model.train()
        frozen.begin(epoch)
        counts.append(sum(p.requires_grad for p in model.get_submodule("encoder").parameters()))
        assert all(p.requires_grad for p in model.get_submodule("head").parameters())
    stem = sum(
        name.startswith(("encoder.net.conv_stem.", "encoder.net.bn1."))
        for name, _ in model.named_parameters()
    )
    assert counts == [0, len(list(model.get_submodule("encoder").parameters())) - stem]
    assert frozen.varies(4) and frozen.thawed(4) == 2


def test_norms_may_keep_their_statistics() -> None:
    model = build("unet", {"classes": 2, "encoder": "mobilenetv2_035"})
    frozen = Frozen(model, config(freeze_norms=True))
    model.train()
    frozen.begin(1)
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    assert norms and not any(norm.training or norm.weight.requires_grad for norm in norms)
    assert all(p.requires_grad for p in model.parameters() if p.ndim > 1)


def test_what_was_frozen_is_thawed_at_the_end() -> None:
    model = build("unet", {"classes": 2, "encoder": "mobilenetv2_035"})
    kept = next(model.get_submodule("head").parameters()).requires_grad_(False)
    first = Frozen(model, config(epochs=2, freeze_encoder=True, freeze_norms=True))
    model.train()
    first.begin(1)
    assert not any(p.requires_grad for p in model.get_submodule("encoder").parameters())
    first.end()
    second = Frozen(model, config(freeze_stages=1))
    model.train()
    second.begin(1)
    idle = {name for name, p in model.named_parameters() if not p.requires_grad}
    stem = ("encoder.net.conv_stem.", "encoder.net.bn1.")
    assert not kept.requires_grad  # nobody's business but the caller's
    assert {name for name in idle if not name.startswith(stem)} == {
        name for name, p in model.named_parameters() if p is kept
    }
