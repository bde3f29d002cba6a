"""Faults of the classes of a whole set, and what is advised."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.data.check_sets import (
    OBJECTS,
    SPACE,
    Memory,
    check,
    dataset,
    kinds,
    objects,
    only,
    pairs,
    photo,
)
from vitrail.data.check import check_dataset
from vitrail.data.checks.report import Report
from vitrail.data.sample import Instance, LabelSpace, Sample


def _map(number: int, **pixels: int) -> Sample:
    """A label map of 10 x 1000 px with so many pixels of each id (``c1=40``)."""
    labels = np.zeros(10_000, np.uint8)
    begin = 0
    for name, count in pixels.items():
        labels[begin : begin + count] = int(name[1:])
        begin += count
    picture = photo(number, (10, 1000))
    return Sample(f"m{number}", picture, (10, 1000), labels.reshape(10, 1000))


def _maps(*samples: Sample, space: LabelSpace = SPACE) -> Memory:
    return Memory(samples, space)


def _weights(report: Report) -> dict[str, float]:
    (advice,) = (advice for advice in report.advice if advice.about == "class-weights")
    return advice.value


def test_unused_class() -> None:
    space = LabelSpace(("background", "disc", "square", "ring"), 0)
    problem = only(
        check(_maps(_map(0, c1=400), _map(1, c2=90), space=space)), "unused-class"
    ).problem
    assert problem.id == "ring" and problem.severity == "warning"


def test_numbers_without_names_are_one_finding() -> None:
    space = LabelSpace(tuple(f"class {number}" for number in range(41)), 0)
    found = only(check(_maps(_map(0, c1=400, c40=9), _map(1, c5=90), space=space)), "unused-class")
    assert found.problem.value == "37 of the numbers up to 40 are in no mask"
    assert "--format instance-ids" in found.problem.advice


def test_unused_category_of_objects() -> None:
    space = LabelSpace(("disc", "square", "ring"))
    assert only(check(Memory(objects(), space)), "unused-class").problem.id == "ring"


def test_class_missing_from_a_split() -> None:
    parts = {
        "train": _maps(_map(0, c1=400), _map(1, c2=90)),
        "val": _maps(_map(2, c1=400)),
        "test": _maps(_map(3, c1=400, c2=10)),
    }
    problem = only(check_dataset(dataset(Path(), **parts)), "class-missing-from-split").problem
    assert (problem.id, problem.split) == ("square", "val")
    assert problem.value == "not in val; 2 images elsewhere"


def test_absent_background_is_no_missing_class() -> None:
    assert not check(_maps(_map(0, c1=5000, c2=5000), _map(1, c2=5000, c1=5000))).problems


def test_imbalance() -> None:
    problem = only(check(_maps(_map(0, c1=9000), _map(1, c2=60))), "class-imbalance").problem
    assert problem.id == "square" and problem.value == "60 pixels, disc has 9,000: 1 to 150"
    assert problem.severity == "note"
    assert not check(_maps(_map(0, c1=9000), _map(1, c2=95))).problems
    huge = only(check(_maps(_map(0, c1=9000), _map(1, c2=8))), "class-imbalance").problem
    assert huge.severity == "warning"


def test_imbalance_of_objects() -> None:
    samples = objects(1)
    boxes = [(x, y, x + 0.9, y + 0.9) for x in range(120) for y in (0, 2)]
    many = tuple(Instance.from_box(0, box, (96, 128)) for box in boxes)
    samples[0] = replace(samples[0], instances=(*(samples[0].instances or ()), *many))
    problem = only(check(Memory(samples, OBJECTS)), "class-imbalance").problem
    assert problem.id == "square" and "1 objects, disc has 241" in problem.value


def test_background_among_objects() -> None:
    space = LabelSpace(("disc", "Background"))
    problem = only(check(Memory(objects(), space)), "background-class").problem
    assert problem.id == "Background" and problem.severity == "warning"


@pytest.mark.parametrize(
    ("name", "told", "expected"),
    [
        (" disc", "' disc' begins or ends with a blank", "'disc'"),
        ("big\ndisc", "'big\\ndisc' has a line break", "'big disc'"),
        ("\t", "'\\t' is empty or blank", "a name"),
    ],
)
def test_blanks_around_a_name(name: str, told: str, expected: str) -> None:
    problem = only(check(Memory(objects(), LabelSpace((name, "square")))), "class-name-blanks")
    assert problem.problem.severity == "warning"
    assert told in problem.problem.value and problem.problem.expected == expected


def test_background_that_is_not_said() -> None:
    space = LabelSpace(("background", "disc", "square"))
    report = check(_maps(_map(0, c1=400), _map(1, c2=90), space=space))
    assert only(report, "background-unsaid").problem.severity == "note"
    assert ("background", 0) in [(advice.about, advice.value) for advice in report.advice]


def test_void_as_class() -> None:
    space = LabelSpace(("background", "disc", "void"), 0)
    report = check(_maps(_map(0, c1=400), _map(1, c2=90), space=space))
    assert only(report, "ignore-class").problem.id == "void"
    assert ("ignore", 2) in [(advice.about, advice.value) for advice in report.advice]


def test_splits_with_different_classes() -> None:
    parts = {
        "train": _maps(_map(0, c1=400, c2=90)),
        "val": _maps(_map(2, c1=400), space=LabelSpace(("background", "square", "disc"), 0)),
        "test": _maps(_map(3, c1=400), space=LabelSpace(("background", "disc", "dot"), 0)),
    }
    report = check_dataset(dataset(Path(), **parts))
    assert kinds(report) == {"classes-differ": 2}
    order, names = report.problems
    assert order.split == "val" and "another order" in order.value and order.severity == "error"
    assert "also dot" in names.value and "without square" in names.value
    assert report.classes() == [] and report.totals is None


def test_weights_are_median_frequency_balancing() -> None:
    """freq: background 9,600 / 20,000... of the images each class is in, then median / freq."""
    report = check(_maps(_map(0, c1=1000), _map(1, c1=600, c2=100)))
    frequency = {
        "background": (9000 + 9300) / 20_000,
        "disc": 1600 / 20_000,
        "square": 100 / 10_000,
    }
    median = np.median(list(frequency.values()))
    expected = {name: median / value for name, value in frequency.items()}
    assert _weights(report) == pytest.approx(expected, rel=1e-3)
    (advice,) = report.advice
    assert "arXiv:1411.4734" in advice.text and "disc 1," in advice.text


def test_weights_are_of_the_training_split(tmp_path: Path) -> None:
    parts = {"val": _maps(_map(0, c1=5000, c2=90)), "train": _maps(_map(1, c1=400, c2=400))}
    assert _weights(check_dataset(dataset(tmp_path, **parts)))["disc"] == 1


def test_counts_of_classes(tmp_path: Path) -> None:
    parts = {"train": pairs(tmp_path), "val": pairs(tmp_path, "val", 2, seed=4)}
    report = check_dataset(dataset(tmp_path, **parts))
    rows = {row["name"]: row for row in report.classes()}
    assert sum(row["pixels"] for row in rows.values()) == 8 * 96 * 96
    assert rows["disc"]["images"] == 4 and rows["background"]["images"] == 8
    assert rows["disc"]["splits"]["val"]["pixels"] > 0


def test_ignored_pixels_are_no_class() -> None:
    report = check(_maps(_map(0, c1=400, c255=300), _map(1, c2=90)))
    assert report.totals is not None and report.totals.all.ignored == 300
    assert report.to_json()["ignored_pixels"] == 300
    assert not report.problems
