"""Objects: what goes into COCO's numbers, and what does not."""

import numpy as np
import pytest

from tests.data.listed import Listed, drawn, mapped, sample
from tests.evaluate.oracle import oracle
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.evaluate.instances import InstanceScores
from vitrail.evaluate.report import Subject, protocol, to_json
from vitrail.evaluate.run import evaluate
from vitrail.evaluate.settings import Settings
from vitrail.result import InstanceResult, Masks

SPACE = LabelSpace(("cat", "dog"))
SUBJECT = Subject("oracle", None, "cpu", "float32", "drawn", "listed", "val")


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


def test_a_set_with_bare_boxes_compares_boxes_only() -> None:
    bare = Instance.from_box(0, (0, 0, 2, 2), (3, 5))
    source = Listed([sample("a", (3, 5), bare), sample("b", (3, 5), CAT)], SPACE)
    evaluation = evaluate(oracle({one: found((3, 5), CAT) for one in "ab"}), source)
    content = to_json(evaluation, SUBJECT)
    assert set(content["scores"]) == {"box"} and content["scores"]["box"]["AP"] > 0.99
    assert "boxes only: 1 object has no mask" in protocol(evaluation, SUBJECT)


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
