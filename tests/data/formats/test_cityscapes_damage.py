"""Cityscapes: files that are damaged, or say what cannot be."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.formats.drawn_cityscapes import (
    SIZE,
    one_scene,
    opened,
    paint,
    polygons,
    scene,
)
from tests.data.formats.drawn_voc import same
from vitrail.data.formats.cityscapes_labels import LABELS
from vitrail.errors import DataError, ParameterError, VitrailError


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full(SIZE, 77, np.uint8), r"labelIds.png: holds the value 77 .3,072 px.*0\.\.33"),
        (np.full(SIZE, 300, np.uint16), "holds the value 300"),
        (np.zeros((*SIZE, 3), np.uint8), "3 channels"),
        (np.zeros((9, 9), np.uint8), "9x9"),
    ],
)
def test_label_files_that_hold_what_is_no_label(
    pixels: np.ndarray, message: str, tmp_path: Path
) -> None:
    folder = one_scene(tmp_path)
    cv2.imwrite(str(next(folder.glob("*labelIds.png"))), pixels)
    with pytest.raises(DataError, match=message):
        _ = opened(tmp_path)["train"][0].labels


@pytest.mark.parametrize(
    ("ending", "pixels", "message"),
    [
        ("instanceIds.png", np.full(SIZE, 65000, np.uint16), r"holds the value 65000, expected"),
        ("instanceIds.png", np.zeros((9, 9), np.uint16), r"is 9x9 px, .*labelIds.png is 64x48"),
    ],
)
def test_instance_files_that_do_not_fit(
    ending: str, pixels: np.ndarray, message: str, tmp_path: Path
) -> None:
    folder = one_scene(tmp_path)
    cv2.imwrite(str(next(folder.glob(f"*{ending}"))), pixels)
    with pytest.raises(DataError, match=message):
        opened(tmp_path)["train"][0]


def test_train_ids_that_are_no_class(tmp_path: Path) -> None:
    folder = one_scene(tmp_path, "*TrainIds.png")
    cv2.imwrite(str(next(folder.iterdir())), np.full(SIZE, 19, np.uint8))
    with pytest.raises(DataError, match=r"holds the value 19 .*expected 0\.\.18, 255"):
        _ = opened(tmp_path)["train"][0].labels


def changed(change: Callable[[dict], object]) -> str:
    content = polygons(scene(3))
    change(content)
    return json.dumps(content)


def with_point(point: object) -> str:
    return changed(lambda one: one["objects"][2]["polygon"].__setitem__(0, point))


DAMAGED = {
    "cut": (json.dumps(polygons(scene(3)))[:200], "not valid JSON.*cut short"),
    "empty": ("", "not valid JSON"),
    "list": ("[1, 2]", "is a list, expected"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "no size": (changed(lambda one: one.pop("imgHeight")), "imgHeight is None"),
    "negative size": (changed(lambda one: one.update(imgWidth=-64)), "imgWidth is -64"),
    "huge size": (changed(lambda one: one.update(imgWidth=10**9)), "more than the limit"),
    "text size": (changed(lambda one: one.update(imgWidth="64")), "imgWidth is '64'"),
    "no objects": (changed(lambda one: one.pop("objects")), "`objects` is None"),
    "object": (changed(lambda one: one["objects"].insert(1, 7)), "object 1: is 7"),
    "no label": (
        changed(lambda one: one["objects"][2].pop("label")),
        "object 2: its label is None",
    ),
    "label": (
        changed(lambda one: one["objects"][2].update(label="carr")),
        "object 2: has the unknown label 'carr'; did you mean 'car'",
    ),
    "no polygon": (changed(lambda one: one["objects"][2].pop("polygon")), "polygon is None"),
    "flat polygon": (
        changed(lambda one: one["objects"][2].update(polygon=[1, 2, 3, 4])),
        r"object 2: its polygon is \[1, 2, 3, 4\]",
    ),
    "NaN": (with_point([float("nan"), 3]), "object 2: has the coordinate nan"),
    "infinite": (with_point([3, -float("inf")]), "object 2: has the coordinate -inf"),
    "far": (with_point([3, 1e300]), "object 2: has the coordinate 1e.300"),
    "endless": (with_point([3, 10**400]), "object 2: its polygon"),
    "text": (with_point(["a", 3]), "object 2: its polygon"),
    "ragged": (with_point([3]), "object 2: its polygon"),
    "nothing": (with_point(None), "object 2: its polygon"),
    "instance": (
        changed(lambda one: one["objects"][3].update(instanceId=24001)),
        r"object 3: its instanceId is 24001, expected 26 or 26 \* 1000",
    ),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_damaged_polygons_are_named(fault: str, tmp_path: Path) -> None:
    text, message = DAMAGED[fault]
    folder = one_scene(tmp_path, "*.json")
    path = next(folder.iterdir())
    path.write_text(text)
    source = opened(tmp_path)["train"]
    with pytest.raises(VitrailError, match=message) as caught:
        _ = source[0].labels
    assert str(path) in str(caught.value)


def test_polygons_may_have_a_byte_order_mark_but_must_be_utf_8(tmp_path: Path) -> None:
    folder = one_scene(tmp_path, "*.json")
    path = next(folder.iterdir())
    text = path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert same(opened(tmp_path)["train"][0].labels, paint(scene(3)).trained)
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(DataError, match="not UTF-8"):
        opened(tmp_path)["train"][0]


def test_more_objects_of_a_class_than_there_are_numbers(tmp_path: Path) -> None:
    folder = one_scene(tmp_path, "*.json")
    objects = [("car", [[1, 1], [2, 2], [1, 2]])] * 1001
    next(folder.iterdir()).write_text(json.dumps(polygons(objects)))
    with pytest.raises(DataError, match=r"object 1000: is one of more than 1000 objects of 'car'"):
        opened(tmp_path)["train"][0]


LABEL = {"name": "road", "id": 1, "trainId": 0}
TABLES = {
    "cut": ('{"labels": [', "not valid JSON"),
    "list": ([LABEL], "labels.json: file"),
    "none": ({"labels": []}, "labels: "),
    "no id": ({"labels": [{"name": "road", "trainId": 0}]}, r"labels\.0\.id: "),
    "negative": ({"labels": [{**LABEL, "id": -7}]}, r"labels\.0\.id: .*-7"),
    "colour": ({"labels": [{**LABEL, "color": [1, 2]}]}, r"labels\.0\.color"),
    "gap": ({"labels": [LABEL, {"name": "sky", "id": 2, "trainId": 2}]}, "trainIds are 0, 2"),
    "all ignored": ({"labels": [{**LABEL, "trainId": 255}]}, "all ignored"),
    "name twice": ({"labels": [LABEL, {**LABEL, "id": 2}]}, "the name 'road'"),
    "id twice": ({"labels": [LABEL, {**LABEL, "name": "sky"}]}, "the id 1"),
    "background": ({"labels": [LABEL], "background": 4}, "background is 4"),
    "numbers": ({"labels": [LABEL], "originalIds": [1, 2]}, "originalIds has 2 numbers"),
}


@pytest.mark.parametrize("fault", TABLES)
def test_damaged_tables_are_named(fault: str, tmp_path: Path) -> None:
    content, message = TABLES[fault]
    one_scene(tmp_path)
    path = tmp_path / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path)
    assert str(path) in str(caught.value)


def test_a_table_of_ones_own_may_merge_labels(tmp_path: Path) -> None:
    one_scene(tmp_path)
    rows = [one._asdict() for one in LABELS]
    names = ("name", "id", "trainId", "category", "categoryId", "hasInstances", "ignoreInEval")
    table = [dict(zip(names, one.values(), strict=False)) for one in rows]
    for row in table:
        row["trainId"] = {"human": 0, "vehicle": 1}.get(row["category"], 255)
    (tmp_path / "labels.json").write_text(json.dumps({"labels": table}))
    dataset = opened(tmp_path)
    assert dataset.space.classes == ("person", "car")
    labels, truth = dataset["train"][0].labels, paint(scene(3)).labels
    assert labels is not None
    assert same(labels == 0, truth == 24)
    assert same(labels == 1, (truth == 26) | (truth == 29))
    with pytest.raises(ParameterError, match="labels=all34: this set has classes of its own"):
        opened(tmp_path, labels="all34")
