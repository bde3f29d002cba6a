"""``vitrail data stats``: pixels, objects, sizes, co-occurrence; as table, CSV, JSON or plots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli.data import common

if TYPE_CHECKING:
    from vitrail.data.stats import SplitStats


def stats(
    path: common.Path_,
    format: common.Format_ = None,
    settings: common.Settings = None,
    splits: common.Splits_ = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write a row for each class of each split to this file.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Write charts (PNG) into this folder.")] = None,
    as_json: common.Json = False,
) -> None:
    """Count what a data set holds, per class and split; images are not decoded."""
    from vitrail.atomic import make_folder
    from vitrail.data.charts import charts_of
    from vitrail.data.stats import as_table, measure, total
    from vitrail.result.write import write_picture

    dataset, parts = common.open_parts(path, format, settings, splits, strict=False)
    images = sum(map(len, parts.values()))
    with common.progress(not as_json) as tell:
        done = iter(range(1, images + 1))
        measured = measure(parts, lambda: tell("counting", next(done), images))
    files: list[Path] = []
    if csv is not None:
        files.append(as_table(measured).to_csv(csv))
    if plots is not None:
        make_folder(plots)
        for name, picture in charts_of(total(measured)).items():
            files.append(write_picture(plots / f"{name}.png", picture))
    if as_json:
        content = {
            "format": dataset.format,
            "splits": {name: split.to_json() for name, split in measured.items()},
            "files": list(map(str, files)),
        }
        print(json.dumps(content, indent=2))
        return
    for name, split in measured.items():
        _print(name, split)
    for file in files:
        print(f"written: {file}")


def _print(name: str, split: SplitStats) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = split.to_json()
    console = Console(markup=False, highlight=False)
    sizes = f"{_range(facts['width'])} x {_range(facts['height'])} px"
    objects = f", {facts['instances']:,} objects" if split.has_objects else ""
    empty = f"; {split.empty:,} images without any" if split.empty else ""
    console.print(f"{name}: {split.images:,} images, {sizes}{objects}{empty}", soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    columns = [(heading, cell) for heading, cell, wanted in _COLUMNS if wanted(split)]
    for number, (heading, _) in enumerate(columns):
        # Numbers stay whole; where there is little room, names are folded.
        if number:
            table.add_column(heading, justify="right", no_wrap=True)
        else:
            table.add_column(heading, min_width=12, overflow="fold")
    absent = [one.name for one in split.classes if not one.images]
    for one in split.classes:
        if one.images:
            row = one.summary() | {"name": one.name, "share": one.pixels / max(1, split.pixels)}
            table.add_row(*(cell(row) for _, cell in columns))
    console.print(table)
    console.print(_HELP_OBJECTS if split.has_objects else _HELP_LABELS, soft_wrap=True)
    if absent:
        console.print(f"classes that do not occur: {', '.join(absent)}", soft_wrap=True)
    if split.ignored:
        console.print(f"ignored: {split.ignored:,} px ({split.ignored / split.pixels:.1%})")


_HELP_OBJECTS = (
    "small, medium, large: COCO's sizes (below 32², below 96² px, above); median: area of its "
    "objects, px; share: of all pixels"
)
_HELP_LABELS = "share: of all pixels; where it is: the median share of the images that hold it"


def _range(side: dict[str, Any]) -> str:
    return f"{side['min']}" if side["min"] == side["max"] else f"{side['min']}-{side['max']}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _small_share(value: float | None) -> str:
    return "" if value is None else f"{value:.3%}" if value < 0.01 else f"{value:.1%}"


def _always(split: SplitStats) -> bool:
    return True


def _objects(split: SplitStats) -> bool:
    return split.has_objects


def _labels(split: SplitStats) -> bool:
    return not split.has_objects


_COLUMNS: tuple[tuple[str, Any, Any], ...] = (
    ("class", lambda row: row["name"], _always),
    ("images", lambda row: f"{row['images']:,}", _always),
    ("objects", lambda row: f"{row['instances']:,}", _objects),
    ("crowds", lambda row: f"{row['crowds']:,}", lambda s: any(one.crowds for one in s.classes)),
    ("boxes", lambda row: f"{row['boxes']:,}", lambda s: any(one.boxes for one in s.classes)),
    ("small", lambda row: f"{row['small']:,}", _objects),
    ("medium", lambda row: f"{row['medium']:,}", _objects),
    ("large", lambda row: f"{row['large']:,}", _objects),
    ("median", lambda row: _number(row["area_median"]), _objects),
    ("pixels", lambda row: f"{row['pixels']:,}", _labels),
    ("share", lambda row: _small_share(row["share"]), _always),
    ("where it is", lambda row: _small_share(row["share_median"]), _labels),
)
"""Heading, cell of a row, and whether a split has such a column."""
