"""A small table: named columns of equal length, to look at and to write as CSV."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from vitrail.atomic import write_atomically
from vitrail.errors import ParameterError, UnknownNameError

_SHOWN = 50  # rows of a long table that str() prints


class Table:
    """Rows of named values.

    ``table["area"]`` is a column (a NumPy array; names are an array of str), ``table[0]`` a row
    (a dict of Python values), ``len(table)`` the number of rows; iterating gives the rows, and
    ``print(table)`` an aligned text. A value that is not defined is NaN in a column, None in a row
    and an empty cell in CSV.

    Parameters
    ----------
    columns : mapping of name to N values

    Raises
    ------
    ParameterError
        columns of different lengths.
    """

    __slots__ = ("_columns",)

    def __init__(self, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
        self._columns = {name: np.asarray(values) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise ParameterError(f"columns have different lengths: {lengths}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(self._columns)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, each a dict of Python values."""
        lists = self.to_dict()
        return [
            dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)
        ]

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns as lists of Python values, ready for JSON (or for ``pandas.DataFrame``)."""
        return {
            name: [_plain(value) for value in values.tolist()]
            for name, values in self._columns.items()
        }

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __getitem__(self, key: str | int) -> Any:
        """A column by name, or a row by number.

        Raises
        ------
        UnknownNameError
            no column of that name.
        IndexError
            no row of that number.
        """
        if isinstance(key, str):
            if key not in self._columns:
                raise UnknownNameError("column", key, self._columns)
            return self._columns[key]
        return {name: _plain(values[key].item()) for name, values in self._columns.items()}

    def __repr__(self) -> str:
        return f"Table({len(self)} rows: {', '.join(self._columns)})"

    def __str__(self) -> str:
        if not self._columns:
            return "(empty table)"
        shown = [
            [name, *(_text(value) for value in values[:_SHOWN].tolist())]
            for name, values in self._columns.items()
        ]
        lines: list[str] = []
        widths = [max(map(len, column)) for column in shown]
        for cells in zip(*shown, strict=True):
            line = (
                cell.ljust(width) if values.dtype.kind == "U" else cell.rjust(width)
                for cell, width, values in zip(cells, widths, self._columns.values(), strict=True)
            )
            lines.append("  ".join(line).rstrip())
        if len(self) > _SHOWN:
            lines.append(f"... and {len(self) - _SHOWN} more rows")
        return "\n".join(lines)

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write the table as comma-separated UTF-8, the first line holding the names.

        The file appears whole or not at all. Numbers are written so that reading them back gives
        the same float64.

        Raises
        ------
        OutputError
            the folder is missing or not writable, or the disk is full; names the path.
        """

        def fill(file: IO[bytes]) -> None:
            text = io.StringIO(newline="")
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows(zip(*self.to_dict().values(), strict=True))
            file.write(text.getvalue().encode("utf-8"))

        return write_atomically(Path(path), fill)


def _plain(value: Any) -> Any:
    """NaN becomes None, which JSON and CSV can hold."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3f}"
    return str(value)
