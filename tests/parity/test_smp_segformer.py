"""SegFormer against segmentation_models.pytorch with the same weights."""

from importlib.metadata import version

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.parity.test_smp_pspnet import scramble
from vitrail.models.registry import build

SMP = f"smp-{version('segmentation_models_pytorch')}"
NAMES = {
    ".attn.q.": ".attention.query.",
    ".attn.kv.": ".attention.key_value.",
    ".attn.sr.": ".attention.reduce.",
    ".attn.": ".attention.",
    ".mlp.fc1.": ".feed_forward.expand.",
    ".mlp.dwconv.dwconv.": ".feed_forward.depthwise.",
    ".mlp.fc2.": ".feed_forward.project.",
    "segmentation_head.0.": "head.",
    "decoder.fuse_stage.1.": "decoder.norm.",
}


def from_smp(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Its four stages are numbered from 1, its decoder begins with the coarsest feature."""
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        if key == "decoder.fuse_stage.0.weight":
            for index, share in enumerate(reversed(value.chunk(4, dim=1))):
                ours[f"decoder.fuse.{index}.weight"] = share
            continue
        for stage in range(4):
            key = key.replace(f"encoder.patch_embed{stage + 1}.", f"encoder.stages.{stage}.merge.")
            key = key.replace(f"encoder.block{stage + 1}.", f"encoder.stages.{stage}.blocks.")
            key = key.replace(f"encoder.norm{stage + 1}.", f"encoder.stages.{stage}.norm.")
        for theirs, name in NAMES.items():
            key = key.replace(theirs, name)
        if key.startswith("decoder.mlp_stage."):
            _, _, index, _, kind = key.split(".")
            key = f"decoder.project.{3 - int(index)}.{kind}"
            value = value[:, :, None, None] if kind == "weight" else value
        ours[key] = value
    return ours


@pytest.mark.parametrize(
    ("encoder", "size"),
    [("mit_b0", (64, 96)), ("mit_b0", (128, 160)), ("mit_b1", (64, 64))],
    ids=lambda value: f"{SMP}-{value}" if isinstance(value, str) else None,
)
def test_segformer_logits_are_equal(encoder: str, size: tuple[int, int]) -> None:
    """Up to the last enlarging: smp's puts corner values in the corners, ours (as the original)
    does not."""
    torch.manual_seed(0)
    theirs = smp.Segformer(
        encoder,
        encoder_weights=None,
        decoder_segmentation_channels=48,
        classes=5,
        upsampling=1,
    ).eval()
    scramble(theirs)
    for name, parameter in theirs.named_parameters():
        if "norm" in name or name.endswith("bias"):
            torch.nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.2)
        elif "attn" in name:  # freshly initialised, attention is the same everywhere
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    ours = build("segformer", {"encoder": encoder, "decoder_channels": 48, "classes": 5}).eval()
    ours.load_state_dict(from_smp(theirs.state_dict()))
    images = torch.randn(2, 3, *size)
    with torch.inference_mode():
        quarter, logits = theirs(images), ours(images).logits
    assert quarter.shape[-2:] == (size[0] // 4, size[1] // 4)
    expected = F.interpolate(quarter, size=size, mode="bilinear", align_corners=False)
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()
