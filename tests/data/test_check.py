"""The linter as a whole: opening, workers, limits, and what it hands back."""

import json
import os
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
    reopened,
    with_objects,
    write_image,
)
from vitrail.data.check import check_dataset
from vitrail.data.checks.pool import STRETCH, workers_for
from vitrail.data.formats.base import Dataset
from vitrail.data.problem import Problem
from vitrail.data.sample import Instance, LabelSpace, Sample, SampleSource
from vitrail.errors import DataError, ParameterError, UnknownNameError


def _faulty(root: Path) -> Dataset:
    """Two splits with a fault of each level: file, mask, object, copy, class."""
    train, val = pairs(root, number=70), pairs(root, "val", 10, seed=5)
    train.images[66].write_bytes(train.images[66].read_bytes()[:700])
    write_image(train.mask_paths(3)[0], np.full((96, 96), 9, np.uint8))
    val.images[4].write_bytes(train.images[8].read_bytes())
    bad = with_objects(Instance.from_box(0, (9, 9, 9, 9), (96, 128), id="x"))
    return dataset(root, train=reopened(train), val=reopened(val), more=bad)


def test_workers_find_the_same(tmp_path: Path) -> None:
    data = _faulty(tmp_path)
    seen: list[tuple[str, int, int]] = []
    alone = check_dataset(data, progress=lambda *now: seen.append(now))
    shared = check_dataset(data, workers=2)
    assert alone.problems == shared.problems
    assert alone.classes() == shared.classes() and alone.files == shared.files == 160
    assert {"corrupt-image", "unknown-class-id", "degenerate-box", "leaked-image"} <= {
        *kinds(alone)
    }
    assert [now for now in seen if now[0] == "samples"][-1] == ("samples", 86, 86)
    assert len(seen) > 86 // STRETCH


def test_number_of_workers() -> None:
    assert workers_for(10) == 0
    assert 1 <= workers_for(100_000) <= (os.cpu_count() or 1)
    with pytest.raises(ParameterError, match="workers is -1"):
        check(Memory(objects(), OBJECTS), workers=-1)


class Closed(Memory):
    """Holds what no other process can be given."""

    def __init__(self) -> None:
        super().__init__(objects(), OBJECTS)
        self.file = (lambda: None, object())


def test_what_cannot_be_sent_to_workers(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="use workers=0"):
        check(Closed(), workers=1)


class Deadly(Memory):
    """Ends the process that reads its last sample, as a decoder that crashes does."""

    def __getitem__(self, index: int) -> Sample:
        if index == len(self) - 1:
            os._exit(3)
        return super().__getitem__(index)


def test_a_worker_that_dies_is_told() -> None:
    with pytest.raises(DataError, match="a worker process died"):
        check(Deadly(objects(), OBJECTS), workers=1)


class Broken(Memory):
    """Fails as readers do that meet what nobody thought of."""

    def __getitem__(self, index: int) -> Sample:
        if index == 2:
            raise KeyError("segmentation")
        if index == 3:
            raise DataError("labels.json: image o3 has no width")
        return super().__getitem__(index)


def test_samples_that_cannot_be_read() -> None:
    report = check(Broken(objects(), OBJECTS))
    assert [(p.code, p.id, p.value) for p in report.problems] == [
        ("unreadable-sample", "o2", "KeyError: 'segmentation'"),
        ("unreadable-sample", "o3", "labels.json: image o3 has no width"),
    ]


class Unnamed(Memory):
    """Cannot say which files its masks are."""

    def mask_paths(self, index: int) -> list[Path]:
        raise IndexError("no such row")


def test_readers_that_fail_elsewhere() -> None:
    assert not check(Unnamed(objects(), OBJECTS)).problems
    three_columns = Instance(0, (96, 128), (0, 0, 9, 9), (np.zeros((4, 3)),))
    problem = only(check(with_objects(three_columns)), "unreadable-sample").problem
    assert problem.id == "o1" and "Error" in problem.value


def _no_labels() -> np.ndarray:
    raise DataError("row 7 of the label file is cut short")


def test_labels_that_cannot_be_read() -> None:
    sample = Sample("a", photo(1), (96, 128), _no_labels)
    problem = only(check(Memory([sample], SPACE)), "unreadable-mask").problem
    assert problem.value == "row 7 of the label file is cut short"


