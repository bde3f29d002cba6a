"""``vitrail data split``: divide a set into parts or folds, as lists of ids or as a new set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli.data import common

if TYPE_CHECKING:
    import numpy as np

    from vitrail.data.split import Joined


def split(
    path: common.Path_,
    to: Annotated[Path, typer.Option("--to", "-t", help="Folder for the parts.")],
    parts: Annotated[
        str,
        typer.Option(
            metavar="NAME=SIZE,...",
            help="Fractions (train=0.8,val=0.1,test=0.1), numbers of images, or rest.",
        ),
    ] = "train=0.8,val=0.1,test=0.1",
    folds: Annotated[
        int | None, typer.Option(min=2, help="Cross-validation instead: this many folds.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives another division.")] = 0,
    stratify: Annotated[
        bool, typer.Option("--stratify", help="The same share of each class in every part.")
    ] = False,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Keep images together: prefix (up to the first _ - or / of the id), a regular "
            "expression whose first group is the key, or a .csv of id,group.",
        ),
    ] = None,
    write: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Write the parts as a data set, not as lists of ids."),
    ] = None,
    to_settings: Annotated[
        list[str] | None,
        typer.Option("--to-set", metavar="KEY=VALUE", help="An option of the written format."),
    ] = None,
    allow_lossy: Annotated[
        bool, typer.Option("--allow-lossy", help="With --write, as for `vitrail data convert`.")
    ] = False,
    format: common.Format_ = None,
    settings: common.Settings = None,
    splits: common.Splits_ = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already.")
    ] = False,
    as_json: common.Json = False,
) -> None:
    """Divide a data set: seeded, stratified by class, images of one group kept together.

    Existing splits are joined first. Writes NAME.txt for each part (one id a line) and split.json;
    with --folds, a folder fold-1, fold-2 ... with train.txt and val.txt each.
    """
    from vitrail.data.convert import check_outside, convert
    from vitrail.data.split import Joined, Subset, group_keys, parse_parts, part_sizes, write_split
    from vitrail.data.stratify import class_presence, divide
    from vitrail.errors import ParameterError

    if folds is not None and write is not None:
        raise ParameterError("--folds writes lists of ids; it does not go with --write")
    check_outside(to, path)
    dataset, sources = common.open_parts(path, format, settings, splits)
    whole = Joined(sources)
    if folds is not None and folds > len(whole):
        raise ParameterError(f"--folds {folds}: there are {len(whole)} images, a fold needs one")
    shares = (
        parse_parts(parts)
        if folds is None
        else {f"fold-{number}": Fraction(1, folds) for number in range(1, folds + 1)}
    )
    sizes = part_sizes(shares, len(whole))
    groups = None if group_by is None else group_keys(whole.ids, group_by)
    with common.progress(not as_json) as tell:
        done = iter(range(1, len(whole) + 1))
        presence = class_presence(whole, lambda: tell("classes", next(done), len(whole)))
    dealt = divide(
        whole.ids, sizes, seed=seed, groups=groups, presence=presence if stratify else None
    )
    facts: dict[str, Any] = {
        "seed": seed,
        "stratified": stratify,
        "group_by": group_by,
        "source": {"name": path.resolve().name, "format": dataset.format},
        "classes": _counts(whole, presence, dealt),
    }
    if write is not None:
        chosen = {name: Subset(whole, indices) for name, indices in dealt.items()}
        with common.progress(not as_json) as tell:
            report = convert(
                chosen,
                to,
                write,
                common.parse_pairs(to_settings, "--to-set"),
                allow_lossy=allow_lossy,
                overwrite=overwrite,
                origin=path,
                progress=tell,
            )
        facts["losses"] = list(report.losses)
        written = [report.target]
    elif folds is None:
        ids = {name: [whole.ids[i] for i in indices] for name, indices in dealt.items()}
        written = write_split(to, ids, facts, overwrite=overwrite)
    else:
        written = []
        for number, held_out in enumerate(dealt.values(), 1):
            inside = set(held_out)
            fold = {
                "train": [id for i, id in enumerate(whole.ids) if i not in inside],
                "val": [whole.ids[i] for i in held_out],
            }
            more = facts | {"fold": number, "folds": folds}
            written += write_split(to / f"fold-{number}", fold, more, overwrite=overwrite)
    images = {name: len(indices) for name, indices in dealt.items()}
    if as_json:
        print(json.dumps({"images": images, **facts, "files": list(map(str, written))}, indent=2))
    else:
        _print(images, facts["classes"], to)


def _counts(
    whole: Joined, presence: np.ndarray, dealt: Mapping[str, list[int]]
) -> dict[str, dict[str, int]]:
    """Images of each class in each part."""
    return {
        name: {part: int(presence[rows, i].sum()) for part, rows in dealt.items()}
        for i, name in enumerate(whole.space.classes)
        if i != whole.space.background
    }


def _print(images: dict[str, int], classes: dict[str, dict[str, int]], to: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("images with")
    for name in images:
        table.add_column(name, justify="right")
    table.add_row("(all)", *(f"{count:,}" for count in images.values()))
    for name, counts in classes.items():
        total = sum(counts.values())
        shares = (f"{n:,} ({n / total:.1%})" if total else "0" for n in counts.values())
        table.add_row(name, *shares)
    console = Console(markup=False)
    console.print(table)
    console.print(f"written to {to}", highlight=False, soft_wrap=True)
