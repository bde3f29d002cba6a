"""Open Images V4 to V7: objects in CSV files, a mask PNG for each, boxes.

::

    images/SPLIT/ID.jpg                       or SPLIT/ID.jpg, SPLIT_[0-f]/ID.jpg
    class-descriptions-boxable.csv            LabelName,DisplayName
    SPLIT-annotations-object-segmentation.csv MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,
                                              BoxYMin,BoxYMax,PredictedIoU,Clicks
    SPLIT-annotations-bbox.csv                ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,
                                              YMax,IsOccluded,IsTruncated,IsGroupOf,...
    masks/SPLIT/NAME.png                      or SPLIT-masks-[0-f]/NAME.png

The CSV files may lie in ``annotations/``, their names may begin with ``oidv6-``. SPLIT is train,
validation or test. Documentation: https://storage.googleapis.com/openimages/web/download_v6.html.
Coordinates are shares of width and height. Who has only some of the images reads only their rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Problems
from vitrail.data.formats.files import header_size
from vitrail.data.formats.folders_layout import is_file, split_order
from vitrail.data.formats.openimages_csv import read_descriptions
from vitrail.data.formats.openimages_files import (
    Images,
    Names,
    find_images,
    image_folders,
    mask_folders,
)
from vitrail.data.formats.openimages_index import Indexer, Rows, mask_name
from vitrail.data.formats.openimages_objects import box_row, join, mask_row
from vitrail.data.formats.openimages_write import write
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, Sample, SampleSource
from vitrail.errors import DataError

_VERSION = r"(?:oidv(?P<version>\d{1,3})-)?"
_CSV = re.compile(
    _VERSION + r"(?P<split>.+)-annotations-(?P<kind>bbox|object-segmentation)\.csv", re.IGNORECASE
)
_CLASSES = re.compile(_VERSION + r"class-descriptions(?P<boxable>-boxable)?\.csv", re.IGNORECASE)


class OpenImagesOptions(Options):
    """What to read of Open Images."""

    boxes: bool = Field(True, description="objects of which only a box is known, too")
    missing_images: Literal["skip", "report"] = Field(
        "skip", description="rows of images that are not there: left out, or reported as faults"
    )


@dataclass
class _Split:
    """Files of annotations of one split."""

    boxes: Path | None = None
    masks: Path | None = None


class OpenImagesSource:
    """One split: all its images by id, those without any row as images without objects.

    Masks are read on first access and scaled to the image by nearest neighbours. Boxes are as in
    the file, in px: that of a mask is the one its annotator began with, not the mask's own.
    """

    def __init__(
        self,
        images: Images,
        space: LabelSpace,
        labels: Sequence[str],
        masks: tuple[Rows, Sequence[Path]] | None,
        boxes: Rows | None,
        bare: bool,
    ) -> None:
        self._images, self.space, self._bare = images, space, bare
        self.labels = tuple(labels)
        """The LabelName of each class (``/m/01g317``)."""
        self._masks, self._boxes = masks, boxes
        self._classes = {label: number for number, label in enumerate(self.labels)}

    @property
    def ids(self) -> Names:
        return self._images.ids

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def mask_paths(self, index: int) -> list[Path]:
        """The mask files of a sample.

        Raises
        ------
        DataError
            the file of masks changed since it was opened.
        """
        if self._masks is None:
            return []
        rows, folders = self._masks
        return [folders[place] / mask_name(rows.table, row) for row, place in rows.of(index)]

    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises
        ------
        DataError, ImageError
            the image's header is damaged, or a CSV file changed since it was opened.
        """
        index = range(len(self))[index]
        path = self._images.path(index)
        size, _ = header_size(path)
        try:
            boxes = []
            if self._boxes is not None:
                table = self._boxes.table
                boxes = [box_row(table, row) for row, _ in self._boxes.of(index)]
            masks = []
            if self._masks is not None:
                rows, folders = self._masks
                for row, place in rows.of(index):
                    mask = folders[place] / mask_name(rows.table, row)
                    masks.append(mask_row(rows.table, row, mask))
            found = join(masks, boxes, self._classes, size, bare=self._bare)
        except (ValueError, KeyError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{self.ids[index]}: its rows have changed since the files were opened ({error})"
            ) from None
        return Sample(self.ids[index], path, size, instances=found)


