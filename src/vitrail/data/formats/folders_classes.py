"""Lists of classes beside masks: names, pixel values and colours, as many programs write them.

==========================  =======================================================================
``classes.txt``             a name a line, the first for value 0; or ``7: road``, ``7,road``
``class_dict.csv``          ``name,r,g,b`` (the CamVid set on Kaggle), any of ``, ; | tab`` between
``labelmap.txt``            CVAT's ``name:r,g,b:parts:actions``
``label_colors.txt``        CamVid's ``r g b name``
``*.json``                  names; ``{"0": name}``; ``{name: 0}``; ``{name: [r, g, b]}``; objects
                            with ``name`` and ``id``, ``color``; or these under ``"classes"``
==========================  =======================================================================

vitrail writes ``classes.json``, which says all of a :class:`LabelSpace` and the format's name.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrail.data.formats.files import read_json, read_text
from vitrail.errors import DataError

Colour = tuple[int, int, int]

CLASS_FILES = (
    *("classes.json", "class_dict.csv", "class_dict_seg.csv", "classes.csv", "labelmap.txt"),
    *("label_colors.txt", "labels.json", "colors.json", "colours.json", "classes.txt"),
    *("class_names.txt", "labels.txt"),
)
"""Looked for beside the masks' folder, in this order."""

MAX_BYTES = 1 << 22
"""Largest list of classes that is read."""

MAX_CLASSES = 65_535


@dataclass(frozen=True, slots=True)
class Entry:
    """One class of a list."""

    name: str
    value: int | None = None
    """Its pixel value, where the list says one; otherwise its place in the list."""
    colour: Colour | None = None
    original_id: int | None = None


@dataclass(frozen=True)
class ClassFile:
    """A list of classes, with whatever else the file says."""

    path: Path
    entries: tuple[Entry, ...]
    more: Mapping[str, Any]
    """``format``, ``background``, ``ignore``, ``ignore_colour`` of vitrail's own ``classes.json``;
    empty for other files."""


def find_class_file(root: Path) -> Path | None:
    """The list of classes in a folder, if it has one."""
    return next((root / name for name in CLASS_FILES if (root / name).is_file()), None)


def read_classes(path: Path) -> ClassFile:
    """Read a list of classes of any of the kinds above.

    Raises
    ------
    DataError
        it cannot be read or understood (says the line), or two classes have one name or value.
    """
    more: Mapping[str, Any] = {}
    if path.suffix.lower() == ".json":
        content = _json(path)
        if isinstance(content, dict):
            inner = next((k for k in ("classes", "labels", "categories") if k in content), None)
            if inner is not None and isinstance(content[inner], list | dict):
                more, content = content, content[inner]
        entries = tuple(_json_entries(content, path))
    else:
        entries = tuple(_text_entries(read_text(path, MAX_BYTES), path))
    if not 0 < len(entries) <= MAX_CLASSES:
        raise DataError(f"{path}: lists {len(entries)} classes, expected 1 to {MAX_CLASSES}")
    _check_distinct([entry.name for entry in entries], "name", path)
    _check_distinct([entry.value for entry in entries if entry.value is not None], "id", path)
    return ClassFile(path, entries, more)


def _check_distinct(values: Sequence[object], what: str, path: Path) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise DataError(f"{path}: two classes have the {what} {value!r}; expected it once")
        seen.add(value)


def _json(path: Path) -> Any:
    """A JSON file of a size that a list of classes may have: folders are looked at for one."""
    with suppress(OSError):  # reading it says what is wrong
        if (size := path.stat().st_size) > MAX_BYTES:
            raise DataError(
                f"{path}: has {size:,} bytes, more than the limit of {MAX_BYTES:,} for a list of "
                "classes"
            )
    return read_json(path)


# JSON -------------------------------------------------------------------------------------------


def _json_entries(content: Any, path: Path) -> Iterator[Entry]:
    if isinstance(content, dict):
        for key, value in content.items():
            if isinstance(value, str) and not _is_hex(value):
                yield Entry(value, _number(key, f"id of {value!r}", path))
            elif isinstance(value, int):
                yield Entry(key, _number(value, f"id of {key!r}", path))
            else:
                yield Entry(key, colour=_colour(value, key, path))
    elif isinstance(content, list):
        for number, item in enumerate(content):
            yield _json_entry(item, number, path)
    else:
        raise DataError(f"{path}: expected a list of classes, got {type(content).__name__}")


def _json_entry(item: Any, number: int, path: Path) -> Entry:
    if isinstance(item, str):
        return Entry(item)
    if not isinstance(item, dict):
        raise DataError(f"{path}: class {number} is {item!r}, expected a name or an object")
    name = _first(item, "name", "label", "title", "class")
    if not isinstance(name, str) or not name:
        raise DataError(f"{path}: class {number} has the name {name!r}, expected a text")
    value, colour = _first(item, "id", "value", "index"), _first(item, "colour", "color", "rgb")
    original = item.get("original_id")
    return Entry(
        name,
        None if value is None else _number(value, f"id of {name!r}", path),
        None if colour is None else _colour(colour, name, path),
        None if original is None else _number(original, f"original_id of {name!r}", path, 1 << 62),
    )


def _first(item: Mapping[str, Any], *keys: str) -> Any:
    return next((item[key] for key in keys if item.get(key) is not None), None)


