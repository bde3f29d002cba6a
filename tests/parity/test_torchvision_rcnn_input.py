"""What torchvision's detectors do to a picture, and detectron2's sizes.

Reference: ``GeneralizedRCNNTransform`` of torchvision 0.29.2; the sizes are what
``ResizeShortestEdge`` of detectron2 0.6 gives.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from skimage import data
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from vitrail.predict.preprocess import fit_size, to_batch
from vitrail.weights.card import Preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CARD = Preprocessing(
    image_size=800,
    max_side=1333,
    resize="short-side",
    interpolation="bilinear",
    pad_value="mean",
    mean=MEAN,
    std=STD,
)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2777, 3), np.uint8)
    narrow = noise[:37, :911]
    return [data.astronaut(), data.chelsea(), noise, narrow, np.ascontiguousarray(noise[:, :801])]


@pytest.mark.parametrize("reference", [f"torchvision {torchvision.__version__}"])
def test_input_is_torchvisions(pictures: list[np.ndarray], reference: str) -> None:
    theirs = GeneralizedRCNNTransform(800, 1333, list(MEAN), list(STD)).eval()
    for picture in pictures:
        image = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
        expected, _ = theirs([image])
        batch, frames = to_batch([picture], CARD, stride=32)
        assert frames[0].resized == expected.image_sizes[0], reference
        assert batch.shape == expected.tensors.shape
        assert (batch - expected.tensors).abs().max() < 1e-4


@pytest.mark.parametrize("reference", [f"torchvision {torchvision.__version__}"])
def test_sizes_are_torchvisions(reference: str) -> None:
    theirs = GeneralizedRCNNTransform(200, 333, list(MEAN), list(STD)).eval()
    card = CARD.at_size(200)
    assert card.max_side == 333
    for shape in np.random.default_rng(1).integers(5, 900, (60, 2)).tolist():
        resized, _ = theirs.resize(torch.zeros(3, *shape), None)
        assert fit_size((shape[0], shape[1]), card) == resized.shape[1:], reference


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((480, 640), (800, 1067)),
        ((427, 640), (800, 1199)),
        ((375, 500), (800, 1067)),
        ((612, 612), (800, 800)),
        ((333, 1000), (444, 1333)),
        ((1000, 333), (1333, 444)),
    ],
)
def test_sizes_are_detectron2s(size: tuple[int, int], resized: tuple[int, int]) -> None:
    card = CARD.model_copy(update={"rounding": "nearest", "interpolation": "antialias"})
    assert fit_size(size, card) == resized
