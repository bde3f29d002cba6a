"""Thinning against scikit-image (0.26), and the matching against SciPy's Hopcroft-Karp: equal."""

from importlib.metadata import version

import cv2
import numpy as np
import pytest
import scipy
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from skimage.morphology import thin as skimage_thin

from vitrail.metrics.boundary_match import matched_levels
from vitrail.metrics.thinning import thin_levels

SKIMAGE = f"scikit-image-{version('scikit-image')}"
SCIPY = f"scipy-{scipy.__version__}"
LEVELS = np.linspace(0.01, 0.99, 99)


def field(seed: int, sigma: float) -> np.ndarray:
    """Smooth noise (50, 60) in [0, 1]: thick and thin lines, blobs and holes."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((50, 60)), (0, 0), sigma)
    return (noise - noise.min()) / (noise.max() - noise.min())


@pytest.mark.parametrize("reference", [SKIMAGE])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.5])
def test_thinning(sigma: float, reference: str) -> None:
    strength = field(3, sigma)
    pixels, on = thin_levels(strength, LEVELS)
    for level in range(0, 99, 7):
        ours = np.zeros(strength.shape, bool)
        ours.ravel()[pixels[on[level]]] = True
        np.testing.assert_array_equal(ours, skimage_thin(strength >= LEVELS[level]))


@pytest.mark.parametrize("reference", [SCIPY])
@pytest.mark.parametrize(("sigma", "radius"), [(0.5, 1.0), (1.0, 2.5), (2.0, 4.3)])
def test_as_many_pairs_as_there_can_be(sigma: float, radius: float, reference: str) -> None:
    """At every threshold, though lines move as they are thinned anew: pixels come and go."""
    strength, truth = field(1, sigma), skimage_thin(field(2, 1.5) > 0.5)
    pixels, on = thin_levels(strength, LEVELS)
    assert (on[:-1] < on[1:]).any()  # some pixels are on at a higher threshold only
    found, used = matched_levels(pixels, on, truth, radius)
    here = np.stack(np.divmod(pixels, 60), -1)
    there = np.argwhere(truth)
    near = ((here[:, None] - there) ** 2).sum(-1) <= radius**2
    for level in range(99):
        graph = csr_matrix(near[on[level]])
        best = np.count_nonzero(maximum_bipartite_matching(graph, perm_type="column") >= 0)
        assert found[level] == used[level].sum() == best
    assert not (used & ~on).any()
