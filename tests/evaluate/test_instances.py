"""Objects: what goes into COCO's numbers, and what does not."""

from dataclasses import replace

import numpy as np
import pytest

from tests.data.listed import Listed, drawn, mapped, sample
from tests.evaluate.oracle import oracle
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.evaluate.classes import match_classes
from vitrail.evaluate.instances import InstanceScores
from vitrail.evaluate.object_protocols import explain_objects
from vitrail.evaluate.report import Subject, protocol, to_json
from vitrail.evaluate.run import Evaluation, evaluate
from vitrail.evaluate.settings import Settings
from vitrail.models.detection_params import DetectionParams
from vitrail.result import InstanceResult, Masks

SPACE = LabelSpace(("cat", "dog"))
SUBJECT = Subject("oracle", None, "cpu", "float32", "drawn", "listed", "val", {})


def found(size: tuple[int, int], *objects: Instance, classes=SPACE.classes) -> InstanceResult:
    masks = [one.mask.crop(0) for one in objects if one.mask is not None]
    stack = Masks.from_crops(masks, size)
    return InstanceResult(
        stack.boxes().astype(np.float32),
        np.linspace(0.9, 0.5, len(objects)).astype(np.float32),
        np.array([one.class_id for one in objects]),
        stack,
        classes,
        size=size,
    )


CAT, DOG = drawn(0, ["##...", "##...", "....."]), drawn(1, [".....", "...##", "...##"])
BOTH = sample("a", (3, 5), CAT, DOG)


def scores(source: Listed, results: dict, **settings) -> InstanceScores:
    evaluation = evaluate(oracle(results), source, Settings(**settings))
    assert isinstance(evaluation.scores, InstanceScores)
    return evaluation.scores


def test_finding_everything_is_one() -> None:
    whole = scores(Listed([BOTH], SPACE), {"a": found((3, 5), CAT, DOG)})
    for numbers in whole.totals().values():
        assert [numbers["AP"], numbers["AR@100"]] == pytest.approx([1, 1])
    assert whole.objects == 2
    assert whole.by_class()["mask"] == pytest.approx([1, 1])


def test_a_missed_class_and_another_name() -> None:
    named = found((3, 5), CAT, classes=("CAT ", "hound"))
    part = scores(Listed([BOTH], SPACE), {"a": named}, mapping={"hound": "dog"})
    assert part.by_class()["mask"] == pytest.approx([1, 0])
    assert part.totals()["mask"]["AP"] == pytest.approx(0.5)


def test_a_class_to_ignore_counts_on_neither_side() -> None:
    wrong = found((3, 5), CAT, CAT)
    wrong = InstanceResult(
        wrong.boxes, wrong.scores, np.array([0, 1]), wrong.masks, SPACE.classes, size=(3, 5)
    )
    rest = scores(Listed([BOTH], SPACE), {"a": wrong}, mapping={"dog": "ignore"})
    assert rest.totals()["mask"]["AP"] == pytest.approx(1)
    assert rest.matching.classes == ("cat",) and rest.objects == 1


def test_a_background_among_the_classes_of_objects_plays_no_part() -> None:
    space = LabelSpace(("ground", "cat", "dog"), 0)
    moved = sample("a", (3, 5), drawn(1, ["##...", "##...", "....."]))
    whole = scores(Listed([moved], space), {"a": found((3, 5), CAT)})
    assert whole.totals()["mask"]["AP"] == pytest.approx(1)
    assert whole.matching.classes == ("cat", "dog")


def test_crowds_swallow_and_stated_areas_sort() -> None:
    crowd = drawn(0, ["..###", "..###", "....."], crowd=True)
    inside = drawn(0, ["..#..", "..#..", "....."])
    big = drawn(0, ["##...", "##...", "....."], attributes={"area": 5000.0})
    source = Listed([sample("a", (3, 5), big, crowd)], SPACE)
    numbers = scores(source, {"a": found((3, 5), big, inside)}).totals()["mask"]
    assert [numbers["AP"], numbers["AP_medium"]] == pytest.approx([1, 1])
    assert np.isnan(numbers["AP_small"])


BARE = Instance.from_box(0, (0, 0, 2, 2), (3, 5))


def test_an_object_with_a_box_only_is_no_mask_to_find_or_miss() -> None:
    source = Listed([sample("a", (3, 5), BARE), sample("b", (3, 5), CAT)], SPACE)
    results = {"a": found((3, 5), DOG), "b": found((3, 5), CAT)}
    results["a"] = results["a"][:0]
    evaluation = evaluate(oracle(results), source)
    content = to_json(evaluation, SUBJECT)
    assert content["scores"]["mask"]["AP"] == pytest.approx(1)  # missed as a box alone
    assert content["scores"]["box"]["AR@100"] == pytest.approx(0.5)
    assert content["one_to_one"][0]["pooled_ap"] == 1
    told = protocol(evaluation, SUBJECT)
    assert "masks and boxes; 2 objects" in told
    assert "1 object with a box only: as masks neither right nor wrong" in told
    lone = scores(source, {one: found((3, 5), CAT) for one in "ab"})
    assert lone.totals()["mask"]["AP"] == pytest.approx(1)  # nor is what lies in the box wrong


