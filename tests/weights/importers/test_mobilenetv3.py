"""Every tensor of torchvision's MobileNetV3 has its place in timm's."""

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision

from vitrail.errors import WeightsError
from vitrail.weights.importers.mobilenetv3 import timm_keys

HEAD = ("conv_head.", "classifier.")


@pytest.fixture(scope="module", params=["large", "small"])
def states(request: pytest.FixtureRequest) -> tuple[dict, dict]:
    """torchvision's features, and timm's network without its head, both without memory."""
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"mobilenet_v3_{request.param}")().features
        timms = timm.create_model(f"mobilenetv3_{request.param}_100").state_dict()
    return theirs.state_dict(), {k: t for k, t in timms.items() if not k.startswith(HEAD)}


def test_all_names_and_shapes_meet(states: tuple[dict, dict]) -> None:
    theirs, timms = states
    named = timm_keys(theirs)
    assert {k: t.shape for k, t in named.items()} == {k: t.shape for k, t in timms.items()}


def test_parts_that_look_alike_are_told_apart() -> None:
    """Squeeze and expand, and the three batch norms of a block, by example."""
    with torch.device("meta"):
        state = torchvision.models.mobilenet_v3_large().features.state_dict()
    named = {id(tensor): name for name, tensor in timm_keys(state).items()}
    for theirs, ours in (
        ("0.1.running_mean", "bn1.running_mean"),
        ("1.block.0.0.weight", "blocks.0.0.conv_dw.weight"),
        ("1.block.1.1.bias", "blocks.0.0.bn2.bias"),
        ("4.block.1.1.weight", "blocks.2.0.bn2.weight"),
        ("4.block.2.fc1.bias", "blocks.2.0.se.conv_reduce.bias"),
        ("4.block.3.0.weight", "blocks.2.0.conv_pwl.weight"),
        ("15.block.2.fc2.weight", "blocks.5.2.se.conv_expand.weight"),
        ("16.1.num_batches_tracked", "blocks.6.0.bn1.num_batches_tracked"),
    ):
        assert named[id(state[theirs])] == ours


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: {f"features.{k}": t for k, t in state.items()},
            "not the features.*features",
        ),
        (lambda state: {k: t for k, t in state.items() if k[:3] != "16."}, "numbered 0 to 16"),
        (lambda state: {}, "found nothing"),
        (lambda state: {**state, "3.block.9.fc3.weight": None}, r"3\.block\.9\.fc3\.weight: not"),
        (lambda state: {**state, "3.extra": None}, r"3\.extra: not"),
    ],
    ids=["prefix", "too few", "empty", "unknown layer", "unknown tensor"],
)
def test_other_networks_are_refused(change: Callable[[dict], dict], message: str) -> None:
    with torch.device("meta"):
        state = torchvision.models.mobilenet_v3_large().features.state_dict()
    with pytest.raises(WeightsError, match=message):
        timm_keys(change(state))