# Opening ----------------------------------------------------------------------------------------


def _listed(folder: Path) -> list[str]:
    """Names of the CSV files of a folder, sorted; none where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.name.lower().endswith(".csv") and is_file(e))
    except OSError:
        return []


def _annotations(root: Path) -> dict[str, _Split]:
    """Files of boxes and masks by split; of several versions the newest."""
    splits: dict[str, _Split] = {}
    for folder in (root, root / "annotations"):
        found = [match for name in _listed(folder) if (match := _CSV.fullmatch(name))]
        for match in sorted(found, key=lambda one: int(one["version"] or 0)):
            split = splits.setdefault(match["split"], _Split())
            if match["kind"].lower() == "bbox":
                split.boxes = folder / match[0]
            else:
                split.masks = folder / match[0]
    return dict(sorted(splits.items(), key=lambda item: split_order(item[0])))


def recognise(root: Path) -> str | None:
    """Its names of CSV files."""
    splits = _annotations(root)
    files = [path for one in splits.values() for path in (one.masks, one.boxes) if path]
    return files[0].relative_to(root).as_posix() if files else None


def read(root: Path, options: OpenImagesOptions) -> Dataset:
    """Open Open Images, or a part of it.

    Raises
    ------
    DataError
        there are no annotations, class descriptions or images, or descriptions cannot be read.
    """
    splits = _annotations(root)
    if not splits:
        raise DataError(
            f"{root}: has no SPLIT-annotations-object-segmentation.csv or "
            "SPLIT-annotations-bbox.csv, neither there nor in annotations/"
        )
    descriptions = read_descriptions(_descriptions(root))
    space = LabelSpace(tuple(descriptions.values()))
    problems: list[Problem] = []
    openers = {}
    for split, files in splits.items():
        folders = image_folders(root, split)
        if folders:
            opened = partial(_open, root, split, files, folders, space, tuple(descriptions))
            openers[split] = partial(opened, options, problems)
        else:
            value = "no folder of its images; the split is left out"
            expected = f"images/{split}/ or {split}/"
            problems.append(Problem("missing-image", "warning", root, "", value, expected, split))
    if not openers:
        names = " or ".join(f"images/{split}/" for split in splits)
        raise DataError(f"{root}: has no images, expected {names}")
    return Dataset(root, FORMAT.name, recognise(root) or "", openers, problems)


def _descriptions(root: Path) -> Path:
    """The list of classes: rather that of classes with boxes, rather the newest."""
    found = [
        (bool(match["boxable"]), int(match["version"] or 0), folder / name)
        for folder in (root, root / "annotations")
        for name in _listed(folder)
        if (match := _CLASSES.fullmatch(name))
    ]
    if not found:
        raise DataError(
            f"{root}: has no class-descriptions-boxable.csv, neither there nor in annotations/; it "
            "is one of the files at https://storage.googleapis.com/openimages/web/download_v6.html"
        )
    return max(found)[2]


def _open(
    root: Path,
    split: str,
    files: _Split,
    folders: Sequence[Path],
    space: LabelSpace,
    labels: Sequence[str],
    options: OpenImagesOptions,
    problems: list[Problem],
) -> SampleSource:
    """Index one split; rows that cannot be used are reported and left out."""
    found = Problems(split)
    images = find_images(folders, found)
    indexer = Indexer(images, labels, found, options.missing_images == "report")
    masks = None
    if files.masks is not None:
        places = mask_folders(root, split)
        masks = indexer.masks(files.masks, places), places
    boxes = None if files.boxes is None else indexer.boxes(files.boxes)
    if not len(images.ids) and not found.found:
        found.warning("empty-split", folders[0], "", "holds no images", "image files")
    problems += found.found
    return OpenImagesSource(images, space, labels, masks, boxes, options.boxes)


FORMAT = Format(
    name="openimages",
    summary="Open Images: CSV files of masks and boxes, a PNG for each mask",
    recognise=recognise,
    open=read,
    options=OpenImagesOptions,
    capacity=Capacity(instances=True, boxes=True, crowds=True),
    write=write,
    kind="instances",
)
