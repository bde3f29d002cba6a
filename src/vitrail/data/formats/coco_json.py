"""Large COCO files, element by element: what is kept of each is where it lies in the file.

A COCO file of all annotations, parsed whole, takes some five times its size in memory. Here its
top level is walked, each element of its long lists is parsed, looked at and let go, and only its
position stays; a sample parses its own few annotations again when it is asked for. So an open
data set is a few numbers an annotation, which also travel fast to worker processes.
"""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.data.formats.files import MAX_TEXT_BYTES
from vitrail.errors import DataError

Take = Callable[[Any, int, int], None]
"""Called with an element, the byte at which it begins, and its length in bytes."""

_BLANK = re.compile(r"[ \t\n\r]*")
_BYTE_ORDER_MARK = "\u00ef\u00bb\u00bf"  # of UTF-8, read as Latin-1
_WINDOW = 1 << 16
_CATEGORIES = re.compile(rb'"categories"[ \t\n\r]*:[ \t\n\r]*\[')


def scan(path: Path, take: Mapping[str, Take]) -> set[str]:
    """Walk a JSON object and hand on the elements of the lists named, in the file's order.

    Parameters
    ----------
    path:
        A file of UTF-8, with or without byte order mark.
    take:
        By key of the top level, what is called for each element of the list there.

    Returns
    -------
    The keys of ``take`` that the file has.

    Raises
    ------
    DataError
        the file cannot be read, is not JSON (says where), is no object, or has something else
        than a list under one of the keys.
    """
    # In Latin-1 a character is a byte, so that positions are those of the file; what is not ASCII
    # only occurs within strings, whose elements are parsed once more as UTF-8.
    text = read_bytes(path).decode("latin-1")
    try:
        return _walk(path, text, take)
    except DataError:
        raise
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}; "
            "the file may be cut short"
        ) from None
    except RecursionError:
        raise DataError(f"{path}: its JSON is nested too deeply to be annotations") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {error.reason}; save the file as UTF-8") from None
    except ValueError as error:  # Python reads no integers of more than 4300 digits
        raise DataError(f"{path}: holds a number that cannot be read ({error})") from None


def _walk(path: Path, text: str, take: Mapping[str, Take]) -> set[str]:
    parse = json.JSONDecoder().raw_decode
    ascii_only = text.isascii()
    found: set[str] = set()

    def skip(position: int) -> int:
        return _BLANK.match(text, position).end()  # pyright: ignore[reportOptionalMemberAccess]

    def expect(letter: str, position: int) -> int:
        if text[position : position + 1] != letter:
            raise json.JSONDecodeError(f"expected {letter}", text, position)
        return skip(position + 1)

    def members(position: int, closing: str, member: Callable[[int], int]) -> int:
        """Call ``member`` for each one up to the closing bracket; the position after that."""
        if text[position : position + 1] == closing:
            return skip(position + 1)
        while True:
            position = skip(member(position))
            if text[position : position + 1] == closing:
                return skip(position + 1)
            position = expect(",", position)

    def entry(position: int) -> int:
        key, position = parse(text, position)
        if not isinstance(key, str):
            raise json.JSONDecodeError("expected a name in quotes", text, position)
        position = expect(":", skip(position))
        if key not in take:
            return parse(text, position)[1]
        if text[position : position + 1] != "[":
            raise DataError(f"{path}: {key!r} is not a list; this is no COCO file")
        found.add(key)
        return members(skip(position + 1), "]", lambda at: element(at, take[key]))

    def element(position: int, call: Take) -> int:
        value, end = parse(text, position)
        if not ascii_only and not (part := text[position:end]).isascii():
            value = _parse_bytes(part.encode("latin-1"), position)
        call(value, position, end - position)
        return end

    start = skip(3 if text.startswith(_BYTE_ORDER_MARK) else 0)
    if text[start : start + 1] == "[":
        raise DataError(f"{path}: is a list, expected an object with images and annotations")
    end = members(expect("{", start), "}", entry)
    if end != len(text):
        raise json.JSONDecodeError("something follows the closing bracket", text, end)
    return found


def _parse_bytes(part: bytes, position: int) -> Any:
    try:
        return json.loads(part.decode("utf-8"))
    except UnicodeDecodeError as error:
        at = position + error.start
        value = part[error.start]
        reason = f"byte {at} is {value:#04x}, which is not UTF-8"
        raise UnicodeDecodeError("utf-8", part, error.start, error.end, reason) from None


def read_bytes(path: Path) -> bytes:
    """A whole file; :class:`DataError` where it cannot be read or is larger than any COCO file."""
    try:
        size = path.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise DataError(
                f"{path}: has {size:,} bytes, more than the limit of {MAX_TEXT_BYTES:,}"
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def ends(path: Path) -> bytes:
    """The first and the last 64 KiB of a file (all of a smaller one); nothing if unreadable."""
    try:
        with path.open("rb") as file:
            head = file.read(_WINDOW)
            file.seek(max(file.seek(0, os.SEEK_END) - _WINDOW, len(head)))
            return head + b"\n" + file.read(_WINDOW)
    except OSError:
        return b""


def list_categories(path: Path) -> list[Any]:
    """The categories of a file, without parsing all of it where they lie near its start or end.

    Raises
    ------
    DataError
        as :func:`scan`.
    """
    window = ends(path)
    for match in list(_CATEGORIES.finditer(window))[::-1]:
        text = window[match.end() - 1 :].decode("latin-1")
        try:
            _, end = json.JSONDecoder().raw_decode(text)
            found = json.loads(text[:end].encode("latin-1"))
        except (ValueError, RecursionError):
            continue
        if all(isinstance(one, dict) and "id" in one and "name" in one for one in found):
            return found
    categories: list[Any] = []
    scan(path, {"categories": lambda value, _start, _length: categories.append(value)})
    return categories


class Slices:
    """Elements of a file by their positions; each is parsed anew when it is asked for.

    Parameters
    ----------
    path:
        The file; it must stay as it is.
    starts, lengths:
        (N,) int64, where the elements lie, bytes.
    """

    def __init__(self, path: Path, starts: np.ndarray, lengths: np.ndarray) -> None:
        self.path, self.starts, self.lengths = path, starts, lengths
        self._state = _state(path.stat())

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, numbers: range) -> list[Any]:
        """Elements, parsed.

        Raises
        ------
        DataError
            the file is gone, or has changed since the data set was opened.
        """
        if not numbers:
            return []
        try:
            with self.path.open("rb") as file:
                if _state(os.fstat(file.fileno())) != self._state:
                    raise DataError(f"{self.path}: changed since it was opened; open it again")
                found: list[Any] = []
                for number in numbers:
                    file.seek(int(self.starts[number]))
                    found.append(json.loads(file.read(int(self.lengths[number]))))
                return found
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror})") from None


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


class Positions:
    """Collects positions for :class:`Slices`, eight bytes a number."""

    def __init__(self) -> None:
        self.starts, self.lengths = array("q"), array("q")

    def add(self, start: int, length: int) -> None:
        self.starts.append(start)
        self.lengths.append(length)

    def slices(self, path: Path, chosen: np.ndarray) -> Slices:
        """Those chosen by number, in that order."""
        starts, lengths = (np.array(a, np.int64)[chosen] for a in (self.starts, self.lengths))
        return Slices(path, starts, lengths)
