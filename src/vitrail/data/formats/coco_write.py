"""Writing COCO files of objects, and what the writer of panoptic files shares with it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from pydantic import Field

from vitrail.atomic import make_folder, output_error
from vitrail.data.derive import objects
from vitrail.data.formats.base import Options, Splits
from vitrail.data.formats.files import copy_image, inside
from vitrail.data.formats.outlines import drawable
from vitrail.data.formats.writing import check_utf8
from vitrail.data.sample import Instance, LabelSpace, Sample, SampleSource
from vitrail.errors import DataError
from vitrail.result import rle

_DIGITS = 15
"""Ids of more digits are not exact in every JSON reader."""


class CocoWriteOptions(Options):
    """How masks are written."""

    encoding: Literal["auto", "polygon", "rle"] = Field(
        "auto",
        description="auto: polygons where they were annotated, otherwise run lengths; polygon: "
        "outlines of everything but crowds, which fills holes; rle: run lengths of everything",
    )
    compressed: bool = Field(
        True, description="run lengths as COCO's compressed text, or as lists of integers"
    )


class Numbers:
    """Ids of a file: numbers that were there before stay, the others get the next one free."""

    def __init__(self) -> None:
        self._used: set[int] = set()
        self._next = 1

    def take(self, name: str, *, zero: bool = True, largest: int = 10**_DIGITS) -> int:
        """The number that ``name`` is, if it is one, in range and still free; or another."""
        if name.isascii() and name.isdigit() and len(name) <= _DIGITS:
            number = int(name)
            if number not in self._used and number <= largest and (zero or number):
                self._used.add(number)
                return number
        while self._next in self._used:
            self._next += 1
        self._used.add(self._next)
        return self._next


def write(splits: Splits, folder: Path, options: CocoWriteOptions) -> None:
    """Write ``annotations/instances_SPLIT.json`` and ``images/SPLIT/``.

    An image keeps its number as id if it is named by one, an annotation if it has one; otherwise
    they are numbered from 1. Categories have the data set's own ids, or else numbers from 1, and a
    background class is none. ``area`` is the one annotated, or else the pixels of the mask, or of
    the box where there is only that. Attributes are written as Datumaro and CVAT do.

    Raises
    ------
    DataError
        a sample cannot be read or written.
    OutputError
        a file cannot be written.
    """
    make_folder(folder / "annotations")
    for split, source in splits.items():
        categories = {
            class_id: {"id": number, "name": name, "supercategory": ""} | colour
            for class_id, number, name, colour in category_entries(source.space)
        }
        path = folder / "annotations" / f"instances_{split}.json"
        images: list[str] = []
        lines = _lines(source, folder / "images" / split, categories, images, options)
        try:
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.write('{"info": {}, "licenses": [],\n"categories": ')
                write_list(file, map(dumps, categories.values()))
                file.write(',\n"annotations": ')
                write_list(file, lines)
                file.write(',\n"images": ')
                write_list(file, images)
                file.write("}\n")
        except OSError as error:
            raise output_error(path, error) from error


def _lines(
    source: SampleSource,
    folder: Path,
    categories: Mapping[int, Mapping[str, Any]],
    images: list[str],
    options: CocoWriteOptions,
) -> Iterator[str]:
    """Annotations as JSON, one sample at a time; copies each image and adds it to ``images``."""
    image_numbers, numbers = Numbers(), Numbers()
    make_folder(folder)
    for index in range(len(source)):
        sample = source[index]
        entry = image_entry(sample, folder, image_numbers)
        images.append(dumps(entry))
        for instance in objects(sample, source.space):
            if instance.class_id not in categories:
                continue  # background
            try:
                annotation = {
                    "id": numbers.take(instance.id, zero=False),
                    "image_id": entry["id"],
                    "category_id": categories[instance.class_id]["id"],
                    **_annotation(instance, options),
                }
                yield dumps(annotation)
            except ValueError as error:  # DataError, and NaN, which JSON has not
                raise DataError(
                    f"image {sample.id}, object {instance.id}: cannot be written ({error})"
                ) from None


def _annotation(instance: Instance, options: CocoWriteOptions) -> dict[str, Any]:
    x1, y1, x2, y2 = instance.box
    attributes = {key: plain(value) for key, value in instance.attributes.items()}
    area = attributes.pop("area", None)
    if isinstance(area, bool) or not isinstance(area, int | float) or area < 0:
        mask = instance.mask
        area = float(mask.areas()[0]) if mask is not None else (x2 - x1) * (y2 - y1)
    made = {
        "segmentation": _segmentation(instance, options),
        "area": area,
        # Rounded, as x1 + (x2 - x1) is not x2 to the last bit.
        "bbox": [round(value, 9) for value in (x1, y1, x2 - x1, y2 - y1)],
        "iscrowd": int(instance.crowd),
    }
    return made | ({"attributes": attributes} if attributes else {})


def _segmentation(instance: Instance, options: CocoWriteOptions) -> Any:
    outlined = options.encoding == "polygon" and not instance.crowd
    if outlined or options.encoding == "auto":
        rings = drawable(instance)
        if rings:
            return [ring.ravel().tolist() for ring in rings]
    mask = instance.mask
    if mask is None:
        return []
    if outlined and (outlines := mask.polygons(0).coco()):
        return outlines
    if options.compressed:
        return mask.rle()[0]
    y, x, crop = mask.crop(0)
    counts = rle.runs_from_crop(crop, y, x, mask.size)
    return {"size": list(mask.size), "counts": counts.tolist()}


def category_entries(space: LabelSpace) -> list[tuple[int, int, str, dict[str, Any]]]:
    """``(class id, category id, name, {"color": ...} or {})`` of each class but background."""
    ids = space.original_ids
    if ids is None or len(set(ids)) < len(ids):
        first = 0 if space.background == 0 else 1  # so that 0 stays free: many take it for none
        ids = tuple(range(first, first + len(space.classes)))
    return [
        (
            class_id,
            ids[class_id],
            name,
            {} if space.colours is None else {"color": list(space.colours[class_id])},
        )
        for class_id, name in enumerate(space.classes)
        if class_id != space.background
    ]


def image_entry(sample: Sample, folder: Path, numbers: Numbers) -> dict[str, Any]:
    """Copy a sample's image below a folder; its entry in ``images``.

    Raises
    ------
    DataError
        the id is no file name or not UTF-8, or the image is missing.
    OutputError
        it cannot be written.
    """
    check_utf8(sample)
    below = inside(folder, sample.id)
    suffix = sample.path.suffix if sample.path else ".png"
    # Ids of files that differ in the suffix only have it already.
    stem = below.name.removesuffix(suffix) or below.name
    path = copy_image(sample, make_folder(below.parent), stem)
    return {
        "id": numbers.take(PurePosixPath(stem).name),
        "file_name": path.relative_to(folder).as_posix(),
        "height": sample.size[0],
        "width": sample.size[1],
    }


def write_list(file: Any, elements: Iterable[str]) -> None:
    """Write a JSON list, one element a line."""
    separator = "[\n"
    for element in elements:
        file.write(separator + element)
        separator = ",\n"
    file.write("]" if separator == ",\n" else "[]")


def dumps(value: Any) -> str:
    """One line of JSON; ``ValueError`` for NaN and infinity."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, of a name that is not UTF-8: only as an escape
        return json.dumps(value, allow_nan=False)
    return text


def plain(value: object) -> object:
    """An attribute as JSON has it: NaN and infinity become null, unknown types their text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value)
