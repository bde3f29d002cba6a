"""The dilated FCN against torchvision's with the same weights."""

from importlib.metadata import version

import pytest
import torch
from torch import nn
from torchvision.models.segmentation import fcn_resnet50

from tests.drawn_weights import randomise
from vitrail.models.fcn import DilatedFCN
from vitrail.models.registry import build

TORCHVISION = f"torchvision-{version('torchvision')}"
PARTS = {"backbone.": "encoder.net.", "aux_classifier.": "auxiliary.", "classifier.": "head."}


def from_torchvision(name: str) -> str:
    start = next(start for start in PARTS if name.startswith(start))
    return PARTS[start] + name.removeprefix(start)


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Module, DilatedFCN]:
    theirs = fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True, num_classes=21)
    randomise(theirs)
    ours = build("fcn-dilated", {"classes": 21})
    assert isinstance(ours, DilatedFCN)
    ours.load_state_dict({from_torchvision(name): t for name, t in theirs.state_dict().items()})
    return theirs, ours


@pytest.mark.parametrize("size", [(64, 96), (65, 73)], ids=lambda size: f"{TORCHVISION}-{size}")
def test_logits_are_equal(pair: tuple[nn.Module, DilatedFCN], size: tuple[int, int]) -> None:
    theirs, ours = (model.eval() for model in pair)
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, raw = theirs(images)["out"], ours(images)
    assert (raw.logits - expected).abs().max() < 1e-4 * expected.abs().max()
    assert not raw.auxiliary


def test_auxiliary_logits_are_equal(pair: tuple[nn.Module, DilatedFCN]) -> None:
    for model in pair:
        for module in model.train().modules():
            if isinstance(module, nn.Dropout):
                module.eval()
    theirs, ours = pair
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, raw = theirs(images), ours(images)
    for name, logits in (("out", raw.logits), ("aux", raw.auxiliary[0])):
        assert (logits - expected[name]).abs().max() < 1e-4 * expected[name].abs().max()
