"""SegFormer: sizes, decoder, and weights from elsewhere."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.nn.test_mix_transformer import TINY, hugging_face_state, varied
from vitrail.errors import ConfigError
from vitrail.models.registry import build
from vitrail.models.segformer import AllMLPDecoder, SegFormer, from_hugging_face


@pytest.mark.parametrize(
    ("encoder", "millions"),
    [
        ("mit_b0", 3.8),
        ("mit_b1", 13.7),
        ("mit_b2", 27.5),
        ("mit_b3", 47.3),
        ("mit_b4", 64.1),
        ("mit_b5", 84.7),
    ],
)
def test_parameters_of_table_1_of_arxiv_2105_15203(encoder: str, millions: float) -> None:
    """Encoder and decoder together, for the 150 classes of ADE20K; rounded to 0.1 million."""
    with torch.device("meta"):
        model = build("segformer", {"encoder": encoder, "classes": 150})
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert round(count, 1) == millions


def tiny() -> SegFormer:
    encoder = varied(TINY)
    model = SegFormer(encoder, AllMLPDecoder(encoder.channels, 12, 0.1), 3).eval()
    model.decoder.norm.running_mean.normal_()
    model.decoder.norm.running_var.uniform_(0.5, 2)
    return model


def test_decoder_is_a_fused_concatenation() -> None:
    """arXiv:2105.15203, equation 4, in its own order: project, enlarge, concatenate, fuse."""
    torch.manual_seed(0)
    model = tiny()
    features = [
        torch.randn(2, channels, 32 // 2**level, 48 // 2**level)
        for level, channels in enumerate(TINY.channels)
    ]
    decoder = model.decoder
    projected = [project(x) for project, x in zip(decoder.project, features, strict=True)]
    enlarged = [F.interpolate(x, size=(32, 48), mode="bilinear") for x in projected]
    weight = torch.cat([convolution.weight for convolution in decoder.fuse], dim=1)
    fused = F.conv2d(torch.cat(enlarged, dim=1), weight)
    expected = torch.relu(decoder.norm(fused))
    torch.testing.assert_close(decoder(features), expected, rtol=1e-4, atol=1e-4)


def test_hugging_face_checkpoints_are_read() -> None:
    torch.manual_seed(0)
    theirs, ours = tiny(), tiny()
    state = hugging_face_state(theirs.encoder)
    for index, project in enumerate(theirs.decoder.project):
        name = f"decode_head.linear_c.{index}.proj"
        state |= {f"{name}.weight": project.weight[:, :, 0, 0], f"{name}.bias": project.bias}
    fuse = [convolution.weight for convolution in reversed(theirs.decoder.fuse)]
    state["decode_head.linear_fuse.weight"] = torch.cat(fuse, dim=1)
    for name, module in (("batch_norm", theirs.decoder.norm), ("classifier", theirs.head)):
        state |= {f"decode_head.{name}.{k}": v for k, v in module.state_dict().items()}
    ours.load_state_dict(from_hugging_face(state))
    images = torch.randn(1, 3, 40, 64)
    with torch.inference_mode():
        assert torch.equal(ours(images).logits, theirs(images).logits)


def test_width_follows_the_size_of_the_encoder() -> None:
    with torch.device("meta"):
        widths = {
            size: build("segformer", {"encoder": f"mit_{size}", "classes": 2}).head.in_channels
            for size in ("b0", "b1", "b2", "b5")
        }
    assert widths == {"b0": 256, "b1": 256, "b2": 768, "b5": 768}


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="mit_b6"):
        build("segformer", {"encoder": "mit_b6", "classes": 2})


def test_a_batch_of_one_trains_at_the_least_size() -> None:
    model = build("segformer", {"decoder_channels": 16, "classes": 2})
    assert isinstance(model.head, nn.Conv2d)
    assert model(torch.randn(1, 3, 32, 32)).logits.isfinite().all()
