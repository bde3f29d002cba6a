"""What the arguments of all semantic architectures have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError


def _not_one(value: object) -> object:
    if value == 1 and not isinstance(value, bool):
        raise PydanticCustomError(
            "one_class",
            "a single class leaves nothing to tell apart; expected 2 or more, the background "
            "counts as one (an object and its background: 2)",
        )
    return value


Classes = Annotated[
    int,
    BeforeValidator(_not_one),
    Field(ge=2, le=65535, description="number of classes, background included"),
]
"""How many classes a network tells apart."""
