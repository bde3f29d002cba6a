"""COCO: objects as polygons or run lengths, in one JSON file a split.

Format: https://cocodataset.org/#format-data . Read are the layout of COCO 2017
(``annotations/instances_train2017.json``, images in ``train2017/`` or ``images/train2017/``), a
single file with its images beside it or in ``images/`` or ``data/``, and what Roboflow, CVAT,
Datumaro and FiftyOne export. ``info``, ``licenses``, ``area``, ``iscrowd`` and ``bbox`` may be
missing, key points are passed over, and ``file_name`` may have folders. Categories become the
classes 0 to C - 1 in the order of their ids, of all splits together; the ids are kept in
``LabelSpace.original_ids``. Other fields of an annotation, its ``area`` among them, are kept in
``Instance.attributes``. Images come in the order of their names, their objects in the file's.

A polygon is filled as pycocotools fills it (:mod:`vitrail.data.polygon`). An open split keeps
positions in its file, not annotations (:mod:`vitrail.data.formats.coco_json`): for the 860,001
objects of instances_train2017.json some 40 MB, after a peak of twice the file's size.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Problems
from vitrail.data.formats.coco_index import (
    Faults,
    ImageList,
    Images,
    Key,
    find_images,
    label_space,
    merge_categories,
    parse_categories,
)
from vitrail.data.formats.coco_json import Positions, Slices, scan
from vitrail.data.formats.coco_layout import (
    find_files,
    given_files,
    images_folder,
    is_instances,
)
from vitrail.data.formats.coco_objects import MalformedError, read_shape, to_instance
from vitrail.data.formats.coco_write import CocoWriteOptions, write
from vitrail.data.formats.shapes import shown, whole
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError

_ADVICE = "mend or remove this annotation"


class CocoOptions(Options):
    """Where the parts lie, if not where the usual layouts have them."""

    annotations: Path | dict[str, Path] | None = Field(
        None, description="annotation file, or one for each split, relative to the data set"
    )
    images: Path | dict[str, Path] | None = Field(
        None,
        description="folder to which file_name is relative, or one for each split, relative to "
        "the data set",
    )


class CocoSource:
    """One split; annotations are parsed and masks decoded on access.

    Parameters
    ----------
    images:
        The images there are.
    bounds:
        (N + 1,) where in ``annotations`` those of each image begin and end.
    annotations:
        Grouped by image.
    class_ids:
        (M,) of the annotations.
    space:
        The classes.
    """

    def __init__(
        self,
        images: Images,
        bounds: np.ndarray,
        annotations: Slices,
        class_ids: np.ndarray,
        space: LabelSpace,
    ) -> None:
        self._images, self._bounds, self._annotations = images, bounds, annotations
        self._class_ids = class_ids
        self.space, self.ids = space, images.ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises
        ------
        DataError
            the annotation file has changed since, or does not say the image's size and neither
            does the image, or run lengths are for another size than the image's.
        """
        index = range(len(self))[index]
        size = self._images.size(index)
        begin, end = self._bounds[index : index + 2].tolist()
        annotations = self._annotations.read(range(begin, end))
        class_ids = self._class_ids[begin:end].tolist()
        try:
            instances = tuple(
                to_instance(annotation, class_id, size)
                for annotation, class_id in zip(annotations, class_ids, strict=True)
            )
        except DataError as error:
            raise DataError(f"{self._annotations.path}: image {self.ids[index]}: {error}") from None
        return Sample(self.ids[index], self._images.path(index), size, instances=instances)


def _category(annotation: Mapping[str, Any]) -> int | None:
    """The category id; None where it is no integer."""
    value = annotation.get("category_id")
    return value if type(value) is int else whole(value)


