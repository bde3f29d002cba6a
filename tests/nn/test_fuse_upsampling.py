"""A decoder whose doubling is folded into its convolutions answers as before."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.nn.test_fuse import scramble
from vitrail.models.registry import build
from vitrail.nn.fuse import fold_batch_norms
from vitrail.nn.fuse_upsampling import FoldedLevel, doubled, fold_upsampling
from vitrail.nn.upsample import PlainLevel

FOLDED = {
    "mobilenetv2_100": [True] * 5,
    "resnet18": [True] * 5,
    "convnext_atto": [True] * 3 + [False],  # begins at stride 4: its last level enlarges by 4
    "vgg11": [True] * 4 + [False],  # begins at stride 1
    "legacy_xception": [True] * 2 + [False] * 3,  # convolutions without padding: 29, 15, 8, 4, 2
}
onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="torch without oneDNN does not fold"
)


def network(encoder: str) -> tuple[nn.Module, torch.Tensor]:
    """A network without batch norms, and an example as loading uses it."""
    torch.manual_seed(0)
    widths = (40, 32, 24, 16, 8)[: len(FOLDED[encoder])]
    arguments = {"classes": 3, "encoder": encoder, "decoder_channels": widths}
    model = scramble(build("unet", arguments))
    example = torch.randn(1, 3, 2 * model.stride, 2 * model.stride)
    return fold_batch_norms(model, example), example


def plain_level() -> PlainLevel:
    level = fold_batch_norms(Feeder(), torch.zeros(1, 6, 4, 4)).level
    assert isinstance(level, PlainLevel)
    return level


class Feeder(nn.Module):
    """A level over four channels from below and a skip of two."""

    def __init__(self) -> None:
        super().__init__()
        self.level = PlainLevel(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        skip = F.interpolate(x[:, :2], size=(2 * height, 2 * width))
        return self.level(x[:, 2:], skip, (2 * height, 2 * width))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3), (8, 8)])
def test_the_kernel_of_four_is_exact(shape: tuple[int, int]) -> None:
    """Small whole numbers leave nothing to rounding: the sums are the same, borders included."""
    torch.manual_seed(0)
    x = torch.randint(-8, 9, (2, 4, *shape)).float()
    weight = torch.randint(-8, 9, (3, 4, 3, 3)).float()
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, padding=1)
    kernel = doubled(doubled(weight, 2), 3).transpose(0, 1)
    assert torch.equal(F.conv_transpose2d(x, kernel, stride=2, padding=1), expected)


@onednn
@pytest.mark.parametrize("encoder", FOLDED)
def test_logits_are_equal(encoder: str) -> None:
    """At the example's size, at others, and at sizes that no stride divides."""
    model, example = network(encoder)
    folded = fold_upsampling(model, example)
    kinds = [isinstance(level, FoldedLevel) for level in folded.decoder.levels]
    assert kinds == FOLDED[encoder]
    assert not any(isinstance(module, FoldedLevel) for module in model.modules())
    with torch.inference_mode():
        for height, width in ((64, 64), (96, 160), (70, 65), (65, 131)):
            images = torch.randn(2, 3, height, width)
            expected, logits = model(images).logits, folded(images).logits
            error = (logits - expected).abs().max() / expected.abs().max()
            assert error < 1e-5, (height, width)


@pytest.mark.parametrize("size", [(10, 6), (9, 5), (20, 12), (5, 3)])
def test_a_level_takes_any_size(size: tuple[int, int]) -> None:
    level = plain_level()
    folded = FoldedLevel(level, 4)
    x, skip = torch.randn(2, 4, 5, 3), torch.randn(2, 2, *size)
    with torch.inference_mode():
        torch.testing.assert_close(folded(x, skip, size), level(x, skip, size))


@onednn
def test_levels_that_cannot_be_folded_stay() -> None:
    model, example = Feeder().eval(), torch.randn(1, 6, 4, 4)
    assert fold_upsampling(model, example) is model  # its batch norms are still there
    ready = fold_batch_norms(model, example)
    assert isinstance(fold_upsampling(ready, example).level, FoldedLevel)
    ready.level[0][0].register_forward_hook(lambda *_: None)
    assert fold_upsampling(ready, example) is ready  # the hook would be lost
    other = fold_batch_norms(
        build("unet", {"classes": 3, "decoder": "pix2pix"}), torch.ones(1, 3, 64, 64)
    )
    assert fold_upsampling(other, torch.ones(1, 3, 64, 64)) is other


@onednn
def test_folding_leaves_the_random_state_alone() -> None:
    model, example = fold_batch_norms(Feeder(), torch.randn(1, 6, 4, 4)), torch.randn(1, 6, 4, 4)
    state = torch.get_rng_state()
    assert fold_upsampling(model, example) is not model
    assert torch.equal(torch.get_rng_state(), state)


def test_without_onednn_nothing_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fold_batch_norms(Feeder(), torch.randn(1, 6, 4, 4))
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert fold_upsampling(model, torch.randn(1, 6, 4, 4)) is model


@onednn
def test_a_fold_that_changes_the_output_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    model, example = fold_batch_norms(Feeder(), torch.randn(1, 6, 4, 4)), torch.randn(1, 6, 4, 4)
    monkeypatch.setattr(
        "vitrail.nn.fuse_upsampling.doubled", lambda weight, axis: doubled(weight, axis) * 1.01
    )
    assert fold_upsampling(model, example) is model


def test_level_keys_are_those_of_checkpoints() -> None:
    keys = build("unet", {"classes": 3}).decoder.state_dict()
    assert list(keys)[:3] == ["levels.0.0.0.weight", "levels.0.0.1.weight", "levels.0.0.1.bias"]
    assert "levels.4.1.1.running_var" in keys
