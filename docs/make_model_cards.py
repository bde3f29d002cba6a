"""Write docs/model-cards.md from the catalogue of models.

python docs/make_model_cards.py          # write the page
python docs/make_model_cards.py --check  # exit 1 where it is not up to date
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from vitrail.weights.card import Card
from vitrail.weights.catalog import ALIASES, Entry, catalog

PAGE = Path(__file__).with_name("model-cards.md")
_HEAD = """# Model cards

<!-- written by docs/make_model_cards.py; do not edit -->

What `vitrail.load(NAME)` and `--model NAME` take, besides the classical methods and your own
checkpoints. `vitrail models show NAME` prints the same with every preprocessing value. Scores of
packaged models are measured by us; scores of published ones are their publishers'.
"""


def page() -> str:
    """The whole page."""
    entries = catalog()
    rows = ["| name | architecture | weights | score |", "|---|---|---|---|"]
    for name, entry in entries.items():
        rows.append(
            f"| [`{name}`](#{anchor(name)}) | `{entry.card.architecture}` | {weights(entry)} | "
            f"{score(entry.card)} |"
        )
    sections = ["\n".join(section(entry)) for entry in entries.values()]
    return "\n".join([_HEAD, *rows, "", "\n\n".join(sections), ""])


def anchor(name: str) -> str:
    """That of a heading which is this name."""
    return "".join(letter for letter in name if letter.isalnum() or letter == "-")


def weights(entry: Entry) -> str:
    """In the package, or how much is to be fetched."""
    if entry.packaged is not None:
        return f"in the package, {entry.packaged.stat().st_size / 1e6:.1f} MB"
    assert entry.card.download is not None
    return f"{entry.card.download.size / 1e6:.0f} MB to fetch"


def score(card: Card) -> str:
    """The first number of the first score."""
    for one in card.scores:
        for name, value in one.values.items():
            return f"{name} {value:g}"
    return "not stated"


def section(entry: Entry) -> Iterator[str]:
    """A heading and a table."""
    card = entry.card
    names = [alias for alias, name in ALIASES.items() if name == card.name]
    background = card.classes[card.background] if card.background is not None else "none"
    shown = ", ".join(card.classes[:25]) + (" ..." if len(card.classes) > 25 else "")
    yield f"## {card.name}\n\n{card.summary}.\n\n| | |\n|---|---|"
    facts = {
        "also called": ", ".join(f"`{alias}`" for alias in names),
        "architecture": f"`{card.architecture}`: {arguments(card)}",
        "classes": f"{len(card.classes)}: {shown}; background: {background}",
        "input": f"{card.preprocessing.resize} {card.preprocessing.image_size} px",
        "weights": weights(entry) + source(card),
        "trained on": card.training_data,
        "trained by": card.training_command,
        "licence, code": card.licences.code,
        "licence, weights": card.licences.weights,
        "licence, data": card.licences.training_data,
        "limits": card.limits,
    }
    for key, text in facts.items():
        if text:
            yield f"| {key} | {cell(text)} |"
    for one in card.scores:
        numbers = ", ".join(f"{name} {value:g}" for name, value in one.values.items())
        yield f"| score | {cell(numbers)} |"
        yield f"| of | {cell(f'{one.dataset}, {one.split}: {one.protocol}')} |"
        yield f"| measured by | {cell(one.command)} |"


def arguments(card: Card) -> str:
    """As they are written in a recipe; of a detector the encoder alone, the rest is its family."""
    if "encoder" in card.arguments and len(card.arguments) > 8:
        return f"encoder `{card.arguments['encoder']}`, and the arguments of its family"
    return ", ".join(f"{name} `{told(value)}`" for name, value in card.arguments.items())


def told(value: object) -> str:
    """A value in YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def source(card: Card) -> str:
    """Where published weights are, and what of them can be verified."""
    if card.download is None:
        return ""
    sums = ", ".join(f"{name} {value}" for name, value in card.download.checksums.items())
    return f", from <{card.download.url}>; checked: size{', ' + sums if sums else ''}"


def cell(text: str) -> str:
    """Text within a table: one line, links that can be followed."""
    words = [
        f"<{word}>" if word.startswith("https://") and word[-1] not in ",;." else word
        for word in " ".join(text.split()).replace("|", "\\|").split(" ")
    ]
    return " ".join(words)


if __name__ == "__main__":
    new = page()
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text("utf-8") != new)
    PAGE.write_text(new, "utf-8")
