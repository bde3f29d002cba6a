"""From regions to objects."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vitrail.models.base import Frame
from vitrail.models.instances import DetectionParams
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.detections import Found, at_original_size, detect

WINDOW = torch.tensor([[0.0, 0, 100, 80]])
REGIONS = torch.tensor([[10.0, 10, 30, 30], [12, 10, 32, 30], [60, 40, 90, 70]])


def found(
    probabilities: list[list[float]],
    deltas: Tensor | None = None,
    *,
    params: dict[str, object] | None = None,
    **values: object,
) -> Found:
    """Of :data:`REGIONS`, with two classes behind the background."""
    arguments = MaskRCNNArguments.model_validate({"classes": 2, **values})
    deltas = torch.zeros(3, 8) if deltas is None else deltas
    logits = torch.tensor(probabilities).log()
    wanted = DetectionParams.model_validate(params or {})
    return detect(logits, deltas, [REGIONS], WINDOW, arguments, wanted)[0]


def test_classes_are_suppressed_apart() -> None:
    one = found([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.9, 0.06, 0.04]])
    assert one.class_ids.tolist() == [0, 1, 0]
    assert one.scores.tolist() == pytest.approx([0.8, 0.1, 0.06])
    torch.testing.assert_close(one.boxes, REGIONS[[0, 0, 2]])
    assert not one.capped


def test_one_class_a_region() -> None:
    rows = [[0.1, 0.5, 0.4], [0.2, 0.3, 0.5], [0.5, 0.1, 0.4]]
    both = found(rows, params={"nms": 1.0})
    assert len(both.boxes) == 6
    one = found(rows, params={"nms": 1.0}, one_class_a_region=True)
    assert one.class_ids.tolist() == [0, 1]  # the third region is background
    torch.testing.assert_close(one.boxes, REGIONS[:2])


def test_deltas_are_those_of_the_class() -> None:
    deltas = torch.zeros(3, 8)
    deltas[2, 4] = 10 * 0.1  # dx of class 1, of a region 30 px wide
    one = found([[1.0, 0, 0], [1, 0, 0], [0.2, 0.4, 0.4]], deltas)
    assert sorted(one.boxes[:, 0].tolist()) == pytest.approx([60, 63])


def test_threshold_is_the_least_score() -> None:
    rows = [[0.25, 0.5, 0.25], [1, 0, 0], [1, 0, 0]]
    assert len(found(rows, params={"score_threshold": 0.25}).boxes) == 2
    assert len(found(rows, params={"score_threshold": 0.2501}).boxes) == 1


def test_capped_says_that_more_would_have_been_told() -> None:
    rows = [[0.1, 0.8, 0.1], [0.2, 0.1, 0.7], [0.1, 0.45, 0.45]]
    assert not found(rows, params={"max_detections": 6, "nms": 1.0}).capped
    some = found(rows, params={"max_detections": 2})
    assert some.capped and some.scores.tolist() == pytest.approx([0.8, 0.7])


def test_clipped_to_the_window_and_the_small_dropped() -> None:
    deltas = torch.zeros(3, 8)
    deltas[2, 0] = 10 * 1.2  # the third region leaves the image: 96 to 126 px
    rows = [[1.0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert found(rows, deltas).boxes.tolist() == [pytest.approx([96, 40, 100, 70])]
    assert not len(found(rows, deltas, min_box=5).boxes)


def test_what_has_no_area_is_no_object() -> None:
    """The first region is moved out of the image, onto its edge; matterport's boxes of one px
    begin and end with the same number."""
    deltas = torch.zeros(3, 8)
    deltas[0, 0] = -10 * 9.0
    rows = [[0.0, 1, 0], [0, 0.9, 0.1], [1, 0, 0]]
    assert found(rows, deltas).scores.tolist() == pytest.approx([0.9, 0.1])
    assert len(found(rows, deltas, inclusive=True).boxes) == 3


def test_no_numbers_are_no_objects() -> None:
    rows = [[float("nan")] * 3, [1.0, 0, 0], [1, 0, 0]]
    assert not len(found(rows).boxes)
    assert not len(found(rows, one_class_a_region=True).boxes)


def test_images_keep_to_themselves() -> None:
    arguments = MaskRCNNArguments.model_validate({"classes": 2})
    logits = torch.tensor([[0.1, 0.8, 0.1]] * 3).log()
    results = detect(
        logits,
        torch.zeros(3, 8),
        [REGIONS[:1], REGIONS[:0], REGIONS[:2]],
        torch.tensor([[0.0, 0, 100, 80], [0, 0, 9, 9], [0, 0, 20, 20]]),
        arguments,
        DetectionParams(score_threshold=0.5),  # pyright: ignore[reportCallIssue]
    )
    assert [one.boxes.tolist() for one in results] == [
        [pytest.approx([10, 10, 30, 30])],
        [],
        [pytest.approx([10, 10, 20, 20])],
    ]


@pytest.mark.parametrize(("inclusive", "paste"), [(False, "edges"), (True, "resize")])
def test_back_to_the_original_image(inclusive: bool, paste: str) -> None:
    arguments = MaskRCNNArguments.model_validate(
        {"classes": 1, "inclusive": inclusive, "mask_paste": paste}
    )
    frame = Frame(original=(50, 240), resized=(100, 80), corner=(14, 24))
    last = 1.0 if inclusive else 0.0
    whole = torch.tensor([[24.0, 14, 104 - last, 114 - last]])
    assert at_original_size(whole, frame, arguments).tolist() == [[0, 0, 240, 50]]
    part = torch.tensor([[34.0, 14, 44 - last, 34 - last]])
    # Inclusive boxes are scaled from the first px to the last one: 9 / 79 of 239 px, and one more.
    expected = [30.0, 0, 58 if inclusive else 60, 10]
    assert at_original_size(part, frame, arguments).tolist() == [expected]
    beyond = whole + torch.tensor([-3.0, -3, 3, 3])
    assert at_original_size(beyond, frame, arguments).tolist() == [[0, 0, 240, 50]]
