"""labelme: one JSON file an image, with its shapes.

Format: https://github.com/wkentaro/labelme (``labelme/_label_file.py``, and how masks are made of
shapes: ``labelme/_utils/shape.py``). Polygons, rectangles, circles and embedded masks are areas;
points and lines are not, and are reported. Shapes of one label and one ``group_id`` are one object.
``imagePath`` is relative to the file, with the separators of Windows or of others; where there is
no such image, the one embedded as ``imageData`` is taken.

Class names are those of ``labels.txt`` (a name a line; ``__ignore__`` and ``_background_`` are no
classes), or else all labels that occur, sorted. A folder that has no files of its own, but several
folders with files, has those as its splits; so has one with a single folder of files and images.

Two flags of shapes have a meaning here: ``iscrowd``, and ``box_only`` for a rectangle that is no
area. Whatever else a shape says (its flags, its description, other keys) are attributes.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Problems
from vitrail.data.formats.embedded import decode_image, embedded_size
from vitrail.data.formats.files import header_size, read_json, read_text
from vitrail.data.formats.folders_layout import SPLITS
from vitrail.data.formats.image_index import ImageIndex, images_folder, name_parts, walk
from vitrail.data.formats.labelme_shapes import Fault, read_shapes
from vitrail.data.formats.labelme_write import BACKGROUND, IGNORE, LabelmeWriteOptions, write
from vitrail.data.formats.shapes import frame, objects, shown
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError, ImageError, nearest

_HEAD = 8192
"""Bytes of a file that are looked at to recognise it."""


class LabelmeOptions(Options):
    """What the reader can be told."""

    images: Path | None = Field(
        default=None, description="folder of the images, where they are not below the set's own"
    )
    labels: Path | None = Field(
        default=None, description="list of class names; by default labels.txt of the set"
    )
    rectangles: Literal["areas", "boxes"] = Field(
        default="areas", description="what a rectangle is: all it encloses, or a bare box"
    )
    join_groups: bool = Field(default=True, description="join shapes of one label and group_id")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One file, and the image it is about; None for the embedded one."""

    file: Path
    id: str
    image: Path | None


class LabelmeSource:
    """One split; files are read again on access, so that no shapes are held in memory."""

    def __init__(
        self, entries: Sequence[_Entry], space: LabelSpace, options: LabelmeOptions
    ) -> None:
        self.entries, self.space, self.options = entries, space, options
        self.ids = [entry.id for entry in entries]
        self._class_ids = {name: number for number, name in enumerate(space.classes)}

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        """One sample; shapes that cannot be read are left out.

        Raises
        ------
        DataError
            the file or an embedded mask is damaged.
        """
        entry = self.entries[index]
        data = _load(entry.file)
        said = frame(data.get("imageWidth"), data.get("imageHeight"))
        size = said or _size(entry, data)
        options = self.options
        read = read_shapes(
            data["shapes"], entry.file, said, options.rectangles, options.join_groups
        )
        shapes = (shape for _, shape in read if not isinstance(shape, Fault))
        instances = objects(shapes, size, self._class_ids)
        picture = entry.image or partial(_embedded, entry.file)
        return Sample(entry.id, picture, size, instances=instances)


def _load(file: Path) -> dict[str, Any]:
    data = read_json(file)
    if not isinstance(data, dict) or not isinstance(data.get("shapes"), list):
        raise DataError(f"{file}: expected the JSON of labelme, with a list of shapes")
    return data


def _size(entry: _Entry, data: Mapping[str, Any]) -> tuple[int, int]:
    """Where the file does not say it: of the image's header."""
    if entry.image is None:
        return embedded_size(str(data.get("imageData")), str(entry.file))
    try:
        return header_size(entry.image)[0]
    except ImageError as error:
        raise DataError(str(error)) from None


def _embedded(file: Path) -> np.ndarray:
    return decode_image(str(_load(file).get("imageData")), str(file))


def recognise(root: Path) -> str | None:
    """Why a path looks like labelme's: its first JSON files have shapes and an image path."""
    if root.is_file():
        return "a JSON file of labelme" if _is_labelme(root) else None
    folders = [root]
    try:
        inside = _folders(root)
        splits = [folder for folder in inside if folder.name in SPLITS]
        folders += inside + [deeper for folder in splits for deeper in _folders(folder)]
        for folder in folders:
            files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".json")
            if any(map(_is_labelme, files[:3])):
                return f"JSON files of labelme in {folder.name}/"
    except OSError:
        return None
    return None


def _folders(folder: Path) -> list[Path]:
    """The first few folders in a folder."""
    return sorted(path for path in folder.iterdir() if path.is_dir())[:8]


def _is_labelme(path: Path) -> bool:
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return b'"shapes"' in head and (b'"version"' in head or b'"imagePath"' in head)


def open_labelme(root: Path, options: LabelmeOptions) -> Dataset:
    """Open a folder of files, or one file. All files are looked through for labels and faults.

    Raises
    ------
    DataError
        there is no file of labelme, or the list of labels cannot be read.
    """
    base = root if root.is_dir() else root.parent
    names = walk(root, {".json"}) if root.is_dir() else [root.name]
    index = _images(root, options)
    listed = _listed_labels(base, options)
    problems: list[Problem] = []
    labels: set[str] = set()
    entries: dict[str, list[_Entry]] = {}
    for split, (prefix, files) in _splits(names, index, options.images is None).items():
        found = Problems(split)
        scanned = [
            (name, _scan(base, name, index, listed, labels, options, found)) for name in files
        ]
        usable = (
            _Entry(base / name, name.removeprefix(prefix)[: -len(".json")], image)
            for name, (kept, image) in scanned
            if kept
        )
        entries[split] = sorted(usable, key=lambda entry: entry.id)
        problems += found.found
    if not any(entries.values()):
        first = f": {problems[0]}" if problems else ""
        raise DataError(f"{root}: has no readable JSON file of labelme{first}")
    space = LabelSpace(tuple(sorted(labels)) if listed is None else listed)
    openers = {
        split: partial(LabelmeSource, some, space, options) for split, some in entries.items()
    }
    return Dataset(root, FORMAT.name, "JSON files with shapes", openers, problems)


