"""Write YOLO segmentation data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from pydantic import Field

from vitrail.atomic import make_folder
from vitrail.data.formats.base import Options, Splits
from vitrail.data.formats.outlines import from_fractions, shortest, single_ring, to_fractions
from vitrail.data.formats.writing import check_utf8, object_splits, place_image, samples, write_text
from vitrail.data.matching import has_mask
from vitrail.data.sample import Instance, SampleSource


class YoloWriteOptions(Options):
    """What the writer can be told."""

    objects: Literal["auto", "outlines", "boxes"] = Field(
        default="auto",
        description="auto: boxes where the set has nothing but bare boxes, outlines otherwise; "
        "outlines: bare boxes as outlines of four points; boxes: of every object its box, as for "
        "training detectors",
    )


def label_path(image: Path) -> Path:
    """The label file of an image: its last folder ``images`` becomes ``labels``.

    Without such a folder the two lie side by side.
    """
    parts = list(image.parts)
    places = [number for number, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def box_corners(values: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """``[[x1, y1], [x2, y2]]``, px, of ``[[x, y], [width, height]]`` in fractions."""
    middle, half = values[0], values[1] / 2
    return from_fractions(np.stack([middle - half, middle + half]), extent)


def write(splits: Splits, folder: Path, options: YoloWriteOptions) -> None:
    """Fill an empty folder: ``images/SPLIT``, ``labels/SPLIT`` and ``data.yaml``.

    All lines of the set are of one kind, outlines or boxes, because Ultralytics reads a file, and
    trains on a set, as one or the other (``verify_image_label`` in ``ultralytics/data/utils.py``).

    Raises
    ------
    DataError
        the splits have different classes, two images have one name, or a name leaves the folder.
    OutputError
        something cannot be written.
    """
    space, sources = object_splits(splits)
    boxes = options.objects == "boxes"
    if options.objects == "auto":
        boxes = not any(map(_has_areas, sources.values()))
    for split, source in sources.items():
        base = make_folder(folder / "images" / split)
        make_folder(label_path(base / "x").parent)
        for sample in samples(source):
            check_utf8(sample)
            image = place_image(sample, base)
            # A crowd would become one object; the format has no mark for it.
            lines = [_line(one, boxes) for one in sample.instances or () if not one.crowd]
            write_text(label_path(image), "".join(line + "\n" for line in lines if line))
    # Without "path", the entries are relative to this file, wherever the folder is moved to.
    entries: dict[str, object] = {_key(split, splits): f"images/{split}" for split in splits}
    entries["names"] = dict(enumerate(space.classes))
    text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)
    write_text(folder / "data.yaml", text)


def _key(split: str, splits: Splits) -> str:
    """What ``data.yaml`` calls a split: Ultralytics asks for one named val."""
    return "val" if split in ("valid", "validation") and "val" not in splits else split


def _has_areas(source: SampleSource) -> bool:
    """Whether any object is more than a bare box; looks no further than the first that is."""
    found = (one for sample in samples(source) for one in sample.instances or ())
    return any(has_mask(one) for one in found if not one.crowd)


def _line(instance: Instance, as_box: bool) -> str:
    """An object's line, its box or its outline; empty where it has no area to tell of."""
    extent = np.array(instance.size[::-1], np.float64)
    x1, y1, x2, y2 = instance.box
    if not has_mask(instance):
        ring = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float64)
    else:
        ring = single_ring(instance)
    if ring is None:
        return ""
    if as_box:
        values = _box_fractions(np.array([[x1, y1], [x2, y2]], np.float64), extent)
    else:
        values = to_fractions(ring, extent)
    # Never with an exponent: some readers split numbers by hand.
    texts = [np.format_float_positional(value, trim="-") for value in values.ravel().tolist()]
    return " ".join([str(instance.class_id), *texts])


def _box_fractions(corners: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """``[[x, y], [width, height]]`` about the middle, from which the corners come back exactly."""
    exact = np.stack([corners.mean(axis=0), corners[1] - corners[0]]) / extent
    return shortest(exact, lambda values: box_corners(values, extent), corners)
