"""The models that ship in the package or are published, found by name or alias."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vitrail.weights.card import Card
from vitrail.weights.header import read_card
from vitrail.weights.published import PUBLISHED
from vitrail.weights.store import obtain, stored_path

PACKAGED = Path(__file__).parent / "packaged"

DEFAULT_MODEL = "subjects-unet-mobilenetv2"

ALIASES = {"subjects": DEFAULT_MODEL, "nuclei": "nuclei-maskrcnn-mobilenetv2"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that can be loaded by name."""

    card: Card
    packaged: Path | None = None
    """Its checkpoint, where that ships in the package; otherwise the card says where it is
    published."""

    @property
    def path(self) -> Path:
        """Its checkpoint; of published weights, where it lies once they have been fetched."""
        return self.packaged or stored_path(self.card)

    def obtain(self) -> Path:
        """Its checkpoint, downloaded if need be.

        Raises
        ------
        SourceError, WeightsError, OutputError
            as :func:`vitrail.weights.store.obtain` does.
        """
        return self.packaged or obtain(self.card)


@cache
def catalog() -> dict[str, Entry]:
    """All models that can be loaded by name; reads only the checkpoints' headers."""
    entries = [Entry(read_card(path), path) for path in sorted(PACKAGED.glob("*.safetensors"))]
    entries += [Entry(card) for card in PUBLISHED]
    return {entry.card.name: entry for entry in entries}


def find(name: str) -> Entry | None:
    """The entry of a name or alias, if there is one."""
    return catalog().get(ALIASES.get(name, name))
