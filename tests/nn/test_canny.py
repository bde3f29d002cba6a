"""Canny's edges as tensor operations."""

import numpy as np
import pytest
import torch
from skimage import data
from torch.nn import functional as F

from vitrail.nn.canny import canny


def photo(height: int = 128, width: int = 160) -> torch.Tensor:
    """(1, 3, height, width) float32, 0 to 255."""
    pixels = np.ascontiguousarray(data.chelsea()[60 : 60 + height, 100 : 100 + width])
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float()


def test_an_edge_lies_where_a_square_begins() -> None:
    image = torch.zeros(1, 1, 32, 40)
    image[..., 8:24, 10:30] = 5
    edges = canny(image)[0, 0]
    near = torch.zeros(32, 40, dtype=torch.bool)
    near[7:25, 9:31] = True
    near[9:23, 11:29] = False
    assert set(edges.unique().tolist()) == {0, 1}
    assert not edges[~near].any()
    assert edges.sum(0)[11:29].eq(2).all() and edges.sum(1)[9:23].eq(2).all()  # one pixel wide


@pytest.mark.parametrize("factor", [1 / 255, 0.017, 3.0])
def test_normalisation_changes_nothing(factor: float) -> None:
    image = photo()
    edges = canny(image)
    assert 0.02 < edges.mean() < 0.3
    same = (canny(image * factor - 2.1) == edges).float().mean()
    assert same > 0.999  # what rounding moves over a limit


def test_no_edges_in_an_image_of_one_colour() -> None:
    for value in (0.0, -1.7, 1e4):
        assert not canny(torch.full((2, 3, 16, 16), value)).any()
    assert not canny(torch.ones(1, 1, 1, 1)).any()


def test_images_do_not_see_their_neighbours() -> None:
    bright = torch.cat([photo(), 100 * photo().flip(-1)])
    assert torch.equal(canny(bright)[:1], canny(photo()))


def test_a_weak_edge_is_followed_from_a_strong_one_as_far_as_asked() -> None:
    image = torch.zeros(1, 1, 16, 60)
    image[..., 8:, :] = torch.linspace(1, 0.12, 30).repeat_interleave(2)
    image[..., 8:, 40:] = image[..., 8:, 40:41]  # a step that falls from 1 to 0.4, then stays
    found = [canny(image, iterations=steps, low=0.5, high=2.0) for steps in (0, 9, 99)]
    reached = [edges[0, 0].sum(0).nonzero().max() for edges in found]
    assert reached[0] < 20
    assert reached[1] == reached[0] + 9
    assert reached[2] == 59  # the border
    alone = image.clone()
    alone[..., 8:, :20] = 0
    alone[..., :2, :2] = 1.0  # keeps the range of grey
    assert not canny(alone, iterations=99, low=0.5, high=2.3)[0, 0, :, 25:].any()


def test_limits_and_smoothing_thin_the_edges_out() -> None:
    image = photo()
    assert canny(image, high=1.0, low=0.5).sum() < canny(image).sum()
    assert canny(image, sigma=3.0).sum() < canny(image).sum() < canny(image, sigma=0).sum()


def test_mixed_precision_and_gradients_leave_it_alone() -> None:
    image = photo().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        edges = canny(image)
    assert edges.dtype == torch.float32 and not edges.requires_grad
    assert torch.equal(edges, canny(photo()))


@pytest.mark.parametrize("below", [0, 1, 6, 7])
@pytest.mark.parametrize("beside", [0, 3, 7])
@pytest.mark.parametrize("colour", [-300.0, 0.0, 700.0])
def test_padding_is_no_edge_and_does_not_shift_the_limits(
    below: int, beside: int, colour: float
) -> None:
    one, two = photo(), photo(128 + below - 5, 160 + beside - 2).flip(-1)
    batch = [
        F.pad(one, (0, beside, 0, below), value=colour),
        F.pad(two, (0, 2, 0, 5), value=colour),
    ]
    edges = canny(torch.cat(batch), padding=7)
    for image, found in zip((one, two), edges, strict=True):
        height, width = image.shape[-2:]
        assert torch.equal(found[:, :height, :width], canny(image)[0])
        assert not found[:, height:].any() and not found[..., width:].any()


def test_more_of_one_colour_than_padding_can_be_is_part_of_the_image() -> None:
    image = torch.zeros(1, 1, 32, 32)
    image[..., 8:20, 8:20] = 5
    assert torch.equal(canny(image, padding=7), canny(image))
    assert not canny(torch.ones(2, 3, 4, 4), padding=7).any()
