"""Write YOLO segmentation data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from vitrail.atomic import make_folder
from vitrail.data.formats.base import Options, Splits
from vitrail.data.formats.outlines import from_fractions, shortest, single_ring, to_fractions
from vitrail.data.formats.writing import object_splits, place_image, samples, write_text
from vitrail.data.sample import Instance


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


def write(splits: Splits, folder: Path, options: Options) -> None:
    """Fill an empty folder: ``images/SPLIT``, ``labels/SPLIT`` and ``data.yaml``.

    Raises
    ------
    DataError
        the splits have different classes, two images have one name, or a name leaves the folder.
    OutputError
        something cannot be written.
    """
    space, sources = object_splits(splits)
    for split, source in sources.items():
        base = make_folder(folder / "images" / split)
        make_folder(label_path(base / "x").parent)
        for sample in samples(source):
            image = place_image(sample, base)
            # A crowd would become one object; the format has no mark for it.
            lines = [_line(one) for one in sample.instances or () if not one.crowd]
            write_text(label_path(image), "".join(line + "\n" for line in lines if line))
    # Without "path", the entries are relative to this file, wherever the folder is moved to.
    entries: dict[str, object] = {_key(split, splits): f"images/{split}" for split in splits}
    entries["names"] = dict(enumerate(space.classes))
    text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)
    write_text(folder / "data.yaml", text)


def _key(split: str, splits: Splits) -> str:
    """What ``data.yaml`` calls a split: Ultralytics asks for one named val."""
    return "val" if split in ("valid", "validation") and "val" not in splits else split


def _line(instance: Instance) -> str:
    """An object's line; empty where it has no area to tell of."""
    extent = np.array(instance.size[::-1], np.float64)
    if instance.polygons is None and instance.stored is None:
        values = _box_fractions(np.array(instance.box, np.float64).reshape(2, 2), extent)
    else:
        ring = single_ring(instance)
        if ring is None:
            return ""
        values = to_fractions(ring, extent)
    # Never with an exponent: some readers split numbers by hand.
    texts = [np.format_float_positional(value, trim="-") for value in values.ravel().tolist()]
    return " ".join([str(instance.class_id), *texts])


def _box_fractions(corners: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """``[[x, y], [width, height]]`` about the middle, from which the corners come back exactly."""
    exact = np.stack([corners.mean(axis=0), corners[1] - corners[0]]) / extent
    return shortest(exact, lambda values: box_corners(values, extent), corners)
