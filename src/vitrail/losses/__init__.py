"""Losses on logits, by name and in weighted sums: ``build_loss("ce + 0.5*dice")``."""

from vitrail.losses.base import Loss
from vitrail.losses.compound import Term, WeightedLoss, build_loss
from vitrail.losses.registry import LOSSES, LossEntry
from vitrail.losses.targets import SemanticTargets

__all__ = [
    "LOSSES",
    "Loss",
    "LossEntry",
    "SemanticTargets",
    "Term",
    "WeightedLoss",
    "build_loss",
]