class _Annotations:
    """Collects the annotations of a file: hand :meth:`take` to the scan."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.positions = Positions()
        self.images: list[Key] = []
        self.categories: list[int | None] = []
        self.names: list[Any] = []
        self.frames: dict[int, tuple[int, int]] = {}
        """``(H, W)`` of run lengths, by the annotation's number here."""
        self._seen: set[Key] = set()

    def take(self, value: Any, start: int, length: int) -> None:
        """Check and keep one."""
        if not isinstance(value, dict):
            self._faults.error("malformed-annotation", "", shown(value), "an object", _ADVICE)
            return
        name, image = value.get("id"), value.get("image_id")
        if not isinstance(image, int | str):
            found, expected = f"image_id is {shown(image)}", "the id of an image"
            self._faults.error("malformed-annotation", name, found, expected, _ADVICE)
            return
        try:
            shape = read_shape(value)
        except MalformedError as error:
            self._faults.error("malformed-annotation", name, error.value, error.expected, _ADVICE)
            return
        if isinstance(name, int | str):
            if name in self._seen:
                self._faults.warning(
                    "duplicate-id",
                    name,
                    "is the id of two annotations",
                    "an id of its own for each",
                    "pycocotools would keep the last of them only; vitrail keeps all",
                )
            self._seen.add(name)
        if shape.frame is not None:
            self.frames[len(self.images)] = shape.frame
        self.positions.add(start, length)
        self.images.append(image)
        self.categories.append(_category(value))
        self.names.append(name)

    def group(
        self,
        images: Images,
        position: Mapping[Key, int],
        dropped: set[Key],
        classes: dict[int, int],
    ) -> tuple[np.ndarray, Slices, np.ndarray]:
        """Bounds, slices and class ids by image; what fits no image or category is reported."""
        kept, owners, class_ids = array("q"), array("q"), array("i")
        for number, (key, category) in enumerate(zip(self.images, self.categories, strict=True)):
            if (owner := position.get(key)) is None:
                if key not in dropped:
                    found = f"image_id is {shown(key)}"
                    self._error("unknown-image", number, found, "the id of an image in 'images'")
            elif category is None or category not in classes:
                found = f"category_id is {'no integer' if category is None else category}"
                self._error("unknown-category", number, found, "an id in 'categories'")
            elif self._fits(number, images.sizes[owner].tolist()):
                kept.append(number)
                owners.append(owner)
                class_ids.append(classes[category])
        owner_of = np.array(owners, np.int64)
        order = np.argsort(owner_of, kind="stable")
        bounds = np.searchsorted(owner_of[order], np.arange(len(images.ids) + 1))
        slices = self.positions.slices(self._faults.path, np.array(kept, np.int64)[order])
        return bounds, slices, np.array(class_ids, np.int32)[order]

    def _fits(self, number: int, size: Sequence[int]) -> bool:
        frame = self.frames.get(number)
        if frame is None or not size[0] or frame == tuple(size):
            return True
        found = f"its RLE is for {list(frame)} (height, width)"
        self._error("size-mismatch", number, found, f"the image's {list(size)}")
        return False

    def _error(self, code: str, number: int, value: str, expected: str) -> None:
        self._faults.error(code, self.names[number], value, expected, _ADVICE)


def recognise(root: Path) -> str | None:
    """Why a path looks like COCO."""
    found = list(find_files(root, "instances", is_instances).values())
    if not found:
        return None
    if root.is_file():
        return "a JSON object with lists of images, annotations and categories"
    return f"found {found[0].relative_to(root).as_posix()}" + (" ..." if found[1:] else "")


def open_coco(root: Path, options: CocoOptions) -> Dataset:
    """Open a folder, or one annotation file.

    Raises
    ------
    DataError
        there is no annotation file.
    """
    if options.annotations is not None:
        files = given_files(root, options.annotations, "instances")
    else:
        files = find_files(root, "instances", is_instances)
    if not files:
        raise DataError(
            f"{root}: no COCO annotations found; expected annotations/instances_*.json, "
            "*/_annotations.coco.json or one JSON file with images, annotations and categories; "
            "name it with the option annotations"
        )
    problems: list[Problem] = []
    openers = {
        split: partial(_open_split, root, split, files, options, problems) for split in files
    }
    reason = recognise(root) or "annotations given"
    return Dataset(root, FORMAT.name, reason, openers, problems)


def _open_split(
    root: Path, split: str, files: Mapping[str, Path], options: CocoOptions, out: list[Problem]
) -> CocoSource:
    path = files[split]
    problems = Problems(split)
    faults = Faults(path, problems)
    images, annotations, categories = ImageList(faults), _Annotations(faults), list[Any]()
    lists = {
        "images": images.take,
        "annotations": annotations.take,
        "categories": lambda value, _start, _length: categories.append(value),
    }
    for lacking in {"images", "annotations"} - scan(path, lists):
        raise DataError(f"{path}: has no list {lacking!r}; this is no COCO file of objects")
    others = [other for name, other in files.items() if name != split]
    merged = merge_categories(path, parse_categories(categories, faults), others, faults)
    folder = images_folder(root, path, split, images.names, options.images)
    found, position = find_images(images, folder, faults)
    classes = {category.id: number for number, category in enumerate(merged)}
    bounds, slices, class_ids = annotations.group(found, position, images.dropped, classes)
    faults.close()
    out += problems.found
    return CocoSource(found, bounds, slices, class_ids, label_space(merged))


FORMAT = Format(
    name="coco",
    summary="COCO objects: one JSON file a split with polygons or run lengths",
    recognise=recognise,
    open=open_coco,
    options=CocoOptions,
    capacity=Capacity(instances=True, boxes=True, crowds=True),
    write=write,
    write_options=CocoWriteOptions,
    kind="instances",
)
