"""Gradients of dilated depthwise convolutions under bfloat16 autocast on a CPU."""

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from vitrail.models.registry import build
from vitrail.nn.dilated_gradients import DilatedDepthwiseConv2d, make_gradients_right


@pytest.mark.parametrize(("kind", "padding"), [(nn.Conv2d, 2), (Conv2dSame, 0)])
def test_weight_gradients_are_those_of_float32(kind: type[nn.Conv2d], padding: int) -> None:
    torch.manual_seed(0)
    layer = kind(32, 32, 3, padding=padding, dilation=2, groups=32)
    make_gradients_right(layer)
    images = torch.randn(4, 32, 40, 40).contiguous(memory_format=torch.channels_last)
    images = images.bfloat16().requires_grad_()
    towards = torch.randn(4, 32, 40, 40)
    found: dict[bool, torch.Tensor] = {}
    for mixed in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            output = layer(images if mixed else images.float())
        assert output.dtype == (torch.bfloat16 if mixed else torch.float32)
        (output.float() * towards).sum().backward()
        assert layer.weight.grad is not None
        found[mixed] = layer.weight.grad.clone()
    error = (found[True] - found[False]).abs().max() / found[False].abs().max()
    assert error < 0.02  # without the care: above 0.9


def test_only_dilated_grouped_convolutions_are_changed() -> None:
    plain = nn.Sequential(nn.Conv2d(4, 4, 3, dilation=2), nn.Conv2d(4, 4, 3, groups=4))
    make_gradients_right(plain)
    assert [type(layer) for layer in plain] == [nn.Conv2d, nn.Conv2d]


@pytest.mark.parametrize(
    ("architecture", "arguments", "count"),
    [
        ("fastfcn", {"jpu_channels": 16}, 3),
        ("deeplab-v3plus", {"output_stride": 16, "channels": 16}, 3 + 3),
    ],
)
def test_networks_are_built_with_them(
    architecture: str, arguments: dict[str, object], count: int
) -> None:
    """JPU: rates 2, 4 and 8; DeepLabv3+: three of ASPP and those of MobileNetV2's last stage."""
    model = build(architecture, {"encoder": "mobilenetv2_100", "classes": 2, **arguments})
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(DilatedDepthwiseConv2d) == count
