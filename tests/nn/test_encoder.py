"""Short encoders compute what the whole one does, and hold no more than they use."""

import pytest
import torch

from vitrail.errors import ConfigError, UnknownNameError
from vitrail.nn.encoder import TimmEncoder


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "efficientnet_b0"])
def test_the_first_stages_are_those_of_the_whole(name: str) -> None:
    torch.manual_seed(0)
    whole, short = TimmEncoder(name).eval(), TimmEncoder(name, depth=3).eval()
    assert (short.channels, short.strides) == (whole.channels[:3], [2, 4, 8])
    short.load_pretrained(whole.net.state_dict())
    images = torch.randn(1, 3, 40, 56)
    with torch.inference_mode():
        features, expected = short(images), whole(images)[:3]
    assert len(features) == 3
    assert all(torch.equal(a, b) for a, b in zip(features, expected, strict=True))
    assert sum(p.numel() for p in short.parameters()) < 0.3 * sum(
        p.numel() for p in whole.parameters()
    )


def test_an_output_stride_is_that_of_the_last_stage_left() -> None:
    encoder = TimmEncoder("resnet18", depth=4, output_stride=8).eval()
    with torch.inference_mode():
        *_, last = encoder(torch.randn(1, 3, 64, 64))
    assert encoder.strides == [2, 4, 8, 8]
    assert last.shape[-2:] == (8, 8)


def test_wishes_that_cannot_be_met() -> None:
    with pytest.raises(ConfigError, match="not output_stride=16"):
        TimmEncoder("resnet18", depth=3, output_stride=16)
    with pytest.raises(UnknownNameError, match="resnet18"):
        TimmEncoder("resnet81", depth=3)
    with pytest.raises(ConfigError, match=r"name is empty; expected .* such as resnet50") as caught:
        TimmEncoder("")
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "mobilenetv3_large_100", "resnet18"])
def test_a_head_is_a_convolution_with_its_norm(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"encoder {name}\+head: expected NAME\+head"):
        TimmEncoder(f"{name}+head")


def test_weights_of_other_shapes_are_an_error() -> None:
    encoder = TimmEncoder("resnet18", in_channels=4)
    state = dict(encoder.net.state_dict())
    state["bn1.weight"] = torch.ones(1, 3, 1, 1)
    with pytest.raises(ConfigError, match=r"bn1.weight has shape \(1, 3, 1, 1\)"):
        encoder.load_pretrained(state)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100"])
def test_one_value_a_channel_is_nothing_to_learn_statistics_from(name: str) -> None:
    encoder, small = TimmEncoder(name), torch.randn(1, 3, 32, 20)
    with pytest.raises(ConfigError, match=r"1 image of 20 x 32 px.*batch size of 2 or more"):
        encoder(small)
    assert encoder.eval()(small)[-1].shape[-2:] == (1, 1)
    encoder.train()(small.expand(2, -1, -1, -1))
    encoder(torch.randn(1, 3, 33, 20))


def test_one_value_a_channel_is_enough_without_batch_norm() -> None:
    assert TimmEncoder("convnext_atto")(torch.randn(1, 3, 32, 32))[-1].shape[-2:] == (1, 1)


def test_windows_of_attention_want_their_size() -> None:
    encoder = TimmEncoder("swin_tiny_patch4_window7_224").eval()
    with torch.inference_mode(), pytest.raises(ConfigError, match=r"no input of 64 x 96 px: .*224"):
        encoder(torch.zeros(1, 3, 96, 64))
