"""Cards of weights that others have published and that are fetched when they are asked for."""

from __future__ import annotations

from vitrail.weights.card import Card
from vitrail.weights.published.detection import DETECTION
from vitrail.weights.published.semantic import SEMANTIC

PUBLISHED: tuple[Card, ...] = (*SEMANTIC, *DETECTION)
