"""The plain U-Net against segmentation_models.pytorch with the same weights."""

from importlib.metadata import version

import pytest
import segmentation_models_pytorch as smp
import torch

from vitrail.models.registry import build

SMP = f"smp-{version('segmentation_models_pytorch')}"


def from_smp(name: str) -> str:
    """An smp key as ours: ``decoder.blocks.0.conv1.0`` is ``decoder.levels.0.0.0``."""
    if name.startswith("decoder."):
        name = name.replace(".blocks.", ".levels.")
        return name.replace(".conv1.", ".0.").replace(".conv2.", ".1.")
    return name.replace("encoder.model.", "encoder.net.").replace("segmentation_head.0.", "head.")


@pytest.mark.parametrize("encoder", ["mobilenetv2_100", "resnet18"], ids=lambda e: f"{SMP}-{e}")
@pytest.mark.parametrize("size", [(64, 96), (128, 128)])
def test_unet_logits_are_equal(encoder: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    widths = (64, 48, 32, 24, 16)
    theirs = smp.Unet(f"tu-{encoder}", encoder_weights=None, decoder_channels=widths, classes=5)
    ours = build("unet", {"encoder": encoder, "decoder_channels": widths, "classes": 5})
    ours.load_state_dict({from_smp(name): value for name, value in theirs.state_dict().items()})
    images = torch.randn(2, 3, *size)
    for mode in (True, False):
        theirs.train(mode), ours.train(mode)
        with torch.no_grad():
            expected, logits = theirs(images), ours(images).logits
        error = (logits - expected).abs().max() / expected.abs().max()
        assert error < 1e-5
