"""What holds for every registered loss, in every form that targets come in."""

import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.losses.drawn_batches import IGNORE, MODES, drawn, without_labels
from vitrail.errors import ConfigError, DataError, ParameterError
from vitrail.losses import LOSSES, Loss

CASES = [(name, mode) for name in LOSSES for mode in MODES]
WEIGHTS_TO_THE_GRADIENT = {"iou_balanced"}
"""Weigh pixels by how sure the network is, as constants: see test_region.py."""
everywhere = pytest.mark.parametrize(("name", "mode"), CASES)


def built(name: str, **parameters: Any) -> Loss:
    return LOSSES[name].loss(**parameters)


def gradient(loss: Loss, logits: torch.Tensor, targets) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, targets)
    (grad,) = torch.autograd.grad(value, logits)
    return value.detach(), grad


@pytest.mark.parametrize(
    ("name", "mode"), [case for case in CASES if case[0] not in WEIGHTS_TO_THE_GRADIENT]
)
def test_gradients(name: str, mode: str) -> None:
    batch = drawn(mode, size=6 if name != "cldice" else 7)
    loss = built(name, **({"iterations": 2} if name == "cldice" else {}))
    logits = batch.logits.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, batch.targets), logits, fast_mode=True)


@everywhere
def test_a_perfect_and_sure_prediction_costs_nothing(name: str, mode: str) -> None:
    batch = drawn(mode)
    loss = built(name)
    assert loss(batch.perfect, batch.targets).item() == pytest.approx(0, abs=1e-6)
    assert loss(batch.logits, batch.targets).item() > 1e-3
    assert loss(-batch.perfect, batch.targets) > loss(batch.perfect, batch.targets) + 1e-2


@everywhere
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000), noise=st.sampled_from([1.0, 1e4, float("inf"), float("nan")]))
def test_pixels_without_a_label_change_nothing(
    name: str, mode: str, seed: int, noise: float
) -> None:
    batch = drawn(mode, seed=seed)
    other = torch.randn(batch.logits.shape, generator=torch.Generator().manual_seed(seed))
    other = batch.logits.where(batch.labelled, other * noise)
    value, slope = gradient(built(name), batch.logits, batch.targets)
    other_value, other_slope = gradient(built(name), other, batch.targets)
    assert torch.equal(value, other_value)
    assert torch.equal(slope, other_slope)
    assert not slope.where(~batch.labelled, torch.zeros_like(slope)).any()
    assert slope.any()


@everywhere
@settings(max_examples=4, deadline=None)
@given(order=st.permutations(range(4)))
def test_the_order_of_images_changes_nothing(name: str, mode: str, order: list[int]) -> None:
    batch = drawn(mode, images=4)
    value, slope = gradient(built(name), batch.logits, batch.targets)
    shuffled = batch.targets._replace(labels=batch.targets.labels[order])
    other_value, other_slope = gradient(built(name), batch.logits[order], shuffled)
    torch.testing.assert_close(other_value, value)
    torch.testing.assert_close(other_slope, slope[order])


@everywhere
def test_mirrored_images_cost_the_same(name: str, mode: str) -> None:
    batch = drawn(mode)
    mirrored = batch.targets._replace(labels=batch.targets.labels.flip(-1))
    torch.testing.assert_close(
        built(name)(batch.logits.flip(-1), mirrored), built(name)(batch.logits, batch.targets)
    )


@everywhere
def test_nothing_labelled_gives_zero_with_a_gradient(name: str, mode: str) -> None:
    batch = drawn(mode)
    value, slope = gradient(built(name), batch.logits, without_labels(batch))
    assert value.item() == 0
    assert not slope.any()


@everywhere
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("right", [True, False])
def test_huge_logits_keep_values_and_gradients_finite(
    name: str, mode: str, dtype: torch.dtype, right: bool
) -> None:
    batch = drawn(mode)
    logits = (batch.perfect * (50 if right else -50)).to(dtype)  # up to 1e4
    value, slope = gradient(built(name), logits, batch.targets)
    assert value.dtype == torch.float32
    assert value.isfinite() and slope.isfinite().all()


