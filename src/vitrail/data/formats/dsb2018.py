"""Nuclei of the Data Science Bowl 2018, and any set of one PNG per object.

https://www.kaggle.com/c/data-science-bowl-2018: ``stage1_train/ID/images/ID.png`` and
``stage1_train/ID/masks/*.png``, one mask of 0 and 255 for each nucleus. The folder of the images
(``stage1_train``) is a set, too. vitrail writes several classes as folders inside ``masks/``, with
their names in ``classes.json``. Parts without masks (the contest's tests) are left out.

A second layout, of sets made from it: ``images/``, ``labels/`` with 16-bit PNGs that number the
nuclei, and ``index.csv`` with ``id,kind,instances``; the kind becomes an attribute of the objects.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field

from vitrail.data.derive import AsObjects
from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Problems, Splits
from vitrail.data.formats.files import read_text, write_png
from vitrail.data.formats.folders_classes import read_classes
from vitrail.data.formats.folders_layout import Layout, subfolders
from vitrail.data.formats.folders_nested import (
    NestedMasks,
    file_names,
    folder_of,
    has_items,
    list_items,
)
from vitrail.data.formats.folders_pairs import Pairs
from vitrail.data.formats.folders_source import open_pairs
from vitrail.data.formats.folders_space import USUAL, ListOptions, coding
from vitrail.data.formats.folders_write import copied, shared_space, write_classes
from vitrail.data.formats.instance_ids import InstanceIds
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, SampleSource
from vitrail.errors import DataError

INDEX = "index.csv"
_HEADING = ["id", "kind", "instances"]
_STAGES = {"train": "stage1_train", "test": "stage1_test"}
"""The contest's names of splits."""
_MAX_BYTES = 1 << 28


class DsbOptions(Options):
    """What the objects are."""

    name: str = Field(
        default="nucleus",
        min_length=1,
        description="Name of the class, where classes.json does not say it.",
    )


def _recognise(root: Path) -> str | None:
    parts = _parts(root)
    if parts:
        split, folder = next(iter(parts.items()))
        place = "" if split == "all" else f"{folder.name}/"
        return f"{place}ID/images and {place}ID/masks with one PNG per object"
    if (root / "images").is_dir() and (root / "labels").is_dir() and (root / INDEX).is_file():
        try:
            with (root / INDEX).open("rb") as file:
                heading = file.read(100).decode("utf-8-sig", "replace")
        except OSError:
            return None
        if _row(heading.partition("\n")[0])[:3] == _HEADING:
            return f"images/, labels/ and {INDEX} with {','.join(_HEADING)}"
    return None


def _parts(root: Path) -> dict[str, Path]:
    """Folders that hold items ``ID/images/ID.*``, by split."""
    if has_items(root):
        return {"all": root}
    names = {folder: split for split, folder in _STAGES.items()}
    return {
        names.get(name, name): path for name, path in subfolders(root).items() if has_items(path)
    }


def _open(root: Path, options: DsbOptions) -> Dataset:
    problems: list[Problem] = []
    parts = _parts(root)
    if parts:
        space = LabelSpace((options.name,))
        ours = False
        if (root / "classes.json").is_file():
            listed = read_classes(root / "classes.json")
            space, ours = coding(listed, ListOptions()).space, True
        openers = {
            split: partial(_open_part, split, folder, space, ours, problems)
            for split, folder in parts.items()
            if _has_masks(folder, split, problems)
        }
        if not openers:
            raise DataError(f"{root}: none of its images has a folder masks/ beside images/")
        return Dataset(root, "dsb2018", "", openers, problems)
    if not (root / INDEX).is_file():
        raise DataError(
            f"{root}: expected stage1_train/ID/images/ID.png and stage1_train/ID/masks/, or "
            f"images/, labels/ and {INDEX}"
        )
    make = partial(_with_kinds, root, options.name, problems)
    layouts = [Layout("all", root / "images", root / "labels")]
    return open_pairs(root, "dsb2018", layouts, USUAL, make, problems)


