"""What every import writes of a network that another project has trained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from vitrail.errors import ParameterError
from vitrail.weights.card import Card, Licences, Preprocessing

UNKNOWN = "not stated by the file"
_BACKGROUND = ("bg", "background", "__background__")


@dataclass(frozen=True)
class ClassNames:
    """The names of an imported network's classes, or how many there are if nobody knows them."""

    names: tuple[str, ...] = ()
    count: int = 0

    @classmethod
    def parse(cls, text: str) -> ClassNames:
        """``a,b,c``, or a number."""
        # Not str.isdigit: it takes a superscript 2, which int() does not.
        if re.fullmatch("[0-9]{1,9}", text.strip()):
            return cls(count=int(text))
        return cls(tuple(name.strip() for name in text.split(",") if name.strip()))

    def of(self, count: int, what: str) -> tuple[tuple[str, ...], str]:
        """The names of ``count`` classes, and what the card shall say of them.

        Raises
        ------
        ParameterError
            there is neither a name for each nor their number, or a name stands there twice; it
            begins with ``what``, which says what was found.
        """
        if not self.names and not self.count:
            raise ParameterError(
                f"{what}, and the file does not name them; give --classes with {count} names, "
                f"commas between, in the order of the training, or --classes {count} if nobody "
                "knows them"
            )
        if (self.count or len(self.names)) != count:
            got = self.count or ", ".join(self.names)
            raise ParameterError(f"{what}; --classes {got}: expected {count} names, or {count}")
        if len(set(self.names)) != len(self.names):
            raise ParameterError(f"--classes {', '.join(self.names)}: a name stands there twice")
        if self.names:
            return self.names, ""
        unknown = tuple(f"unknown {index}" for index in range(count))
        return unknown, "; the names of its classes are unknown"

    def of_objects(
        self, path: Path, count: int, known: Sequence[str]
    ) -> tuple[tuple[str, ...], str]:
        """:meth:`of` for a network that finds objects, whose background is no class: it may stand
        in front. Without names, as many classes as there are in ``known`` (COCO's) are these."""
        if not self.names and not self.count and count == len(known):
            return tuple(known), f"; that its {count} classes are COCO's is assumed"
        given = self
        if len(self.names) == count + 1 and self.names[0].lower() in _BACKGROUND:
            given = ClassNames(self.names[1:])
        what = f"{path}: the network finds objects of {count} classes, background not counted"
        return given.of(count, what)


def preprocessing_of(values: Mapping[str, object]) -> Preprocessing:
    """How the network was fed.

    Raises
    ------
    ParameterError
        a value is out of range.
    """
    try:
        return Preprocessing.model_validate(dict(values))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = ".".join(map(str, fault["loc"])) or "preprocessing"
        raise ParameterError(f"{name}={fault['input']!r}: {fault['msg']}") from None


def adopted_card(out: Path, **values: object) -> Card:
    """A card named after the file to be written; nothing is known of the training."""
    return Card.model_validate(
        {
            "name": re.sub(r"[^a-z0-9._-]+", "-", out.stem.lower()).strip("-._") or "imported",
            "training_data": UNKNOWN,
            "training_command": UNKNOWN,
            "licences": Licences(code="Apache-2.0", weights=UNKNOWN, training_data=UNKNOWN),
            **values,
        }
    )
