"""What ``vitrail models show`` says of a network beyond its card: layers, cost, a drawing."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from vitrail.weights.card import Card

_SIZE, _DEPTH, _CLASSES = 512, 2, 21


@dataclass(frozen=True, slots=True)
class Wanted:
    """Options of the command line; None where they were not given."""

    image_size: int | None
    depth: int | None
    draw: Path | None

    def __bool__(self) -> bool:
        return any(value is not None for value in (self.image_size, self.depth, self.draw))

    def refuse(self, name: str, settings: dict[str, Any]) -> None:
        """A classical method has no layers.

        Raises
        ------
        ParameterError
            one of the options was given.
        """
        from vitrail.errors import ParameterError

        if self or settings:
            raise ParameterError(
                f"{name} is a classical method; --image-size, --depth, --draw and --set are for "
                "networks"
            )

    def measure(self, network: nn.Module, bands: int, size: int) -> tuple[Any, Path | None]:
        """The network's summary, and where it was drawn, if so."""
        from vitrail.models.diagram import check_drawing, draw_model
        from vitrail.models.summary import summarise

        side = size if self.image_size is None else self.image_size
        depth = _DEPTH if self.depth is None else self.depth
        if self.draw is not None:
            check_drawing(self.draw)
        summary = summarise(network, side, bands=bands, depth=depth)
        if self.draw is not None:
            draw_model(network, self.draw, side, bands=bands, depth=depth)
        return summary, self.draw


def measure_card(card: Card, wanted: Wanted) -> tuple[Any, Path | None]:
    """A card's network, at the card's size unless another is wanted."""
    from vitrail.models.registry import build

    network = build(card.architecture, card.arguments)
    bands = _bands(card.architecture, card.arguments)
    return wanted.measure(network, bands, card.preprocessing.image_size)


def show_architecture(
    name: str, settings: dict[str, Any], wanted: Wanted, *, as_json: bool
) -> None:
    """Print a registered architecture's arguments and summary."""
    from vitrail.cli.models import parameters, print_parameters
    from vitrail.models.registry import ARCHITECTURES, build

    entry = ARCHITECTURES[name]
    field = entry.arguments.model_fields.get("classes")
    arguments = dict(settings)
    if field is not None and field.is_required() and "classes" not in arguments:
        arguments["classes"] = _CLASSES
        told = f"classes={_CLASSES} assumed; another number with --set classes=N"
        print(f"note: {told}", file=sys.stderr)
    network = build(name, arguments)
    summary, drawn = wanted.measure(network, _bands(name, arguments), _SIZE)
    rows = parameters(entry.arguments)
    if as_json:
        facts = {"architecture": name, "summary": entry.summary, "arguments": arguments}
        measured = summary.to_json()
        print(json.dumps({**facts, "parameters": rows, "measured": measured}, indent=2))
        return
    print(f"{name}: {entry.summary}")
    print_parameters(rows)
    print_summary(summary, drawn)


def print_summary(summary: Any, drawn: Path | None) -> None:
    """The table, and where the drawing lies."""
    print(f"\n{summary}")
    if drawn is not None:
        print(f"\ndrawing -> {drawn}")


def _bands(architecture: str, arguments: dict[str, Any]) -> int:
    """Bands of the image that a network takes."""
    from vitrail.models.registry import ARCHITECTURES

    field = ARCHITECTURES[architecture].arguments.model_fields.get("in_channels")
    return int(arguments.get("in_channels", field.default if field else 3))
