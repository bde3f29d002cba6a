"""Joint Pyramid Upsampling against its definition, and what it reaches."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vitrail.nn.jpu import JointPyramidUpsampling


@pytest.fixture
def jpu() -> JointPyramidUpsampling:
    torch.manual_seed(0)
    return JointPyramidUpsampling((4, 6, 8), width=5).eval()


def test_it_is_the_definition_written_out(jpu: JointPyramidUpsampling) -> None:
    features = [torch.randn(2, 4, 8, 12), torch.randn(2, 6, 4, 6), torch.randn(2, 8, 2, 3)]
    pyramid = []
    for convolve, feature in zip(jpu.project, features, strict=True):
        conv, norm = convolve[0], convolve[1]
        y = F.conv2d(feature, conv.weight, padding=1)
        y = F.relu(y * norm.weight[:, None, None] / (1 + norm.eps) ** 0.5)
        pyramid.append(F.interpolate(y, size=(8, 12), mode="bilinear", align_corners=False))
    x = torch.cat(pyramid, 1)
    expected = []
    for branch, dilation in zip(jpu.dilated, (1, 2, 4, 8), strict=True):
        depthwise, pointwise = branch[0].weight, branch[2].weight
        y = F.conv2d(x, depthwise, padding=dilation, dilation=dilation, groups=15)
        y = F.conv2d(y / (1 + 1e-5) ** 0.5, pointwise)
        expected.append(F.relu(y / (1 + 1e-5) ** 0.5))
    with torch.inference_mode():
        torch.testing.assert_close(jpu(features), torch.cat(expected, 1), rtol=1e-4, atol=1e-5)


def test_width_of_the_paper() -> None:
    """arXiv:1903.11816, section 3.3: 512 channels a branch, so 2048 as the dilated ResNet has."""
    with torch.device("meta"):
        jpu = JointPyramidUpsampling((512, 1024, 2048))
    assert jpu.out_channels == 2048
    assert [m.dilation[0] for m in jpu.modules() if isinstance(m, nn.Conv2d) and m.groups > 1] == [
        1,
        2,
        4,
        8,
    ]


def test_odd_sizes_meet_at_the_finest(jpu: JointPyramidUpsampling) -> None:
    features = [torch.randn(1, 4, 9, 5), torch.randn(1, 6, 5, 3), torch.randn(1, 8, 3, 2)]
    assert jpu(features).shape == (1, 20, 9, 5)


def test_each_dilation_reaches_its_own_distance(jpu: JointPyramidUpsampling) -> None:
    """A change at one place of the finest feature (which spreads by one through its 3x3
    convolution) reaches ``dilation + 1`` features away, and no farther."""
    features = [torch.zeros(1, 4, 31, 31), torch.zeros(1, 6, 16, 16), torch.zeros(1, 8, 8, 8)]
    for module in jpu.modules():  # without dead ReLUs every path is open
        if isinstance(module, nn.Conv2d):
            nn.init.ones_(module.weight)
    before = jpu(features)
    features[0][..., 15, 15] = 1
    changed = (jpu(features) != before).any(1).squeeze(0)
    assert changed.any(0).nonzero().min() == 15 - 9
    for index, dilation in enumerate((1, 2, 4, 8)):
        part = (jpu(features) != before)[0, 5 * index : 5 * index + 5].any(0)
        rows = part.any(1).nonzero()
        assert (rows.min(), rows.max()) == (15 - dilation - 1, 15 + dilation + 1)
