"""``vitrail data convert``: from one format to another, with a report of what that changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli.data import common

if TYPE_CHECKING:
    from vitrail.data.readback import Conversion
    from vitrail.data.sample import SampleSource


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The data set.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the new one.")],
    to: Annotated[str, typer.Option("--to", "-t", help="Format to write.")],
    format: common.Format_ = None,
    settings: common.Settings = None,
    to_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--to-set", metavar="KEY=VALUE", help="An option of the written format; repeatable."
        ),
    ] = None,
    splits: common.Splits_ = None,
    classes: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Keep only these classes: car,person.")
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="Rename a class; classes of one name are merged; repeatable.",
        ),
    ] = None,
    allow_lossy: Annotated[
        bool, typer.Option("--allow-lossy", help="Write even what does not come back as it was.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT where it is there and not empty.")
    ] = False,
    as_json: common.Json = False,
) -> None:
    """Write a data set in another format, read it again and report what changed, per class.

    A conversion that changes anything is refused unless --allow-lossy is given.
    """
    from vitrail.data.convert import LossyConversionError
    from vitrail.data.convert import convert as write

    dataset, parts = common.open_parts(source, format, settings, splits)
    keep, names = common.names_of(classes), _renaming(rename)
    if keep is not None or names:
        parts = {name: _relabelled(part, keep, names) for name, part in parts.items()}
    options = common.parse_pairs(to_settings, "--to-set")
    with common.progress(not as_json) as tell:
        try:
            report = write(
                parts,
                out,
                to,
                options,
                allow_lossy=allow_lossy,
                overwrite=overwrite,
                origin=source,
                problems=dataset.problems,
                progress=tell,
            )
            refused = None
        except LossyConversionError as error:
            report, refused = error.report, error
    if as_json:
        print(json.dumps(report.to_json() | {"written": refused is None}, indent=2))
    else:
        print_report(report)
    if refused is not None:
        raise refused


def _renaming(pairs: list[str] | None) -> dict[str, str]:
    from vitrail.errors import ParameterError

    names: dict[str, str] = {}
    for pair in pairs or []:
        old, equals, new = pair.partition("=")
        if not equals or not old.strip() or not new.strip():
            raise ParameterError(f"--rename {pair!r}: expected old=new")
        names[old.strip()] = new.strip()
    return names


def _relabelled(
    part: SampleSource, keep: list[str] | None, renamed: Mapping[str, str]
) -> SampleSource:
    """The source with the classes asked for; blanks around names do not count, if none is exact."""
    from vitrail.data.derive import Relabelled

    plain: dict[str, list[str]] = {}
    for name in part.space.classes:
        plain.setdefault(" ".join(name.split()), []).append(name)

    def exact(name: str) -> str:
        near = plain.get(" ".join(name.split()), [])
        return near[0] if len(near) == 1 else name

    kept = None if keep is None else [exact(name) for name in keep]
    return Relabelled(part, kept, {exact(old): new for old, new in renamed.items()})


def print_report(report: Conversion) -> None:
    """Classes as a table, then what was lost and what is only different."""
    from rich.console import Console
    from rich.table import Table

    columns = [
        (heading, cell)
        for heading, cell, shown in _COLUMNS
        if shown is None or any(getattr(change, shown) for change in report.classes)
    ]
    table = Table()
    for number, (heading, _) in enumerate(columns):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for change in report.classes:
        if change.instances_in or change.instances_out or change.pixels_in or change.pixels_out:
            table.add_row(*(cell(change) for _, cell in columns))
    console = Console(markup=False)
    if table.rows:
        console.print(table)
    images = ", ".join(f"{count:,} {name}" for name, count in report.images.items())
    lines = [f"images: {images}"]
    if report.lossless:
        lines.append(f"lossless: read again from {report.target}, everything is as it was")
    lines += [f"lost: {line}" for line in report.losses]
    lines += [f"note: {line}" for line in report.notes]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _share(value: float | None) -> str:
    """An IoU; what is below 1 is never shown as 1."""
    return "" if value is None else f"{int(value * 1e4) / 1e4:.4f}"


_COLUMNS: tuple[tuple[str, Any, str | None], ...] = (
    ("class", lambda one: one.name, None),
    ("instances in", lambda one: f"{one.instances_in:,}", "instances_in"),
    ("out", lambda one: f"{one.instances_out:,}", "instances_in"),
    ("mean IoU", lambda one: _share(one.mean_iou), "masks_in"),
    ("masks changed", lambda one: f"{one.changed:,}", "changed"),
    ("holes filled", lambda one: f"{one.holes_filled:,}", "holes_filled"),
    ("parts dropped", lambda one: f"{one.parts_dropped:,}", "parts_dropped"),
    ("merged", lambda one: f"{one.parts_merged:,}", "parts_merged"),
    ("split off", lambda one: f"{one.parts_split:,}", "parts_split"),
    ("crowds dropped", lambda one: f"{one.crowds_dropped:,}", "crowds_dropped"),
    ("bare boxes lost", lambda one: f"{one.boxes_dropped:,}", "boxes_dropped"),
    ("px lost to overlap", lambda one: f"{one.overlap_pixels:,}", "overlap_pixels"),
    ("pixels in", lambda one: f"{one.pixels_in:,}", "pixels_in"),
    ("pixels out", lambda one: f"{one.pixels_out:,}", "pixels_in"),
    ("label IoU", lambda one: _share(one.label_iou), "pixels_in"),
)
"""Heading, cell, and the count that must not be 0 everywhere for the column to be shown."""