def _images(root: Path, options: LabelmeOptions) -> ImageIndex:
    if options.images is not None:
        return ImageIndex(images_folder(options.images, root))
    # Of a single file, only what lies in its own folder: what is below may be all of a disk.
    return ImageIndex(root) if root.is_dir() else ImageIndex(root.parent, deep=False)


def _listed_labels(base: Path, options: LabelmeOptions) -> tuple[str, ...] | None:
    path = options.labels or base / "labels.txt"
    if options.labels is None and not path.is_file():
        return None
    lines = [line.strip() for line in read_text(path).splitlines()]
    return tuple(dict.fromkeys(line for line in lines if line not in ("", IGNORE, BACKGROUND)))


def _splits(
    names: Sequence[str], index: ImageIndex, beside: bool
) -> dict[str, tuple[str, list[str]]]:
    """Files by split, each with the folder that they are in: the root's own folders, or the root.

    ``beside``: the index is of the root, so that a folder of files alone can be told from a split.
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(name.partition("/")[0] if "/" in name else "", []).append(name)
    only = next(iter(folders), "")
    images = beside and any(path.startswith(f"{only}/") for path in index.paths)
    if "" in folders or not folders or (len(folders) == 1 and not images):
        return {"all": ("", list(names))}
    return {folder: (f"{folder}/", files) for folder, files in folders.items()}


def _scan(
    base: Path,
    name: str,
    index: ImageIndex,
    listed: tuple[str, ...] | None,
    labels: set[str],
    options: LabelmeOptions,
    found: Problems,
) -> tuple[bool, Path | None]:
    """Look through one file: report its faults, collect its labels, find its image.

    Returns whether it can be used, and its image; None for the embedded one.
    """
    file = base / name
    try:
        data = read_json(file)
    except DataError as error:
        found.error("malformed-file", file, "", str(error), "the JSON of labelme", "mend the file")
        return False, None
    if isinstance(data, dict) and "shapes" in data and not isinstance(data["shapes"], list):
        value = f"shapes is {shown(data['shapes'])}"
        found.error("malformed-file", file, "", value, "a list of shapes", "mend the file")
        return False, None
    if not isinstance(data, dict) or "shapes" not in data:
        found.warning(
            "unknown-file", file, "", "JSON without shapes", "the JSON of labelme", "move it away"
        )
        return False, None
    size = frame(data.get("imageWidth"), data.get("imageHeight"))
    if size is None and (data.get("imageWidth"), data.get("imageHeight")) != (None, None):
        value = f"{shown(data.get('imageWidth'))} x {shown(data.get('imageHeight'))}"
        found.error(
            "malformed-annotation",
            file,
            "imageWidth, imageHeight",
            value,
            "a size in px",
            "mend it",
        )
    for number, shape in read_shapes(data["shapes"], file, size, options.rectangles, False):
        fault = shape if isinstance(shape, Fault) else _label_fault(shape.label, listed)
        if fault is not None:
            report = found.error if fault.severity == "error" else found.warning
            id = f"shape {number}"
            report(fault.code, file, id, fault.value, fault.expected, fault.advice)
        elif not isinstance(shape, Fault) and shape.label != BACKGROUND:
            labels.add(shape.label)
    paths = _find_image(data.get("imagePath"), name, index)
    embedded = isinstance(data.get("imageData"), str)
    if len(paths) != 1 and not embedded:
        several = f"{len(paths)} images could be meant: {', '.join(paths[:3])}"
        found.error(
            "ambiguous-image" if paths else "missing-image",
            file,
            "imagePath",
            several if paths else f"{shown(data.get('imagePath'))} does not exist",
            f"one image below {index.root}",
            "correct imagePath, or name the folder with images=FOLDER",
        )
        return False, None
    return True, index.root / paths[0] if len(paths) == 1 else None


def _label_fault(label: str, listed: tuple[str, ...] | None) -> Fault | None:
    if label == IGNORE:
        value = "a region to ignore, which objects have no word for"
        return Fault("ignored-region", "warning", value, "an object", "nothing, if you know of it")
    if listed is not None and label not in listed and label != BACKGROUND:
        expected = f"a label of labels.txt; {nearest(label, listed)}"
        return Fault("unknown-category", "error", f"label {shown(label)}", expected)
    return None


def _find_image(said: object, name: str, index: ImageIndex) -> list[str]:
    """Candidates for the image of a file, relative to the index's folder."""
    folder = posixpath.dirname(name)
    if not isinstance(said, str) or not name_parts(said):
        stem = posixpath.splitext(posixpath.basename(name))[0]
        return [
            path
            for path in index.paths
            if posixpath.dirname(path) == folder
            and posixpath.splitext(posixpath.basename(path))[0] == stem
        ]
    exact = posixpath.normpath(posixpath.join(folder, said.replace("\\", "/")))
    if exact in index:
        return [exact]
    return index.find((*name_parts(folder), *name_parts(said)))


FORMAT = Format(
    name="labelme",
    summary="labelme: a JSON file of shapes beside each image",
    recognise=recognise,
    open=open_labelme,
    options=LabelmeOptions,
    capacity=Capacity(instances=True, boxes=True, crowds=True),
    write=write,
    write_options=LabelmeWriteOptions,
    kind="instances",
)
