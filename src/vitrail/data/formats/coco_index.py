"""What COCO's instances and panoptic files share: categories, images, and faults of both."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.data.formats.base import Problems
from vitrail.data.formats.coco_json import list_categories
from vitrail.data.formats.files import file_exists, header_size, inside, is_too_long
from vitrail.data.formats.image_index import sample_ids
from vitrail.data.formats.shapes import frame, shown, whole
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ImageError

_SHOWN_FAULTS = 1000
"""Faults of one kind that are reported one by one; the rest is counted."""

Key = int | str
"""An image's id: a number, or a text where a tool made it so."""


class Faults:
    """Reports faults of one annotation file, of each kind only so many one by one."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self.path, self._problems = path, problems
        self._counts: Counter[str] = Counter()

    def error(self, code: str, id: object, value: str, expected: str, advice: str = "") -> None:
        self._counts[code] += 1
        if self._counts[code] <= _SHOWN_FAULTS:
            self._problems.error(code, self.path, str(id), value, expected, advice)

    def warning(self, code: str, id: object, value: str, expected: str, advice: str = "") -> None:
        self._counts[code] += 1
        if self._counts[code] <= _SHOWN_FAULTS:
            self._problems.warning(code, self.path, str(id), value, expected, advice)

    def close(self) -> None:
        """Say how many more there are of those kinds that were cut short."""
        severities = {found.code: found.severity for found in self._problems.found}
        for code, count in self._counts.items():
            if count > _SHOWN_FAULTS:
                report = (
                    self._problems.error if severities[code] == "error" else self._problems.warning
                )
                report(code, self.path, "", f"{count - _SHOWN_FAULTS} more like these", "none")


@dataclass(frozen=True, slots=True)
class Category:
    """One entry of ``categories``."""

    id: int
    name: str
    thing: bool = True
    """Countable objects; panoptic files say so with ``isthing``."""
    colour: tuple[int, int, int] | None = None
    background: bool = False
    """None of the others; ``isbackground`` is vitrail's own addition to panoptic files."""


def parse_categories(values: Iterable[Any], faults: Faults) -> list[Category]:
    """Entries of ``categories`` in the order of their ids; malformed ones are reported."""
    found: dict[int, Category] = {}
    for value in values:
        number = whole(value.get("id")) if isinstance(value, dict) else None
        name = value.get("name") if isinstance(value, dict) else None
        if number is None or not _is_text(name):
            expected = "an object with an integer id and a name"
            faults.error("malformed-category", "", shown(value), expected)
            continue
        thing, background = bool(value.get("isthing", 1)), bool(value.get("isbackground", 0))
        category = Category(number, str(name), thing, _colour(value), background)
        if found.setdefault(number, category).name != category.name:
            faults.error(
                "duplicate-category",
                number,
                f"is {found[number].name!r} and {name!r}",
                "one name for each category id",
            )
    return [found[number] for number in sorted(found)]


def _is_text(value: object) -> bool:
    """Whether it is a text that can be written: JSON can hold halves of characters."""
    if not isinstance(value, str) or not value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _colour(value: Mapping[str, Any]) -> tuple[int, int, int] | None:
    colour = value.get("color")
    if not isinstance(colour, list) or len(colour) != 3:
        return None
    if not all(isinstance(one, int) and 0 <= one <= 255 for one in colour):
        return None
    return colour[0], colour[1], colour[2]


def merge_categories(
    path: Path, categories: Sequence[Category], others: Iterable[Path], faults: Faults
) -> list[Category]:
    """Categories of all files of a set by id, so that class ids agree between its splits.

    Raises
    ------
    DataError
        two files have different names for one id, or there are no categories at all.
    """
    merged = {one.id: (one, path) for one in categories}
    for other in others:
        # Faults within that file are reported when it is opened itself.
        silent = Faults(other, Problems())
        for one in parse_categories(list_categories(other), silent):
            known, source = merged.setdefault(one.id, (one, other))
            if known.name != one.name:
                raise DataError(
                    f"category {one.id} is {known.name!r} in {source} and {one.name!r} in {other}; "
                    "give all splits the same categories"
                )
    if not merged:
        raise DataError(
            f"{path}: has no 'categories', so that nothing says what the category ids mean; "
            'add "categories": [{"id": 1, "name": ...}, ...]'
        )
    chosen = [merged[number][0] for number in sorted(merged)]
    counts = Counter(one.name for one in chosen)
    for one in chosen:
        if counts[one.name] > 1:
            faults.warning(
                "duplicate-category",
                one.id,
                f"{one.name!r} is the name of {counts[one.name]} categories",
                "one id for each name",
                f"is called {one.name + f' ({one.id})'!r} here",
            )
    return [
        one if counts[one.name] < 2 else replace(one, name=f"{one.name} ({one.id})")
        for one in chosen
    ]


def label_space(categories: Sequence[Category], *, background: int | None = None) -> LabelSpace:
    """Classes 0 to C - 1 in the order of the categories."""
    ids = tuple(one.id for one in categories)
    colours = tuple(one.colour for one in categories if one.colour is not None)
    return LabelSpace(
        tuple(one.name for one in categories),
        background,
        255 if len(ids) < 256 else 65535,
        None if ids == tuple(range(len(ids))) else ids,
        colours if len(colours) == len(ids) else None,
    )