def _has_masks(folder: Path, split: str, problems: list[Problem]) -> bool:
    """Whether any item of a part has masks; a note where none has."""
    if any((item / "masks").is_dir() for item in subfolders(folder).values()):
        return True
    problems.append(
        Problem(
            "unlabelled-split",
            "note",
            folder,
            "",
            "its images have no folders of masks; it is left out",
            "ID/masks",
            split,
        )
    )
    return False


def _open_part(
    split: str, folder: Path, space: LabelSpace, ours: bool, problems: list[Problem]
) -> SampleSource:
    found = Problems(split)
    items = list_items(folder, found, encoded=ours)
    problems += found.found
    return NestedMasks(folder, items, space, encoded=ours)


# images/, labels/ and index.csv ------------------------------------------------------------------


def _with_kinds(root: Path, name: str, problems: list[Problem], pairs: Pairs) -> SampleSource:
    kinds, found = _read_index(root / INDEX), Problems("all")
    for id in sorted(kinds.keys() - set(pairs.ids)):
        found.error(
            "missing-image",
            root / INDEX,
            id,
            "has no image with labels",
            "images/ID.* and labels/ID.png",
            f"add the files, or remove the row of {INDEX}",
        )
    for id in pairs.ids:
        if id not in kinds:
            found.warning("missing-row", root / INDEX, id, "has no row", "one row an image")
    problems += found.found
    attributes = {id: {"kind": kind} for id, kind in kinds.items()}
    return InstanceIds(LabelSpace((name,)), pairs, attributes=attributes)


def _read_index(path: Path) -> Mapping[str, str]:
    """``kind`` by id; any of ``, ; | tab`` between."""
    lines = read_text(path, _MAX_BYTES).splitlines()
    if not lines or _row(lines[0])[:3] != _HEADING:
        raise DataError(
            f"{path}: line 1 is {lines[0][:80] if lines else ''!r}, expected {','.join(_HEADING)}"
        )
    kinds: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 2):
        fields = _row(line)
        if not any(fields):
            continue
        if len(fields) < 3 or not fields[2].isdecimal():
            raise DataError(f"{path}: line {number} is {line[:80]!r}, expected id,kind,instances")
        kinds[fields[0]] = fields[1]
    return kinds


def _row(line: str) -> list[str]:
    delimiter = next((one for one in ",;\t|" if one in line), ",")
    try:
        rows = list(csv.reader(io.StringIO(line), delimiter=delimiter))
    except csv.Error:
        return []
    return [field.strip() for field in rows[0]] if rows else []


# Writing ----------------------------------------------------------------------------------------


def _write(splits: Splits, folder: Path, options: Options) -> None:
    views = {name: AsObjects(source) for name, source in splits.items()}
    space = shared_space(views)
    several = len(space.classes) > 1
    for split, source in views.items():
        base = folder / folder_of(_STAGES.get(split, split))
        base = folder if split == "all" and len(views) == 1 else base
        for index in range(len(source)):
            sample = source[index]
            item = base / folder_of(sample.id)
            copied(sample, item / "images", item.name)
            kept = [one for one in sample.instances or () if one.mask is not None]
            masks = item / "masks"
            masks.mkdir()
            for name, one in zip(file_names(kept), kept, strict=True):
                inner = masks / folder_of(space.classes[one.class_id]) if several else masks
                inner.mkdir(exist_ok=True)
                assert one.mask is not None
                write_png(inner / f"{name}.png", one.mask.dense()[0].view(np.uint8) * np.uint8(255))
    write_classes(folder, "dsb2018", space)


FORMAT = Format(
    name="dsb2018",
    summary="Data Science Bowl 2018: ID/images/ID.png and ID/masks/*.png, one PNG per object",
    recognise=_recognise,
    open=_open,
    options=DsbOptions,
    capacity=Capacity(instances=True),
    write=_write,
    kind="instances",
)
