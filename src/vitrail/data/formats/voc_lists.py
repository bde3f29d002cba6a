"""What VOC, SBD and Oxford-IIIT Pet share: lists of ids, the files they name, splits to choose."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BeforeValidator

from vitrail.data.formats.base import Problems
from vitrail.data.formats.files import inside, is_too_long, read_text
from vitrail.errors import DataError, ParameterError, UnknownNameError

MAX_LIST_BYTES = 256 * 1024**2
"""Largest list of ids that is read: some ten million of them."""

T = TypeVar("T")


def _names(given: object) -> object:
    """``"train, val"`` as it comes from a command line."""
    return [name.strip() for name in given.split(",")] if isinstance(given, str) else given


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
"""An option that is a list of names, or a text with commas between them."""


def read_lines(path: Path) -> list[str]:
    """Lines of a list without the blanks around them; empty ones are left out.

    Any line ends will do, and a byte order mark.

    Raises
    ------
    DataError
        it cannot be read, is too large, or is not UTF-8.
    """
    text = read_text(path, MAX_LIST_BYTES).replace("\r\n", "\n").replace("\r", "\n")
    return [line for line in (line.strip() for line in text.split("\n")) if line]


def read_ids(path: Path, problems: Problems) -> list[str]:
    """Ids of a list in its order, each once, with ``/`` between folders.

    Names that lead out of the data set and repeated ones are reported.

    Raises
    ------
    DataError
        the list itself cannot be read.
    """
    ids: dict[str, None] = {}
    for line in read_lines(path):
        try:
            id = inside(Path(), line).as_posix()
        except DataError:
            fault = "is too long" if is_too_long(line) else "leads out of the data set"
            problems.error("unsafe-name", path, line[:80], fault, "the name of an image")
            continue
        if id in ids:
            problems.warning(
                "duplicate-id", path, id, "listed twice", "each image once", "remove one of them"
            )
        ids[id] = None
    return list(ids)


class Listing:
    """Files of a folder by id (name without suffix); each folder is listed once, when asked.

    Cheaper than asking for each file, above all on network disks.
    """

    def __init__(self, root: Path, suffixes: Sequence[str] = ()) -> None:
        """Only files of these suffixes, the first one preferred; none: all files."""
        self.root, self._suffixes = root, tuple(suffixes)
        self._folders: dict[str, dict[str, str]] = {}

    def find(self, id: str) -> str | None:
        """The file's path under the root, with ``/``; None where there is none."""
        folder, slash, stem = id.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._list(folder)
        name = self._folders[folder].get(stem)
        return None if name is None else folder + slash + name

    def stems(self) -> Iterable[str]:
        """Ids of the files directly in the folder."""
        if "" not in self._folders:
            self._folders[""] = self._list("")
        return self._folders[""].keys()

    def _list(self, folder: str) -> dict[str, str]:
        try:
            with os.scandir(self.root / folder) as entries:
                names = sorted(e.name for e in entries if not e.name.startswith("."))
        except OSError:  # no such folder: nothing is found in it
            return {}
        found: dict[str, str] = {}
        for name in names:  # without a Path for each of a hundred thousand
            stem, suffix = os.path.splitext(name)  # noqa: PTH122
            if self._suffixes and suffix not in self._suffixes:
                continue
            if stem not in found or suffix in (self._suffixes or (".jpg",))[:1]:
                found[stem] = name
        return found


def choose(splits: Mapping[str, T], wanted: Sequence[str] | None, root: Path) -> dict[str, T]:
    """The splits asked for, in the order asked; all of them for None.

    Raises
    ------
    UnknownNameError
        there is no such split.
    """
    for name in wanted or ():
        if name not in splits:
            raise UnknownNameError(f"split of {root}", name, splits)
    return dict(splits) if wanted is None else {name: splits[name] for name in wanted}


def deal(ids: Sequence[str], parts: Mapping[str, int], seed: int) -> dict[str, list[str]]:
    """Divide ids into parts of these sizes, each in the order of ``ids``.

    Which id falls where depends on the seed and the ids alone, on no library's random numbers: ids
    are ordered by the SHA-256 of ``SEED/ID``, and the parts are cut off one after another.

    Raises
    ------
    ParameterError
        the sizes do not add up to the number of ids, or one is below 1.
    """
    if sum(parts.values()) != len(ids) or min(parts.values(), default=0) < 1:
        told = ", ".join(f"{name}: {size}" for name, size in parts.items())
        raise ParameterError(
            f"parts {{{told}}} are {sum(parts.values())} images; expected sizes of at least 1 that "
            f"add up to the {len(ids)} there are"
        )
    order = sorted(
        range(len(ids)), key=lambda i: hashlib.sha256(f"{seed}/{ids[i]}".encode()).digest()
    )
    dealt: dict[str, list[str]] = {}
    start = 0
    for name, size in parts.items():
        dealt[name] = [ids[i] for i in sorted(order[start : start + size])]
        start += size
    return dealt
