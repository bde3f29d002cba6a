"""PSPNet against segmentation_models.pytorch with the same weights and batch-norm statistics."""

from importlib.metadata import version

import pytest
import segmentation_models_pytorch as smp
import torch

from vitrail.models.registry import build

SMP = f"smp-{version('segmentation_models_pytorch')}"


def from_smp(name: str) -> str:
    """An smp key as ours: ``decoder.psp.blocks.2.pool.1.0`` is ``pyramid.maps.2.convolve``."""
    name = name.replace("encoder.model.", "encoder.net.").replace("segmentation_head.0.", "head.")
    name = name.replace("decoder.psp.blocks.", "pyramid.maps.").replace("decoder.conv.", "fuse.")
    return name.replace(".pool.1.0.", ".convolve.").replace(".pool.1.1.", ".norm.")


def scramble(model: torch.nn.Module) -> None:
    """Batch norms as after a training: every factor, shift, mean and variance its own."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 1.5)


@pytest.mark.parametrize(
    ("encoder", "depth", "size"),
    [
        ("resnet18", 3, (64, 96)),
        ("mobilenetv2_100", 3, (104, 56)),
        ("resnet18", 4, (64, 96)),
    ],
    ids=lambda value: f"{SMP}-{value}" if isinstance(value, str) else None,
)
def test_pspnet_logits_are_equal(encoder: str, depth: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs = smp.PSPNet(
        f"tu-{encoder}",
        encoder_weights=None,
        encoder_depth=depth,
        psp_out_channels=48,
        classes=5,
        upsampling=2**depth,
    ).eval()
    scramble(theirs)
    arguments = {"encoder": encoder, "form": "smp", "width": 48, "classes": 5}
    if depth != 3:
        arguments |= {"depth": depth, "output_stride": 2**depth}
    ours = build("pspnet", arguments).eval()
    state = {from_smp(name): value for name, value in theirs.state_dict().items()}
    idle = [name for name in state if name not in ours.state_dict()]
    # smp's MobileNetV2 runs the stages behind the last one used as well.
    assert all(name.startswith("encoder.net.blocks.") for name in idle)
    ours.load_state_dict({name: value for name, value in state.items() if name not in idle})
    images = torch.randn(2, 3, *size)
    with torch.inference_mode():
        expected, logits = theirs(images), ours(images).logits
    assert logits.shape == expected.shape == (2, 5, *size)
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()
