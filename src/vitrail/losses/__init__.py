"""Losses on logits. This first set serves semantic training; the others join it by file."""

from vitrail.losses.semantic import SemanticTargets, cross_entropy, semantic_loss, soft_dice

__all__ = ["SemanticTargets", "cross_entropy", "semantic_loss", "soft_dice"]
