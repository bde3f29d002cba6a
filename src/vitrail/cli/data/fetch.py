"""``vitrail data list`` and ``vitrail data fetch``: public data sets, to be had and unpacked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrail.cli.data import common
from vitrail.cli.progress import download_progress

if TYPE_CHECKING:
    from vitrail.data.catalogue import Entry
    from vitrail.data.fetch import Fetched


def list_(as_json: common.Json = False) -> None:
    """Public data sets that `vitrail data fetch` knows: parts, sizes, licences."""
    from dataclasses import asdict

    from vitrail.data.catalogue import CATALOGUE

    if as_json:
        print(json.dumps([asdict(entry) for entry in CATALOGUE], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("name", "what it is", "parts (* by default)", "licence"):
        table.add_column(heading, overflow="fold")
    for entry in CATALOGUE:
        table.add_row(entry.name, f"{entry.title}: {entry.summary}", _parts(entry), _terms(entry))
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print("A size marked ? is not published. Fetch one: vitrail data fetch NAME")


def _parts(entry: Entry) -> str:
    lines = []
    for part in entry.parts:
        known = sum(archive.size or 0 for archive in part.archives)
        more = "" if part.size is not None else " + ?" if known else "?"
        size = (_size(known) if known else "") + more
        lines.append(f"{part.name}{'*' if part.name in entry.default else ''} {size}")
    return "\n".join(lines)


def _terms(entry: Entry) -> str:
    needs = [
        name for name, has in (("--accept-licence", entry.terms), ("a login", entry.login)) if has
    ]
    return entry.licence + (f" (needs {' and '.join(needs)})" if needs else "")


def _size(size: int) -> str:
    """Bytes for people: decimal units, as disks and most servers count."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="From `vitrail data list`.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Folder for it; by default ./NAME.")
    ] = None,
    parts: Annotated[
        list[str] | None,
        typer.Option("--part", metavar="NAME", help="Only this part; repeatable, or train,val."),
    ] = None,
    accept_licence: Annotated[
        bool,
        typer.Option("--accept-licence", help="You have read the terms of the set, and accept."),
    ] = False,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Keep archives after they are unpacked.")
    ] = False,
    url: Annotated[
        str | None, typer.Option("--url", metavar="BASE", help="Mirror: files come from BASE/FILE.")
    ] = None,
    max_images: Annotated[
        int | None,
        typer.Option(
            "--max-images",
            metavar="N",
            min=1,
            help="Open Images: only N images of each split, and the masks they need.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which images --max-images draws.")] = 0,
    as_json: common.Json = False,
) -> None:
    """Download a public data set, verify it and unpack it; goes on where it was interrupted."""
    from vitrail.data.fetch import fetch as run

    names = [one for value in parts or [] for one in common.names_of(value) or []]
    try:
        with download_progress(not as_json) as tell:
            done = run(
                name,
                to,
                parts=names,
                accept_licence=accept_licence,
                keep_archives=keep_archives,
                url=url,
                max_images=max_images,
                seed=seed,
                progress=tell,
            )
    except KeyboardInterrupt as stop:
        stop.args = (
            "interrupted; what has come is kept: run the same command again to go on from there",
        )
        raise
    if as_json:
        print(json.dumps(_outcome(done), indent=2))
    else:
        _report(done)


def _next(done: Fetched) -> str:
    folder = f'"{done.folder}"' if " " in str(done.folder) else str(done.folder)
    return f"vitrail data check {folder}"


def _outcome(done: Fetched) -> dict[str, object]:
    return {
        "name": done.entry.name,
        "folder": str(done.folder),
        "format": done.entry.format,
        "fetched": done.fetched,
        "present": done.present,
        "images": done.images,
        "notes": done.notes,
        "licence": done.entry.licence,
        "citation": done.entry.citation,
        "next": _next(done),
    }


def _report(done: Fetched) -> None:
    for one in done.fetched:
        print(f"{one}: in place")
    for one in done.present:
        print(f"{one}: was there already")
    for split, count in done.images.items():
        print(f"{count:,} images of {split}")
    for note in done.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{done.entry.title} is in {done.folder}; licence: {done.entry.licence}")
    print(f"cite: {done.entry.citation}")
    print(f"next: {_next(done)}")
