"""The Mix Transformer: its pieces against their formulas, and weights from elsewhere."""

import pytest
import torch
from torch import Tensor

from vitrail.errors import ConfigError
from vitrail.nn.mix_transformer import (
    SIZES,
    EfficientAttention,
    MixTransformer,
    MixTransformerSize,
    from_hugging_face,
)

TINY = MixTransformerSize((8, 16, 20, 32), (1, 2, 1, 1))


def hugging_face_state(encoder: MixTransformer) -> dict[str, Tensor]:
    """An encoder's tensors under the keys of Hugging Face's published checkpoints."""
    names = {
        "norm1": "layer_norm_1",
        "norm2": "layer_norm_2",
        "attention.query": "attention.self.query",
        "attention.reduce": "attention.self.sr",
        "attention.norm": "attention.self.layer_norm",
        "attention.proj": "attention.output.dense",
        "feed_forward.expand": "mlp.dense1",
        "feed_forward.depthwise": "mlp.dwconv.dwconv",
        "feed_forward.project": "mlp.dense2",
    }
    state: dict[str, Tensor] = {}
    for i, stage in enumerate(encoder.stages):
        top = "segformer.encoder."
        parts = {
            f"{top}patch_embeddings.{i}.proj": stage.merge.proj,
            f"{top}patch_embeddings.{i}.layer_norm": stage.merge.norm,
            f"{top}layer_norm.{i}": stage.norm,
        }
        for j, block in enumerate(stage.blocks):
            at = f"{top}block.{i}.{j}."
            for ours, theirs in names.items():
                if ours.startswith(("attention.reduce", "attention.norm")) and i == 3:
                    continue  # the last stage's sequence is not shortened
                parts[at + theirs] = block.get_submodule(ours)
            width = encoder.channels[i]
            for kind, tensor in block.attention.key_value.state_dict().items():
                state[f"{at}attention.self.key.{kind}"] = tensor[:width]
                state[f"{at}attention.self.value.{kind}"] = tensor[width:]
        for name, module in parts.items():
            state |= {f"{name}.{kind}": tensor for kind, tensor in module.state_dict().items()}
    return state


def varied(size: MixTransformerSize, in_channels: int = 3) -> MixTransformer:
    """An encoder no two of whose tensors are alike."""
    encoder = MixTransformer(size, in_channels=in_channels).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return encoder


def test_attention_is_softmax_of_scaled_products() -> None:
    """arXiv:2105.15203, equation 1, head by head; keys and values from the shortened sequence."""
    torch.manual_seed(0)
    attend = EfficientAttention(6, heads=2, reduction=2)
    x = torch.randn(1, 8, 6)  # a map of 2 x 4
    grid = x.transpose(1, 2).reshape(1, 6, 2, 4)
    source = attend.norm(attend.reduce(grid).flatten(2).transpose(1, 2))
    assert source.shape == (1, 2, 6)
    query, both = attend.query(x), attend.key_value(source)
    heads = []
    for part in (slice(0, 3), slice(3, 6)):
        scores = query[..., part] @ both[..., :6][..., part].transpose(1, 2) / 3**0.5
        heads.append(scores.softmax(-1) @ both[..., 6:][..., part])
    expected = attend.proj(torch.cat(heads, -1))
    torch.testing.assert_close(attend(x, (2, 4)), expected)


def test_strides_and_channels_are_what_is_said() -> None:
    encoder = MixTransformer(TINY).eval()
    features = encoder(torch.randn(2, 3, 64, 96))
    assert encoder.strides == [4, 8, 16, 32]
    for feature, channels, stride in zip(features, encoder.channels, encoder.strides, strict=True):
        assert feature.shape == (2, channels, 64 // stride, 96 // stride)


def test_hugging_face_weights_are_read() -> None:
    torch.manual_seed(0)
    theirs, ours = varied(TINY), MixTransformer(TINY).eval()
    state = hugging_face_state(theirs)
    state |= {"decode_head.classifier.bias": torch.zeros(3), "classifier.weight": torch.zeros(1)}
    assert from_hugging_face(state).keys() == ours.state_dict().keys()
    ours.load_pretrained(state)
    images = torch.randn(1, 3, 32, 64)
    for a, b in zip(ours(images), theirs(images), strict=True):
        assert torch.equal(a, b)


def test_own_weights_are_read_and_bands_adapted() -> None:
    torch.manual_seed(0)
    rgb, ours = varied(TINY), MixTransformer(TINY, in_channels=6).eval()
    ours.load_pretrained(rgb.state_dict())
    grey = torch.randn(1, 1, 32, 32)
    for a, b in zip(ours(grey.expand(-1, 6, -1, -1)), rgb(grey.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_wrong_weights_change_nothing() -> None:
    encoder = MixTransformer(TINY)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    state = varied(TINY).state_dict()
    missing = {key: value for key, value in state.items() if key != "stages.2.norm.bias"}
    with pytest.raises(ConfigError, match=r"lack 1 of .*stages\.2\.norm\.bias"):
        encoder.load_pretrained(missing)
    with pytest.raises(ConfigError, match=r"stages\.3\.norm\.bias has shape \(5,\)"):
        encoder.load_pretrained(state | {"stages.3.norm.bias": torch.zeros(5)})
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("block.0.foo", torch.zeros(1)),
        ("block.0", torch.zeros(1)),
        ("block", torch.zeros(1)),
        ("block.1.0.attention.self.key.bias", torch.tensor(1.0)),
        ("block.1.0.attention.self.key.bias", torch.zeros(3, 2)),
    ],
)
def test_odd_hugging_face_names_and_shapes_are_no_tensors_of_ours(key: str, value: Tensor) -> None:
    encoder = MixTransformer(TINY)
    state = {**hugging_face_state(encoder), f"segformer.encoder.{key}": value}
    if key in ("block.0.foo", "block.0", "block"):
        encoder.load_pretrained(state)  # what is not of the encoder is left out
        return
    with pytest.raises(ConfigError, match=r"lack 1 of .*key_value\.bias"):
        encoder.load_pretrained(state)


def test_blocks_are_dropped_in_training_the_last_most() -> None:
    torch.manual_seed(0)
    encoder = MixTransformer(TINY, drop_path=0.4)
    rates = [block.drop_path.drop_prob for stage in encoder.stages for block in stage.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    images = torch.randn(1, 3, 32, 32)
    encoder.eval()
    assert torch.equal(encoder(images)[3], encoder(images)[3])
    encoder.train()
    assert len({encoder(images)[3].sum().item() for _ in range(12)}) > 1


@pytest.mark.parametrize("name", SIZES)
def test_every_size_shares_its_channels_between_its_heads(name: str) -> None:
    size = SIZES[name]
    assert all(c % heads == 0 for c, heads in zip(size.channels, size.heads, strict=True))
