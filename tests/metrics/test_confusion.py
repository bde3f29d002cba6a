"""Pixel scores by hand, and what must not change them."""

import numpy as np
import pytest

from tests.metrics.drawn_labels import check_contract, label_maps
from vitrail.errors import DataError, ParameterError
from vitrail.metrics import ConfusionMatrix, PerImage


def test_by_hand() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    assert matrix.counts.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    np.testing.assert_allclose(matrix.iou(), [1 / 2, 2 / 3, np.nan])
    np.testing.assert_allclose(matrix.dice(), [2 / 3, 4 / 5, np.nan])
    np.testing.assert_allclose(matrix.precision(), [1, 2 / 3, np.nan])
    np.testing.assert_allclose(matrix.recall(), [1 / 2, 1, np.nan])
    assert matrix.mean_iou() == pytest.approx((1 / 2 + 2 / 3) / 2)  # class 2 never occurs
    assert matrix.pixel_accuracy() == 3 / 4
    assert matrix.compute()["mean_accuracy"] == pytest.approx(3 / 4)
    assert matrix.compute()["frequency_weighted_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert matrix.compute(classes=[1])["mean_iou"] == pytest.approx(2 / 3)
    assert matrix.compute(classes=[0])["pixel_accuracy"] == 1 / 2


@pytest.mark.parametrize(("empty", "value"), [("skip", np.nan), ("perfect", 1), ("worst", 0)])
def test_empty_policy(empty: str, value: float) -> None:
    matrix = ConfusionMatrix(2, empty=empty)
    matrix.update(np.zeros(4, int), np.zeros(4, int))
    np.testing.assert_array_equal(matrix.iou(), [1, value])
    assert matrix.mean_iou() == np.nanmean([1, value])


@pytest.mark.parametrize("aggregation", ["pooled", "per_image", "per_class"])
def test_a_perfect_prediction_scores_one(aggregation: str) -> None:
    truth, _ = label_maps(4, classes=4, void=255)
    metric = PerImage(5, ignore=255)
    for one in truth:
        metric.update(one, np.where(one == 255, 0, one))
    assert set(metric.compute(aggregation).values()) == {1.0}
    assert set(metric.intervals(aggregation, draws=20).values()) == {(1.0, 1.0)}


def test_ignored_pixels_change_nothing() -> None:
    truth, predicted = label_maps(3, classes=4, void=255)
    other = np.where(truth == 255, 3, predicted)
    for make in (lambda: ConfusionMatrix(4, ignore=255), lambda: PerImage(4, ignore=255)):
        one, two = make(), make()
        for i in range(3):
            one.update(truth[i], predicted[i])
            two.update(truth[i], other[i])
        assert one.compute() == two.compute()


def test_contract() -> None:
    updates = list(zip(*label_maps(7, classes=4, void=255), strict=True))
    check_contract(lambda: ConfusionMatrix(6, ignore=255), updates)

    class Imagewise(PerImage):
        def compute(self) -> dict[str, float]:  # pyright: ignore[reportIncompatibleMethodOverride]
            numbers = super().compute("per_image")
            low_high = super().intervals("per_class", draws=30)
            return numbers | {f"{k} low": v[0] for k, v in low_high.items()}

    check_contract(lambda: PerImage(6, ignore=255), updates)
    check_contract(lambda: Imagewise(6, ignore=255), updates)


def test_the_three_aggregations_by_hand() -> None:
    metric = PerImage(2)
    metric.update(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))  # IoU 3/4, 0
    metric.update(np.array([1, 1, 1, 1]), np.array([1, 1, 1, 1]))  # IoU -, 1
    assert metric.compute("pooled")["mean_iou"] == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert metric.compute("per_image")["mean_iou"] == pytest.approx((3 / 8 + 1) / 2)
    assert metric.compute("per_class")["mean_iou"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    np.testing.assert_allclose(metric.images(), [3 / 8, 1])
    assert len(metric) == 2


def test_pooled_equals_the_confusion_matrix() -> None:
    truth, predicted = label_maps(6, classes=4, void=255)
    matrix, metric = ConfusionMatrix(5, ignore=255), PerImage(5, ignore=255)
    matrix.update(truth, predicted)
    for pair in zip(truth, predicted, strict=True):
        metric.update(*pair)
    for classes in (None, [1, 2, 3]):
        ours, theirs = metric.compute(classes=classes), matrix.compute(classes)
        np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-14)


def test_bootstrap_covers_the_mean_as_often_as_it_says() -> None:
    """Images of known accuracy 0.5 to 1: a 90 % interval holds the true mean 90 times in 100."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        metric = PerImage(2)
        for right in rng.integers(50, 101, 40):
            metric.update(np.zeros(100, int), (np.arange(100) >= right).astype(int))
        low, high = metric.intervals("per_image", level=0.9, draws=200)["pixel_accuracy"]
        hits += low <= 0.75 <= high
    assert 165 <= hits <= 195


def test_faults_are_named() -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(DataError, match=r"\(2, 2\).*\(3,\)"):
        matrix.update(np.zeros((2, 2), int), np.zeros(3, int))
    with pytest.raises(DataError, match=r"truth holds class ids 0..7, expected 0..2"):
        matrix.update(np.array([0, 7]), np.array([0, 1]))
    with pytest.raises(DataError, match=r"prediction holds class ids 0..3"):
        matrix.update(np.array([0, 1]), np.array([0, 3]))
    with pytest.raises(DataError, match="float64, expected integer"):
        matrix.update(np.zeros(2), np.zeros(2, int))
    with pytest.raises(ParameterError, match="empty is 'zero', expected one of 'skip'"):
        ConfusionMatrix(3, empty="zero")
    with pytest.raises(ParameterError, match=r"classes is \[3\]"):
        matrix.compute([3])
    with pytest.raises(ParameterError, match="classes is 3 here and 4 there"):
        matrix.merge(ConfusionMatrix(4))
    with pytest.raises(DataError, match="written with other settings"):
        matrix.load(ConfusionMatrix(4).state())
    with pytest.raises(DataError, match="expected 'counts'"):
        matrix.load({})
    metric = PerImage(3)
    with pytest.raises(ParameterError, match="aggregation is 'macro', expected one of 'pooled'"):
        metric.compute("macro")
    with pytest.raises(ParameterError, match="score is 'f2'"):
        metric.images("f2")
    with pytest.raises(ParameterError, match="level is 95"):
        metric.intervals(level=95)
    assert all(np.isnan(list(metric.compute().values())))
    assert all(np.isnan(low) for low, _ in metric.intervals(draws=5).values())
