"""Clean sets of every format that can be written: the linter has nothing to say of them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.check_sets import OBJECTS, SPACE, Memory, only, photo
from vitrail.data.check import check_dataset
from vitrail.data.derive import AsObjects, Relabelled
from vitrail.data.formats import formats, get_format
from vitrail.data.sample import Instance, Sample, SampleSource

WRITTEN = [format.name for format in formats().values() if format.write is not None]


def _label_maps(first: int, number: int) -> Memory:
    samples = []
    for index in range(first, first + number):
        labels = np.zeros((96, 128), np.uint8)
        cv2.circle(labels, (30 + index % 7, 40), 18, 1, -1)
        cv2.rectangle(labels, (80, 20 + index % 9), (110, 70), 2, -1)
        samples.append(Sample(f"map_{index}", photo(index), (96, 128), labels))
    return Memory(samples, SPACE)


def _outlines(first: int, number: int) -> Memory:
    samples = []
    for index in range(first, first + number):
        k = float(index % 7)
        rings = (
            [[10.5, 12], [40, 14.25], [36, 50 + k], [12, 44]],
            [[70, 20], [110, 20 + k], [110, 60], [90, 40], [70, 60]],
        )
        things = tuple(
            Instance.from_polygons(class_id, [np.array(ring)], (96, 128))
            for class_id, ring in enumerate(rings)
        )
        samples.append(Sample(f"thing_{index}", photo(index), (96, 128), instances=things))
    return Memory(samples, OBJECTS)


def written(name: str, root: Path) -> Path:
    """A clean set of six and three samples in a format."""
    format = get_format(name)
    assert format.write is not None
    make = _outlines if format.capacity.instances else _label_maps
    splits: dict[str, SampleSource] = {"train": make(0, 6), "val": make(10, 3)}
    if format.capacity.instances and format.capacity.labels:
        splits = {"train": _label_maps(0, 6), "val": _label_maps(10, 3)}
        splits = {key: AsObjects(part) for key, part in splits.items()}
    if name == "binary-masks":
        splits = {key: Relabelled(part, ["disc"]) for key, part in splits.items()}
    folder = root / "set"
    folder.mkdir()
    format.write(splits, folder, format.write_options())
    return folder


@pytest.mark.parametrize("name", WRITTEN)
def test_a_clean_set_is_silent(name: str, tmp_path: Path) -> None:
    report = check_dataset(written(name, tmp_path), name)
    assert not report.problems, [str(problem) for problem in report.problems]
    assert sum(report.samples.values()) == 9 and report.files >= 9


@pytest.mark.parametrize("name", WRITTEN)
def test_a_cut_image_is_found(name: str, tmp_path: Path) -> None:
    folder = written(name, tmp_path)
    sources = check_dataset(folder, name).sources
    source = sources["train"] if "train" in sources else next(iter(sources.values()))
    sample = source[2]
    assert sample.path is not None
    data = sample.path.read_bytes()
    sample.path.write_bytes(data[: len(data) // 2])
    problem = only(check_dataset(folder, name), "corrupt-image").problem
    assert (problem.id, problem.file) == (sample.id, sample.path)
