"""Write a set as Open Images is laid out, one sample at a time."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.atomic import make_folder, output_error
from vitrail.data.derive import View
from vitrail.data.formats.base import Options, Splits
from vitrail.data.formats.files import inside, write_png
from vitrail.data.formats.folders_pairs import is_utf8
from vitrail.data.formats.openimages_index import BOX, FLAGS, MASK_BOX
from vitrail.data.formats.openimages_objects import ATTRIBUTES
from vitrail.data.formats.writing import (
    check_names,
    check_utf8,
    object_splits,
    place_image,
    samples,
)
from vitrail.data.sample import Instance, LabelSpace, Sample, SampleSource
from vitrail.errors import DataError

_IMAGE_COLUMNS = (
    *("ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL"),
    *("Author", "Title", "OriginalSize", "OriginalMD5", "Thumbnail300KURL", "Rotation"),
)
_MASK_COLUMNS = (
    *("MaskPath", "ImageID", "LabelName", "BoxID", *MASK_BOX, "PredictedIoU", "Clicks"),
)
_BOX_COLUMNS = ("ImageID", "Source", "LabelName", "Confidence", *BOX, *FLAGS)
_BOX_ID = re.compile(r"[0-9A-Za-z]{1,32}")


def write(splits: Splits, folder: Path, options: Options) -> None:
    """Write ``images/SPLIT/``, ``masks/SPLIT/`` and the CSV files in ``annotations/``.

    Every object has a row of boxes, and those with a mask one of masks; crowds are IsGroupOf. An
    image's id is the sample's, a box's that of the object, if it has one. LabelName is the
    class's name, or what it was in Open Images. Attributes are written that Open Images has.

    Raises
    ------
    DataError
        the splits have different classes, or two images have one id.
    OutputError
        a file cannot be written.
    """
    home = make_folder(folder / "annotations")
    space, sources = object_splits(splits)
    check_names(space.classes)
    labels = _labels(space, splits)
    rows = zip(labels, space.classes, strict=True)
    _write_rows(home / "class-descriptions-boxable.csv", rows)
    for split, source in sources.items():
        _write_split(folder, split, source, labels)


def _labels(space: LabelSpace, splits: Splits) -> Sequence[str]:
    """The LabelName of each class: its name, unless the set comes from Open Images."""
    known: dict[str, str] = {}
    for source in splits.values():
        while isinstance(source, View):
            source = source.source
        own = getattr(source, "labels", None)
        if isinstance(own, tuple) and len(own) == len(source.space.classes):
            known |= dict(zip(source.space.classes, own, strict=True))
    made = [known.get(name, name) for name in space.classes]
    # A name may be the label of another class.
    return made if len(set(made)) == len(made) else space.classes


def _write_split(folder: Path, split: str, source: SampleSource, labels: Sequence[str]) -> None:
    home = folder / "annotations"
    masks = make_folder(inside(folder / "masks", split))
    images = make_folder(inside(folder / "images", split))
    with ExitStack() as stack:
        written = [
            _Table(stack, home / f"{split}-{name}.csv", columns)
            for name, columns in (
                ("images-with-rotation", _IMAGE_COLUMNS),
                ("annotations-object-segmentation", _MASK_COLUMNS),
                ("annotations-bbox", _BOX_COLUMNS),
            )
        ]
        for sample in samples(source):
            check_utf8(sample)
            place_image(sample, images)
            written[0].add({"ImageID": sample.id, "Subset": split})
            used: set[str] = set()
            # Boxes of masks first: a reader gives a mask the first box of its coordinates.
            for instance in sorted(sample.instances or (), key=lambda one: one.mask is None):
                id = _box_id(instance, used)
                label = labels[instance.class_id]
                shares = _shares(instance)
                written[2].add(_box_row(sample, instance, label, shares))
                if instance.mask is None:
                    continue
                name = _save(instance, masks, sample.id, label, id)
                written[1].add(
                    {
                        "MaskPath": name,
                        "ImageID": sample.id,
                        "LabelName": label,
                        "BoxID": id,
                        **dict(zip(MASK_BOX, shares, strict=True)),
                        "PredictedIoU": instance.attributes.get("predicted_iou", ""),
                        "Clicks": instance.attributes.get("clicks", ""),
                    }
                )


class _Table:
    """A CSV file that is written row by row."""

    def __init__(self, stack: ExitStack, path: Path, columns: Sequence[str]) -> None:
        self._path = make_folder(path.parent) / path.name
        try:
            file = stack.enter_context(self._path.open("w", encoding="utf-8", newline=""))
            self._writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            self._writer.writeheader()
        except OSError as error:
            raise output_error(path, error) from None

    def add(self, row: Mapping[str, Any]) -> None:
        for key, value in row.items():
            if isinstance(value, str) and (value != value.strip() or len(value.splitlines()) > 1):
                raise DataError(
                    f"{self._path}: cannot hold {key}={value!r:.80}: it has line ends or begins "
                    "or ends with spaces"
                )
        try:
            self._writer.writerow(row)
        except OSError as error:
            raise output_error(self._path, error) from None
        except UnicodeEncodeError:
            raise DataError(
                f"{self._path}: cannot hold {_first_odd(row)}: it is not UTF-8; rename it"
            ) from None


def _first_odd(row: Mapping[str, Any]) -> str:
    """The column and value of a row that is not UTF-8."""
    odd = (key for key, value in row.items() if not is_utf8(str(value)))
    return next(f"{key}={row[key]!a:.200}" for key in odd)


def _write_rows(path: Path, rows: Any) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    except OSError as error:
        raise output_error(path, error) from None


def _box_id(instance: Instance, used: set[str]) -> str:
    """The object's own id where it can be one, otherwise the next number of the image."""
    if _BOX_ID.fullmatch(instance.id) and instance.id not in used:
        used.add(instance.id)
        return instance.id
    number = len(used)
    while (made := f"{number:08x}") in used:
        number += 1
    used.add(made)
    return made


def _shares(instance: Instance) -> tuple[float, float, float, float]:
    """``x1, x2, y1, y2`` of the box as shares of width and height."""
    height, width = instance.size
    x1, y1, x2, y2 = (float(value) for value in instance.box)
    return x1 / width, x2 / width, y1 / height, y2 / height


def _box_row(
    sample: Sample, instance: Instance, label: str, shares: Sequence[float]
) -> dict[str, Any]:
    given = instance.attributes
    flags = {flag: given.get(name) for flag, name in ATTRIBUTES.items()}
    return {
        "ImageID": sample.id,
        "Source": given.get("source", ""),
        "LabelName": label,
        "Confidence": given.get("confidence", 1),
        **dict(zip(BOX, shares, strict=True)),
        **{flag: int(value) if value in (0, 1) else -1 for flag, value in flags.items()},
        "IsGroupOf": int(instance.crowd),
    }


def _save(instance: Instance, folder: Path, image: str, label: str, id: str) -> str:
    """Write a mask as a PNG of 0 and 255; returns its name."""
    assert instance.mask is not None
    shape = instance.mask.dense()[0]
    stem = re.sub(r"[^\w.-]", "", f"{image.replace('/', '_')}_{label}_{id}") or id
    name, number = f"{stem}.png", 1
    while (folder / name).exists():
        number += 1
        name = f"{stem}_{number}.png"
    write_png(folder / name, shape.view(np.uint8) * np.uint8(255))
    return name
