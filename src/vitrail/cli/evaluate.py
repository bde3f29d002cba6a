"""``vitrail evaluate``: a model against a labelled data set, with the protocol said."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrail.cli.data import common

if TYPE_CHECKING:
    from vitrail.data.formats.base import Dataset

_WORST = 12


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A name from `vitrail models list`, or a .safetensors file."
        ),
    ],
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder or annotation file of the data set.")
    ],
    format: common.Format_ = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="KEY=VALUE",
            help="An option of the data's format (`vitrail data formats NAME`); repeatable.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="The split to score; val, or the only one.")
    ] = None,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="CLASS=CLASS",
            help="A class of the model that the data calls otherwise, or =background, or =ignore.",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="The same predictions under other protocols.")
    ] = False,
    boundary: Annotated[
        bool, typer.Option("--boundary", help="Also score the borders: boundary IoU and F.")
    ] = False,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Resampled sets behind the intervals; 0: no intervals.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resampling.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for pictures, tables and JSON.")
    ] = None,
    worst: Annotated[
        int, typer.Option(min=0, max=200, help="Images on the sheet of the worst.")
    ] = _WORST,
    json_to: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write all as JSON; -: print it.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="KEY=VALUE", help="A parameter of the model; repeatable."
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A checkpoint whose tensors replace the model's.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images a pass through a network.")] = 1,
) -> None:
    """Score a model on a data set: a table with 95 % intervals, and the protocol behind it."""
    from vitrail.cli.evaluate_tables import show
    from vitrail.cli.predict import parse_settings
    from vitrail.data.opening import open_dataset
    from vitrail.evaluate.report import describe, protocol, to_json, write_files
    from vitrail.evaluate.run import evaluate as run
    from vitrail.evaluate.settings import Settings
    from vitrail.predict.segmenter import load
    from vitrail.result.write import write_bytes

    dataset = open_dataset(data, format, common.parse_pairs(options, "--option"), strict=False)
    name = chosen_split(dataset, split)
    source = dataset[name]
    print(f"{data}: {dataset.format} ({dataset.reason})", file=sys.stderr)
    faults = [problem for problem in dataset.problems if problem.severity == "error"]
    for fault in faults[:5]:
        print(f"error: {fault}", file=sys.stderr)
    params = parse_settings(settings or [])
    segmenter = load(model, weights, device=device, precision=precision, **params)
    subject = describe(segmenter, model, weights, data, dataset.format, name, params)
    asked = Settings(
        mapping=parse_maps(maps or []),
        batch_size=batch_size,
        boundary=boundary,
        explain=explain,
        curves=out is not None or json_to is not None,
        worst=worst if out is not None else 0,
        draws=bootstrap,
        seed=seed,
    )

    def fail(image: str, error: Exception) -> None:
        text = str(error)
        print(f"error: {text if image in text else f'{image}: {text}'}", file=sys.stderr)

    with common.progress(json_to != "-") as tell:
        evaluation = run(
            segmenter,
            source,
            asked,
            on_error=fail,
            tell=lambda done: tell("scoring", done, len(source)),
        )
    content = to_json(evaluation, subject)
    content["faults"] = [str(fault) for fault in faults]
    files = write_files(evaluation, content, out) if out is not None else []
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if json_to == "-":
        print(text, end="")
    else:
        if json_to is not None:
            files.append(write_bytes(Path(json_to), text.encode()))
        show(evaluation, protocol(evaluation, subject))
        for file in files:
            print(f"written: {file}")
    lost = len(evaluation.failures)
    if lost or faults:
        print(
            f"error: {lost} of {len(source)} images were left out, and the data set has"
            f" {len(faults)} faults; `vitrail data check` lists them",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def chosen_split(dataset: Dataset, wanted: str | None) -> str:
    """The split that was asked for; otherwise val, or the only one.

    Raises
    ------
    ParameterError
        none was asked for, and there are several without a val; names them.
    UnknownNameError
        there is none of that name.
    """
    from vitrail.errors import ParameterError, UnknownNameError

    if wanted is not None:
        if wanted not in dataset.splits:
            raise UnknownNameError(f"split of {dataset.root}", wanted, dataset.splits)
        return wanted
    if "val" in dataset.splits:
        return "val"
    if len(dataset.splits) == 1:
        return dataset.splits[0]
    raise ParameterError(
        f"{dataset.root} has no split 'val'; say which with --split: {', '.join(dataset.splits)}"
    )


def parse_maps(pairs: list[str]) -> dict[str, str]:
    """``name=target`` pairs; :class:`ParameterError` where one is none, or a name comes twice."""
    from vitrail.errors import ParameterError

    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, target = (part.strip() for part in pair.rpartition("="))
        if not equals or not name or not target:
            raise ParameterError(f"--map {pair!r}: expected CLASS=CLASS, or CLASS=ignore")
        if name in found:
            raise ParameterError(f"--map: {name!r} is mapped twice, to {found[name]} and {target}")
        found[name] = target
    return found
