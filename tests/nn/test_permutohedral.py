"""The lattice filters as a Gaussian does, and its parts keep what the construction promises."""

import numpy as np
import pytest
import torch
from skimage import data

from vitrail.errors import ParameterError
from vitrail.nn.permutohedral import PermutohedralLattice, _locate


def gaussian(features: torch.Tensor) -> torch.Tensor:
    """The true kernel between all pairs, (N, N)."""
    points = features.double()
    return (-0.5 * (points[:, None] - points).square().sum(-1)).exp().float()


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_points_lie_inside_their_simplices(d: int) -> None:
    features = torch.randn(500, d, generator=torch.Generator().manual_seed(d)) * 4
    corners, weights, keys, _ = _locate(features)
    assert corners.shape == weights.shape == (500, d + 1)
    assert weights.min() >= -1e-5
    assert torch.allclose(weights.sum(1), torch.ones(500), atol=1e-5)
    assert (keys[1:] > keys[:-1]).all()
    assert all(len(set(row)) == d + 1 for row in corners.tolist())


def test_a_vertex_is_shared_by_points_that_touch_it() -> None:
    """Weights are linear inside a simplex and continuous across its faces: a small step of a
    point moves little weight, whichever side of a face it ends on."""
    features = torch.randn(2000, 5, generator=torch.Generator().manual_seed(0))
    both = torch.cat([features, features + 1e-4])
    corners, weights, keys, _ = _locate(both)
    spread = torch.zeros(4000, len(keys)).scatter_add_(1, corners.long(), weights)
    assert (spread[:2000] - spread[2000:]).abs().max() < 0.01


@pytest.mark.parametrize("d", [1, 2, 3])
def test_dense_points_are_filtered_as_by_a_gaussian(d: int) -> None:
    """A smooth signal over points so dense that no vertex is missing."""
    features = torch.rand(1500, d, generator=torch.Generator().manual_seed(d)) * 6
    kernel = gaussian(features)
    signal = torch.stack([features[:, 0].sin(), torch.ones(1500)], 1)
    lattice = PermutohedralLattice(features)
    found, true = lattice.filter(signal), kernel @ signal
    means = found[:, 0] / found[:, 1], true[:, 0] / true[:, 1]
    inside = ((features > 2) & (features < 4)).all(1)
    assert inside.sum() > 50
    assert (means[0] - means[1])[inside].abs().max() < 0.05


def test_the_kernel_of_a_photo_is_close_to_the_true_one() -> None:
    """Row by row, how much of the symmetrically normalised kernel lies elsewhere."""
    crop = data.coffee()[150:180, 60:100]
    y, x = np.mgrid[:30, :40] / 20
    features = torch.tensor(np.dstack([y, x, crop / 13]).reshape(-1, 5), dtype=torch.float32)
    lattice, true = PermutohedralLattice(features), gaussian(features)
    assert lattice.vertices < len(features)
    found = lattice.filter(torch.eye(len(features)))
    kernels = [k / (k.sum(1)[:, None] * k.sum(1)).sqrt() for k in (found, true)]
    assert (kernels[0] - kernels[1]).abs().sum(1).mean() < 0.25


def test_scaling_is_multiplying_before_and_after() -> None:
    generator = torch.Generator().manual_seed(0)
    features, values = torch.randn(300, 5, generator=generator), torch.rand(300, 4)
    points = torch.rand(300, generator=generator) + 0.5
    plain, scaled = PermutohedralLattice(features), PermutohedralLattice(features)
    scaled.scale(points, 3.0)
    expected = 3 * points[:, None] * plain.filter(points[:, None] * values)
    assert torch.allclose(scaled.filter(values), expected, atol=1e-6)


def test_points_too_far_apart_are_an_error() -> None:
    features = torch.zeros(2, 5)
    features[1] = 1e6
    with pytest.raises(ParameterError, match="too narrow"):
        PermutohedralLattice(features)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_filters_as_the_cpu_does() -> None:
    generator = torch.Generator().manual_seed(0)
    features, values = torch.randn(5000, 5, generator=generator), torch.rand(5000, 21)
    there = PermutohedralLattice(features.cuda()).filter(values.cuda())
    assert torch.allclose(there.cpu(), PermutohedralLattice(features).filter(values), atol=1e-4)
