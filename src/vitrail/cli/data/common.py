"""What the verbs of ``vitrail data`` share: options, opening a set, progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vitrail.data.formats.base import Dataset
    from vitrail.data.sample import SampleSource

Path_ = Annotated[
    Path, typer.Argument(metavar="PATH", help="Folder or annotation file of the data set.")
]
Format_ = Annotated[
    str | None,
    typer.Option("--format", "-f", help="Its format; by default told by its layout."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="An option of its format (`vitrail data formats NAME` lists them); repeatable.",
    ),
]
Splits_ = Annotated[
    str | None,
    typer.Option("--splits", "--split", metavar="NAMES", help="Only these splits: train,val."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


def parse_pairs(pairs: list[str] | None, flag: str) -> dict[str, Any]:
    """``key=value`` pairs to options; values are YAML (``image_folder=photos``).

    Raises
    ------
    ParameterError
        a pair without ``=``, or a value that is not valid YAML.
    """
    import yaml

    from vitrail.errors import ParameterError

    options: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise ParameterError(f"{flag} {pair!r}: expected key=value")
        try:
            options[key.strip().replace("-", "_")] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):  # ValueError: a date that no calendar has
            raise ParameterError(f"{flag} {pair!r}: {value!r} is not a valid value") from None
    return options


def names_of(listed: str | None) -> list[str] | None:
    """``"a, b"`` to names; None stays None."""
    if listed is None:
        return None
    return [name.strip() for name in listed.split(",") if name.strip()]


def open_parts(
    path: Path,
    format: str | None,
    settings: list[str] | None,
    splits: str | None = None,
    *,
    strict: bool = True,
) -> tuple[Dataset, dict[str, SampleSource]]:
    """Open a set and the splits asked for; says on stderr what it was taken for.

    Without ``strict``, faults are gone around, and counted on stderr.
    """
    from vitrail.data.opening import open_dataset

    dataset = open_dataset(path, format, parse_pairs(settings, "--set"), strict=strict)
    chosen = names_of(splits)
    parts = {name: dataset[name] for name in (chosen or dataset.splits)}
    print(f"{path}: {dataset.format} ({dataset.reason})", file=sys.stderr)
    if faults := [problem for problem in dataset.problems if problem.severity == "error"]:
        first, count = faults[0], len(faults)
        counted = f"{count:,} faults were" if count > 1 else "1 fault was"
        print(
            f"warning: {counted} gone around, the first: {first}; `vitrail data check` lists them",
            file=sys.stderr,
        )
    return dataset, parts


@contextmanager
def progress(show: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal's stderr, told (stage, done, total)."""
    if not show or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, current = bar.add_task(""), ""

        def tell(stage: str, done: int, total: int) -> None:
            nonlocal task, current
            if stage != current:
                bar.remove_task(task)
                task, current = bar.add_task(stage, total=total), stage
            bar.update(task, completed=done)

        yield tell
