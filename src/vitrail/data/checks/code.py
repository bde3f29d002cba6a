"""What is known of one kind of finding."""

from __future__ import annotations

from dataclasses import dataclass

from vitrail.data.problem import Severity


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of fault."""

    severity: Severity
    """Of an ordinary case; a milder or a graver one may be given another."""
    meaning: str
    advice: str
