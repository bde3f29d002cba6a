"""Write the tables of docs/maskrcnn.md from what builds the networks.

python docs/make_family_table.py          # rewrite what stands between each two marks
python docs/make_family_table.py --check  # exit 1 where that is not up to date
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.families import FAMILIES

PAGE = Path(__file__).with_name("maskrcnn.md")
MARK = "<!-- {}: docs/make_family_table.py -->"
END = "<!-- end of {} -->"


def fields(
    model: type[BaseModel] = MaskRCNNArguments, before: str = ""
) -> Iterator[tuple[str, FieldInfo]]:
    """``("encoder", ...), ("anchors.sizes", ...)`` and so on."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields(inner, f"{before}{name}.")
        else:
            yield f"{before}{name}", field


def value_of(arguments: BaseModel, name: str) -> object:
    """The value of ``"anchors.sizes"``."""
    found: object = arguments
    for part in name.split("."):
        found = getattr(found, part)
    return found


def tables() -> dict[str, str]:
    """By the name that stands in the marks."""
    built = {
        name: MaskRCNNArguments.model_validate({**family, "classes": 1})
        for name, family in FAMILIES.items()
    }
    differ = [f"| argument | {' | '.join(built)} |", f"|---{'|---' * len(built)}|"]
    every = ["| argument | default | |", "|---|---|---|"]
    for name, field in fields():
        values = [told(value_of(arguments, name)) for arguments in built.values()]
        if len(set(values)) > 1:
            differ.append(f"| `{name}` | {' | '.join(values)} |")
        default = "required" if field.is_required() else told(field.default)
        text = (field.description or "").replace("|", "\\|")
        every.append(f"| `{name}` | {default} | {text} |")
    return {"families": "\n".join(differ), "arguments": "\n".join(every)}


def told(value: object) -> str:
    """As it is written in a recipe."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(told(one) for one in value)
        case float():
            return f"{value:g}"
    return str(value)


def page(text: str) -> str:
    """The page with its tables up to date."""
    for name, table in tables().items():
        before, rest = text.split(MARK.format(name))
        after = rest.split(END.format(name))[1]
        text = f"{before}{MARK.format(name)}\n\n{table}\n\n{END.format(name)}{after}"
    return text


if __name__ == "__main__":
    old = PAGE.read_text("utf-8")
    new = page(old)
    if "--check" in sys.argv:
        sys.exit(new != old)
    PAGE.write_text(new, "utf-8")
