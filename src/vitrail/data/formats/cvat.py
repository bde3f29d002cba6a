"""CVAT for images 1.1: one XML file for all images.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/ and
https://docs.cvat.ai/docs/manual/advanced/xml_format/ . Polygons, ellipses, masks and turned boxes
are areas; upright boxes are bare boxes, as in CVAT's own exports to COCO. Polylines, points,
skeletons and cuboids are no areas, and are reported; tags of whole images are passed over. Shapes
of one label and one ``group_id`` are one object.

Classes are the labels of ``<meta>``, of a task, a project or a job, that areas can have, in its
order and with its colours; without any, those that occur, sorted. Images lie in ``images/``, by
subset or not, or beside the file. Each ``subset`` is a split.

A mask's ``rle`` are the lengths of its runs within its box, row by row, the first one outside. An
attribute ``is_crowd`` makes an object a crowd. ``occluded``, ``z_order``, ``source`` and the
attributes of labels are attributes of objects.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Problems
from vitrail.data.formats.cvat_write import CvatWriteOptions, write
from vitrail.data.formats.cvat_xml import CvatFile, CvatImage, read_xml
from vitrail.data.formats.files import header_size
from vitrail.data.formats.image_index import ImageIndex, images_folder, name_parts, sample_ids
from vitrail.data.formats.safe_xml import parse_colour
from vitrail.data.formats.shapes import objects, shown
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError, ImageError, nearest

_HEAD = 4096
"""Bytes of a file that are looked at to recognise it."""


class CvatOptions(Options):
    """What the reader can be told."""

    images: Path | None = Field(
        default=None, description="folder of the images, where they are not below the set's own"
    )
    rectangles: Literal["boxes", "areas"] = Field(
        default="boxes", description="what an upright box is: a bare box, or all it encloses"
    )
    join_groups: bool = Field(default=True, description="join shapes of one label and group_id")


class CvatSource:
    """One split; outlines and encoded masks are in memory, rasters are made on access."""

    def __init__(
        self,
        images: Sequence[CvatImage],
        paths: Sequence[Path],
        ids: Sequence[str],
        space: LabelSpace,
    ) -> None:
        self.images, self.paths, self.ids, self.space = images, paths, ids, space
        self._class_ids = {name: number for number, name in enumerate(space.classes)}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises
        ------
        DataError
            the file does not say the image's size, and its header is damaged.
        """
        image, path = self.images[index], self.paths[index]
        try:
            size = image.size or header_size(path)[0]
        except ImageError as error:
            raise DataError(str(error)) from None
        instances = objects(image.shapes, size, self._class_ids)
        return Sample(self.ids[index], path, size, instances=instances)


def recognise(root: Path) -> str | None:
    """Why a path looks like CVAT's: an XML file whose root is ``<annotations>``."""
    files = _files(root)
    return f"{files[0].name}, CVAT for images" if files else None


def _files(root: Path) -> list[Path]:
    """XML files of CVAT in a folder, or the file itself."""
    if root.is_file():
        return [root] if _is_cvat(root) else []
    try:
        files = sorted(path for path in root.iterdir() if path.suffix.lower() == ".xml")
    except OSError:
        return []
    return [path for path in files if _is_cvat(path)]


