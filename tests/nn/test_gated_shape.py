"""The shape stream: what its gates let through, and what they keep apart."""

import pytest
import torch

from vitrail.nn.gated_shape import GatedConv, ResidualBlock, ShapeStream

SIZE = (12, 20)


def stream() -> ShapeStream:
    torch.manual_seed(0)
    return ShapeStream(6, (8, 10, 12), (8, 6, 4, 2)).eval()


def features(seed: int = 0) -> tuple[torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    fine = torch.randn(2, 6, *SIZE, generator=generator)
    deep = [torch.randn(2, width, 3, 5, generator=generator) for width in (8, 10, 12)]
    return fine, deep


def test_boundary_and_attention_have_the_size_asked_for() -> None:
    fine, deep = features()
    for size in (SIZE, (24, 40), (7, 9)):
        drawn, attentions = stream()(fine, deep, size)
        assert drawn.shape == (2, 1, *size)
        assert [attention.shape for attention in attentions] == [(2, 1, *size)] * 3
        assert all(attention.min() > 0 and attention.max() < 1 for attention in attentions)


def test_a_gate_weighs_between_once_and_twice() -> None:
    gate = GatedConv(3, 3).eval()
    with torch.no_grad():
        gate.weigh.weight.copy_(torch.eye(3)[:, :, None, None])
        gate.gate[0].weight.zero_()
        gate.gate[0].weight[:, 3] = 1.0
    shape, deep = torch.randn(1, 3, 4, 4), torch.full((1, 1, 4, 4), -1e4)
    deep[..., 2:] = 1e4
    passed, attention = gate(shape, deep)
    torch.testing.assert_close(attention, (deep > 0).float())
    torch.testing.assert_close(passed[..., :2], shape[..., :2])
    torch.testing.assert_close(passed[..., 2:], 2 * shape[..., 2:])


def test_deep_features_speak_through_the_gates_only() -> None:
    """They say how much of the stream's features counts, and add nothing of their own (the paper's
    gated convolutional layer): where the stream is silent, they cannot be heard."""
    shape = stream()
    (fine, deep), (_, other) = features(0), features(1)
    assert not torch.allclose(shape(fine, deep, SIZE)[0], shape(fine, other, SIZE)[0])
    with torch.no_grad():
        shape.begin.weight.zero_()
        shape.begin.bias.zero_()
    drawn, attentions = shape(fine, deep, SIZE)
    assert torch.equal(drawn, shape(fine, other, SIZE)[0])
    assert not torch.equal(attentions[0], shape(fine, other, SIZE)[1][0])


def test_a_residual_block_that_adds_nothing_is_a_relu() -> None:
    block = ResidualBlock(4).eval()
    torch.nn.init.zeros_(block.norm.weight)
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x), x.relu())


def test_widths_must_fit_the_gates() -> None:
    with pytest.raises(ValueError, match="3 gates need 4 widths, got 3"):
        ShapeStream(6, (8, 10, 12), (8, 6, 4))
