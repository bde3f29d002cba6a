"""Pixel scores against segmentation_models.pytorch and by hand."""

from importlib.metadata import version

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch

from vitrail.errors import DataError
from vitrail.metrics import ConfusionMatrix


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (6, 20, 30)).astype(np.uint8)
    predicted = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 4, truth.shape))
    truth[:, :3] = 255
    return truth, predicted.astype(np.uint8)


@pytest.mark.parametrize("reference", [f"smp-{version('segmentation_models_pytorch')}"])
def test_iou_equals_smp(pair: tuple, reference: str) -> None:
    """Against the reference's statistics, summed over images per class."""
    truth, predicted = pair
    matrix = ConfusionMatrix(4, ignore=255)
    for one_truth, one_predicted in zip(*pair, strict=True):
        matrix.update(one_truth, one_predicted)
    stats = smp.metrics.get_stats(
        torch.from_numpy(predicted.astype(np.int64)),
        torch.from_numpy(truth.astype(np.int64)),
        mode="multiclass",
        ignore_index=255,
        num_classes=4,
    )
    tp, fp, fn, _ = (stat.sum(0).double() for stat in stats)
    np.testing.assert_allclose(matrix.iou(), (tp / (tp + fp + fn)).numpy(), rtol=1e-12)


def test_by_hand() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    assert matrix.counts.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    np.testing.assert_allclose(matrix.iou(), [1 / 2, 2 / 3, np.nan])
    assert matrix.mean_iou() == pytest.approx((1 / 2 + 2 / 3) / 2)  # class 2 never occurs
    assert matrix.pixel_accuracy() == 3 / 4


def test_merging_parts_equals_the_whole(pair: tuple) -> None:
    whole, first, second = (ConfusionMatrix(4, ignore=255) for _ in range(3))
    whole.update(*pair)
    first.update(pair[0][:2], pair[1][:2])
    second.update(pair[0][2:], pair[1][2:])
    second.merge(first)
    assert np.array_equal(whole.counts, second.counts)
    second.reset()
    assert np.isnan(second.mean_iou())


def test_a_perfect_prediction_scores_one(pair: tuple) -> None:
    matrix = ConfusionMatrix(4, ignore=255)
    matrix.update(pair[0], np.where(pair[0] == 255, 0, pair[0]))
    assert matrix.compute() == {"mean_iou": 1.0, "pixel_accuracy": 1.0}


def test_faults_are_named() -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(DataError, match=r"\(2, 2\).*\(3,\)"):
        matrix.update(np.zeros((2, 2), int), np.zeros(3, int))
    with pytest.raises(DataError, match=r"truth holds class ids 0..7, expected 0..2"):
        matrix.update(np.array([0, 7]), np.array([0, 1]))
    with pytest.raises(DataError, match=r"prediction holds class ids 0..3"):
        matrix.update(np.array([0, 1]), np.array([0, 3]))
