"""The images and the folders of masks of a split of Open Images."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import overload

import numpy as np

from vitrail.data.formats.base import Problems
from vitrail.data.formats.files import IMAGE_SUFFIXES
from vitrail.data.formats.folders_layout import subfolders
from vitrail.data.formats.folders_pairs import is_utf8
from vitrail.data.formats.image_index import walk

MOST_FOLDERS = 255
"""Folders of a split; which one a file is in is kept in a byte."""


class Names(Sequence[str]):
    """Many texts in one piece of memory: their bytes, and eight more for each."""

    def __init__(self, names: Iterable[str]) -> None:
        ends, parts = array("Q"), bytearray()
        for name in names:
            parts += name.encode()
            ends.append(len(parts))
        self._bytes, self._ends = bytes(parts), np.frombuffer(ends, np.uint64).astype(np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = int(self._ends[place - 1]) if place else 0
        return self._bytes[start : int(self._ends[place])].decode()


@dataclass
class Images:
    """The images of a split, sorted by id."""

    folders: tuple[Path, ...]
    ids: Names
    names: Names
    """Paths in their folders."""
    places: np.ndarray
    """``(N,)`` uint8: which folder each is in."""

    def path(self, index: int) -> Path:
        return self.folders[int(self.places[index])] / self.names[index]


def find_images(folders: Sequence[Path], problems: Problems) -> Images:
    """All images below some folders; an id is a path without suffix, without its folder."""
    found: dict[str, tuple[int, str]] = {}
    for place, folder in enumerate(folders[:MOST_FOLDERS]):
        for name in walk(folder, IMAGE_SUFFIXES):
            id = str(PurePosixPath(name).with_suffix(""))
            if not is_utf8(name):
                problems.error(
                    "file-name", folder, "", f"the file name {name!a} is not UTF-8", "UTF-8"
                )
            elif id in found:
                problems.error(
                    "duplicate-id",
                    folder / name,
                    id,
                    f"another image of the id of {found[id][1]}",
                    "one image of an id",
                    "remove one of the two",
                )
            else:
                found[id] = (place, name)
    ids = sorted(found)
    return Images(
        tuple(folders),
        Names(ids),
        Names(found[id][1] for id in ids),
        np.fromiter((found[id][0] for id in ids), np.uint8, len(ids)),
    )


def mask_folders(root: Path, split: str) -> list[Path]:
    """Where masks of a split may lie: ``masks/SPLIT/`` and inside, ``SPLIT-masks-[0-f]/``."""
    numbered = re.compile(re.escape(split) + r"-masks(-[0-9a-f])?")
    top, inner = subfolders(root), subfolders(root / "masks")
    both = [*top.items(), *inner.items()]
    found = [path for name, path in both if numbered.fullmatch(name)]
    if split in inner:
        found += [inner[split], *subfolders(inner[split]).values()]
    if not found and "masks" in top:
        found = [top["masks"], *(path for name, path in inner.items() if len(name) == 1)]
    return found


def image_folders(root: Path, split: str) -> list[Path]:
    """Where images of a split may lie: ``images/SPLIT/``, ``SPLIT/``, ``SPLIT_[0-9a-f]/``."""
    named = re.compile(re.escape(split) + r"(_[0-9a-f])?")
    return [
        path
        for folder in (root / "images", root)
        for name, path in subfolders(folder).items()
        if named.fullmatch(name)
    ]
