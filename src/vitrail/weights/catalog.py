"""The models that ship in the package, found by name or alias."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vitrail.weights.card import Card
from vitrail.weights.header import read_card

PACKAGED = Path(__file__).parent / "packaged"

DEFAULT_MODEL = "subjects-unet-mobilenetv2"

ALIASES = {"subjects": DEFAULT_MODEL}


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that can be loaded by name."""

    card: Card
    path: Path
    """Its checkpoint."""


@cache
def catalog() -> dict[str, Entry]:
    """All models that can be loaded by name; reads only the checkpoints' headers."""
    entries = (Entry(read_card(path), path) for path in sorted(PACKAGED.glob("*.safetensors")))
    return {entry.card.name: entry for entry in entries}


def find(name: str) -> Entry | None:
    """The entry of a name or alias, if there is one."""
    return catalog().get(ALIASES.get(name, name))
