"""Small drawn batches in each form that targets come in, for the tests of the losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vitrail.losses import SemanticTargets

IGNORE = 255
MODES = ("binary", "classes", "labels", "one_hot")


@dataclass(frozen=True)
class Drawn:
    """A batch with every class in every image, and how to say it with certainty."""

    logits: Tensor
    targets: SemanticTargets
    perfect: Tensor

    @property
    def labelled(self) -> Tensor:
        """``(B, 1 or C, H, W)`` bool."""
        known = self.targets.labels != IGNORE
        return known if known.ndim == 4 else known[:, None]


def drawn(
    mode: str, *, size: int = 8, images: int = 2, ignored: bool = True, seed: int = 0
) -> Drawn:
    """Float64 logits and the truth; the top row and a square are without labels."""
    generator = torch.Generator().manual_seed(seed)
    channels = 1 if mode == "binary" else 3
    ids = torch.randint(0, 3, (images, size, size), generator=generator)
    ids[:, 2 : size // 2, 2 : size // 2] = 1
    ids[:, size // 2 :, size // 2 :] = 2
    logits = torch.randn(images, channels, size, size, generator=generator, dtype=torch.float64)
    logits = logits * 2
    one_hot = F.one_hot(ids, 3).movedim(-1, 1)
    if mode == "binary":
        labels = (ids == 1).long()
        sure = labels[:, None] * 2 - 1
    elif mode == "classes":
        labels, sure = ids, one_hot * 2 - 1
    elif mode == "labels":
        labels = one_hot.clone()
        labels[:, 0] |= one_hot[:, 2]  # a pixel with two labels
        sure = labels * 2 - 1
    else:
        labels, sure = one_hot.clone(), one_hot * 2 - 1
    if ignored:
        labels[..., 0, :] = IGNORE
        labels[..., 5:7, 1:3] = IGNORE
    targets = SemanticTargets(labels, IGNORE, 0, exclusive=mode == "one_hot")
    return Drawn(logits, targets, sure.double() * 200)


def without_labels(batch: Drawn) -> SemanticTargets:
    """The same batch, nothing labelled."""
    return batch.targets._replace(labels=torch.full_like(batch.targets.labels, IGNORE))
