"""Canny on tensors against OpenCV's (5.0.0, through :mod:`vitrail.classical`) and scikit-image's
(0.26.0)."""

import cv2
import numpy as np
import pytest
import torch
from skimage import data, feature

from vitrail.classical import edges as classical
from vitrail.nn.canny import canny

PHOTOS = ["camera", "astronaut", "coffee"]
SIGMA, LOW, HIGH = 1.0, 0.16, 0.4


def photo(name: str) -> tuple[torch.Tensor, np.ndarray]:
    """A photo as a batch, and its grey stretched to 0..1."""
    pixels = getattr(data, name)()[:256, :320]
    batch = torch.from_numpy(np.atleast_3d(pixels).copy()).permute(2, 0, 1)[None].float()
    shares = np.array([0.299, 0.587, 0.114] if batch.shape[1] == 3 else [1.0], np.float32)
    grey = np.tensordot(shares, batch[0].numpy(), 1)
    return batch, (grey - grey.min()) / (grey.max() - grey.min())


@pytest.mark.parametrize("name", PHOTOS)
def test_opencv(name: str) -> None:
    batch, grey = photo(name)
    expected = classical.canny(grey, SIGMA, LOW, HIGH).strength
    followed = canny(batch, sigma=SIGMA, low=LOW, high=HIGH, iterations=400)[0, 0].numpy()
    assert (followed == expected).mean() > 0.9999
    bounded = canny(batch)[0, 0].numpy()  # follows edges for 32 px only
    assert (bounded == expected).mean() > 0.995
    assert (bounded <= followed).all()


@pytest.mark.parametrize("name", PHOTOS)
def test_scikit_image_within_a_pixel(name: str) -> None:
    """It interpolates the gradient between neighbours, where OpenCV takes the nearest of eight
    directions."""
    batch, grey = photo(name)
    expected = feature.canny(grey, SIGMA, LOW, HIGH)
    found = canny(batch, iterations=400)[0, 0].numpy() > 0
    assert (found == expected).mean() > 0.97
    assert expected[near(found)].sum() > 0.92 * expected.sum()
    assert found[near(expected)].sum() > 0.92 * found.sum()


def near(edges: np.ndarray) -> np.ndarray:
    return cv2.dilate(edges.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
