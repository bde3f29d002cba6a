"""Pyramid pooling: means of parts, and batches of one."""

import pytest
import torch

from vitrail.nn.pyramid_pooling import PyramidPooling


def test_widths_are_the_papers() -> None:
    """arXiv:1612.01105, section 3.2: each of N levels has 1/N of the feature's channels."""
    with torch.device("meta"):
        pyramid = PyramidPooling(2048)
    assert pyramid.out_channels == 4096
    assert [pooled.convolve.out_channels for pooled in pyramid.maps] == [512] * 4
    assert [pooled.pool.output_size for pooled in pyramid.maps] == [1, 2, 3, 6]


def test_the_first_map_is_the_mean_of_the_image() -> None:
    torch.manual_seed(0)
    pyramid, x = PyramidPooling(8).eval(), torch.randn(1, 8, 6, 12)
    first = pyramid.maps[0]
    mean = x.mean((2, 3), keepdim=True)
    expected = torch.relu(torch.nn.functional.conv2d(mean, first.convolve.weight))
    found = pyramid(x)
    torch.testing.assert_close(found[:, :2], expected.expand(1, 2, 6, 12) / (1 + 1e-5) ** 0.5)
    assert torch.equal(found[:, 8:], x)


@pytest.mark.parametrize("size", [(4, 4), (1, 1)])
def test_one_image_trains(size: tuple[int, int]) -> None:
    """The mean of one image has no variance: it is normalised as in evaluation."""
    pyramid = PyramidPooling(8).train()
    before = pyramid.maps[0].norm.running_mean.clone()
    assert pyramid(torch.randn(1, 8, *size)).isfinite().all()
    assert torch.equal(pyramid.maps[0].norm.running_mean, before)
    pyramid(torch.randn(2, 8, 4, 4))
    assert not torch.equal(pyramid.maps[0].norm.running_mean, before)


def test_too_few_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="3 channels cannot be shared by 4 grids"):
        PyramidPooling(3)
