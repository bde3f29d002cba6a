"""Counts of pixels and objects, and their charts."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.data.listed import Listed, drawn, mapped, sample
from vitrail.data.charts import WIDTH, bars, charts_of, histogram, matrix
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.data.stats import as_table, measure, total
from vitrail.errors import DataError, ParameterError
from vitrail.result.masks import Masks

SPACE = LabelSpace(("ground", "disc", "box"), 0)


def test_label_maps() -> None:
    source = Listed([mapped("a", ["011", "2xx"]), mapped("b", ["000"]), mapped("c", ["1"])], SPACE)
    stats = measure({"all": source})["all"]
    rows = {one.name: one for one in stats.classes}
    assert [rows[name].pixels for name in SPACE.classes] == [4, 3, 1]
    assert [rows[name].images for name in SPACE.classes] == [2, 2, 1]
    assert (stats.images, stats.empty, stats.pixels, stats.ignored) == (3, 1, 10, 2)
    assert stats.together.tolist() == [[2, 1, 1], [1, 2, 1], [1, 1, 1]]
    assert rows["disc"].summary()["instances"] == 0
    assert rows["disc"].summary()["area_median"] == 1.5
    assert rows["disc"].summary()["share_median"] == pytest.approx((2 / 6 + 1) / 2)


def test_objects() -> None:
    """COCO's sizes: small is below 32 x 32 px, medium below 96 x 96 px."""
    size = (100, 100)
    found = [
        Instance.from_masks(1, Masks.from_crops([(0, 0, np.ones((side, side), bool))], size))
        for side in (31, 32, 95, 96)
    ]
    crowd = Instance.from_masks(1, Masks.from_crops([(0, 0, np.ones((1, 1)))], size), crowd=True)
    box = Instance.from_box(2, (0, 0, 9, 9), size)
    image = np.zeros((*size, 3), np.uint8)
    source = Listed(
        [
            Sample("a", image, size, instances=(*found, crowd, box)),
            Sample("b", image, size, instances=()),
        ],
        SPACE,
    )
    facts = measure({"train": source})["train"].to_json()
    disc = facts["classes"]["disc"]
    assert [disc[key] for key in ("instances", "crowds", "boxes")] == [5, 1, 0]
    assert [disc[key] for key in ("small", "medium", "large")] == [2, 2, 1]
    assert disc["pixels"] == 31**2 + 32**2 + 95**2 + 96**2 + 1
    assert disc["area_median"] == 32**2 and disc["share_median"] == pytest.approx(0.1024)
    assert facts["classes"]["box"]["boxes"] == 1
    assert facts["classes"]["box"]["area_median"] is None
    assert (facts["images"], facts["empty_images"], facts["instances"]) == (2, 1, 6)
    assert facts["instances_per_image"] == {"mean": 3.0, "median": 3.0, "max": 6}
    assert facts["together"] == {"ground": {}, "disc": {"box": 1}, "box": {"disc": 1}}
    assert facts["height"] == {"min": 100, "median": 100.0, "max": 100}
    assert facts["sizes"] == [{"height": 100, "width": 100, "images": 2}]
    json.dumps(facts)


def test_both_kinds_count_pixels_once() -> None:
    """Where there is a label map, it says the pixels, and objects say the sizes."""
    both = Sample(
        "a", np.zeros((1, 3, 3), np.uint8), (1, 3), np.array([[1, 1, 0]], np.uint8),
        (drawn(1, ["#.."]), drawn(1, [".#."])),
    )  # fmt: skip
    row = measure({"all": Listed([both], SPACE)})["all"].classes[1]
    assert (row.pixels, row.instances, row.images, list(row.areas)) == (2, 2, 1, [1, 1])


def test_images_are_not_decoded(tmp_path: Path) -> None:
    base = mapped("a", ["01"])
    gone = Sample("a", tmp_path / "gone.jpg", base.size, base.label_map)
    assert measure({"all": Listed([gone], SPACE)})["all"].images == 1


def test_total_adds_splits() -> None:
    one, other = Listed([mapped("a", ["01"])], SPACE), Listed([mapped("b", ["0112"])], SPACE)
    apart = measure({"train": one, "val": other})
    joined = measure({"all": Listed([*one.samples, *other.samples], SPACE)})["all"]
    assert total(apart).to_json() == joined.to_json()
    with pytest.raises(DataError, match="different classes"):
        total(apart | measure({"x": Listed([], LabelSpace(("x",)))}))


def test_steps_are_told() -> None:
    steps: list[int] = []
    measure({"a": Listed([mapped("a", ["0"])] * 3, SPACE)}, lambda: steps.append(1))
    assert len(steps) == 3


def test_table_and_csv(tmp_path: Path) -> None:
    source = Listed([mapped("a", ["011"])], SPACE)
    path = as_table(measure({"train": source})).to_csv(tmp_path / "stats.csv")
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [(row["split"], row["class"], row["pixels"]) for row in rows] == [
        ("train", "ground", "1"), ("train", "disc", "2"), ("train", "box", "0"),
    ]  # fmt: skip
    assert rows[2]["area_median"] == "" and float(rows[1]["share_median"]) == pytest.approx(2 / 3)


def test_bars_are_as_long_as_their_values() -> None:
    picture = bars("title", [("a", 10.0), ("b", 5.0), ("c", 0.0)], lambda value: f"{value:g}")
    assert picture.shape[1] == WIDTH and picture.dtype == np.uint8
    lengths = []
    for number in range(3):
        row = picture[56 + 30 * number + 5].astype(int)
        coloured = (row.max(axis=1) - row.min(axis=1)) > 40
        lengths.append(int(coloured.sum()))
    assert lengths[0] > 500 and abs(lengths[1] - lengths[0] / 2) <= 1 and lengths[2] == 0


def test_charts_of_many_classes_fit() -> None:
    names = [f"a rather long name of class {number}" for number in range(100)]
    assert bars("t", [(name, 1.0) for name in names], str).shape == (56 + 41 * 30 + 20, WIDTH, 3)
    assert matrix("t", names, np.ones((100, 100))).shape[1] == WIDTH
    assert histogram("t", [0, 3], [0.0, 1.0, 2.0], str).shape[1] == WIDTH


def test_charts_refuse_what_they_cannot_show() -> None:
    for rows in ([], [("a", -1.0)], [("a", float("nan"))]):
        with pytest.raises(ParameterError, match="finite numbers >= 0"):
            bars("t", rows, str)
    with pytest.raises(ParameterError, match="one edge more"):
        histogram("t", [1], [0.0], str)
    with pytest.raises(ParameterError, match="matrix of shape"):
        matrix("t", ["a"], np.ones((2, 2)))


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([mapped("a", ["012"])], "pixels sizes images together"),
        ([sample("a", (1, 1), drawn(1, ["#"]))], "pixels objects sizes images together"),
        ([sample("a", (4, 4))], "pixels objects images together"),
        ([], "pixels together"),
    ],
)  # fmt: skip
def test_charts_of_a_set(samples: list[Sample], expected: str) -> None:
    charts = charts_of(measure({"all": Listed(samples, SPACE)})["all"])
    assert set(charts) == set(expected.split())
    assert all(one.dtype == np.uint8 and one.shape[1:] == (WIDTH, 3) for one in charts.values())
