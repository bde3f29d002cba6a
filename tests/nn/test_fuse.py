"""Folding batch norms changes the speed and not the answer."""

import pytest
import timm
import torch
from torch import Tensor, nn

from vitrail.models.registry import build
from vitrail.nn.fuse import fold_batch_norms, fuse_activations, with_same_tensors


def scramble(model: nn.Module) -> nn.Module:
    """Give batch norms statistics that matter."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("decoder", ["plain", "pix2pix"])
def test_unet_is_folded_exactly(decoder: str) -> None:
    model = scramble(build("unet", {"classes": 3, "decoder": decoder}))
    images = torch.randn(1, 3, 64, 96)
    folded = fold_batch_norms(model, torch.randn(1, 3, 64, 64))
    with torch.inference_mode():
        expected, logits = model(images).logits, folded(images).logits
    assert norms(model) > 50  # the original keeps its own
    # Transposed convolutions keep theirs: four in the pix2pix upsampler.
    assert norms(folded) == (0 if decoder == "plain" else 4)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_a_norm_before_its_convolution_stays() -> None:
    """DenseNet normalises first; only pairs that really follow each other may be folded."""
    model = scramble(timm.create_model("densenet121", num_classes=4))
    images = torch.randn(1, 3, 64, 64)
    folded = fold_batch_norms(model, images)
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), model(images), rtol=1e-3, atol=1e-3)
    assert 0 < norms(folded) < norms(model)


class Shared(nn.Module):
    """One convolution read by two norms, and one norm used twice: neither may be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.a, self.b = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return self.a(y) + self.b(y) + self.a(self.second(y))


def test_shared_modules_are_left_alone() -> None:
    model = scramble(Shared())
    images = torch.randn(2, 3, 8, 8)
    folded = fold_batch_norms(model, images)
    assert norms(folded) == 2
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), model(images))


class Levels(nn.Module):
    """One convolution, norm and activation for every level; another norm sometimes follows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.mixed = nn.Conv2d(4, 4, 1)
        self.one, self.two = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.act(self.norm(self.conv(x)))
        coarse = self.act(self.norm(self.conv(x[..., ::2, ::2])))
        return torch.cat(
            [self.one(self.mixed(fine)).flatten(1), self.two(self.mixed(coarse)).flatten(1)], 1
        )


def test_what_looks_at_each_level_is_folded_and_fused() -> None:
    model, images = scramble(Levels()), torch.randn(2, 3, 8, 8)
    folded = fold_batch_norms(model, images)
    assert norms(folded) == 2  # nothing is folded where a norm follows only at one level
    fused = fuse_activations(folded, images)
    if torch.backends.mkldnn.is_available():
        assert isinstance(fused.get_submodule("act"), nn.Identity)
    with torch.inference_mode():
        for one in (folded, fused):
            torch.testing.assert_close(one(images), model(images), rtol=1e-4, atol=1e-5)


class Residual(nn.Module):
    """A block that adds to a convolution's output in place, as timm's ResNets do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.act, self.end = nn.ReLU(inplace=True), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.act(self.conv(x)))
        y += x
        return self.end(y)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs a torch with oneDNN")
def test_an_activation_behind_a_sum_stays_behind_it() -> None:
    model, example = Residual().eval(), torch.randn(1, 4, 16, 16)
    fused = fuse_activations(model, example)
    assert isinstance(fused.get_submodule("act"), nn.Identity)
    assert isinstance(fused.get_submodule("end"), nn.ReLU)
    with torch.inference_mode():
        torch.testing.assert_close(fused(example), model(example))


def test_a_copy_with_the_same_tensors_leaves_the_original_its_layers() -> None:
    model = Residual().eval()
    copied = with_same_tensors(model)
    assert copied.get_submodule("conv").weight is model.conv.weight
    copied.set_submodule("act", nn.Identity())
    assert isinstance(model.act, nn.ReLU)
