"""What is counted while samples are looked at; small, and added up from worker to report."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from pathlib import Path
from unicodedata import normalize

import numpy as np


@dataclass
class ClassCounts:
    """Counts over label maps and objects, by class id."""

    pixels: np.ndarray
    """Of label maps, ``(C,)`` int64."""
    image_pixels: np.ndarray
    """All pixels of the label maps in which a class occurs, ``(C,)`` int64."""
    images: np.ndarray
    """Label maps in which a class occurs, ``(C,)`` int64."""
    objects: np.ndarray
    """``(C,)`` int64."""
    object_images: np.ndarray
    """Images with an object of a class, ``(C,)`` int64."""
    maps: int = 0
    """Label maps that could be read."""
    ignored: int = 0
    """Their pixels that are ignore."""
    lists: int = 0
    """Images that have a list of objects, be it empty."""
    strange: Counter[int] = field(default_factory=Counter)
    """Masks in which an id that is no class occurs, by id."""
    zeros: int = 0
    """Masks with such ids that also hold 0."""
    foreign: Counter[int] = field(default_factory=Counter)
    """Objects whose class the set does not have, by the data set's own number of it."""
    alone: int = 0
    """Mask files that hold 0 and 255 and nothing else, where 255 is ignore."""
    beside: int = 0
    """Mask files in which ignore lies beside a class other than 0."""
    example: Path | None = None
    """The first of those that hold 0 and 255 alone."""

    @classmethod
    def of(cls, classes: int) -> ClassCounts:
        """All zero."""
        pixels, image_pixels, images, objects, object_images = np.zeros((5, classes), np.int64)
        return cls(pixels, image_pixels, images, objects, object_images)

    def add(self, other: ClassCounts) -> None:
        for one in fields(self):
            mine, theirs = getattr(self, one.name), getattr(other, one.name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            elif one.name == "example":
                self.example = mine or theirs
            else:
                setattr(self, one.name, mine + theirs)

    def add_map(self, values: np.ndarray, counts: np.ndarray, ignore: int) -> None:
        """One label map, as its distinct values and the pixels of each."""
        self.maps += 1
        self.ignored += int(counts[values == ignore].sum())
        known = (values < len(self.pixels)) & (values != ignore)
        values, counts = values[known], counts[known]
        self.pixels[values] += counts
        self.images[values] += 1
        self.image_pixels[values] += counts.sum()

    def add_void(self, values: np.ndarray, ignore: int, file: Path | None) -> None:
        """One label map as it is in its file, by its distinct values: where ignore occurs."""
        if ignore not in values:
            return
        if ignore == 255 and values.tolist() == [0, 255]:
            self.alone += 1
            self.example = self.example or file
        self.beside += bool(((values > 0) & (values != ignore)).any())

    def add_objects(self, counts: np.ndarray) -> None:
        """The objects of one image, by class."""
        self.lists += 1
        self.objects += counts
        self.object_images += counts > 0


@dataclass
class Palettes:
    """Which colour each index has in palette PNGs, and the first one that has another."""

    colours: dict[int, tuple[bytes, Path]] = field(default_factory=dict)
    conflict: tuple[int, bytes, Path, bytes, Path] | None = None
    """Index, its colour in a first file, and its other colour in a second one."""

    def add(self, colours: dict[int, tuple[bytes, Path]]) -> None:
        for index, (colour, path) in colours.items():
            before = self.colours.setdefault(index, (colour, path))
            if before[0] != colour and self.conflict is None:
                self.conflict = (index, *before, colour, path)

    def merge(self, other: Palettes) -> None:
        self.add(other.colours)
        self.conflict = self.conflict or other.conflict


@dataclass
class Folder:
    """Files of one folder that samples use."""

    digests: array[int] = field(default_factory=lambda: array("Q"))
    """64 bits of each name: names themselves would take ten times the memory."""
    tail: str | None = None
    """What all names end in."""

    def add(self, name: str) -> None:
        self.digests.append(digest(name))
        self.tail = name if self.tail is None else common_tail(self.tail, name)

    def merge(self, other: Folder) -> None:
        self.digests.extend(other.digests)
        if other.tail is not None:
            self.tail = other.tail if self.tail is None else common_tail(self.tail, other.tail)


@dataclass
class Used:
    """Files that samples use, by folder."""

    folders: dict[Path, Folder] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        self.folders.setdefault(path.parent, Folder()).add(path.name)

    def merge(self, other: Used) -> None:
        for path, folder in other.folders.items():
            self.folders.setdefault(path, Folder()).merge(folder)


def common_tail(one: str, other: str) -> str:
    """The longest end that two names share."""
    length = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        length += 1
    return one[len(one) - length :]


def digest(name: str) -> int:
    """The same in every process, unlike ``hash``, and however accents are spelled (NFC or NFD)."""
    data = normalize("NFC", name).encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
