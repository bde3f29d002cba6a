"""YOLO segmentation as Ultralytics has it: one text file an image, normalised outlines.

Format: https://docs.ultralytics.com/datasets/segment/ . ``data.yaml`` names the classes and, for
each split, a folder of images (searched with its sub-folders), a list of folders, or a text file
of image paths. The labels of ``.../images/x.jpg`` are in ``.../labels/x.txt``: the last ``images``
in the path counts. Each line is ``class x1 y1 x2 y2 ...``, an outline in fractions of width and
height, or ``class x y width height``, a bare box about its middle. Both in one set are read line by
line, with a warning: Ultralytics would take the boxes for outlines, or leave all outlines away.
Images that EXIF turns are measured upright. An image without a label file shows none of the
classes.

Without ``data.yaml``, folders of images beside folders of labels are read, by split or not, with
class names from ``classes.txt`` or ``obj.names``, a name a line.

Written, an object is one line: parts and holes are joined by seams without width
(:func:`vitrail.data.formats.outlines.bridge`), so that the line encloses exactly its pixels. A
bare box becomes an outline of four points, unless the set has nothing but boxes. What is lost are
crowds, which are left out, and everything else that was said of an object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Problems
from vitrail.data.formats.files import header_size, read_text
from vitrail.data.formats.image_index import sample_ids, walk
from vitrail.data.formats.outlines import from_fractions
from vitrail.data.formats.shapes import shown, whole
from vitrail.data.formats.yolo_config import Config, find_config, read_config
from vitrail.data.formats.yolo_images import Listing, list_images
from vitrail.data.formats.yolo_write import YoloWriteOptions, box_corners, label_path, write
from vitrail.data.problem import Problem
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError, ImageError

_MAX_LABEL_BYTES = 256 * 1024**2
"""Largest label file that is read: far more than an image has objects for."""

_FURTHEST = 1e9
"""Images away; a coordinate beyond it is none."""

Fault = tuple[str, str, str]
"""Code, value, expected."""


class YoloOptions(Options):
    """What the reader can be told."""

    data: str | None = Field(
        default=None, description="name of the YAML file in the folder, where there are several"
    )
    names: tuple[str, ...] | None = Field(
        default=None, description="class names by id, for a set that does not say them"
    )


class YoloSource:
    """One split; label files and image headers are read on access.

    Parameters
    ----------
    images, labels:
        The image files, and the label file of each or None.
    ids:
        The samples' names.
    space:
        The classes.
    keypoint_values:
        Numbers after each box that are left out: those of a pose data set.
    """

    def __init__(
        self,
        images: Sequence[Path],
        labels: Sequence[Path | None],
        ids: Sequence[str],
        space: LabelSpace,
        keypoint_values: int = 0,
    ) -> None:
        self.images, self.labels, self.ids, self.space = images, labels, ids, space
        self.keypoint_values = keypoint_values

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """One sample; lines that cannot be read are left out.

        Raises
        ------
        DataError
            the image is damaged, or its label file cannot be read.
        """
        image, labels = self.images[index], self.labels[index]
        try:
            size, _ = header_size(image)
        except ImageError as error:
            raise DataError(str(error)) from None
        instances = tuple(
            _instance(class_id, values, size, str(line))
            for line, class_id, values, _ in self.lines(labels)
            if values is not None
        )
        return Sample(self.ids[index], image, size, instances=instances)

    def lines(self, path: Path | None) -> Iterator[tuple[int, int, np.ndarray | None, Fault]]:
        """``(line number, class id, values, fault)`` of a label file; values None at a fault."""
        if path is None:
            return
        classes = len(self.space.classes)
        for number, line in enumerate(read_text(path, _MAX_LABEL_BYTES).splitlines(), 1):
            tokens = line.split()
            if not tokens:
                continue
            if self.keypoint_values and len(tokens) == 5 + self.keypoint_values:
                tokens = tokens[:5]
            class_id, values, fault = _parse(tokens, classes)
            yield number, class_id, values, fault


def _parse(tokens: Sequence[str], classes: int) -> tuple[int, np.ndarray | None, Fault]:
    class_id = whole(tokens[0])
    if class_id is None or not 0 <= class_id < classes:
        code = "malformed-annotation" if class_id is None else "unknown-category"
        return -1, None, (code, f"the class {shown(tokens[0])}", f"0 to {classes - 1}")
    text = shown(" ".join(tokens[:12]))
    if len(tokens) != 5 and (len(tokens) < 7 or len(tokens) % 2 == 0):
        return -1, None, ("malformed-annotation", f"{len(tokens)} values ({text})", _COLUMNS)
    try:
        values = np.array(tokens[1:], np.float64)
    except ValueError:
        values = np.array([np.nan])
    if not (np.abs(values) < _FURTHEST).all() or any("_" in token for token in tokens):
        return -1, None, ("malformed-annotation", text, "finite numbers")
    if len(values) == 4 and (values[2] < 0 or values[3] < 0):
        return -1, None, ("malformed-annotation", text, "a width and a height of at least 0")
    return class_id, values, ("", "", "")


_COLUMNS = "the class with x y width height, or with three points or more"


def _instance(class_id: int, values: np.ndarray, size: tuple[int, int], id: str) -> Instance:
    extent = np.array([size[1], size[0]], np.float64)
    if len(values) > 4:
        ring = from_fractions(values.reshape(-1, 2), extent)
        return Instance.from_polygons(class_id, [ring], size, id=id)
    x1, y1, x2, y2 = box_corners(values.reshape(2, 2), extent).ravel().tolist()
    return Instance.from_box(class_id, (x1, y1, x2, y2), size, id=id)


def recognise(root: Path) -> str | None:
    """Why a path looks like a YOLO set."""
    config = find_config(root)
    return None if config is None else config[1]


def open_yolo(root: Path, options: YoloOptions) -> Dataset:
    """Open a folder, or its YAML file.

    Raises
    ------
    DataError
        there is no YAML file and no folder of labels, no class name is said, or no split exists.
    """
    config = read_config(root, options.data, options.names)
    problems: list[Problem] = list(config.problems)
    openers = {split: partial(_open_split, config, split, problems) for split in config.splits}
    return Dataset(root, FORMAT.name, config.reason, openers, problems)


def _open_split(config: Config, split: str, problems: list[Problem]) -> YoloSource:
    """List the images of a split and look through their labels for faults."""
    found = Problems(split)
    images, names, labels_of = list_images(config, split, found)
    by_id = dict(sorted(zip(sample_ids(names), images, strict=True)))
    ids, images = list(by_id), list(by_id.values())
    listing = Listing()
    labels = [path if path in listing else None for path in map(label_path, images)]
    space = LabelSpace(config.names)
    source = YoloSource(images, labels, ids, space, config.keypoint_values)
    _report_mixture({p: _report(source, p, found) for p in labels if p is not None}, found)
    lacking = [image for image, path in zip(images, labels, strict=True) if path is None]
    if lacking:
        found.found.append(
            Problem(
                "no-label-file",
                "note",
                lacking[0],
                "",
                f"{len(lacking)} of {len(images)} images have no label file, this one first",
                "a label file, empty where nothing is shown",
                split,
                "check that they show none of the classes: they are taken as background",
            )
        )
    used = {path for path in labels if path is not None}
    for entry, folder in labels_of:
        for name in walk(folder, {".txt"}):
            if folder / name not in used and name != "classes.txt":
                found.warning(
                    "orphan-labels",
                    folder / name,
                    "",
                    "labels without an image",
                    f"an image of that name in {entry}",
                    "add the image, or move the file away",
                )
    problems += found.found
    return source


def _report(source: YoloSource, path: Path, found: Problems) -> tuple[int, int]:
    """Report the faults of a label file; how many boxes and how many outlines it has."""
    boxes = outlines = 0
    try:
        for number, _, values, (code, value, expected) in source.lines(path):
            if values is None:
                found.error(code, path, f"line {number}", value, expected, "mend or remove it")
            elif len(values) == 4:
                boxes += 1
            else:
                outlines += 1
    except DataError as error:
        # Only this file is lost; reading the sample says so again.
        found.error("malformed-file", path, "", str(error), "a UTF-8 text file of labels")
    return boxes, outlines


def _report_mixture(files: Mapping[Path, tuple[int, int]], found: Problems) -> None:
    """Tell of boxes beside outlines, once a split: Ultralytics reads the lines in another way."""
    boxes, outlines = (sum(counts[place] for counts in files.values()) for place in (0, 1))
    if boxes and outlines:
        found.warning(
            "boxes-among-outlines",
            next(path for path, counts in files.items() if counts[0]),
            "",
            f"{boxes:,} bare boxes among {outlines:,} outlines, the first in this file",
            "lines of one kind; Ultralytics takes such boxes for outlines of two points, and "
            "leaves out all outlines of a set where a file has nothing but boxes",
            "make outlines of four points of them: vitrail data convert --to yolo --allow-lossy",
        )


FORMAT = Format(
    name="yolo",
    summary="YOLO segmentation (Ultralytics): data.yaml, images, text files of outlines",
    recognise=recognise,
    open=open_yolo,
    options=YoloOptions,
    capacity=Capacity(instances=True),
    write=write,
    write_options=YoloWriteOptions,
    kind="instances",
)