def _number(value: Any, what: str, path: Path, most: int = 65535) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not 0 <= int(text) <= most:
        raise DataError(f"{path}: the {what} is {value!r}, expected a whole number 0..{most}")
    return int(text)


def _is_hex(value: str) -> bool:
    return bool(re.fullmatch(r"#[0-9a-fA-F]{6}", value))


def _colour(value: Any, name: str, path: Path) -> Colour:
    if isinstance(value, str) and _is_hex(value):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)
    if isinstance(value, list) and len(value) == 3:
        red, green, blue = (_number(part, f"colour of {name!r}", path, 255) for part in value)
        return red, green, blue
    raise DataError(
        f"{path}: the colour of {name!r} is {value!r}, expected [r, g, b] of 0..255 or '#rrggbb'"
    )


# Text -------------------------------------------------------------------------------------------

_CVAT = re.compile(r"(.+?):\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(\d{1,9})\s*(?::.*)?")
_COLOUR_FIRST = re.compile(r"(\d{1,9})\s+(\d{1,9})\s+(\d{1,9})\s+(.*\S)")
_COLOUR_LAST = re.compile(r"(.*\S)\s+(\d{1,9})\s+(\d{1,9})\s+(\d{1,9})")
_NUMBERED = re.compile(r"(\d{1,9})(?:\s*[:,;|\t]\s*|\s+)(.*\S)")
_NUMBERED_HEADING = re.compile(r"(id|value|index)\s*[,;|\t]\s*(name|class|label)", re.IGNORECASE)
_HEADINGS = {
    "name": ("name", "class", "label", "class_name", "classes"),
    "red": ("r", "red"),
    "green": ("g", "green"),
    "blue": ("b", "blue"),
    "id": ("id", "value", "index", "class_id"),
}


def _text_entries(text: str, path: Path) -> Iterator[Entry]:
    lines = [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    for pattern, name_at in ((_CVAT, 0), (_COLOUR_FIRST, 3), (_COLOUR_LAST, 0)):
        found = [pattern.fullmatch(line) for _, line in lines]
        if lines and all(found):
            for (number, _), match in zip(lines, found, strict=True):
                fields = list(match.groups() if match else ())
                name = fields.pop(name_at)
                yield Entry(name.strip(), colour=_line_colour(fields, number, path))
            return
    yield from _table(lines, path) or _names(lines)


def _line_colour(fields: Sequence[str], line: int, path: Path) -> Colour:
    try:
        red, green, blue = (int(field) for field in fields)
    except ValueError:
        red = green = blue = -1
    if not (0 <= red < 256 and 0 <= green < 256 and 0 <= blue < 256):
        raise DataError(
            f"{path}: line {line}: the colour is {', '.join(fields)}, expected three whole numbers "
            "0..255"
        )
    return red, green, blue


def _table(lines: Sequence[tuple[int, str]], path: Path) -> list[Entry] | None:
    """A table with a colour in each line; None where it is none."""
    for delimiter in ",;\t|":
        try:
            rows = list(
                csv.reader(io.StringIO("\n".join(s for _, s in lines)), delimiter=delimiter)
            )
        except csv.Error:
            continue
        if len(rows) != len(lines) or min((len(row) for row in rows), default=0) < 4:
            continue
        rows = [[field.strip() for field in row] for row in rows]
        columns = _columns(rows[0])
        body = list(zip((number for number, _ in lines), rows, strict=True))
        if columns is None:
            columns = {"name": 0, "red": 1, "green": 2, "blue": 3}
            if all(field.isdigit() for field in rows[0][:3]) and not rows[0][3].isdigit():
                columns = {"red": 0, "green": 1, "blue": 2, "name": 3}
            if not any(row[columns[key]].isdigit() for row in rows for key in ("red", "green")):
                return None
        else:
            body = body[1:]
        return [_row(row, columns, number, path) for number, row in body]
    return None


def _columns(heading: Sequence[str]) -> dict[str, int] | None:
    """Where each column is, told by the first line; None where that is no heading."""
    lower = [field.lower() for field in heading]
    places = {
        key: next((lower.index(name) for name in names if name in lower), -1)
        for key, names in _HEADINGS.items()
    }
    found = {key: place for key, place in places.items() if place >= 0}
    return found if {"name", "red", "green", "blue"} <= found.keys() else None


def _row(row: Sequence[str], columns: Mapping[str, int], line: int, path: Path) -> Entry:
    if len(row) <= max(columns.values()) or not row[columns["name"]]:
        raise DataError(f"{path}: line {line}: is {', '.join(row)!r}, expected name, r, g, b")
    colour = _line_colour([row[columns[key]] for key in ("red", "green", "blue")], line, path)
    name = row[columns["name"]]
    value = _number(row[columns["id"]], f"id of {name!r}", path) if "id" in columns else None
    return Entry(name, value, colour)


def _names(lines: Sequence[tuple[int, str]]) -> list[Entry]:
    """Names, or numbers and names; or all names on one line."""
    kept = [line for _, line in lines]
    if kept and _NUMBERED_HEADING.fullmatch(kept[0]):
        del kept[0]
    if len(kept) == 1 and "," in kept[0]:
        kept = [name.strip() for name in kept[0].split(",")]
    numbered = [_NUMBERED.fullmatch(line) for line in kept]
    if kept and all(numbered):
        return [Entry(match[2], int(match[1])) for match in numbered if match]
    return [Entry(line) for line in kept]
