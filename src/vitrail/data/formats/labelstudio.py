"""Label Studio's export: a JSON list of tasks with annotations; JSON_MIN as well.

Format: https://labelstud.io/guide/task_format and https://labelstud.io/guide/export ; regions:
https://labelstud.io/tags/ . Polygons, ellipses, brush strokes, bitmasks and turned rectangles are
areas; upright rectangles are bare boxes, as in Label Studio's own export to COCO. Coordinates are
percent of the image as stored, whichever way it was turned on the screen. Points and vectors are no
areas, and are reported. Predictions are passed over. What was chosen or written about a region is
an attribute; the choice ``iscrowd`` with the value ``true`` makes it a crowd.

Of several annotations of a task one counts, the latest by default; skipped ones do not count, and
tasks without any are left out. Images are never downloaded: uploads, local files and URLs are
looked for by name below the set's folder, with or without the prefix that uploads get.

Classes are those of a labelling configuration beside the export (``config.xml``,
``label_config.xml``, ``*.label_config.xml``), in its order and with its colours; without one, those
that occur, sorted. A task's ``data`` may say its ``split``; several files are splits otherwise.

Written are ``tasks.json``, ``config.xml`` and ``images/``, to be imported with local files served
from that folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Options
from vitrail.data.formats.files import header_size
from vitrail.data.formats.image_index import ImageIndex, images_folder
from vitrail.data.formats.labelstudio_collect import Collected, Entry, with_ids
from vitrail.data.formats.labelstudio_tasks import read_labels, read_tasks
from vitrail.data.formats.labelstudio_write import LabelStudioWriteOptions, write
from vitrail.data.formats.shapes import objects
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError, ImageError

_HEAD = 4096
"""Bytes of a file that are looked at to recognise it."""


class LabelStudioOptions(Options):
    """What the reader can be told."""

    images: Path | None = Field(
        default=None, description="folder of the images, where they are not below the set's own"
    )
    config: Path | None = Field(
        default=None, description="labelling configuration; by default the one beside the export"
    )
    image_key: str | None = Field(
        default=None, description="key of a task's data that is the image; found out by default"
    )
    annotation: Literal["latest", "first", "ground-truth"] = Field(
        default="latest", description="which of several annotations of a task counts"
    )
    annotator: str | int | None = Field(
        default=None, description="id or e-mail address of the one whose annotations count"
    )
    rectangles: Literal["boxes", "areas"] = Field(
        default="boxes", description="what an upright rectangle is: a bare box, or an area"
    )
    opacity: int = Field(
        default=1, ge=1, le=255, description="least opacity of the pixels of brush strokes"
    )


class LabelStudioSource:
    """One split; coordinates and encoded strokes are in memory, rasters are made on access."""

    def __init__(
        self, entries: Sequence[Entry], space: LabelSpace, options: LabelStudioOptions
    ) -> None:
        self.entries, self.space, self.options = entries, space, options
        self.ids = [entry.id for entry in entries]
        self._class_ids = {name: number for number, name in enumerate(space.classes)}

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises
        ------
        DataError
            a brush stroke is cut short, or the image's size is not said and its header damaged.
        """
        entry = self.entries[index]
        try:
            size = entry.size or header_size(entry.image)[0]
        except ImageError as error:
            raise DataError(str(error)) from None
        boxes, opacity = self.options.rectangles == "boxes", self.options.opacity
        shapes = (region.shape(size, entry.where, boxes, opacity) for region in entry.regions)
        instances = objects(shapes, size, self._class_ids)
        return Sample(entry.id, entry.image, size, instances=instances)


def recognise(root: Path) -> str | None:
    """Why a path looks like Label Studio's: a JSON file with tasks and results."""
    files = _files(root)
    return f"{files[0].name}, an export of Label Studio" if files else None


def _files(root: Path) -> list[Path]:
    """Exports in a folder, or the file itself."""
    if root.is_file():
        return [root] if _is_export(root) else []
    try:
        files = sorted(path for path in root.iterdir() if path.suffix.lower() == ".json")
    except OSError:
        return []
    return [path for path in files if _is_export(path)]


def _is_export(path: Path) -> bool:
    """By the beginning: annotations may be long, so not all keys need be in sight."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    tasks = b'"annotations"' in head or b'"completions"' in head
    said = (b'"result"', b'"completed_by"', b'"was_cancelled"')
    full = tasks and any(key in head for key in said)
    said = (b'"annotation_id"', b'"annotator"', b'"original_width"')
    small = b'labels"' in head and any(key in head for key in said)
    return full or small or (b'"format"' in head and b'"rle"' in head)


def open_labelstudio(root: Path, options: LabelStudioOptions) -> Dataset:
    """Open a folder with exports, or one.

    Raises
    ------
    DataError
        there is no export, it or the configuration cannot be read, or no task can be used.
    """
    # A file that was named is read whatever it looks like, so that it says what is wrong.
    files = [root] if root.is_file() else _files(root)
    if not files:
        raise DataError(f"{root}: no JSON file of tasks, as Label Studio exports it")
    collected = Collected(_index(root, options), _declared(root, options), options.image_key)
    annotator = None if options.annotator is None else str(options.annotator)
    problems: list[Problem] = []
    for file in files:
        left_out: Counter[str] = Counter()
        for task in read_tasks(file, options.annotation, annotator, left_out):
            if task.results is not None:
                collected.add(file, task, file.stem if len(files) > 1 else "all")
        _note_left_out(file, left_out, problems)
    problems += (one for found in collected.found.values() for one in found.found)
    if not any(collected.entries.values()):
        first = f": {problems[0]}" if problems else ""
        raise DataError(f"{root}: no task can be used{first}")
    space = collected.space()
    openers = {
        split: partial(LabelStudioSource, with_ids(some), space, options)
        for split, some in collected.entries.items()
    }
    reason = f"{files[0].name}, an export of Label Studio"
    return Dataset(root, FORMAT.name, reason, openers, problems)


def _declared(root: Path, options: LabelStudioOptions) -> dict[str, str] | None:
    folder = root if root.is_dir() else root.parent
    if options.config is not None:
        return read_labels(options.config)
    found = [folder / "config.xml", folder / "label_config.xml"]
    found += sorted(folder.glob("*.label_config.xml"))
    path = next((path for path in found if path.is_file()), None)
    return None if path is None else read_labels(path)


def _index(root: Path, options: LabelStudioOptions) -> ImageIndex:
    if options.images is not None:
        return ImageIndex(images_folder(options.images, root))
    if root.is_dir():
        return ImageIndex(root)
    # Of a single file, what lies in images/ or beside it: the rest may be all of a disk.
    below = root.parent / "images"
    return ImageIndex(below) if below.is_dir() else ImageIndex(root.parent, deep=False)


def _note_left_out(file: Path, left_out: Counter[str], problems: list[Problem]) -> None:
    for reason, count in left_out.items():
        if count:
            value = f"{count} tasks are left out: {reason}"
            expected = "an annotation of each task"
            problems.append(Problem("unlabelled-task", "note", file, "", value, expected))


FORMAT = Format(
    name="labelstudio",
    summary="Label Studio: a JSON export of tasks, brush strokes included",
    recognise=recognise,
    open=open_labelstudio,
    options=LabelStudioOptions,
    capacity=Capacity(instances=True, boxes=True, crowds=True),
    write=write,
    write_options=LabelStudioWriteOptions,
    kind="instances",
)
