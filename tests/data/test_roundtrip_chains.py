"""What one format has written, every other can write again."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.listed import Listed, drawn
from tests.data.test_roundtrips import (
    FIXED,
    LABELS,
    OBJECTS,
    Made,
    by_picture,
    named,
    objects_of,
    stuff,
    things,
)
from vitrail.data.convert import convert
from vitrail.data.formats.base import Dataset
from vitrail.data.opening import open_dataset
from vitrail.data.sample import Sample


def chained(format: str, objects: bool) -> Made:
    """Two images with one square each, which every format holds."""
    space = things(format) if objects else stuff(format)
    class_id = next(i for i in range(len(space.classes)) if i != space.background)
    parts: Made = {}
    for number, split in enumerate(("train", "val")):
        noise = np.random.default_rng(number).integers(0, 256, (6, 7, 3), np.uint8)
        one = drawn(class_id, [".......", ".###...", ".###..."] + ["." * 7] * 3)
        assert one.mask is not None
        if objects:
            found = Sample(f"im{number}", noise, (6, 7), instances=(one,))
        else:
            labels = np.where(one.mask.dense()[0], class_id, space.background).astype(np.uint8)
            found = Sample(f"im{number}", noise, (6, 7), labels)
        parts[split] = Listed([found], space)
    return parts


def seen(dataset: Dataset | Made, objects: bool) -> dict[bytes, object]:
    """For each image its objects, or its label map by names."""
    told: dict[bytes, object] = {}
    for key, (split, sample) in by_picture(dataset).items():
        space = dataset[split].space
        if objects:
            told[key] = objects_of(sample, space)
        else:
            assert sample.labels is not None
            told[key] = named(sample.labels, space).tolist()
    return told


CHAINS = [(name, True) for name in OBJECTS] + [(name, False) for name in LABELS]


@pytest.mark.parametrize(("first", "objects"), CHAINS)
def test_every_reader_feeds_every_writer(first: str, objects: bool, tmp_path: Path) -> None:
    """Written as one format, read, and written as each of the others: all is as it was.

    What panoptic sets call void is lost in formats of objects alone; all else is the same.
    """
    parts = chained(first, objects)
    convert(parts, tmp_path / "first", first)
    for second in OBJECTS if objects else LABELS:
        if second in FIXED and FIXED[second] != FIXED.get(first):
            continue  # its classes are other ones
        read = dict(open_dataset(tmp_path / "first").items())
        report = convert(read, tmp_path / second, second, allow_lossy=True)
        assert all("ignored before" in line for line in report.losses), report.losses
        assert seen(open_dataset(tmp_path / second), objects) == seen(parts, objects)
