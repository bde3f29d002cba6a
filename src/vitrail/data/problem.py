"""One fault in a data set: where it is, what was found, what was expected, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault that a reader or ``vitrail data check`` found."""

    code: str
    """Kind of fault, in kebab-case: ``missing-image``, ``unknown-category`` ..."""
    severity: Severity
    """``error``: training on it fails or learns something false; ``warning``: suspicious."""
    file: Path | None
    """The file it is in."""
    id: str
    """Image, annotation or category it concerns, by the data set's own name; may be empty."""
    value: str
    """What was found."""
    expected: str
    """What should be there."""
    split: str = ""
    """The part of the data set."""
    advice: str = ""
    """What to do."""

    def __str__(self) -> str:
        where = f"{self.file}: " if self.file else ""
        what = f"{self.id}: " if self.id else ""
        advice = f"; {self.advice}" if self.advice else ""
        return f"{where}{what}{self.value}, expected {self.expected}{advice}"
