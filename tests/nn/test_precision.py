"""Half precision that changes hardly a pixel, and takes every network."""

import pytest
import torch
from torch import nn

from vitrail.models.registry import build
from vitrail.nn.fuse import fold_batch_norms
from vitrail.nn.precision import cast_for_inference


@pytest.mark.parametrize(
    "arguments",
    [{}, {"decoder": "pix2pix"}, {"encoder": "resnet18"}, {"encoder": "convnext_atto"}],
    ids=str,
)
def test_every_network_runs_and_stays_close(arguments: dict) -> None:
    torch.manual_seed(0)
    model = build("unet", {"classes": 3, **arguments}).eval()
    example, images = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 96)
    folded = fold_batch_norms(model, example)
    cast = cast_for_inference(folded, torch.bfloat16, example)
    with torch.inference_mode():
        exact, logits = folded(images).logits, cast(images).logits.float()
    assert (logits - exact).abs().max() < 0.1 * exact.abs().max()


def test_the_first_convolutions_stay_whole() -> None:
    example = torch.randn(1, 3, 64, 64)
    model = fold_batch_norms(build("unet", {"classes": 3}), example)
    cast = cast_for_inference(model, torch.bfloat16, example)
    kinds = {
        name: module.weight.dtype
        for name, module in cast.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    whole = {name for name, dtype in kinds.items() if dtype == torch.float32}
    block = "encoder.net.blocks.0.0"
    assert whole == {"encoder.net.conv_stem", f"{block}.conv_dw", f"{block}.conv_pw"}
    assert all(p.dtype == torch.float32 for p in model.parameters())  # the original is untouched


def test_float32_changes_nothing() -> None:
    model = build("unet", {"classes": 3}).eval()
    images = torch.randn(1, 3, 64, 64)
    cast = cast_for_inference(model, torch.float32, images)
    with torch.inference_mode():
        assert torch.equal(cast(images).logits, model(images).logits)
