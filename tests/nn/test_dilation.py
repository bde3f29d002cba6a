"""Dilated encoders are denser, and otherwise what they were."""

import pytest
import torch
from torch import nn

from tests.drawn_weights import randomise
from vitrail.errors import ConfigError, UnknownNameError
from vitrail.nn.dilation import dilated_encoder
from vitrail.nn.encoder import TimmEncoder


def dilations(module: nn.Module) -> list[int]:
    return [
        part.dilation[0]
        for part in module.modules()
        if isinstance(part, nn.Conv2d) and part.kernel_size[0] > 1
    ]


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100"])
def test_every_second_feature_is_that_of_the_strided_network(name: str, output_stride: int) -> None:
    """arXiv:1412.7062, section 3.1: the same weights compute the same features, only densely."""
    torch.manual_seed(0)
    dense = dilated_encoder(name, output_stride=output_stride).eval()
    randomise(dense)
    strided = TimmEncoder(name).eval()
    strided.load_state_dict(dense.state_dict())
    images = torch.randn(1, 3, 128, 160)
    with torch.inference_mode():
        given, expected = dense(images)[-1], strided(images)[-1]
    step = 32 // output_stride
    assert given.shape[-2:] == (128 // output_stride, 160 // output_stride)
    error = (given[..., ::step, ::step] - expected).abs().max() / expected.abs().max()
    assert error < 1e-5


@pytest.mark.parametrize(
    ("output_stride", "strides", "expected"),
    [
        (8, [1, 2, 4, 8, 8, 8], [1] * 10 + [2] * 3),
        (16, [1, 2, 4, 8, 16, 16], [1] * 13),
    ],
)
def test_vgg_keeps_its_resolution(
    output_stride: int, strides: list[int], expected: list[int]
) -> None:
    """arXiv:1412.7062, section 3.1: the last two pools no longer skip, conv5 has rate 2."""
    encoder = dilated_encoder("vgg16", output_stride=output_stride).eval()
    assert encoder.strides == strides
    assert dilations(encoder) == expected
    with torch.inference_mode():
        features = encoder(torch.randn(1, 3, 64, 96))
    assert [(64 // f.shape[2], 96 // f.shape[3]) for f in features] == [(s, s) for s in strides]


@pytest.mark.parametrize(("output_stride", "rates"), [(16, (2, 4, 8)), (8, (4, 8, 16))])
def test_multi_grid_multiplies_the_rate_of_the_last_stage(
    output_stride: int, rates: tuple[int, ...]
) -> None:
    """arXiv:1706.05587, section 3.1: at output stride 16, (1, 2, 4) gives rates (2, 4, 8)."""
    encoder = dilated_encoder("resnet50", output_stride=output_stride, multi_grid=(1, 2, 4))
    plain = dilated_encoder("resnet50", output_stride=output_stride)
    assert dilations(encoder.net["layer4"]) == list(rates)
    for stage in ("layer1", "layer2", "layer3"):
        assert dilations(encoder.net[stage]) == dilations(plain.net[stage])


def test_multi_grid_widens_the_field_of_view() -> None:
    """The columns of the image that the last stage's centre depends on, at output stride 16."""
    widths = []
    for grid in (None, (1, 2)):
        encoder = dilated_encoder("resnet18", output_stride=16, multi_grid=grid).eval()
        randomise(encoder)  # fresh residual branches are switched off
        images = torch.randn(1, 3, 16, 1024, requires_grad=True)
        encoder(images)[-1][0, :, 0, 32].sum().backward()
        assert images.grad is not None
        columns = images.grad.abs().sum((0, 1, 2)).nonzero()
        widths.append(int(columns.max() - columns.min()) + 1)
    # Rates 1, 2, 2, 2 become 2, 2, 4, 4: five more features of 16 px, on either side.
    assert widths[1] - widths[0] == 2 * 5 * 16


def test_dilating_the_first_convolution_too() -> None:
    """At output stride 8 both last stages have one rate throughout, else they begin with the
    rate of the stage before."""
    usual = dilated_encoder("resnet18", output_stride=8)
    even = dilated_encoder("resnet18", output_stride=8, dilate_first=True)
    assert dilations(usual.net["layer3"]) == [1, 2, 2, 2]
    assert dilations(usual.net["layer4"]) == [2, 4, 4, 4]
    assert dilations(even.net["layer3"]) == [2] * 4
    assert dilations(even.net["layer4"]) == [4] * 4
    assert even(torch.randn(1, 3, 64, 96))[-1].shape == (1, 512, 8, 12)


def test_what_cannot_be_dilated_is_said() -> None:
    with pytest.raises(UnknownNameError, match="vgg17"):
        dilated_encoder("vgg17", output_stride=8)
    with pytest.raises(ConfigError, match=r"mobilenetv2_100 has no multi-grid.*leave it out"):
        dilated_encoder("mobilenetv2_100", output_stride=16, multi_grid=(1, 2, 4))
    with pytest.raises(ConfigError, match=r"resnet18 has 2 blocks.*\(1, 2, 4\) is for 3"):
        dilated_encoder("resnet18", output_stride=16, multi_grid=(1, 2, 4))
    with pytest.raises(ConfigError, match="output_stride=8"):
        dilated_encoder("swin_tiny_patch4_window7_224", output_stride=8)
