"""Pixel scores against torchmetrics (1.9), scikit-learn (1.9), segmentation_models.pytorch (0.6).

All use the same counts, so the tolerance is that of float64 (1e-12), or of torchmetrics' float32
(1e-6).
"""

from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassJaccardIndex,
    MulticlassPrecision,
)

from tests.metrics.drawn_labels import label_maps
from vitrail.metrics import ConfusionMatrix, PerImage

CLASSES, VOID = 5, 255
SMP = f"smp-{version('segmentation_models_pytorch')}"
SKLEARN = f"scikit-learn-{version('scikit-learn')}"
TORCHMETRICS = f"torchmetrics-{version('torchmetrics')}"


@pytest.fixture(scope="module")
def maps() -> tuple[np.ndarray, np.ndarray]:
    """(N, H, W); class 3 is only ever predicted, class 4 occurs nowhere."""
    return label_maps(8, classes=4, absent_from_truth=3, void=VOID)


def pooled(maps: tuple[np.ndarray, np.ndarray]) -> ConfusionMatrix:
    matrix = ConfusionMatrix(CLASSES, ignore=VOID)
    matrix.update(*maps)
    return matrix


@pytest.mark.parametrize("reference", [SKLEARN])
def test_precision_recall_and_dice_are_scikit_learns(maps: tuple, reference: str) -> None:
    truth, predicted = (one[maps[0] != VOID] for one in maps)
    for zero in ("skip", "perfect", "worst"):
        matrix = ConfusionMatrix(CLASSES, ignore=VOID, empty=zero)
        matrix.update(*maps)
        value = {"skip": np.nan, "perfect": 1.0, "worst": 0.0}[zero]
        scores: Any = precision_recall_fscore_support  # its annotations know no zero_division
        precision, recall, f1, support = scores(
            truth, predicted, labels=range(CLASSES), zero_division=value
        )
        np.testing.assert_allclose(matrix.precision(), precision, rtol=1e-12)
        np.testing.assert_allclose(matrix.recall(), recall, rtol=1e-12)
        # F of a class that is only predicted is 0 by its counts, whatever recall is said to be.
        seen = (support > 0) | (np.bincount(predicted, minlength=CLASSES) == 0)
        np.testing.assert_allclose(matrix.dice()[seen], f1[seen], rtol=1e-12)
    assert pooled(maps).pixel_accuracy() == pytest.approx(accuracy_score(truth, predicted), 1e-12)


@pytest.mark.parametrize("reference", [TORCHMETRICS])
def test_pooled_scores_are_torchmetrics(maps: tuple, reference: str) -> None:
    truth, predicted = (torch.from_numpy(one.astype(np.int64)) for one in maps)
    ours = pooled(maps)
    settings = {"num_classes": CLASSES, "ignore_index": VOID, "average": "none"}
    theirs = MulticlassJaccardIndex(**settings)(predicted, truth)
    np.testing.assert_allclose(np.nan_to_num(ours.iou()), theirs, rtol=1e-6)
    theirs = MulticlassPrecision(**settings)(predicted, truth)
    np.testing.assert_allclose(np.nan_to_num(ours.precision()), theirs, rtol=1e-6)
    theirs = MulticlassAccuracy(**settings)(predicted, truth)
    np.testing.assert_allclose(np.nan_to_num(ours.recall()), theirs, rtol=1e-6)
    settings["average"] = "weighted"
    theirs = MulticlassJaccardIndex(**settings)(predicted, truth)
    assert ours.compute()["frequency_weighted_iou"] == pytest.approx(float(theirs), rel=1e-6)


@pytest.mark.parametrize("reference", [SMP])
def test_each_aggregation_is_smps(maps: tuple, reference: str) -> None:
    """``pooled`` is smp's "macro", ``per_image`` its "macro-imagewise" with the same 0 / 0."""
    truth, predicted = (torch.from_numpy(one.astype(np.int64)) for one in maps)
    measure: Any = smp.metrics  # its annotations ask for LongTensor, which tensors are not
    stats = measure.get_stats(
        predicted, truth, mode="multiclass", ignore_index=VOID, num_classes=CLASSES
    )
    stats = [one.double() for one in stats]
    for zero, value in (("perfect", 1.0), ("worst", 0.0)):
        metric = PerImage(CLASSES, ignore=VOID, empty=zero)
        for one_truth, one_predicted in zip(*maps, strict=True):
            metric.update(one_truth, one_predicted)
        for aggregation, reduction in (("pooled", "macro"), ("per_image", "macro-imagewise")):
            ours = metric.compute(aggregation)
            for name, score in (
                ("mean_iou", measure.iou_score),
                ("mean_dice", measure.f1_score),
                ("mean_precision", measure.precision),
                ("mean_recall", measure.recall),
            ):
                theirs = score(*stats, reduction=reduction, zero_division=value)
                assert ours[name] == pytest.approx(float(theirs), rel=1e-6), (name, reduction)