def test_only_so_many_findings_are_kept(tmp_path: Path) -> None:
    source = pairs(tmp_path, number=20)
    for path in source.images:
        path.write_bytes(b"")
    report = check(reopened(source), tmp_path, keep=3)
    assert len(report.problems) == 3 and report.errors == 20
    assert report.summary() == "20 errors, 0 warnings and 0 notes in 20 samples (40 files)"
    assert len(report.to_json(most=2)["problems"]) == 2
    assert report.to_json()["codes"] == [{"code": "empty-file", "severity": "error", "count": 20}]


def _bare(root: Path, openers, problems: list[Problem] | None = None) -> Dataset:
    return Dataset(root, "drawn", "as drawn", openers, problems or [])


def test_what_readers_report_comes_first(tmp_path: Path) -> None:
    told = [
        Problem(
            "odd-index", "error", tmp_path / "a.json", "7", "no bbox", "a box", "train", "add it"
        ),
        Problem("odd-note", "note", None, "", "no info block", "one", "val"),
    ]
    source = pairs(tmp_path)
    data = _bare(tmp_path, dict.fromkeys(("train", "val"), lambda: source), told)
    report = check_dataset(data, splits=["train"])
    assert report.problems == told[:1] and not report.ok()
    assert "odd-index (1): add it" in [advice.text for advice in report.advice]


def test_orphans_that_readers_report_are_told_once(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    stray = write_image(source.images[0].with_name("stray.jpg"), photo(99))
    told = Problem("image-without-mask", "warning", stray, "stray", "no mask", "a mask", "train")
    report = check_dataset(_bare(tmp_path, {"train": lambda: source}, [told]))
    assert report.problems == [told]


def test_a_split_that_does_not_open(tmp_path: Path) -> None:
    def fail() -> SampleSource:
        raise DataError(f"{tmp_path}: val.txt lists no image")

    source = pairs(tmp_path)
    report = check_dataset(_bare(tmp_path, {"train": lambda: source, "val": fail}))
    problem = only(report, "cannot-open").problem
    assert problem.split == "val" and problem.value == "val.txt lists no image"
    assert report.samples == {"train": 6}
    with pytest.raises(UnknownNameError, match="did you mean 'val'"):
        check_dataset(_bare(tmp_path, {"train": lambda: source, "val": fail}), splits=["vall"])


def test_empty_split(tmp_path: Path) -> None:
    data = dataset(tmp_path, train=pairs(tmp_path), val=Memory([], SPACE))
    assert only(check_dataset(data), "empty-split").problem.split == "val"


def test_json_is_plain_and_complete(tmp_path: Path) -> None:
    report = check_dataset(_faulty(tmp_path))
    shown = json.loads(json.dumps(report.to_json()))
    assert shown["schema"] == 1 and shown["ok"] is False
    assert shown["errors"] == report.errors and len(shown["problems"]) == len(report.problems)
    assert {"code", "severity", "split", "file", "id", "value", "expected", "advice"} == set(
        shown["problems"][0]
    )
    assert shown["samples"] == {"train": 70, "val": 10, "more": 6}
    assert set(shown) == {
        *("schema", "path", "format", "reason", "looks_like", "ok", "errors", "warnings", "notes"),
        *("samples", "files", "seconds", "background", "ignore", "ignored_pixels", "classes"),
        *("codes", "problems", "advice", "remarks"),
    }


def test_file_names_that_are_no_unicode(tmp_path: Path) -> None:
    source = pairs(tmp_path, number=2)
    try:
        os.rename(source.images[1], os.fsencode(tmp_path) + b"/train/images/tr\xe4in.jpg")  # noqa: PTH104
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    (path,) = (p for p in (tmp_path / "train" / "images").iterdir() if "tr\udce4in" in p.name)
    path.write_bytes(b"")
    sample = Sample(path.stem, path, (96, 96), np.zeros((96, 96), np.uint8))
    report = check(Memory([sample], SPACE), tmp_path)
    assert report.problems[0].file == path
    assert json.loads(json.dumps(report.to_json()))["problems"][0]["file"] == str(path)


def test_16_bit_label_maps_and_both_kinds_at_once() -> None:
    space = LabelSpace(tuple(f"c{k}" for k in range(300)), 0, ignore=65535)
    labels = np.zeros((96, 128), np.uint16)
    labels[:10] = 299
    ring = np.array([[0.0, 0.0], [128.0, 0.0], [128.0, 10.0], [0.0, 10.0]])
    thing = Instance.from_polygons(299, [ring], (96, 128))
    report = check(Memory([Sample("a", photo(1), (96, 128), labels, (thing,))], space))
    assert set(kinds(report)) == {"unused-class"}
    assert report.classes()[299]["pixels"] == 1280 and report.classes()[299]["objects"] == 1
