"""LR-ASPP and its encoder against torchvision's with the same weights."""

from importlib.metadata import version

import pytest
import torch
from torchvision.models import mobilenet_v3_small
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from tests.drawn_weights import randomise
from vitrail.models.registry import build
from vitrail.nn.mobilenetv3 import TorchvisionMobileNetV3
from vitrail.weights.importers.mobilenetv3 import timm_keys

TORCHVISION = f"torchvision-{version('torchvision')}"
HEAD = {
    "classifier.cbr.": "reduce.",
    "classifier.scale.": "gate.",
    "classifier.high_classifier.": "coarse_score.",
    "classifier.low_classifier.": "fine_score.",
}


def from_torchvision(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """torchvision's tensors under our names."""
    backbone = {k.removeprefix("backbone."): t for k, t in state.items() if k.startswith("backb")}
    ours = {f"encoder.net.{name}": tensor for name, tensor in timm_keys(backbone).items()}
    for start, own in HEAD.items():
        part = {k: tensor for k, tensor in state.items() if k.startswith(start)}
        ours |= {own + k.removeprefix(start): tensor for k, tensor in part.items()}
    return ours


@pytest.mark.parametrize("size", [(64, 96), (97, 65)], ids=lambda size: f"{TORCHVISION}-{size}")
def test_logits_are_equal(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21).eval()
    randomise(theirs)
    ours = build("lraspp", {"classes": 21, "torchvision": True}).eval()
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    images = torch.randn(2, 3, *size)
    with torch.inference_mode():
        expected, logits = theirs(images)["out"], ours(images).logits
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()


def test_the_small_encoders_features_are_equal() -> None:
    """The first block at stride 8 is the third part of the small network."""
    torch.manual_seed(0)
    theirs = mobilenet_v3_small(weights=None, dilated=True).features.eval()
    randomise(theirs)
    ours = TorchvisionMobileNetV3("mobilenetv3_small_100").eval()
    ours.net.load_state_dict(timm_keys(theirs.state_dict()))
    images = torch.randn(1, 3, 80, 64)
    with torch.inference_mode():
        fine, coarse = ours(images)
        for feature, expected in ((fine, theirs[:3](images)), (coarse, theirs(images))):
            assert (feature - expected).abs().max() < 1e-4 * expected.abs().max()
    assert ours.channels == [fine.shape[1], coarse.shape[1]] == [24, 576]
    assert ours.strides == [8, 16] and fine.shape[-2:] == (10, 8) and coarse.shape[-2:] == (5, 4)
