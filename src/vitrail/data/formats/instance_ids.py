"""A folder of images beside masks that number the objects: 0 is none, 1..n are one object each.

As in the Penn-Fudan set (https://www.cis.upenn.edu/~jshi/ped_html/), and as most programs for
microscopy save their segmentations (16-bit PNG or TIFF). All objects are of one class, unless
vitrail wrote the set: then ``NAME.json`` beside the mask says the class of each, and what else is
known of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from vitrail.data.derive import AsObjects
from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Splits
from vitrail.data.formats.files import read_json, write_png
from vitrail.data.formats.folders_classes import find_class_file, read_classes
from vitrail.data.formats.folders_masks import read_index_png
from vitrail.data.formats.folders_pairs import Pairs
from vitrail.data.formats.folders_source import (
    PairSource,
    layouts_of,
    open_pairs,
    recognise_kind,
)
from vitrail.data.formats.folders_space import FolderOptions, ListOptions, coding
from vitrail.data.formats.folders_write import (
    numbered,
    shared_space,
    targets,
    write_classes,
    write_json,
)
from vitrail.data.problem import Problem
from vitrail.data.sample import Box, Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.result.masks import Masks, occurring


class InstanceOptions(FolderOptions):
    """What the objects are."""

    name: str = Field(default="object", min_length=1, description="Name of the one class.")


Notes = dict[str, dict[str, Any]]
"""By object number, arguments of :meth:`Instance.from_masks`."""


class InstanceIds(PairSource):
    """Pairs of images and masks of object numbers; a mask is read with its sample.

    Parameters
    ----------
    space:
        The classes; objects are of the first unless ``notes`` say another.
    attributes:
        By sample id, what all objects of the image have in common.
    notes:
        Given the mask's path, what is known of each object.
    """

    def __init__(
        self,
        space: LabelSpace,
        pairs: Pairs,
        *,
        attributes: Mapping[str, Mapping[str, object]] | None = None,
        notes: Callable[[Path], Notes] | None = None,
    ) -> None:
        super().__init__(pairs, space)
        self._attributes = attributes or {}
        self._notes = notes

    def __getitem__(self, index: int) -> Sample:
        id, mask = self.ids[index], self.pairs.mask(index)
        numbers = read_index_png(mask)
        found = occurring(numbers)
        notes = {} if self._notes is None else self._notes(mask)
        usual = {"class_id": 0, "attributes": self._attributes.get(id, {})}
        one_each = zip(found[found != 0].tolist(), Masks.from_labels(numbers), strict=True)
        instances = tuple(
            Instance.from_masks(
                mask=one, **{**usual, "id": str(number), **notes.get(str(number), {})}
            )
            for number, one in one_each
        )
        size = (numbers.shape[0], numbers.shape[1])
        return Sample(id, self.pairs.image(index), size, instances=instances)


def _read_notes(space: LabelSpace, mask: Path) -> Notes:
    """What ``NAME.json`` beside a mask says of each object."""
    path = mask.with_suffix(".json")
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected an object of number: what is known of it")
    return {number: _note(said, number, space, path) for number, said in content.items()}


def _note(said: Any, number: str, space: LabelSpace, path: Path) -> dict[str, Any]:
    said = said if isinstance(said, dict) else {"class": said}
    name, attributes = said.get("class", space.classes[0]), said.get("attributes", {})
    if name not in space.classes:
        raise DataError(
            f"{path}: object {number} is of the class {name!r}, expected one of "
            + ", ".join(space.classes[:40])
        )
    if not isinstance(attributes, dict):
        raise DataError(f"{path}: object {number} has the attributes {attributes!r}, expected {{}}")
    return {
        "class_id": space.classes.index(name),
        "id": str(said.get("id", number)),
        "crowd": bool(said.get("crowd", False)),
        "attributes": attributes,
        "box": _box(said.get("box"), number, path),
    }


def _box(value: Any, number: str, path: Path) -> Box | None:
    if value is None:
        return None
    try:
        x1, y1, x2, y2 = (float(v) for v in value)
    except (TypeError, ValueError, OverflowError):
        x1 = y1 = x2 = y2 = np.nan
    if not np.isfinite([x1, y1, x2, y2]).all():
        raise DataError(f"{path}: object {number} has the box {value!r}, expected x1, y1, x2, y2")
    return x1, y1, x2, y2


def _open(root: Path, options: InstanceOptions) -> Dataset:
    layouts = layouts_of(root, options)
    space, notes = LabelSpace((options.name,)), None
    file = find_class_file(root)
    listed = None if file is None else read_classes(file)
    if listed is not None and listed.more.get("format") == "instance-ids":
        space = coding(listed, ListOptions()).space
        notes = partial(_read_notes, space)
    make = partial(InstanceIds, space, notes=notes)
    problems: list[Problem] = []
    return open_pairs(root, "instance-ids", layouts, options, make, problems)


def _write(splits: Splits, folder: Path, options: Options) -> None:
    views = {name: AsObjects(source) for name, source in splits.items()}
    space = shared_space(views)
    for sample, mask in targets(views, folder):
        numbers, kept = numbered(sample)
        write_png(mask, numbers)
        notes = {
            str(number): note
            for number, one in kept.items()
            if (note := _described(one, number, space))
        }
        if notes:
            write_json(mask.with_suffix(".json"), notes)
    write_classes(folder, "instance-ids", space)


def _described(one: Instance, number: int, space: LabelSpace) -> dict[str, Any]:
    """What a number cannot say of an object; empty where it says all."""
    note: dict[str, Any] = {}
    if len(space.classes) > 1:
        note["class"] = space.classes[one.class_id]
    if one.id != str(number):
        note["id"] = one.id
    if one.crowd:
        note["crowd"] = True
    if one.attributes:
        note["attributes"] = dict(one.attributes)
    if one.mask is not None and tuple(map(float, one.mask.boxes()[0])) != one.box:
        note["box"] = list(one.box)
    return note


FORMAT = Format(
    name="instance-ids",
    summary="images/ and masks/ that number the objects (0 none, 1..n), of 8 or 16 bits",
    recognise=partial(recognise_kind, "instances"),
    open=_open,
    options=InstanceOptions,
    capacity=Capacity(instances=True, overlaps=False, crowds=True),
    write=_write,
    kind="instances",
)