class ImageList:
    """Collects entries of ``images``: hand :meth:`take` to the scan."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.names: list[str] = []
        self.sizes = array("q")
        """Height and width of each in turn; zeros where the file does not say."""
        self.position: dict[Key, int] = {}
        self.dropped: set[Key] = set()
        """Ids of images that were reported; their annotations are left out in silence."""
        self._by_name: dict[str, Key] = {}

    def take(self, value: Any, _start: int, _length: int) -> None:
        """Check and keep one entry."""
        key = value.get("id") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(key, int | str):
            expected = "an object with id, file_name, width and height"
            self._faults.error("malformed-image", "", shown(value), expected)
            return
        name, size = value.get("file_name"), (value.get("height"), value.get("width"))
        if key in self.position or key in self.dropped:
            self._faults.error(
                "duplicate-id", key, "is the id of two images", "an id of its own for each"
            )
        elif not isinstance(name, str):
            self.drop(key, "malformed-image", f"file_name is {shown(name)}", "the file's name")
        elif (trouble := _unsafe(name)) is not None:
            advice = "make file_name relative to the folder of images (option images)"
            self.drop(key, "unsafe-name", f"file_name is {shown(name)}", trouble, advice)
        elif size != (None, None) and not all(_positive(side) for side in size):
            found = f"height and width are {shown(size[0])} and {shown(size[1])}"
            self.drop(key, "bad-size", found, "the image's size in pixels")
        else:
            self._keep(key, name.replace("\\", "/"), size)

    def _keep(self, key: Key, name: str, size: tuple[Any, Any]) -> None:
        other = self._by_name.setdefault(name, key)
        if other != key:
            found = f"{shown(name)} is also the file of image {other}"
            self.drop(key, "duplicate-id", found, "a file of its own for each image")
        elif size[0] is not None and frame(size[1], size[0]) is None:
            found = f"{size[1]} x {size[0]} px"
            advice = "raise VITRAIL_MAX_PIXELS if it is real"
            self.drop(key, "image-too-large", found, "a size within the limit", advice)
        else:
            self.position[key] = len(self.names)
            self.names.append(name)
            self.sizes.extend((size[0] or 0, size[1] or 0))

    def drop(self, key: Key, code: str, value: str, expected: str, advice: str = "") -> None:
        """Report an image and leave it out."""
        self.position.pop(key, None)
        self.dropped.add(key)
        self._faults.error(code, key, value, expected, advice)


def _positive(side: object) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and side > 0


def _unsafe(name: str) -> str | None:
    if is_too_long(name):
        return "a name that a file can have: at most 255 bytes"
    try:
        inside(Path(), name)
        name.encode("utf-8", "surrogateescape")
    except DataError:
        return "the name of a file inside the folder of images"
    except UnicodeEncodeError:  # JSON can hold halves of characters
        return "a name that a file can have"
    return None


@dataclass(frozen=True)
class Images:
    """The images of one split that exist, in the order of their names."""

    folder: Path
    names: list[str]
    """Below the folder, with forward slashes."""
    ids: list[str]
    """Of the samples: names without suffix."""
    sizes: np.ndarray
    """(N, 2) int64, height and width; zeros where the file does not say."""

    def path(self, index: int) -> Path:
        return self.folder / self.names[index]

    def size(self, index: int) -> tuple[int, int]:
        """``(H, W)`` as the file says, or else as the image's header says.

        Raises
        ------
        DataError
            the file does not say, and the image cannot be read.
        """
        height, width = self.sizes[index].tolist()
        if height:
            return height, width
        try:
            return header_size(self.path(index))[0]
        except ImageError as error:
            raise DataError(str(error)) from None


def find_images(listed: ImageList, folder: Path, faults: Faults) -> tuple[Images, dict[Key, int]]:
    """The images that exist, and where each is by the file's own id.

    Those that are missing are reported, left out, and added to ``listed.dropped``.

    Raises
    ------
    DataError
        not one of them exists.
    """
    there = existing(folder, listed.names)
    if listed.names and not any(there):
        raise DataError(
            f"{faults.path}: not one of its {len(listed.names)} images is in {folder} (the first "
            f"is {listed.names[0]}); name their folder with the option images"
        )
    for key, number in list(listed.position.items()):
        if not there[number]:
            found = f"{shown(listed.names[number])} is not in {folder}"
            advice = "copy the image, or drop its annotations"
            listed.drop(key, "missing-image", found, "an image file", advice)
    kept = sorted(listed.position.values(), key=listed.names.__getitem__)
    moved = {old: new for new, old in enumerate(kept)}
    position = {key: moved[number] for key, number in listed.position.items()}
    names = [listed.names[number] for number in kept]
    sizes = np.array(listed.sizes, np.int64).reshape(-1, 2)[kept]
    return Images(folder, names, sample_ids(names), sizes), position


def existing(folder: Path, names: Sequence[str]) -> list[bool]:
    """Whether each file (forward slashes) exists below a folder; folders are listed, each once."""
    listings: dict[str, frozenset[str]] = {}
    found: list[bool] = []
    for name in names:
        below, _, last = name.rpartition("/")
        if below not in listings:
            listings[below] = _listing(folder / below)
        # Where case or accents are spelled otherwise, the file system decides.
        found.append(last in listings[below] or file_exists(folder / name))
    return found


def _listing(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries)
    except OSError:
        return frozenset()
