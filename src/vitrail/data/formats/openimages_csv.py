"""CSV files of millions of rows: read once from front to back, then single rows by their place."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vitrail.data.formats.coco_index import Faults
from vitrail.data.formats.files import read_text
from vitrail.errors import DataError

_DELIMITERS = ",;\t|"
_LONGEST = 1 << 20
"""Bytes of a row; a file without line ends is not taken for one of endless length."""
_MAX_CLASSES_BYTES = 64 * 1024**2
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


class Row(NamedTuple):
    """One row, and where it is."""

    line: int
    """From 1; 0 where it was read by its place."""
    offset: int
    """Where it begins, bytes."""
    fields: list[str]


class Columns(dict[str, int]):
    """Places of columns by name in any case; -1 for those that there are not."""

    def __missing__(self, name: str) -> int:
        place = self[name] = self.get(name.lower(), -1)
        return place


@dataclass(frozen=True)
class Table:
    """A CSV file with a header; a byte order mark and any of ``, ; | tab`` are taken.

    A comma in a number is read as its point where the delimiter is another, as spreadsheets of
    many countries write it.
    """

    path: Path
    delimiter: str
    columns: Columns
    width: int
    """Number of columns."""
    start: int
    """Where the rows begin, bytes."""

    @classmethod
    def open(cls, path: Path, required: Sequence[str]) -> Table:
        """Read the header.

        Raises
        ------
        DataError
            it cannot be read, or lacks a required column.
        """
        try:
            with path.open("rb") as file:
                line = file.readline(_LONGEST)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        for mark, name in _MARKS.items():
            if line.startswith(mark):
                raise DataError(f"{path}: is {name}, expected UTF-8; save it as CSV UTF-8")
        try:
            header = line.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise DataError(f"{path}: line 1 is not UTF-8; save the file as UTF-8") from None
        best: list[str] = []
        for delimiter in _DELIMITERS:
            names = [name.strip().lower() for name in _split(header, delimiter)]
            if all(name.lower() in names for name in required):
                columns = Columns((name, i) for i, name in enumerate(names))
                return cls(path, delimiter, columns, len(names), len(line))
            best = max(best, names, key=len)
        lacking = [name for name in required if name.lower() not in best]
        raise DataError(
            f"{path}: its first line has no column {', '.join(lacking)}; expected a header with "
            f"{', '.join(required)}, got {header!r:.200}"
        )

    def rows(
        self, faults: Faults, column: str, wanted: Mapping[bytes, int] | None = None
    ) -> Iterator[Row]:
        """All rows, or those whose field in a column is ``wanted``.

        Rows that cannot be taken apart are reported and left out. Rows that are not wanted are
        passed over without being taken apart.

        Raises
        ------
        DataError
            the file cannot be read, or has a line of more than a megabyte.
        """
        place, delimiter, width = self.columns[column], self.delimiter.encode(), self.width
        offset, number = self.start, 1
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                while line := file.readline(_LONGEST):
                    number += 1
                    here, offset = offset, offset + len(line)
                    plain = b'"' not in line and line.count(delimiter) == width - 1
                    if plain and wanted is not None:
                        if line.split(delimiter, place + 1)[place].strip() not in wanted:
                            continue
                    elif not line.strip():
                        continue
                    if len(line) == _LONGEST:
                        raise DataError(
                            f"{self.path}: line {number} is longer than {_LONGEST:,} bytes; it is "
                            "no CSV"
                        )
                    fields = self._fields(line)
                    if fields is None or len(fields) < width:
                        found = "cannot be read" if fields is None else f"has {len(fields)} fields"
                        faults.error(
                            "malformed-row",
                            f"line {number}",
                            f"{found}: {line[:80]!r}",
                            f"{width} fields of UTF-8; the file may be cut short",
                        )
                    elif wanted is None or fields[place].strip().encode() in wanted:
                        yield Row(number, here, fields)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror})") from None

    def at(self, offsets: Iterable[int]) -> list[Row]:
        """The rows that begin at these places.

        Raises
        ------
        DataError
            the file cannot be read, or changed since it was indexed.
        """
        found: list[Row] = []
        try:
            with self.path.open("rb") as file:
                for offset in offsets:
                    file.seek(offset)
                    fields = self._fields(file.readline(_LONGEST))
                    if fields is None or len(fields) < self.width:
                        raise DataError(f"{self.path}: has changed since it was opened")
                    found.append(Row(0, offset, fields))
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror})") from None
        return found

    def text(self, row: Row, name: str) -> str:
        """A field; empty where there is no such column."""
        place = self.columns[name]
        return "" if place < 0 else row.fields[place].strip()

    def number(self, row: Row, name: str) -> float | None:
        """A number, NaN and infinity among them; None for a field that is empty or absent.

        Raises
        ------
        ValueError
            it is another text; names the column.
        """
        text = self.text(row, name)
        if not text:
            return None
        try:
            return float(text if self.delimiter == "," else text.replace(",", "."))
        except ValueError:
            raise ValueError(f"{name} is {text!r:.40}") from None

    def _fields(self, line: bytes) -> list[str] | None:
        try:
            text = line.decode("utf-8")
            return _split(text.rstrip("\r\n"), self.delimiter)
        except (UnicodeDecodeError, csv.Error):
            return None


def _split(line: str, delimiter: str) -> list[str]:
    """Fields of a line; the csv module is asked only where there are quotes: that takes longer."""
    if '"' not in line:
        return line.split(delimiter)
    return next(csv.reader([line], delimiter=delimiter, strict=True))


def read_descriptions(path: Path) -> dict[str, str]:
    """Class descriptions, ``LabelName,DisplayName`` without or with that header, in their order.

    A display name that several labels have gets its label behind it.

    Raises
    ------
    DataError
        it cannot be read, a line has no two fields, or a label comes twice.
    """
    text = read_text(path, _MAX_CLASSES_BYTES)
    first = text.split("\n", 1)[0]
    counts = {delimiter: first.count(delimiter) for delimiter in _DELIMITERS}
    reader = csv.reader(io.StringIO(text), delimiter=max(counts, key=lambda one: counts[one]))
    names: dict[str, str] = {}
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            if not any(fields) or [field.lower() for field in fields[:1]] == ["labelname"]:
                continue
            if len(fields) < 2 or not fields[0]:
                raise DataError(
                    f"{path}: line {reader.line_num} is {','.join(row)!r:.80}, expected "
                    "LabelName,DisplayName"
                )
            if fields[0] in names:
                raise DataError(
                    f"{path}: line {reader.line_num}: {fields[0]!r} is listed twice, expected each "
                    "label once"
                )
            names[fields[0]] = fields[1] or fields[0]
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num} is no CSV ({error})") from None
    if not names:
        raise DataError(f"{path}: lists no classes, expected LabelName,DisplayName")
    shown = Counter(names.values())
    return {
        label: f"{name} ({label})" if shown[name] > 1 else name for label, name in names.items()
    }
