"""Short encoders compute what the whole one does, and hold no more than they use."""

import pytest
import timm
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


@pytest.mark.parametrize("name", ["hiera_tiny_224", "mvitv2_tiny"])
def test_what_is_made_for_one_size_says_so(name: str) -> None:
    encoder = TimmEncoder(name).eval()
    message = r"no input of 352 x 288 px: it was made for 224 x 224 px"
    with torch.inference_mode(), pytest.raises(ConfigError, match=message):
        encoder(torch.zeros(1, 3, 288, 352))


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "swinv2_cr_tiny_ns_224"])
def test_shifted_windows_take_any_size(name: str) -> None:
    """And compute at timm's own size what timm computes."""
    torch.manual_seed(0)
    encoder = TimmEncoder(name).eval()
    own = timm.create_model(name, features_only=True).eval()
    own.load_state_dict(encoder.net.state_dict())
    with torch.inference_mode():
        images = torch.randn(1, 3, 224, 224)
        layout = (0, 3, 1, 2) if encoder.channels_last else (0, 1, 2, 3)
        for mine, theirs in zip(encoder(images), own(images), strict=True):
            assert torch.equal(mine, theirs.permute(layout))
        assert [tuple(f.shape[-2:]) for f in encoder(torch.randn(1, 3, 96, 64))] == [
            (24, 16),
            (12, 8),
            (6, 4),
            (3, 2),
        ]


def test_windows_that_do_not_shift_over_it_say_so() -> None:
    encoder = TimmEncoder("coat_lite_tiny").eval()
    with torch.inference_mode(), pytest.raises(ConfigError, match=r"no input of 64 x 96 px: .*224"):
        encoder(torch.zeros(1, 3, 96, 64))


def test_other_faults_of_a_backbone_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TimmEncoder("hiera_tiny_224").eval()

    def full(images: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(encoder.net, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        encoder(torch.zeros(1, 3, 288, 352))
