"""Write the tables of recipe keys in docs/training.md from the models that check recipes.

python docs/make_recipe_table.py          # rewrite what stands between the two marks
python docs/make_recipe_table.py --check  # exit 1 where that is not up to date
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from vitrail.training.config import Recipe

PAGE = Path(__file__).with_name("training.md")
BEGIN, END = "<!-- recipe keys: docs/make_recipe_table.py -->", "<!-- end of recipe keys -->"


def sections(model: type[BaseModel] = Recipe, name: str = "") -> Iterator[tuple[str, type]]:
    """``("", Recipe), ("data", DataConfig), ("data.draw", DrawConfig)`` and so on."""
    yield name, model
    for key, field in model.model_fields.items():
        for inner in _models(field.annotation):
            yield from sections(inner, f"{name}.{key}".lstrip("."))


def tables() -> str:
    """A table for each section."""
    parts: list[str] = []
    seen: dict[type, str] = {}
    for name, model in sections():
        if model in seen:
            continue
        seen[model] = name
        parts.append(f"### `{name}`\n" if name else "### Sections\n")
        parts.append("| key | default | |\n|---|---|---|")
        for key, field in model.model_fields.items():
            parts.append(f"| `{key}` | {_default(field)} | {_text(field)} |")
        parts.append("")
    return "\n".join(parts)


def page(text: str) -> str:
    """The page with its tables up to date."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{rest.split(END)[1]}"


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [model for one in typing.get_args(annotation) for model in _models(one)]
    return []


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is PydanticUndefined or isinstance(value, BaseModel | Mapping):
        return ""
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return "" if value == "" else f"`{value}`"


def _text(field: FieldInfo) -> str:
    told = (field.description or "").replace("|", "\\|")
    choices = [f"`{value}`" for value in _choices(field.annotation) if f"{value}:" not in told]
    return "; ".join(part for part in (told, ", ".join(choices)) if part)


def _choices(annotation: object) -> list[object]:
    """The words that a key takes."""
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    return [word for one in typing.get_args(annotation) for word in _choices(one)]


if __name__ == "__main__":
    old = PAGE.read_text("utf-8")
    new = page(old)
    if "--check" in sys.argv:
        sys.exit(new != old)
    PAGE.write_text(new, "utf-8")
