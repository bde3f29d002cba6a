"""``vitrail data formats``: which formats there are, and what each can be told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli.data.common import Json

if TYPE_CHECKING:
    from vitrail.data.formats.base import Format


def formats(
    name: Annotated[str | None, typer.Argument(help="Show this one and its options.")] = None,
    as_json: Json = False,
) -> None:
    """List the formats, or show one with its options."""
    from vitrail.data.formats import formats as all_formats
    from vitrail.data.formats import get_format

    if name is not None:
        _show(get_format(name), as_json)
        return
    known = list(all_formats().values())
    if as_json:
        print(json.dumps([describe(format) for format in known], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("name", "labels", "writes", "what it is"):
        table.add_column(heading)
    for format in known:
        writes = "yes" if format.write else ""
        table.add_row(format.name, _KINDS[format.kind], writes, format.summary)
    Console(markup=False).print(table)


_KINDS = {"labels": "pixels", "instances": "objects", "both": "both"}

_SURVIVE = {
    "holes": "holes",
    "parts": "objects of several parts",
    "overlaps": "overlaps",
    "crowds": "crowds",
    "boxes": "bare boxes",
    "pixel_exact": "exact pixels",
}
"""Fields of ``Capacity`` that say what objects keep, in words."""


def describe(format: Format) -> dict[str, Any]:
    """Everything about a format, for JSON."""
    from vitrail.cli.models import parameters

    capacity = format.capacity
    kept = [words for key, words in _SURVIVE.items() if getattr(capacity, key)]
    lacks = [words for words in _SURVIVE.values() if words not in kept]
    return {
        "name": format.name,
        "summary": format.summary,
        "kind": format.kind,
        "writes": format.write is not None,
        "labels": capacity.labels,
        "instances": capacity.instances,
        "lacks": lacks if capacity.instances else ["objects"],
        "options": parameters(format.options),
        "write_options": parameters(format.write_options) if format.write else [],
    }


def _show(format: Format, as_json: bool) -> None:
    row = describe(format)
    if as_json:
        print(json.dumps(row, indent=2))
        return
    from rich.console import Console

    console = Console(markup=False)
    console.print(f"{format.name}: {format.summary}", soft_wrap=True)
    if format.write:
        held = f"written, it does not hold {', '.join(row['lacks'])}" if row["lacks"] else ""
        console.print(held or "written, it holds everything", soft_wrap=True)
    else:
        console.print("it is read, not written")
    _print_options("read with --set key=value", row["options"])
    _print_options("written with --to-set key=value", row["write_options"])


def _print_options(title: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for heading in ("name", "type", "default", "range", "meaning"):
        table.add_column(heading)
    for row in rows:
        keys = ("name", "type", "default", "range", "meaning")
        table.add_row(*(str(row[key]) for key in keys))
    Console(markup=False).print(table)
