"""Losses on logits, by name and in weighted sums: ``build_loss("ce + 0.5*dice")``."""

from torch import Tensor

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
    "semantic_loss",
]

_DEFAULT = build_loss("ce + dice")


def semantic_loss(logits: Tensor, targets: SemanticTargets) -> dict[str, Tensor]:
    """Cross-entropy and soft Dice, to be summed; ``logits`` are ``(B, C, H, W)``."""
    return _DEFAULT(logits, targets)