def _is_cvat(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    root = re.search(rb"<([A-Za-z][\w.-]*)[\s>]", head)
    return root is not None and root[1] == b"annotations"


def open_cvat(root: Path, options: CvatOptions) -> Dataset:
    """Open a folder, or its XML file.

    Raises
    ------
    DataError
        there is no XML file of CVAT, or it cannot be read (see ``read_xml``).
    """
    # A file that was named is read whatever it looks like, so that it says what is wrong.
    files = [root] if root.is_file() else _files(root)
    if not files:
        raise DataError(f"{root}: no XML file of CVAT, whose root is <annotations>")
    read = {
        path: read_xml(path, boxes=options.rectangles == "boxes", groups=options.join_groups)
        for path in files
    }
    space = _space(list(read.values()))
    index = _index(root, options)
    subsets = any(image.subset for file in read.values() for image in file.images)
    splits: dict[str, list[tuple[Path, CvatImage]]] = {}
    problems: list[Problem] = []
    for path, file in read.items():
        plain = "default" if subsets else path.stem if len(read) > 1 else "all"
        for image in file.images:
            splits.setdefault(image.subset or plain, []).append((path, image))
        problems += (replace(one, split=one.split or plain) for one in file.problems)
    if not splits:
        first = f": {problems[0]}" if problems else ""
        raise DataError(f"{root}: holds no images{first}")
    openers: dict[str, partial[CvatSource]] = {}
    for split, images in splits.items():
        found = Problems(split)
        kept = _match(images, index, space, found)
        ids = sample_ids([name for name, _, _ in kept])
        rows = sorted(zip(ids, kept, strict=True), key=lambda row: row[0])
        openers[split] = partial(
            CvatSource,
            [image for _, (_, image, _) in rows],
            [path for _, (_, _, path) in rows],
            [id for id, _ in rows],
            space,
        )
        problems += found.found
    reason = f"{files[0].name}, CVAT for images"
    return Dataset(root, FORMAT.name, reason, openers, problems)


def _index(root: Path, options: CvatOptions) -> ImageIndex:
    if options.images is not None:
        return ImageIndex(images_folder(options.images, root))
    if root.is_dir():
        return ImageIndex(root)
    # Of a single file, what lies in images/ or beside it: the rest may be all of a disk.
    below = root.parent / "images"
    return ImageIndex(below) if below.is_dir() else ImageIndex(root.parent, deep=False)


def _space(files: Sequence[CvatFile]) -> LabelSpace:
    labels: dict[str, str] = {}
    for file in files:
        labels |= {name: colour for name, colour in file.labels.items() if name not in labels}
    if not labels:
        used = {shape.label for file in files for image in file.images for shape in image.shapes}
        return LabelSpace(tuple(sorted(used)))
    colours = [parse_colour(text) for text in labels.values()]
    known = tuple(colour for colour in colours if colour is not None)
    return LabelSpace(tuple(labels), colours=known if len(known) == len(labels) else None)


def _match(
    images: Sequence[tuple[Path, CvatImage]],
    index: ImageIndex,
    space: LabelSpace,
    found: Problems,
) -> list[tuple[str, CvatImage, Path]]:
    """Images of a split with their files; what cannot be used is reported."""
    kept: dict[str, tuple[str, CvatImage, Path]] = {}
    for file, image in images:
        name = "/".join(name_parts(image.name))
        for shape in image.shapes:
            if shape.label not in space.classes:
                found.error(
                    "unknown-category",
                    file,
                    f"{image.name}, shape {shape.id}",
                    f"label {shown(shape.label)}",
                    f"a label of <meta>; {nearest(shape.label, space.classes)}",
                    "declare the label, or correct the shape",
                )
        candidates = _candidates(name, image.subset, index)
        if name in kept:
            found.error(
                "repeated-image",
                file,
                image.name,
                "a second <image> of that name",
                "one entry for each image",
                "remove one of them",
            )
        elif len(candidates) != 1:
            several = f"{len(candidates)} files could be meant: {', '.join(candidates[:3])}"
            found.error(
                "ambiguous-image" if candidates else "missing-image",
                file,
                image.name,
                several if candidates else "no such image",
                f"one image of that name below {index.root}",
                "copy it there, or name its folder with images=FOLDER",
            )
        else:
            kept[name] = (name, image, index.root / candidates[0])
    return list(kept.values())


def _candidates(name: str, subset: str, index: ImageIndex) -> list[str]:
    """Where an image may lie: as CVAT exports it, or else wherever its name fits best."""
    below = f"{subset}/{name}" if subset else name
    for path in (f"images/{below}", below, f"images/{name}", name):
        if path in index:
            return [path]
    return index.find(name_parts(below))


FORMAT = Format(
    name="cvat",
    summary="CVAT for images 1.1: annotations.xml and images/",
    recognise=recognise,
    open=open_cvat,
    options=CvatOptions,
    capacity=Capacity(instances=True, boxes=True, crowds=True),
    write=write,
    write_options=CvatWriteOptions,
    kind="instances",
)
