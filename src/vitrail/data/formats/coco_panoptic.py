"""COCO panoptic: every pixel a class, and every thing an object, in one PNG an image and JSON.

Format: https://cocodataset.org/#format-data (section 4, panoptic segmentation); the layout is
``annotations/panoptic_train2017.json``, ``annotations/panoptic_train2017/*.png`` and images as for
:mod:`vitrail.data.formats.coco`. A pixel's segment is R + 256 G + 65536 B of the PNG, 0 is void;
``segments_info`` has the category of each segment. Categories become the classes 0 to C - 1 in the
order of their ids. Void is ``ignore``; segments of categories with ``isthing`` are objects too.
A PNG is decoded once, when its sample is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Problems
from vitrail.data.formats.coco import CocoOptions
from vitrail.data.formats.coco_index import (
    Category,
    Faults,
    ImageList,
    Images,
    Key,
    existing,
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
    is_panoptic,
    masks_folder,
)
from vitrail.data.formats.coco_objects import MalformedError, SegmentInfo, read_segment
from vitrail.data.formats.coco_panoptic_write import write
from vitrail.data.formats.coco_segments import SegmentMap
from vitrail.data.formats.files import inside
from vitrail.data.formats.shapes import shown
from vitrail.data.problem import Problem
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError

_ADVICE = "mend or remove this annotation"


class PanopticOptions(CocoOptions):
    """Where the parts lie, and which category is none of the others."""

    masks: Path | dict[str, Path] | None = Field(
        None, description="folder of the PNGs, or one for each split, relative to the data set"
    )
    background: str | None = Field(
        None, description="name of the category that means none of the others, if there is one"
    )


class PanopticSource:
    """One split; annotations are parsed and PNGs decoded on access.

    Parameters
    ----------
    images:
        The images there are.
    masks:
        Folder of the PNGs.
    annotations:
        One for each image.
    categories, space:
        The classes.
    """

    def __init__(
        self,
        images: Images,
        masks: Path,
        annotations: Slices,
        categories: list[Category],
        space: LabelSpace,
    ) -> None:
        self._images, self._masks, self._annotations = images, masks, annotations
        self._classes = {category.id: number for number, category in enumerate(categories)}
        self.things = frozenset(i for i, category in enumerate(categories) if category.thing)
        """Class ids of countable objects; the others are stuff."""
        self.space, self.ids = space, images.ids

    def __len__(self) -> int:
        return len(self.ids)

    def mask_paths(self, index: int) -> list[Path]:
        """The PNG of a sample; raises DataError where the annotation file has changed since."""
        (annotation,) = self._annotations.read(range(index, index + 1))
        return [inside(self._masks, annotation["file_name"])]

    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises
        ------
        DataError
            the annotation file has changed since, or does not say the image's size and neither
            does the image; or the PNG cannot be read or does not fit its annotation.
        """
        index = range(len(self))[index]
        size = self._images.size(index)
        (annotation,) = self._annotations.read(range(index, index + 1))
        ignore = self.space.ignore
        infos = [info for info in map(_read_segment, annotation["segments_info"]) if info]
        table = {info.id: self._classes.get(info.category, ignore) for info in infos}
        path = inside(self._masks, annotation["file_name"])
        segments = SegmentMap(path, size, table, ignore)
        things = [info for info in infos if table[info.id] in self.things]
        masks = segments.masks([info.id for info in things])
        instances = tuple(
            Instance.from_masks(
                table[info.id],
                mask,
                box=info.box,
                crowd=info.crowd,
                id=str(info.id),
                attributes=info.attributes,
            )
            for info, mask in zip(things, masks, strict=True)
        )
        return Sample(self.ids[index], self._images.path(index), size, segments.labels, instances)


def _read_segment(info: Any) -> SegmentInfo | None:
    """None where it is malformed, which was reported."""
    try:
        return read_segment(info)
    except MalformedError:
        return None