@everywhere
def test_half_precision_logits_are_summed_in_float32(name: str, mode: str) -> None:
    batch = drawn(mode)
    for dtype in (torch.bfloat16, torch.float16):
        coarse = batch.logits.to(dtype)
        value = built(name)(coarse, batch.targets)
        assert torch.equal(value, built(name)(coarse.float(), batch.targets))
    with torch.autocast("cpu", torch.bfloat16):
        inside = built(name)(coarse.float(), batch.targets)
    torch.testing.assert_close(inside, value)


@everywhere
def test_class_weights_count_by_their_ratio(name: str, mode: str) -> None:
    batch = drawn(mode)
    if mode == "binary":
        with pytest.raises(ConfigError, match="one output"):
            built(name, weights=[1, 2])(batch.logits, batch.targets)
        return
    plain = built(name)(batch.logits, batch.targets)
    equal = built(name, weights=[3, 3, 3])(batch.logits, batch.targets)
    uneven = built(name, weights=[1, 5, 0.5])(batch.logits, batch.targets)
    torch.testing.assert_close(equal, plain)
    assert (uneven - plain).abs() > 1e-5
    torch.testing.assert_close(built(name, weights=[2, 10, 1])(batch.logits, batch.targets), uneven)


@pytest.mark.parametrize("name", LOSSES)
def test_a_class_of_weight_zero_is_not_learned(name: str) -> None:
    """Multi-label: the channel of a class without weight has no gradient."""
    batch = drawn("labels")
    _, slope = gradient(built(name, weights=[1, 0, 1]), batch.logits, batch.targets)
    assert not slope[:, 1].any()
    assert slope[:, 0].any() and slope[:, 2].any()


@pytest.mark.parametrize("name", LOSSES)
def test_one_hot_labels_mean_what_ids_mean(name: str) -> None:
    ids, one_hot = drawn("classes"), drawn("one_hot")
    torch.testing.assert_close(
        built(name)(ids.logits, ids.targets), built(name)(one_hot.logits, one_hot.targets)
    )


@pytest.mark.parametrize("name", LOSSES)
def test_a_binary_loss_is_a_multi_label_one_of_one_label(name: str) -> None:
    batch = drawn("binary")
    doubled = batch.targets._replace(labels=batch.targets.labels[:, None].repeat(1, 2, 1, 1))
    torch.testing.assert_close(
        built(name)(batch.logits.repeat(1, 2, 1, 1), doubled),
        built(name)(batch.logits, batch.targets),
    )


@pytest.mark.parametrize("name", LOSSES)
def test_labels_left_out_of_an_image_are_not_learned_there(name: str) -> None:
    batch = drawn("labels")
    left_out = torch.tensor([[False, True, False], [False, False, False]])
    targets = batch.targets._replace(unlabelled=left_out)
    _, slope = gradient(built(name), batch.logits, targets)
    assert not slope[0, 1].any()
    assert slope[1, 1].any() and slope[0, 0].any()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_travel_to_other_processes(name: str) -> None:
    loss = built(name)
    assert pickle.loads(pickle.dumps(loss)) == loss


def test_shapes_and_labels_that_do_not_fit_are_refused() -> None:
    batch = drawn("classes")
    loss = built("ce")
    with pytest.raises(ParameterError, match=r"\(2, 8, 7\) do not fit logits \(2, 3, 8, 8\)"):
        loss(batch.logits, batch.targets._replace(labels=batch.targets.labels[..., 1:]))
    with pytest.raises(ParameterError, match="floating-point"):
        loss(batch.logits.long(), batch.targets)
    with pytest.raises(ParameterError, match="background=7"):
        loss(batch.logits, batch.targets._replace(background=7))
    wrong = batch.targets.labels.clone()
    wrong[0, 3, 3] = 9
    with pytest.raises(DataError, match=r"label 9; expected 0 to 2"):
        loss(batch.logits, batch.targets._replace(labels=wrong))
    wrong[0, 3, 3] = -1
    with pytest.raises(DataError, match="label -1"):
        loss(batch.logits, batch.targets._replace(labels=wrong))
    with pytest.raises(DataError, match="label 2"):
        loss(batch.logits[:, :1], batch.targets)
    with pytest.raises(ConfigError, match="4 weights for 3 classes"):
        built("dice", weights=[1, 1, 1, 1])(batch.logits, batch.targets)
    assert IGNORE in batch.targets.labels
