"""``utils``: matching, average precision and recall, in cases that can be counted by hand."""

import numpy as np
import pytest

from vitrail.compat.mrcnn import utils


def squares(*corners: tuple[int, int], side: int = 8, size: int = 40) -> np.ndarray:
    """``(size, size, N)`` masks of squares at ``(y, x)``."""
    masks = np.zeros((size, size, len(corners)), bool)
    for number, (y, x) in enumerate(corners):
        masks[y : y + side, x : x + side, number] = True
    return masks


TRUTH = squares((0, 0), (0, 20), (20, 0))
CLASSES = np.array([1, 2, 1])


def ap(found: np.ndarray, classes: list[int], scores: list[float], **more: float):
    return utils.compute_ap(
        *(utils.extract_bboxes(TRUTH), CLASSES, TRUTH),
        *(utils.extract_bboxes(found), np.array(classes), np.array(scores), found),
        **more,
    )


def test_all_found() -> None:
    value, precisions, recalls, overlaps = ap(TRUTH, [1, 2, 1], [0.9, 0.8, 0.7])
    assert value == pytest.approx(1)
    assert precisions.tolist() == [1, 1, 1, 1, 0]
    assert recalls == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])
    assert np.diag(overlaps).tolist() == [1, 1, 1]


def test_a_wrong_class_and_an_object_that_is_missed() -> None:
    # In order: right, wrong class, right; precisions 1, 1/2, 2/3 at recalls 1/3, 1/3, 2/3.
    value, precisions, recalls, _ = ap(TRUTH, [1, 1, 1], [0.9, 0.8, 0.7])
    assert value == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert precisions == pytest.approx([1, 1, 2 / 3, 2 / 3, 0])
    assert recalls == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 1])


def test_the_best_score_comes_first_whatever_the_order() -> None:
    order = [2, 0, 1]
    value, *_ = ap(TRUTH[..., order], [1, 1, 2], [0.7, 0.9, 0.8])
    assert value == pytest.approx(1)


def test_a_second_prediction_of_an_object_is_wrong() -> None:
    found = squares((0, 0), (0, 0))
    truth = squares((0, 0))
    gt_match, pred_match, overlaps = utils.compute_matches(
        *(utils.extract_bboxes(truth), np.array([1]), truth),
        *(utils.extract_bboxes(found), np.array([1, 1]), np.array([0.5, 0.9]), found),
    )
    assert gt_match.tolist() == [0]
    assert pred_match.tolist() == [0, -1]
    assert overlaps.shape == (2, 1)


def test_no_objects_and_no_predictions() -> None:
    nothing = squares()
    value, precisions, recalls, overlaps = ap(nothing, [], [])
    assert (value, overlaps.shape) == (0, (0, 3))
    assert precisions.tolist() == [0, 0] and recalls.tolist() == [0, 1]
    value, *_ = utils.compute_ap(
        *(np.zeros((0, 4)), np.zeros(0), nothing),
        *(utils.extract_bboxes(TRUTH), CLASSES, np.array([0.9, 0.8, 0.7]), TRUTH),
    )
    assert value == 0


def test_mean_over_thresholds(capsys: pytest.CaptureFixture[str]) -> None:
    # Each overlaps its object with 7 of 9 columns: 0.777...; right at 0.5, 0.55 ... 0.75.
    found = squares((0, 1), (0, 21), (20, 1))
    told = utils.extract_bboxes(found), np.array([1, 2, 1]), np.array([0.9, 0.8, 0.7]), found
    truth = utils.extract_bboxes(TRUTH), CLASSES, TRUTH
    assert utils.compute_ap_range(*truth, *told) == pytest.approx(0.6)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "AP @0.50:\t 1.000"
    assert lines[-1] == "AP @0.50-0.95:\t 0.600"
    assert len(lines) == 11
    assert utils.compute_ap_range(*truth, *told, iou_thresholds=[0.5, 0.9], verbose=0) == 0.5
    assert not capsys.readouterr().out


def test_recall_of_boxes() -> None:
    truth = np.array([[0, 0, 10, 10], [20, 20, 30, 30]])
    boxes = np.array([[0, 0, 10, 9], [0, 1, 10, 10], [40, 40, 50, 50]])
    recall, positive = utils.compute_recall(boxes, truth, 0.5)
    assert recall == 0.5
    assert positive.tolist() == [0, 1]
    assert utils.compute_recall(boxes, truth[:0], 0.5)[0] == 0
