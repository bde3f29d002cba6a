"""Objects found one to one by score: against label maps, and by hand."""

import numpy as np
import pytest

from tests.metrics.drawn_labels import check_contract
from vitrail.errors import DataError, ParameterError
from vitrail.metrics import CocoObjects, ObjectScores, ObjectSweep
from vitrail.result import Masks

SIZE = (60, 70)


def discs(rng: np.random.Generator, number: int) -> np.ndarray:
    """``(number, H, W)`` bool."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.array(
        [
            (y - rng.uniform(5, 55)) ** 2 + (x - rng.uniform(5, 65)) ** 2 < rng.uniform(3, 9) ** 2
            for _ in range(number)
        ]
    ).reshape(number, *SIZE)


def as_labels(dense: np.ndarray) -> np.ndarray:
    """A label map, the first mask on top."""
    labels = np.zeros(SIZE, np.int32)
    for number in range(len(dense) - 1, -1, -1):
        labels[dense[number]] = number + 1
    return labels


def drawn(seed: int, classes: int = 1) -> tuple[CocoObjects, CocoObjects]:
    """Objects that do not overlap, and shifted ones that do, some of them made up."""
    rng = np.random.default_rng(seed)
    labels = as_labels(discs(rng, 12))
    truth = Masks.from_dense(np.array([labels == n for n in np.unique(labels)[1:]]))
    moved = [np.roll(one, rng.integers(-2, 3, 2), (0, 1)) for one in truth.dense()]
    found = Masks.from_dense(np.concatenate([moved, discs(rng, 5)]))
    ids = rng.integers(0, classes, len(found))
    return (
        CocoObjects(ids[: len(truth)], masks=truth),
        CocoObjects(ids, masks=found, scores=rng.random(len(found)).round(2)),
    )


def test_every_score_threshold_gives_what_its_label_map_gives() -> None:
    limits = (0.0, 0.3, 0.31, 0.8, 1.0)
    swept = ObjectSweep(score_thresholds=limits)
    single = [ObjectScores() for _ in limits]
    for seed in range(6):
        truth, found = drawn(seed)
        assert truth.masks is not None and found.masks is not None and found.scores is not None
        swept.update(truth, found)
        order = np.argsort(-found.scores, kind="stable")
        for limit, metric in zip(limits, single, strict=True):
            told = found.masks[order[found.scores[order] >= limit]]
            metric.update(as_labels(truth.masks.dense()), as_labels(told.dense()))
    for numbers, metric in zip(swept.numbers(), single, strict=True):
        expected = metric.compute()
        assert numbers["dsb_ap"] == pytest.approx(expected["dsb_ap"])
        assert numbers["pooled_ap"] == pytest.approx(expected["pooled_ap"])
        assert numbers["pooled_ap@0.5"] == pytest.approx(expected["pooled_ap@0.5"])
        assert numbers["dsb_ap@0.5"] == pytest.approx(metric.images()[:, 0].mean())
    whole = swept.compute()
    assert 0.05 < whole["dsb_ap"] < whole["dsb_ap@0.5"] < 0.95


def rows(*drawings: str) -> Masks:
    """Masks of one row."""
    return Masks.from_dense(np.array([[[c == "#" for c in one]] for one in drawings]))


def counts(metric: ObjectSweep) -> list[list[int]]:
    """Right, wrong, missed at each score threshold, at the only IoU threshold."""
    return metric.state()["counts"].sum(axis=0)[:, 0].tolist()


def test_the_surer_one_has_the_pixels() -> None:
    truth = CocoObjects(np.array([0]), masks=rows("###..."))
    found = CocoObjects(
        np.array([0, 0, 0]),
        masks=rows("..####", "###...", "##...."),
        scores=np.array([0.7, 0.9, 0.5]),
    )
    metric = ObjectSweep(score_thresholds=(0, 0.6, 0.8, 0.95), thresholds=[0.5])
    metric.update(truth, found)
    # The last has no pixels left and is none; the first keeps three, of which none is right.
    assert counts(metric) == [[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_classes_crowds_and_bare_objects() -> None:
    truth = CocoObjects(
        np.array([0, 1, 0, 1]),
        masks=rows("##......", "..##....", "....####", "........"),
        crowd=np.array([False, False, True, False]),
    )
    found = CocoObjects(
        np.array([0, 0, 0, 1]),
        masks=rows("##......", "..##....", ".....##.", ".....##."),
        scores=np.full(4, 0.7, np.float32),
    )
    metric = ObjectSweep(score_thresholds=(0.7,), thresholds=[0.5])
    metric.update(truth, found)
    # Right: one. Wrong: another class's object, and another class's crowd. Missed: one.
    assert counts(metric) == [[1, 2, 1]]


def test_contract() -> None:
    check_contract(lambda: ObjectSweep(), [drawn(seed, classes=3) for seed in range(6)])


def test_nothing_and_faults() -> None:
    nothing = CocoObjects(np.zeros(0, int), masks=Masks.from_crops((), (1, 4)))
    metric = ObjectSweep()
    metric.update(nothing, CocoObjects(np.zeros(0, int), masks=nothing.masks, scores=np.zeros(0)))
    assert np.isnan(list(metric.compute().values())).all()
    with pytest.raises(DataError, match="have no scores"):
        metric.update(nothing, nothing)
    with pytest.raises(DataError, match="masks are compared"):
        metric.update(nothing, CocoObjects(np.zeros(0, int), boxes=np.zeros((0, 4))))
    other = CocoObjects(np.zeros(0, int), masks=Masks.from_crops((), (2, 4)), scores=np.zeros(0))
    with pytest.raises(DataError, match=r"are for \(2, 4\) pixels, the truth for \(1, 4\)"):
        metric.update(nothing, other)
    with pytest.raises(ParameterError, match=r"score_thresholds is \(0.5, 0.1\)"):
        ObjectSweep(score_thresholds=(0.5, 0.1))
    with pytest.raises(ParameterError, match="expected numbers in"):
        ObjectSweep(thresholds=())