class _Annotations:
    """Collects the annotations of a file: hand :meth:`take` to the scan."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.positions = Positions()
        self.by_image: dict[Key, int] = {}
        self.names: list[str] = []
        self.categories: Counter[int] = Counter()
        self.count = 0

    def take(self, value: Any, start: int, length: int) -> None:
        """Check and keep one."""
        self.count += 1
        image = value.get("image_id") if isinstance(value, dict) else None
        name = value.get("file_name") if isinstance(value, dict) else None
        infos = value.get("segments_info") if isinstance(value, dict) else None
        if not isinstance(image, int | str) or not isinstance(infos, list) or not _safe(name):
            expected = "an object with image_id, file_name (inside the folder) and segments_info"
            self._faults.error("malformed-annotation", "", shown(value), expected, _ADVICE)
            return
        if image in self.by_image:
            found, expected = f"image {image} has two annotations", "one for each image"
            self._faults.error("duplicate-id", image, found, expected, _ADVICE)
            return
        seen: set[int] = set()
        for info in infos:
            try:
                segment = read_segment(info)
            except MalformedError as error:
                where = f"image {image}"
                self._faults.error(
                    "malformed-annotation", where, error.value, error.expected, _ADVICE
                )
                continue
            if segment.id in seen:
                found = f"image {image} has segment {segment.id} twice"
                self._faults.error("duplicate-id", image, found, "an id of its own", _ADVICE)
            seen.add(segment.id)
            self.categories[segment.category] += 1
        self.by_image[image] = len(self.names)
        self.names.append(str(name))
        self.positions.add(start, length)


def _safe(name: object) -> bool:
    try:
        return isinstance(name, str) and bool(inside(Path(), name))
    except DataError:
        return False


def recognise(root: Path) -> str | None:
    """Why a path looks like COCO panoptic."""
    found = list(find_files(root, "panoptic", is_panoptic).values())
    if not found:
        return None
    if root.is_file():
        return "a JSON object with lists of images and annotations with segments_info"
    return f"found {found[0].relative_to(root).as_posix()}" + (" ..." if found[1:] else "")


def open_panoptic(root: Path, options: PanopticOptions) -> Dataset:
    """Open a folder, or one annotation file.

    Raises
    ------
    DataError
        there is no annotation file.
    """
    if options.annotations is not None:
        files = given_files(root, options.annotations, "panoptic")
    else:
        files = find_files(root, "panoptic", is_panoptic)
    if not files:
        raise DataError(
            f"{root}: no panoptic annotations found; expected annotations/panoptic_*.json with "
            "segments_info, and the PNGs in a folder of the same name; name the file with the "
            "option annotations"
        )
    problems: list[Problem] = []
    openers = {
        split: partial(_open_split, root, split, files, options, problems) for split in files
    }
    reason = recognise(root) or "annotations given"
    return Dataset(root, FORMAT.name, reason, openers, problems)


def _open_split(
    root: Path,
    split: str,
    files: Mapping[str, Path],
    options: PanopticOptions,
    out: list[Problem],
) -> PanopticSource:
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
        raise DataError(f"{path}: has no list {lacking!r}; this is no COCO panoptic file")
    if annotations.count and not annotations.names:
        raise DataError(
            f"{path}: none of its {annotations.count} annotations has image_id, file_name and "
            "segments_info; if they are objects, read it as coco"
        )
    others = [other for name, other in files.items() if name != split]
    merged = merge_categories(path, parse_categories(categories, faults), others, faults)
    known = {category.id for category in merged}
    for category, count in sorted(annotations.categories.items()):
        if category not in known:
            found = f"category {category}, of {count} segments"
            advice = "until then they are read as void"
            faults.error("unknown-category", "", found, "an id in 'categories'", advice)
    masks = masks_folder(root, path, split, annotations.names, options.masks)
    folder = images_folder(root, path, split, images.names, options.images)
    _drop_unlabelled(images, annotations, masks, faults)
    found, position = find_images(images, folder, faults)
    for key in annotations.by_image:
        if key not in position and key not in images.dropped:
            wanted = "the id of an image in 'images'"
            faults.error("unknown-image", key, f"image_id is {shown(key)}", wanted, _ADVICE)
    numbers = np.zeros(len(found.ids), np.int64)
    for key, index in position.items():
        numbers[index] = annotations.by_image[key]
    faults.close()
    out += problems.found
    slices = annotations.positions.slices(path, numbers)
    background = _background(path, merged, options.background)
    return PanopticSource(found, masks, slices, merged, label_space(merged, background=background))


def _drop_unlabelled(
    images: ImageList, annotations: _Annotations, masks: Path, faults: Faults
) -> None:
    """Leave out the images without annotation or PNG."""
    there = existing(masks, annotations.names)
    for key in list(images.position):
        number = annotations.by_image.get(key)
        if number is None:
            images.drop(key, "missing-annotation", "has no annotation", "one with segments_info")
        elif not there[number]:
            found = f"{annotations.names[number]} is not in {masks}"
            images.drop(key, "missing-mask", found, "a PNG of segments")


def _background(path: Path, categories: list[Category], name: str | None) -> int | None:
    names = [category.name for category in categories]
    if name is not None:
        if name not in names:
            raise DataError(f"{path}: has no category {name!r}; option background names none of it")
        return names.index(name)
    said = [number for number, category in enumerate(categories) if category.background]
    return said[0] if len(said) == 1 else None


FORMAT = Format(
    name="coco-panoptic",
    summary="COCO panoptic: a PNG of segments an image, their categories in JSON",
    recognise=recognise,
    open=open_panoptic,
    options=PanopticOptions,
    capacity=Capacity(labels=True, instances=True, overlaps=False, crowds=True),
    write=write,
    kind="both",
)
