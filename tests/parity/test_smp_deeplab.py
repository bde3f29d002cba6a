"""DeepLabv3 and DeepLabv3+ against segmentation_models.pytorch with the same weights."""

from importlib.metadata import version
from typing import Literal

import pytest
import segmentation_models_pytorch as smp
import torch

from tests.drawn_weights import randomise
from vitrail.models.registry import build

SMP = f"smp-{version('segmentation_models_pytorch')}"
_V3 = {
    "decoder.aspp.": "classifier.0.",
    "decoder.conv.": "classifier.1.",
    "decoder.bn.": "classifier.2.",
    "segmentation_head.0.": "classifier.4.",
}
_V3PLUS = {
    "decoder.aspp.0.": "aspp.",
    "decoder.aspp.1.": "refine.0.",
    "decoder.aspp.2.": "refine.1.",
    "decoder.block1.": "low_level.",
    "decoder.block2.": "fuse.0.",
    "segmentation_head.0.": "head.",
}
_ENCODER = {"encoder.model.": "encoder.net.", "encoder.": "encoder.net."}


def renamed(state: dict[str, torch.Tensor], starts: dict[str, str]) -> dict[str, torch.Tensor]:
    """smp's tensors under our names; the first start that fits is replaced."""
    starts = starts | _ENCODER
    names = {name: next(start for start in starts if name.startswith(start)) for name in state}
    return {starts[start] + name.removeprefix(start): state[name] for name, start in names.items()}


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize(
    ("theirs_is", "encoder"),
    [("resnet18", "resnet18"), ("tu-resnet18", "resnet18"), ("tu-mobilenetv2_100",) * 2],
    ids=lambda e: f"{SMP}-{e}",
)
@pytest.mark.parametrize("architecture", ["deeplab-v3", "deeplab-v3plus"])
def test_logits_are_equal(
    architecture: str, theirs_is: str, encoder: str, output_stride: Literal[8, 16]
) -> None:
    """smp's own encoders dilate every convolution of a stage, those of timm (tu-) do not."""
    torch.manual_seed(0)
    plus = architecture == "deeplab-v3plus"
    kind, starts = (smp.DeepLabV3Plus, _V3PLUS) if plus else (smp.DeepLabV3, _V3)
    theirs = kind(
        theirs_is,
        encoder_weights=None,
        encoder_output_stride=output_stride,
        decoder_channels=32,
        classes=5,
    ).eval()
    randomise(theirs)
    arguments: dict[str, object] = {
        "encoder": encoder.removeprefix("tu-"),
        "output_stride": output_stride,
        "channels": 32,
        "rates": (12, 24, 36),
        "align_corners": True,
        "dilate_first": not theirs_is.startswith("tu-"),
        "classes": 5,
    }
    ours = build(architecture, arguments | ({"decoder": "smp"} if plus else {})).eval()
    ours.load_state_dict(renamed(theirs.state_dict(), starts))
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected, logits = theirs(images), ours(images).logits
    assert expected.std() > 1e-2
    assert (logits - expected).abs().max() / expected.abs().max() < 1e-5


def test_the_dilation_of_the_first_block_matters() -> None:
    """Else the argument for it would be checked by nothing."""
    torch.manual_seed(0)
    theirs = smp.DeepLabV3(
        "resnet18", encoder_weights=None, encoder_output_stride=16, classes=2
    ).eval()
    arguments: dict[str, object] = {"encoder": "resnet18", "rates": (12, 24, 36), "classes": 2}
    ours = build("deeplab-v3", {**arguments, "align_corners": True}).eval()
    ours.load_state_dict(renamed(theirs.state_dict(), _V3))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, logits = theirs(images), ours(images).logits
    assert (logits - expected).abs().max() / expected.abs().max() > 1e-3
