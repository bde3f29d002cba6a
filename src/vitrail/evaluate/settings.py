"""What an evaluation is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vitrail.errors import ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured beside the scores themselves, and how."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    """Classes that are not called alike: name to class, ``background`` or ``ignore``."""
    batch_size: int = 1
    """Images that go through a network together; changes no number."""
    boundary: bool = False
    """Score the classes' borders, too."""
    explain: bool = False
    """Keep what the other protocols need."""
    curves: bool = False
    """Count probabilities for precision-recall curves (networks only)."""
    worst: int = 0
    """Images kept as pictures."""
    draws: int = 1000
    """Resampled sets of the bootstrap; 0: no intervals."""
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("worst", 0), ("draws", 0), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise ParameterError(f"{name} is {value}, expected {least} or more")
