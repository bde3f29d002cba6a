"""The two U-Nets have the layers their sources name."""

import pytest
import torch

from vitrail.errors import ConfigError, UnknownNameError
from vitrail.models.registry import build
from vitrail.models.unet import Pix2PixUNet
from vitrail.nn.encoder import MobileNetV2Taps, TimmEncoder


def test_the_tutorials_taps() -> None:
    """Keras names and shapes at 128 px: block_{1,3,6,13}_expand_relu and block_16_project."""
    encoder = MobileNetV2Taps().eval()
    with torch.inference_mode():
        taps = encoder(torch.randn(1, 3, 128, 128))
    shapes = [tuple(tap.shape[1:]) for tap in taps]
    assert shapes == [(96, 64, 64), (144, 32, 32), (192, 16, 16), (576, 8, 8), (320, 4, 4)]
    assert encoder.channels == [96, 144, 192, 576, 320]
    assert taps[0].min() >= 0 and taps[0].max() <= 6  # after ReLU6
    assert taps[4].min() < 0  # a linear bottleneck


def test_taps_are_the_plain_encoder_seen_elsewhere() -> None:
    """The same weights give the same last feature through timm's own ``features_only``."""
    torch.manual_seed(0)
    taps, pyramid = MobileNetV2Taps().eval(), TimmEncoder("mobilenetv2_100").eval()
    pyramid.load_pretrained(taps.net.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(taps(images)[-1], pyramid(images)[-1])


def test_pix2pix_widths_and_the_last_transposed_convolution() -> None:
    model = build("unet", {"classes": 3, "decoder": "pix2pix"})
    assert isinstance(model, Pix2PixUNet)
    assert [level[0].out_channels for level in model.decoder.levels] == [512, 256, 128, 64]
    assert (model.head.in_channels, model.head.out_channels) == (64 + 96, 3)
    assert model.head.stride == (2, 2)


def test_pretrained_filters_follow_the_number_of_bands() -> None:
    rgb, grey = TimmEncoder("resnet18"), TimmEncoder("resnet18", in_channels=1)
    grey.load_pretrained(rgb.net.state_dict())
    torch.testing.assert_close(
        grey.net.conv1.weight, rgb.net.conv1.weight.mean(1, keepdim=True) * 3
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "classes=0"),
        ({"classes": 3, "decoder": "plane"}, "decoder='plane'"),
        ({"classes": 3, "decodr": "plain"}, "decodr"),
        ({"classes": 3, "decoder_channels": [8] * 6}, "takes 1 to 5 widths, got 6"),
        ({"classes": 3, "decoder": "pix2pix", "encoder": "resnet18"}, "mobilenetv2"),
    ],
)
def test_arguments_that_cannot_be_built(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build("unet", arguments)


def test_unknown_names_are_met_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'unet'"):
        build("unett", {})
    with pytest.raises(UnknownNameError, match="mobilenetv2_100"):
        build("unet", {"classes": 2, "encoder": "mobilenetv2_10"})


def test_an_encoder_of_one_resolution_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"vit_tiny_patch16_224 .*grow coarser"):
        build("unet", {"classes": 2, "encoder": "vit_tiny_patch16_224"})


def test_foreign_encoder_weights_are_refused() -> None:
    state = TimmEncoder("resnet18").net.state_dict()
    with pytest.raises(ConfigError, match="lack"):
        TimmEncoder("mobilenetv2_100").load_pretrained(state)
    state["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    with pytest.raises(ConfigError, match=r"conv1.weight has shape \(64, 3, 3, 3\)"):
        TimmEncoder("resnet18").load_pretrained(state)
