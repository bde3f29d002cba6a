"""``vitrail models``: what can be loaded, and what each of it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli import models_weights

if TYPE_CHECKING:
    from pydantic import BaseModel

    from vitrail.weights.card import Card

app = typer.Typer(help="List the models, or show one's card or parameters.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


app.command("fetch")(models_weights.fetch)
app.command("import")(models_weights.import_)


@app.command("list")
def list_(as_json: _Json = False) -> None:
    """All names that --model and vitrail.load() take."""
    from dataclasses import asdict

    from vitrail.predict.segmenter import list_models

    models = list_models()
    if as_json:
        print(json.dumps([asdict(model) for model in models], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("name", "kind", "what it does"):
        table.add_column(heading)
    for model in models:
        names = "\n".join([model.name, *(f"  = {alias}" for alias in model.aliases)])
        classes = f"\n{', '.join(model.classes)}" if model.classes else ""
        kind = model.kind
        if model.download:
            kind += f"\n{model.download / 1e6:,.0f} MB {'fetched' if model.stored else 'to fetch'}"
            classes += f"\nweights: {model.licence}"
        table.add_row(names, kind, model.summary + classes)
    console = Console()
    console.print(table)
    console.print("What is to be fetched is downloaded at its first use: vitrail models fetch NAME")


@app.command("show")
def show(
    name: Annotated[
        str, typer.Argument(help="A name, a .safetensors file, or an architecture, such as unet.")
    ],
    image_size: Annotated[
        int | None,
        typer.Option(help="Side (px) of an image to measure a network with; default: its card's."),
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="How far modules are taken apart; default 2.")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(help="Also draw the network, to an .svg or .png file.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="KEY=VALUE", help="An architecture's argument; repeatable."
        ),
    ] = None,
    as_json: _Json = False,
) -> None:
    """A network's card, or a classical method's parameters, or an architecture's arguments.

    Of an architecture always, of a network with --image-size, --depth or --draw: its layers with
    their shapes, parameters and multiply-adds, and the memory it needs.
    """
    from vitrail.classical import METHODS
    from vitrail.cli.models_measure import Wanted, measure_card, print_summary, show_architecture
    from vitrail.cli.predict import parse_settings
    from vitrail.errors import ParameterError, UnknownNameError
    from vitrail.predict.segmenter import known_names
    from vitrail.weights.catalog import find
    from vitrail.weights.header import read_card

    wanted, arguments = Wanted(image_size, depth, draw), parse_settings(settings or [])
    if name in METHODS:
        wanted.refuse(name, arguments)
        method = METHODS[name]
        params = parameters(method)
        if as_json:
            print(json.dumps({"name": name, "summary": method.summary, "parameters": params}))
        else:
            print(f"{name}: {method.summary}")
            print_parameters(params)
        return
    entry = find(name)
    if entry is None and not Path(name).suffix and not Path(name).is_file():
        from vitrail.models.registry import ARCHITECTURES

        if name not in ARCHITECTURES:
            known = [*known_names(), *ARCHITECTURES]
            raise UnknownNameError("model or architecture", name, known)
        show_architecture(name, arguments, wanted, as_json=as_json)
        return
    card = entry.card if entry else read_card(Path(name))
    if arguments:
        raise ParameterError(
            f"--set is for architectures; the arguments of {name} stand in its card "
            f"(try: vitrail models show {card.architecture} --set ...)"
        )
    summary, drawn = measure_card(card, wanted) if wanted else (None, None)
    if as_json:
        facts = card.model_dump(mode="json")
        if summary is not None:
            facts["measured"] = summary.to_json()
        print(json.dumps(facts, indent=2))
        return
    import yaml

    print(
        yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True).rstrip()
    )
    print_parameters(_network_parameters(card))
    if summary is not None:
        print_summary(summary, drawn)


@app.command("average")
def average(
    checkpoints: Annotated[list[str], typer.Argument(help="Two or more .safetensors files.")],
    out: Annotated[str, typer.Option(help="The .safetensors file to write.")],
    shares: Annotated[
        str, typer.Option(help="Weight of each, with commas: 0.65,0.35. Default: equal.")
    ] = "",
) -> None:
    """Average the weights of several trainings of one network."""
    from vitrail.errors import ParameterError
    from vitrail.weights.average import average_checkpoints

    try:
        numbers = [float(share) for share in shares.split(",")] if shares else None
    except ValueError:
        raise ParameterError(f"--shares {shares}: expected numbers with commas between") from None
    average_checkpoints([Path(path) for path in checkpoints], Path(out), shares=numbers)
    print(f"average of {len(checkpoints)} checkpoints -> {out}")


def parameters(params: type[BaseModel]) -> list[dict[str, Any]]:
    """Name, type, default, range and meaning of each field of a parameter class."""
    schema = params.model_json_schema()
    required = schema.get("required", [])
    rows: list[dict[str, Any]] = []
    for name, field in schema.get("properties", {}).items():
        options = field.get("anyOf", [field])
        ranges = [f"{sign} {o[key]}" for o in options for key, sign in _BOUNDS.items() if key in o]
        rows.append(
            {
                "name": name,
                "type": " or ".join(_type(option) for option in options),
                "default": "required" if name in required else field.get("default"),
                "range": ", ".join(ranges),
                "meaning": field.get("description", ""),
            }
        )
    return rows


def _network_parameters(card: Card) -> list[dict[str, Any]]:
    """What can be set on a card's network, with the thresholds of a detector as it has them."""
    from vitrail.models.registry import validate_arguments
    from vitrail.predict.engines import params_of
    from vitrail.predict.network_params import DetectorParams

    kind = params_of(card)
    rows = parameters(kind)
    if kind is DetectorParams:
        detection = validate_arguments(card.architecture, card.arguments).model_dump()["detection"]
        for row in rows:
            row["default"] = detection.get(row["name"], row["default"])
    return rows


_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    return str(schema.get("type", "value"))


def print_parameters(rows: list[dict[str, Any]]) -> None:
    """A table of what :func:`parameters` returns; nothing where there are none."""
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    table = Table(title="parameters (--set name=value)", title_justify="left")
    for heading in ("name", "type", "default", "range", "meaning"):
        table.add_column(heading)
    for row in rows:
        table.add_row(*(str(row[key]) for key in ("name", "type", "default", "range", "meaning")))
    Console().print(table)
