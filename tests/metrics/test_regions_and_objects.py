"""Region scores, objects at thresholds and panoptic quality by hand; what must not change them."""

import itertools

import numpy as np
import pytest

from tests.metrics.drawn_labels import check_contract, label_maps
from vitrail.errors import DataError, ParameterError
from vitrail.metrics import ObjectScores, PanopticMap, PanopticQuality, RegionScores
from vitrail.metrics.contingency import contingency
from vitrail.metrics.objects import match_objects
from vitrail.metrics.regions import covering, rand_index

HALVES = np.repeat([[1] * 4 + [2] * 4], 2, axis=0)
WHOLE = np.ones((2, 8), int)


def test_regions_by_hand() -> None:
    metric = RegionScores()
    metric.update([HALVES], WHOLE)
    # Of 120 pairs, the 2 x 28 inside a half agree; one bit says which half a pixel is in.
    assert metric.compute() == {"covering": 0.5, "pri": pytest.approx(56 / 120), "vi": 1.0}
    metric.update([WHOLE, HALVES], HALVES * 40)
    numbers = metric.compute()
    assert numbers["covering"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert numbers["pri"] == pytest.approx((56 / 120 + (56 / 120 + 1) / 2) / 2)
    assert numbers["vi"] == pytest.approx((1 + 0.5) / 2)


def test_names_of_regions_play_no_role() -> None:
    truth, predicted = (one[0] for one in label_maps(1, classes=5))
    table, renamed = contingency(truth, predicted), contingency(truth, 200 - predicted)
    assert covering(table) == covering(renamed)
    assert rand_index(table) == rand_index(renamed)
    sparse = contingency(truth.astype(np.int64) * 10**9, predicted)
    assert np.array_equal(np.sort(sparse.pixels), np.sort(table.pixels))


def test_regions_without_labelled_pixels() -> None:
    metric = RegionScores(ignore=0)
    metric.update([np.zeros((2, 8), int)], WHOLE)
    assert all(np.isnan(list(metric.compute().values())))
    metric.update([np.zeros((2, 8), int), WHOLE], WHOLE)
    assert metric.compute() == {"covering": 1.0, "pri": 1.0, "vi": 0.0}


def test_an_iou_of_exactly_the_threshold_counts() -> None:
    """3 of 5 pixels is 0.6: found at 0.6, not at 0.65; no rounding of a threshold changes it."""
    truth = np.array([[1, 1, 1, 1, 1, 0]])
    predicted = np.array([[0, 0, 9, 9, 9, 0]])
    metric = ObjectScores()
    metric.update(truth, predicted)
    assert metric.images().tolist() == [[1.0] * 3 + [0.0] * 7]
    assert metric.compute()["dsb_ap"] == pytest.approx(0.3)
    assert metric.compute()["pooled_ap@0.6"] == 1
    assert metric.pooled()["mean_matched_iou"][0] == pytest.approx(0.6)
    assert metric.pooled()["panoptic_quality"][0] == pytest.approx(0.6)


def test_one_score_an_image_or_one_for_all() -> None:
    metric = ObjectScores(thresholds=[0.5])
    metric.update(np.array([[1, 2, 3, 4]]), np.array([[1, 2, 3, 0]]))  # 3 of 4
    metric.update(np.array([[1, 0]]), np.array([[0, 1]]))  # 0 of 2
    numbers = metric.compute()
    assert numbers["dsb_ap"] == pytest.approx((3 / 4 + 0) / 2)
    assert numbers["pooled_ap"] == pytest.approx(3 / 6)
    nothing = np.zeros((1, 2), int)
    for empty, value in (("perfect", (3 / 4 + 0 + 1) / 3), ("skip", 3 / 8)):
        other = ObjectScores(thresholds=[0.5], empty=empty)
        other.load(metric.state())
        other.update(nothing, nothing)
        assert other.compute()["dsb_ap"] == pytest.approx(value)


def test_matching_is_optimal_below_one_half() -> None:
    """Against all assignments: as many pairs as can be, of those the greatest sum of IoU."""
    rng = np.random.default_rng(0)
    contested = 0
    for _ in range(40):
        truth, predicted = rng.integers(1, 4, (2, 12))
        table = contingency(truth, predicted)
        iou = np.zeros((len(table.truth_ids), len(table.predicted_ids)))
        iou[table.rows, table.columns] = table.iou()
        iou[iou < 0.2] = 0
        small, large = sorted(iou.shape)
        flat = iou if iou.shape[0] == small else iou.T
        best = max(
            (sum(flat[range(small), p] > 0), flat[range(small), p].sum())
            for p in itertools.permutations(range(large), small)
        )
        rows, columns = match_objects(table, 0.2)
        assert len(rows) == len(set(rows)) == len(set(columns)) == best[0]
        assert iou[rows, columns].sum() == pytest.approx(best[1])
        contested += (np.count_nonzero(iou, axis=1) > 1).any()
    assert contested > 20


def panoptic(labels: list[int], numbers: list[int] | None = None, **more) -> PanopticMap:
    instances = None if numbers is None else np.array([numbers])
    return PanopticMap.from_labels(np.array([labels]), instances, **more)


def test_panoptic_by_hand() -> None:
    metric = PanopticQuality(3, things=[1])
    truth = panoptic([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 2, 2], things=[1])
    found = panoptic([0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 2, 3], things=[1])
    metric.update(truth, found)
    # Stuff: IoU 3/4. Things: one pair of IoU 2/3; two more found, one missed.
    scores = metric.per_class()
    np.testing.assert_allclose(scores["sq"], [3 / 4, 2 / 3, np.nan])
    np.testing.assert_allclose(scores["rq"], [1, 1 / (1 + 2 / 2 + 1 / 2), np.nan])
    np.testing.assert_allclose(scores["pq"], [3 / 4, 2 / 3 / 2.5, np.nan])
    assert metric.compute()["pq_stuff"] == pytest.approx(3 / 4)
    assert metric.compute()["pq"] == pytest.approx((3 / 4 + 2 / 3 / 2.5) / 2)


def test_an_overlap_of_one_half_is_no_pair() -> None:
    metric = PanopticQuality(1)
    metric.update(panoptic([0, 0, 0, 9], void=9), panoptic([0, 0, 9, 0], void=9))
    # In the union: 3 true pixels, and 2 predicted ones of which none lies on void.
    assert metric.per_class()["pq"][0] == pytest.approx(2 / 3)
    metric.reset()
    truth = PanopticMap(np.array([[1, 1, 2, 2]]), {1: 0, 2: 0})
    metric.update(truth, PanopticMap(np.array([[1, 1, 1, 1]]), {1: 0}))
    assert metric.per_class()["pq"][0] == 0  # IoU 2/4 with either


def test_void_and_crowds_are_forgiven() -> None:
    metric = PanopticQuality(2, things=[0])
    truth = PanopticMap(np.array([[1, 1, 7, 7, 7, 5, 5, 5]]), {1: 0, 5: 0}, crowd=[5])
    found = PanopticMap(np.array([[1, 1, 2, 2, 2, 3, 3, 3]]), {1: 0, 2: 1, 3: 0})
    metric.update(truth, found)
    assert metric.per_class()["pq"][0] == 1  # the crowd is not missed, what is on it not wrong
    assert np.isnan(metric.per_class()["pq"][1])  # wholly on void: not wrong either
    # On a crowd of another class it is wrong.
    other = PanopticMap(np.array([[1, 1, 2, 2, 2, 3, 3, 3]]), {1: 0, 2: 1, 3: 1})
    metric.update(truth, other)
    assert metric.per_class()["pq"][1] == 0


def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(*label_maps(6, classes=5, void=255), strict=True))


