"""Where the rows and masks of a split of Open Images are, in a few bytes for each.

The boxes of the training set are 15 million rows, its masks 2.7 million files. Kept are the place
of each row in its file and the folder of each mask; rows are read again when a sample is asked for.
"""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrail.data.formats.base import Problems
from vitrail.data.formats.coco_index import Faults
from vitrail.data.formats.files import inside
from vitrail.data.formats.openimages_csv import Row, Table
from vitrail.data.formats.openimages_files import MOST_FOLDERS, Images
from vitrail.errors import DataError

BOX = ("XMin", "XMax", "YMin", "YMax")
MASK_BOX = ("BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")
NUMBERS = ("Confidence", "IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")
FLAGS = NUMBERS[1:]


@dataclass
class Rows:
    """Which rows of a file belong to which image."""

    table: Table
    starts: np.ndarray
    """``(N + 1,)`` int64: where the rows of each image begin in the next two."""
    offsets: np.ndarray
    """``(R,)`` int64: places of rows in the file; of each image in their order."""
    folders: np.ndarray | None = None
    """``(R,)`` uint8: which folder the mask of each is in."""

    def of(self, index: int) -> list[tuple[Row, int]]:
        """Rows of an image, each with the number of its mask's folder."""
        part = slice(int(self.starts[index]), int(self.starts[index + 1]))
        rows = self.table.at(self.offsets[part].tolist())
        places = [0] * len(rows) if self.folders is None else self.folders[part].tolist()
        return list(zip(rows, places, strict=True))


class Indexer:
    """Goes through the files of one split."""

    def __init__(
        self, images: Images, labels: Sequence[str], problems: Problems, report_missing: bool
    ) -> None:
        """``report_missing``: rows of images that are not there are faults."""
        self._images = {id.encode(): index for index, id in enumerate(images.ids)}
        self._wanted = None if report_missing else self._images
        self._labels = frozenset(labels)
        self._problems = problems

    def boxes(self, path: Path) -> Rows:
        """Index a file of boxes.

        Raises
        ------
        DataError
            it cannot be read or has no columns of boxes.
        """
        table = Table.open(path, ("ImageID", "LabelName", *BOX))
        faults = Faults(path, self._problems)
        images, offsets = array("i"), array("q")
        for row in table.rows(faults, "ImageID", self._wanted):
            index = self._checked(table, row, BOX, faults)
            if index is not None:
                images.append(index)
                offsets.append(row.offset)
        faults.close()
        self._report_none(path, len(images))
        return self._grouped(table, images, offsets)

    def masks(self, path: Path, folders: Sequence[Path]) -> Rows:
        """Index a file of masks, and find those masks in some folders.

        Raises
        ------
        DataError
            it cannot be read or has no columns of masks.
        """
        table = Table.open(path, ("MaskPath", "ImageID", "LabelName"))
        faults = Faults(path, self._problems)
        known = _Files(folders)
        images, offsets, names = array("i"), array("q"), array("q")
        for row in table.rows(faults, "ImageID", self._wanted):
            index = self._checked(table, row, MASK_BOX, faults)
            if index is None:
                continue
            try:
                name = mask_name(table, row)
            except DataError as error:
                expected = "a file in the folder of masks"
                faults.error("unsafe-name", f"line {row.line}", str(error), expected)
                continue
            images.append(index)
            offsets.append(row.offset)
            names.append(hash(name))
        places = known.places(names)
        for row in table.at(np.frombuffer(offsets, np.int64)[places < 0].tolist()):
            faults.error(
                "missing-mask",
                table.text(row, "ImageID"),
                f"no mask {table.text(row, 'MaskPath')!r}",
                "a file in one of " + (", ".join(map(str, folders[:4])) or "the folders of masks"),
                "unpack the masks' archives there, or remove the rows",
            )
        faults.close()
        self._report_none(path, len(images))
        kept = places >= 0
        return self._grouped(table, images, offsets, kept, places)

    def _report_none(self, path: Path, kept: int) -> None:
        if not kept and self._images and not self._problems.found:
            self._problems.warning(
                "orphan-annotation",
                path,
                "",
                "no row is of an image that is there",
                f"ImageIDs such as {next(iter(self._images)).decode()!r}",
                "missing_images=report lists them",
            )

    def _checked(self, table: Table, row: Row, box: Sequence[str], faults: Faults) -> int | None:
        """The image of a row that can be used."""
        id = table.text(row, "ImageID")
        index = self._images.get(id.encode())
        if index is None:
            faults.error("missing-image", id, f"line {row.line}: no such image", "its image file")
            return None
        label = table.text(row, "LabelName")
        if label not in self._labels:
            faults.error(
                "unknown-category",
                id,
                f"line {row.line}: LabelName {label!r}",
                "one of the class descriptions",
            )
            return None
        try:
            read_box(table, row, box)
            for name in NUMBERS:
                table.number(row, name)
        except ValueError as error:
            faults.error("malformed-box", id, f"line {row.line}: {error}", "numbers")
            return None
        return index

    def _grouped(
        self,
        table: Table,
        images: array[int],
        offsets: array[int],
        kept: np.ndarray | None = None,
        places: np.ndarray | None = None,
    ) -> Rows:
        owners = np.frombuffer(images, np.int32)
        byte = np.frombuffer(offsets, np.int64)
        if kept is not None:
            owners, byte = owners[kept], byte[kept]
        order = np.argsort(owners, kind="stable")
        starts = np.searchsorted(owners[order], np.arange(len(self._images) + 1))
        folders = None
        if kept is not None and places is not None:
            folders = places[kept][order].astype(np.uint8)
        return Rows(table, starts.astype(np.int64), byte[order], folders)


class _Files:
    """Names of the files in some folders, as hashes: eight bytes for each.

    A collision would hide that a mask is missing until it is read; for 2.7 million names the odds
    are one in two million.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        hashes, owners = array("q"), array("B")
        for place, folder in enumerate(folders[:MOST_FOLDERS]):
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        hashes.append(hash(entry.name))
                        owners.append(place)
            except OSError:
                continue
        values = np.frombuffer(hashes, np.int64)
        order = np.argsort(values, kind="stable")
        self._hashes = values[order]
        self._owners = np.frombuffer(owners, np.uint8)[order].astype(np.int16)

    def places(self, names: array[int]) -> np.ndarray:
        """The folder of each name by its hash, ``(N,)`` int16; -1: in none."""
        wanted = np.frombuffer(names, np.int64)
        if not len(self._hashes):
            return np.full(len(wanted), -1, np.int16)
        at = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
        return np.where(self._hashes[at] == wanted, self._owners[at], np.int16(-1))


def mask_name(table: Table, row: Row) -> str:
    """The file name of a row's mask; :class:`DataError` where it leads out of the folder."""
    return inside(Path(), table.text(row, "MaskPath")).name


def read_box(
    table: Table, row: Row, names: Sequence[str]
) -> tuple[float, float, float, float] | None:
    """``x1, x2, y1, y2`` as shares of width and height; None where all are empty.

    Raises
    ------
    ValueError
        one is missing or no finite number; says which.
    """
    found = [table.number(row, name) for name in names]
    if all(value is None for value in found):
        return None
    values: list[float] = []
    for name, value in zip(names, found, strict=True):
        if value is None or not math.isfinite(value):
            raise ValueError(f"{name} is {'empty' if value is None else value}")
        values.append(value)
    return values[0], values[1], values[2], values[3]
