"""Surface distances against MONAI (1.6.1), which keeps float32: relative 1e-6."""

from importlib.metadata import version

import numpy as np
import pytest
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_distance import compute_average_surface_distance
from scipy import ndimage

from vitrail.metrics.surface import surface_scores

MONAI = f"monai-{version('monai')}"


def blobs(shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    return field > 0.05, np.roll(field + rng.normal(size=shape) * 0.02, 1, axis=-1) > 0.05


@pytest.mark.parametrize("reference", [MONAI])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((40, 30), None),
        ((33, 41), (0.5, 2.0)),
        ((14, 17, 12), None),
        ((9, 20, 16), (3.0, 1.0, 0.7)),
    ],
)
def test_distances(shape: tuple, spacing: tuple | None, reference: str) -> None:
    truth, predicted = blobs(shape, len(shape))
    pair = (torch.from_numpy(predicted[None, None]), torch.from_numpy(truth[None, None]))
    scale = list(spacing) if spacing else None
    ours = surface_scores(truth, predicted, spacing)
    theirs = {
        "hausdorff": compute_hausdorff_distance(*pair, spacing=scale),
        "hausdorff95": compute_hausdorff_distance(*pair, percentile=95, spacing=scale),
        "average_surface_distance": compute_average_surface_distance(*pair, spacing=scale),
        "symmetric_surface_distance": compute_average_surface_distance(
            *pair, symmetric=True, spacing=scale
        ),
    }
    assert ours["hausdorff"] > ours["hausdorff95"] > ours["average_surface_distance"] > 0
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(float(value), rel=1e-6), name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reference", [MONAI])
def test_empty_masks_by_default(reference: str) -> None:
    some, none = np.eye(5, dtype=bool), np.zeros((5, 5), bool)
    for truth, predicted in ((some, none), (none, some), (none, none)):
        pair = (torch.from_numpy(predicted[None, None]), torch.from_numpy(truth[None, None]))
        ours = surface_scores(truth, predicted)["hausdorff"]
        np.testing.assert_equal(ours, float(compute_hausdorff_distance(*pair)))