def test_contracts() -> None:
    check_contract(lambda: RegionScores(ignore=255), [([t, t.T.T], p) for t, p in pairs()])
    check_contract(lambda: ObjectScores(ignore=255), pairs())
    maps = [tuple(PanopticMap.from_labels(one, void=255) for one in pair) for pair in pairs()]
    check_contract(lambda: PanopticQuality(5, things=[1, 2]), maps)


def test_perfect_predictions_and_ignored_pixels() -> None:
    for make in (lambda: RegionScores(ignore=255), lambda: ObjectScores(ignore=255)):
        one, two, perfect = make(), make(), make()
        for truth, predicted in pairs():
            void = truth == 255
            inputs = (predicted, np.where(void, 4, predicted), np.where(void, 3, truth))
            for metric, found in zip((one, two, perfect), inputs, strict=True):
                if isinstance(metric, RegionScores):
                    metric.update([truth], found)
                else:
                    metric.update(truth, found)
        assert one.compute() == two.compute()
        numbers = perfect.compute()
        assert numbers.pop("vi", 0.0) == 0.0
        assert set(numbers.values()) == {1.0}
    metric = PanopticQuality(5)
    for truth, _ in pairs():
        found = np.where(truth == 255, 3, truth)
        metric.update(PanopticMap.from_labels(truth, void=255), PanopticMap.from_labels(found))
    assert metric.compute()["pq"] == 1.0


def test_faults_are_named() -> None:
    with pytest.raises(DataError, match="no annotator"):
        RegionScores().update([], WHOLE)
    with pytest.raises(ParameterError, match=r"thresholds is \(50.0,\)"):
        ObjectScores(thresholds=[50])
    with pytest.raises(DataError, match=r"prediction has class id 3, expected 0..1"):
        PanopticQuality(2).update(PanopticMap(WHOLE, {1: 0}), PanopticMap(WHOLE, {1: 3}))
    with pytest.raises(DataError, match="segments are float64"):
        PanopticQuality(2).update(PanopticMap(WHOLE, {1: 0}), PanopticMap(WHOLE / 1, {1: 0}))
    with pytest.raises(ParameterError, match=r"things is \(5,\)"):
        PanopticQuality(2, things=[5])
    with pytest.raises(ParameterError, match="ignore is None here and 255 there"):
        RegionScores().merge(RegionScores(ignore=255))
    assert np.isnan(PanopticQuality(2).compute()["pq"])
    assert all(np.isnan(list(ObjectScores().compute().values())))
