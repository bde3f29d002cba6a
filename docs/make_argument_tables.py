"""Write the tables of arguments in docs/architectures/ from the types that check them.

python docs/make_argument_tables.py          # rewrite what stands between each two marks
python docs/make_argument_tables.py --check  # exit 1 where that is not up to date
"""

from __future__ import annotations

import re
import sys
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vitrail.models.registry import ARCHITECTURES

FOLDER = Path(__file__).parent / "architectures"
MARK = "<!-- arguments of {}: docs/make_argument_tables.py -->"
END = "<!-- end of arguments of {} -->"
_MARKS = re.compile(MARK.format(r"([a-z0-9-]+)"))
_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def table(architecture: str) -> str:
    """Every argument of an architecture: name, default, range, meaning."""
    rows = ["| argument | default | values | |", "|---|---|---|---|"]
    for name, field in ARCHITECTURES[architecture].arguments.model_fields.items():
        default = "required" if field.is_required() else f"`{told(field.default)}`"
        if isinstance(field.default, BaseModel):
            default = ""
        text = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{name}` | {default} | {values(field)} | {text} |")
    return "\n".join(rows)


def values(field: FieldInfo) -> str:
    """The words that an argument takes, or its range."""
    words = [f"`{told(word)}`" for word in choices(field.annotation)]
    bounds = [
        f"{sign} {told(getattr(one, key))}"
        for key, sign in _BOUNDS
        for one in field.metadata
        if hasattr(one, key)
    ]
    return ", ".join(words or bounds)


def choices(annotation: object) -> list[object]:
    """Of ``Literal[...]``, alone or in a union."""
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    return [word for one in typing.get_args(annotation) for word in choices(one)]


def told(value: object) -> str:
    """As it is written in a recipe."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case tuple():
            return f"[{', '.join(told(one) for one in value)}]"
        case float():
            return f"{value:g}"
    return str(value)


def page(text: str) -> str:
    """A page with its tables up to date."""
    for name in _MARKS.findall(text):
        before, rest = text.split(MARK.format(name))
        after = rest.split(END.format(name))[1]
        text = f"{before}{MARK.format(name)}\n\n{table(name)}\n\n{END.format(name)}{after}"
    return text


def pages() -> dict[Path, tuple[str, str]]:
    """Each page with tables: as it is, and as it should be."""
    texts = {path: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.md"))}
    return {path: (text, page(text)) for path, text in texts.items() if _MARKS.search(text)}


if __name__ == "__main__":
    found = pages()
    if "--check" in sys.argv:
        sys.exit(any(old != new for old, new in found.values()))
    for path, (_, new) in found.items():
        path.write_text(new, "utf-8")