def test_a_set_without_masks_compares_boxes_only() -> None:
    source = Listed([sample("a", (3, 5), BARE)], SPACE)
    evaluation = evaluate(oracle({"a": found((3, 5), CAT)}), source)
    content = to_json(evaluation, SUBJECT)
    assert set(content["scores"]) == {"box"} and content["scores"]["box"]["AP"] > 0.99
    assert content["one_to_one"] == [] and content["best_score_threshold"] is None
    assert "boxes only: 1 object and no masks" in protocol(evaluation, SUBJECT)


def test_a_model_without_masks_is_scored_by_boxes_only() -> None:
    source = Listed([BOTH], SPACE)
    whole = InstanceScores(match_classes(SPACE.classes, None, SPACE))
    bare = replace(found((3, 5), CAT, DOG), outlined=False, capped=True)
    whole.add(source[0], bare)
    assert set(whole.totals()) == set(whole.by_class()) == {"box"} and not whole.one_to_one()
    assert whole.capped == 1
    told = protocol(Evaluation(whole, Settings(), 1, ()), SUBJECT)
    assert "boxes only: the model finds no masks" in told
    assert "1 image had more objects than the model may tell" in told


def many(number: int) -> tuple[Sample, InstanceResult]:
    """A row of cats of two px each, all of them found, the surest last."""
    crops = [(0, 3 * at, np.ones((1, 2), bool)) for at in range(number)]
    masks, size = Masks.from_crops(crops, (1, 3 * number)), (1, 3 * number)
    cats = [Instance.from_masks(0, masks[at]) for at in range(number)]
    result = InstanceResult(
        masks.boxes().astype(np.float32),
        np.linspace(0.1, 0.9, number),
        np.zeros(number, int),
        masks,
        SPACE.classes,
        size=size,
    )
    return sample("a", size, *cats), result


def test_as_many_objects_count_as_the_model_may_tell() -> None:
    one, result = many(150)
    matching = match_classes(SPACE.classes, None, SPACE)
    told: dict[int, tuple[InstanceScores, str]] = {}
    for limit in (20, 400):
        detection = DetectionParams.model_validate({"max_detections": limit})
        counted = InstanceScores(matching, detection, explain=True)
        counted.add(one, result)
        told[limit] = counted, protocol(Evaluation(counted, Settings(), 1, ()), SUBJECT)
    usual, text = told[20]
    assert usual.totals()["mask"]["AR@100"] == pytest.approx(100 / 150)
    assert "at most 100 detections of a class in an image (COCO's own limit)" in text
    larger, text = told[400]
    assert larger.totals()["mask"]["AR@400"] == pytest.approx(1)
    assert "at most 400 detections of a class in an image (the model's max_detections" in text
    first, second, *_ = explain_objects(larger)
    assert first.at_half == pytest.approx(1) and second.at_half < 0.7
    assert "at most 100" in second.name


def test_the_threshold_in_force_and_the_best_one() -> None:
    """Two cats: one found surely; one hardly more surely than two that there are not."""
    row = ["##...##.....", "............"]
    cats = [drawn(0, [row[0][:4] + "." * 8, row[1]]), drawn(0, ["." * 4 + row[0][4:], row[1]])]
    wrong = [drawn(0, ["." * at + "##" + "." * (10 - at), row[1]]) for at in (8, 10)]
    size = (2, 12)
    result = found(size, *cats, *wrong)
    result = replace(result, scores=np.array([0.9, 0.62, 0.3, 0.3], np.float32))
    counted = InstanceScores(
        match_classes(SPACE.classes, None, SPACE),
        DetectionParams.model_validate({"score_threshold": 0.12}),
    )
    counted.add(sample("a", size, *cats), result)
    told = counted.one_to_one()
    assert min(told) == 0.12 and told[0.12]["pooled_ap"] == pytest.approx(2 / 4)
    assert told[0.35]["pooled_ap"] == told[0.6]["dsb_ap@0.5"] == 1
    assert told[0.65]["dsb_ap"] == pytest.approx(1 / 2)
    assert counted.best_threshold() == 0.35
    names = [one.name for one in explain_objects(counted)]
    assert any("StarDist: pooled" in name and "scores from 0.12" in name for name in names)
    assert any("Data Science Bowl 2018: mean over images" in name for name in names)
    assert sum("scores from 0.35 (best of the thresholds here)" in name for name in names) == 2
    assert "scores from 0.12 on" in protocol(Evaluation(counted, Settings(), 1, ()), SUBJECT)


def test_label_maps_are_no_objects() -> None:
    source = Listed([mapped("a", ["011"])], LabelSpace(("ground", "cat"), 0))
    with pytest.raises(DataError, match="label maps and no objects"):
        evaluate(oracle({"a": found((1, 3), classes=("cat",))}), source)


def test_damaged_annotations_fail_alone() -> None:
    def broken(index: int) -> Sample:
        if index == 0:
            raise DataError("line 3: no")
        return BOTH

    class Source(Listed):
        def __getitem__(self, index: int) -> Sample:
            return broken(index)

    source = Source([sample("x", (3, 5)), BOTH], SPACE)
    evaluation = evaluate(oracle({"a": found((3, 5), CAT, DOG)}), source)
    assert evaluation.failures == (("x", "line 3: no"),) and evaluation.images == 1
