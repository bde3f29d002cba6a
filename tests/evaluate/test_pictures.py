"""Pictures: that what they say is in them, at a size that can be read."""

import numpy as np
import pytest

from tests.evaluate.oracle import answering, drawn_set
from vitrail.evaluate.curves import PrecisionRecall
from vitrail.evaluate.pictures import MOST, confusion_picture, curves_picture
from vitrail.evaluate.run import evaluate
from vitrail.evaluate.semantic import SemanticScores
from vitrail.evaluate.settings import Settings
from vitrail.evaluate.worst import Worst


def cells(picture: np.ndarray, colour: str) -> int:
    """Pixels that are clearly blue (right) or orange (wrong)."""
    red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
    return int(np.count_nonzero(blue - red > 40 if colour == "blue" else red - blue > 40))


def test_errors_show_off_the_diagonal() -> None:
    right = confusion_picture(["a", "b"], np.diag([10, 90]))
    wrong = confusion_picture(["a", "b"], np.array([[1, 9], [80, 10]]))
    assert right.shape == wrong.shape and right.dtype == np.uint8
    assert cells(right, "orange") == 0 and cells(right, "blue") > 2 * 50 * 50
    assert cells(wrong, "orange") > 2 * 50 * 50 > cells(wrong, "blue")


def test_a_small_error_can_be_told_from_none() -> None:
    none = confusion_picture(["a", "b"], np.array([[1000, 0], [0, 1000]]))
    some = confusion_picture(["a", "b"], np.array([[990, 10], [0, 1000]]))
    assert np.count_nonzero((none != some).any(axis=-1)) > 50 * 50


@pytest.mark.parametrize("count", [1, 19, MOST + 5])
def test_cells_stay_legible_for_any_number_of_classes(count: int) -> None:
    names = [f"a rather long name of class {index} that must be cut" for index in range(count)]
    shown = min(count, MOST)
    picture = confusion_picture(names, np.eye(count, dtype=np.int64) * 5)
    assert picture.shape[0] > 56 * shown and picture.shape[1] > 56 * shown
    assert picture.shape[1] < 56 * shown + 800


def test_a_class_without_truth_has_an_empty_row() -> None:
    picture = confusion_picture(["a", "b"], np.array([[5, 0], [0, 0]]))
    assert cells(picture, "blue") < 60 * 60  # one cell only


def test_a_panel_for_each_class_that_occurs() -> None:
    curves = PrecisionRecall(6)
    assert curves_picture(list("abcdef"), curves, np.full((6, 2), np.nan)) is None
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(6), 500).T.astype(np.float32)
    chosen = np.full((6, 2), 0.5)
    curves.update(rng.integers(0, 2, 500), p)
    two = curves_picture(list("abcdef"), curves, chosen)
    curves.update(rng.integers(0, 5, 500), p)
    five = curves_picture(list("abcdef"), curves, chosen)
    assert two is not None and five is not None
    assert five.shape[0] > 1.8 * two.shape[0]  # four panels a row
    assert cells(two, "blue") > 200 and cells(five, "orange") > 2 * cells(two, "orange")


def test_the_worst_are_kept_whatever_the_order() -> None:
    source, predicted = drawn_set(15)
    scores = evaluate(answering(predicted), source, Settings(worst=4, draws=0)).scores
    assert isinstance(scores, SemanticScores)
    all_of_them = scores.per_image().images()
    order = np.argsort(all_of_them)[:4]
    assert [id for id, _ in scores.worst.found] == [source.ids[i] for i in order]
    assert [score for _, score in scores.worst.found] == all_of_them[order].tolist()
    sheet = scores.worst.sheet()
    assert sheet is not None and sheet.shape[1] > 3 * 240


def test_images_without_a_score_are_not_the_worst() -> None:
    worst = Worst(2, ("a",), None)
    picture, labels = np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5), int)
    worst.add("void", float("nan"), picture, labels, labels)
    assert worst.found == [] and worst.sheet() is None
    for id in ("c", "b", "a"):
        worst.add(id, 0.5, picture, labels, labels)
    assert worst.found == [("a", 0.5), ("b", 0.5)]
