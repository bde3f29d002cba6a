"""Other protocols over the same predictions, each against a plain computation of its own."""

import numpy as np
import pytest

from tests.data.listed import Listed
from tests.evaluate.oracle import SPACE, answering, drawn_set
from vitrail.data.sample import LabelSpace, Sample
from vitrail.evaluate.counts import Counts, Pixels
from vitrail.evaluate.protocols import Explanation, explain
from vitrail.evaluate.run import evaluate
from vitrail.evaluate.semantic import SemanticScores
from vitrail.evaluate.settings import Settings


def explained(source: Listed, predicted: dict[str, np.ndarray], **more) -> Explanation:
    found = evaluate(answering(predicted, **more), source, Settings(explain=True, draws=0))
    assert isinstance(found.scores, SemanticScores)
    return explain(found.scores)


def iou(truth: np.ndarray, guess: np.ndarray, c: int, empty: float = np.nan) -> float:
    union = np.count_nonzero((truth == c) | (guess == c))
    return np.count_nonzero((truth == c) & (guess == c)) / union if union else empty


def test_every_number_by_hand() -> None:
    source, predicted = drawn_set(9)
    told = explained(source, predicted)
    numbers = {one.name: one.mean_iou for one in told.protocols}
    pairs, raw = [], []
    for one in source.samples:
        guess = predicted[one.id]
        raw.append((one.labels.ravel(), guess.ravel()))
        pairs.append((one.labels[one.labels != 255], guess[one.labels != 255]))
    truth, guess = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    whole, answer = (np.concatenate(parts) for parts in zip(*raw, strict=True))
    each = np.array([[iou(t, g, c) for c in range(3)] for t, g in pairs])
    full = np.array([[iou(t, g, c, 1.0) for c in range(3)] for t, g in pairs])
    pooled = [iou(truth, guess, c) for c in range(3)]
    filled = np.where(whole == 255, 0, whole)
    expected = {
        "pooled over pixels (reported)": np.mean(pooled),
        "mean over images": np.nanmean(np.nanmean(each, axis=1)),
        "mean over images, absent classes 1": full.mean(),
        "mean over each class's images": np.nanmean(np.nanmean(each, axis=0)),
        "pooled, without background": np.mean(pooled[1:]),
        "mean over images, without background": np.nanmean(
            [np.nanmean(row[1:]) for row in each if not np.isnan(row[1:]).all()]
        ),
        "pooled, void counted as wrong": np.mean([iou(whole, answer, c) for c in range(3)]),
        "pooled, void counted as background": np.mean([iou(filled, answer, c) for c in range(3)]),
    }
    assert numbers == pytest.approx(expected, abs=1e-12)
    assert len(set(np.round(list(numbers.values()), 6))) == len(numbers)
    assert dict(told.left_out).keys() == {
        "classes that occur nowhere count 0",
        "at the network's input size",
    }


def test_the_biggest_difference_is_named_with_its_cause() -> None:
    source, predicted = drawn_set(9)
    told = explained(source, predicted)
    biggest = told.biggest()
    assert biggest is not None and biggest.cause
    assert abs(told.difference(biggest)) == max(
        abs(one.mean_iou - told.protocols[0].mean_iou) for one in told.protocols
    )
    perfect = {one.id: np.where(one.labels == 255, 0, one.labels) for one in source.samples}
    same = explained(Listed(list(source.samples), SPACE), perfect)
    assert {one.name for one in same.protocols if same.difference(one)} <= {
        "pooled, void counted as wrong"
    }


def test_a_class_that_occurs_nowhere_and_a_set_without_background() -> None:
    space = LabelSpace(("cat", "dog", "hen"))
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    sample = Sample("a", np.zeros((1, 4, 3), np.uint8), (1, 4), truth)
    guess = np.array([[0, 1, 1, 1]], np.uint8)
    told = explained(Listed([sample], space), {"a": guess}, classes=space.classes, background=None)
    numbers = {one.name: one.mean_iou for one in told.protocols}
    assert numbers["pooled over pixels (reported)"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    absent = numbers["pooled, classes that occur nowhere count 0"]
    assert absent == pytest.approx((1 / 2 + 2 / 3) / 3)
    why = dict(told.left_out)
    assert why["without background"] == "the data set has no background class"
    assert why["void counted"] == "the truth has no void pixels"


def test_numbers_at_another_size_come_from_their_own_counts() -> None:
    counts = Counts(2, None, explain=True)
    counts.add(Pixels.of(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 2))
    counts.add_resized(Pixels.of(np.array([0, 1]), np.array([0, 1]), 2))
    resized = counts.resized()
    assert resized is not None and resized.compute()["mean_iou"] == 1
    assert counts.matrix().counts.tolist() == [[1, 1], [0, 1]]
    assert counts.void == 1 and counts.pixels == 4
