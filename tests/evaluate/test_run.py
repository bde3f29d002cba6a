"""The one pass over a data set: properties that every evaluation has, and what can go wrong."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

import vitrail
from tests.data.listed import Listed
from tests.evaluate.oracle import SPACE, answering, drawn_set, oracle
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError, ImageError, ParameterError
from vitrail.evaluate.report import Subject, to_json
from vitrail.evaluate.run import Evaluation, evaluate
from vitrail.evaluate.semantic import SemanticScores
from vitrail.evaluate.settings import Settings
from vitrail.metrics import BoundaryF, BoundaryIoU
from vitrail.result import RegionResult, SemanticResult

FULL = Settings(boundary=True, explain=True, worst=3, draws=50)
SUBJECT = Subject("oracle", None, "cpu", "float32", "drawn", "listed", "val", {})


def semantic(evaluation: Evaluation) -> SemanticScores:
    assert isinstance(evaluation.scores, SemanticScores)
    return evaluation.scores


def test_a_perfect_prediction_scores_one_everywhere() -> None:
    source, _ = drawn_set(6)
    perfect = {one.id: np.where(one.labels == 255, 1, one.labels) for one in source.samples}
    scores = semantic(evaluate(answering(perfect), source, FULL))
    assert set(scores.totals().values()) == {1.0}
    for name, values in scores.by_class().items():
        assert (values == 1).all(), name
    assert all(interval == (1.0, 1.0) for interval in scores.total_intervals().values())
    assert all((values == 1).all() for values in scores.class_intervals().values())


def test_the_order_of_images_changes_nothing() -> None:
    source, predicted = drawn_set(12)
    one = evaluate(answering(predicted), source, FULL)
    turned = Listed([*reversed(source.samples)], SPACE)
    other = evaluate(answering(predicted), turned, FULL)
    assert to_json(one, SUBJECT) == to_json(other, SUBJECT)
    assert semantic(one).worst.found == semantic(other).worst.found


def test_void_pixels_change_nothing() -> None:
    source, predicted = drawn_set(5, void=0.3)
    changed = {
        one.id: np.where(one.labels == 255, 2 - predicted[one.id], predicted[one.id])
        for one in source.samples
    }
    one, other = (
        semantic(evaluate(answering(maps), source, Settings(boundary=True)))
        for maps in (predicted, changed)
    )
    assert one.totals() == other.totals()
    assert any((changed[id] != predicted[id]).any() for id in predicted)


def test_what_is_mapped_to_ignore_counts_nowhere() -> None:
    source, predicted = drawn_set(5, void=0.0)
    settings = Settings(mapping={"dog": "ignore"}, boundary=True)
    scores = semantic(evaluate(answering(predicted), source, settings))
    expected = np.zeros((2, 2), np.int64)
    skipped = 0
    for one in source.samples:
        truth, guess = one.labels, predicted[one.id]
        skipped += np.count_nonzero((guess == 2) & (truth < 2))
        kept = (truth < 2) & (guess < 2)
        np.add.at(expected, (truth[kept], guess[kept]), 1)
    np.testing.assert_array_equal(scores.matrix().counts, expected)
    assert scores.counts.skipped == skipped > 0


def test_borders_are_those_of_the_metrics() -> None:
    source, predicted = drawn_set(4)
    totals = semantic(evaluate(answering(predicted), source, FULL)).totals()
    bands, contours = BoundaryIoU(3, ignore=255), BoundaryF(3, tolerances=(0.008,), ignore=255)
    for one in source.samples:
        bands.update(one.labels, predicted[one.id])
        contours.update(one.labels, predicted[one.id])
    assert totals["boundary_iou"] == bands.compute()["boundary_iou"]
    assert totals["boundary_f"] == contours.compute()["boundary_f@0.008"]


def test_intervals_contain_the_score_and_need_no_bootstrap() -> None:
    source, predicted = drawn_set(20)
    scores = semantic(evaluate(answering(predicted), source, Settings(draws=200)))
    low, high = scores.class_intervals()["iou"].T
    assert (low < scores.by_class()["iou"]).all() and (scores.by_class()["iou"] < high).all()
    # One class alone, by the metric's own bootstrap: the same draws.
    alone = scores.per_image().intervals(classes=[1], draws=200)["mean_iou"]
    assert (low[1], high[1]) == alone
    none = semantic(evaluate(answering(predicted), source, Settings(draws=0)))
    assert none.class_intervals() == {} and none.total_intervals() == {}


def test_an_image_that_fails_is_left_out_and_told() -> None:
    source, predicted = drawn_set(6)
    ids = source.ids

    def unreadable() -> np.ndarray:
        raise ImageError("cut short")

    samples = list(source.samples)
    samples[0] = replace(samples[0], picture=unreadable)
    samples[1] = replace(samples[1], label_map=np.full(samples[1].size, 9, np.uint8))
    results = {
        id: SemanticResult(labels, SPACE.classes, background=0) for id, labels in predicted.items()
    }
    told: list[str] = []
    evaluation = evaluate(
        oracle(results | {ids[3]: None}),
        Listed(samples, SPACE),
        Settings(batch_size=4),
        on_error=lambda name, error: told.append(name),
    )
    assert [name for name, _ in evaluation.failures] == told
    assert sorted(told) == [ids[0], ids[1], ids[3]] and evaluation.images == 3
    assert "class id 9" in dict(evaluation.failures)[ids[1]]
    rest = Listed([samples[i] for i in (2, 4, 5)], SPACE)
    alone = evaluate(answering(predicted), rest)
    assert semantic(alone).totals() == semantic(evaluation).totals()
    assert [row.id for row in semantic(evaluation).rows] == [ids[i] for i in (2, 4, 5)]


def test_nothing_to_score_is_an_error() -> None:
    source, _ = drawn_set(2)
    with pytest.raises(DataError, match=r"none of the 2 images could be scored.*: no"):
        evaluate(oracle(dict.fromkeys(source.ids)), source)
    with pytest.raises(DataError, match="no images"):
        evaluate(answering({}), Listed([], SPACE))


def test_regions_have_no_classes() -> None:
    source, _ = drawn_set(1)
    size = source.samples[0].size
    result = RegionResult(np.ones(size, np.uint8))
    with pytest.raises(ParameterError, match="oracle answers in regions"):
        evaluate(_Passing(result), source)


class _Passing(vitrail.Segmenter):
    """Answers with one result, whatever it is asked."""

    def __init__(self, result: RegionResult) -> None:
        super().__init__("oracle", lambda image: RegionResult(result.labels, image=image))


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    """At any time, no more samples are alive than a batch and the one being scored."""
    alive: weakref.WeakSet[Sample] = weakref.WeakSet()
    most = 0
    source, predicted = drawn_set(30)

    class Fleeting:
        space, ids = SPACE, source.ids

        def __len__(self) -> int:
            return len(source)

        def __getitem__(self, index: int) -> Sample:
            nonlocal most
            sample = replace(source.samples[index])
            alive.add(sample)
            gc.collect()
            most = max(most, len(alive))
            return sample

    evaluate(answering(predicted), Fleeting(), Settings(batch_size=4, worst=5, draws=0))
    assert most <= 7


def test_objects_are_painted_where_there_is_no_label_map() -> None:
    from tests.data.listed import drawn, sample

    space = LabelSpace(("cat", "dog"))
    painted = sample("a", (2, 3), drawn(0, ["#..", "..."]), drawn(1, ["...", ".##"]))
    labels = np.array([[1, 0, 0], [0, 2, 2]], np.uint8)
    segmenter = answering({"a": labels}, ("background", "cat", "dog"))
    scores = semantic(evaluate(segmenter, Listed([painted], space)))
    assert scores.totals()["mean_iou"] == 1 and scores.matching.background == 0


def test_a_network_tells_what_it_saw() -> None:
    """Logits come with each image, at the network's size, and agree with its label map."""
    from skimage import data

    pictures = [data.chelsea()[:192, :288], data.astronaut()[:256, :288]]
    segmenter = vitrail.load("subjects", precision="float32")
    heard: list[tuple[object, np.ndarray]] = []
    results = list(
        segmenter.predict(
            pictures, batch_size=2, on_logits=lambda image, logits: heard.append((image, logits))
        )
    )
    by_image = {id(image): logits for image, logits in heard}
    for result in results:
        logits = by_image[id(result.image)]
        assert logits.shape == (3, *result.size) and logits.dtype == np.float32
        np.testing.assert_array_equal(logits.argmax(axis=0), result.labels)
