"""Cross-entropy and soft Dice for pixels, aware of classes that an image's annotators left out.

In a merged data set an image may come from a source in which only some classes were drawn: a
bystander in a cat picture is "background" there. On such an image the label "background" has the
likelihood ``p(background) + w * sum p(c)`` over the classes ``c`` left out, where ``w`` says how
common they are among its background pixels, compared with the whole set: a class transition as
in Patrini et al., "Making deep neural networks robust to label noise", arXiv:1609.03683. ``w = 0``
is plain cross-entropy (bystanders are punished); ``w = 1`` is the marginal loss of Shi et al.,
arXiv:2007.03868 (nothing keeps such images from turning into bystanders altogether). In between,
a confident detection of a bystander costs at most ``-log w`` and hardly any gradient, while an
unsure pixel is still drawn to background.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class SemanticTargets(NamedTuple):
    """The truth for a batch."""

    labels: Tensor
    """``(B, H, W)`` int64 class ids; ``ignore`` where nothing is known."""
    ignore: int
    """The id that takes no part in any loss (none of the classes)."""
    background: int | None = None
    """The id that stands for "none of the annotated classes", if there is one."""
    unlabelled: Tensor | None = None
    """``(B, C)`` bool: classes that were not annotated in that image."""
    omission_weight: float = 0.0
    """``w`` above, in ``[0, 1]``."""


def semantic_loss(logits: Tensor, targets: SemanticTargets) -> dict[str, Tensor]:
    """Cross-entropy and soft Dice, to be summed; ``logits`` are ``(B, C, H, W)``."""
    return {"ce": cross_entropy(logits, targets), "dice": soft_dice(logits, targets)}


def cross_entropy(logits: Tensor, targets: SemanticTargets) -> Tensor:
    """Mean over labelled pixels of ``-log p(label)``; see above for partly annotated images.

    Computed in float32 whatever the logits' type. With no labelled pixel the loss is 0 and
    keeps its gradient graph.
    """
    log_p = F.log_softmax(logits.float(), dim=1)
    known = targets.labels != targets.ignore
    safe = targets.labels.where(known, targets.labels.new_zeros(()))
    log_likelihood = log_p.gather(1, safe[:, None])[:, 0]
    if targets.unlabelled is not None and targets.background is not None:
        weight = targets.unlabelled * targets.omission_weight
        weight[:, targets.background] = 1.0
        background = torch.logsumexp(log_p + weight.log()[:, :, None, None], dim=1)
        log_likelihood = torch.where(safe == targets.background, background, log_likelihood)
    return -(log_likelihood * known).sum() / known.sum().clamp(min=1)


def soft_dice(logits: Tensor, targets: SemanticTargets, *, smooth: float = 1.0) -> Tensor:
    """``1 - mean_c (2 sum p_c y_c + smooth) / (sum p_c + sum y_c + smooth)`` over the batch.

    Milletari et al., "V-Net", arXiv:1606.04797, with first powers in the denominator. Sums run
    over all labelled pixels of the batch; classes that occur neither in the truth nor (as
    annotated) in any image of the batch are left out, and so is a class in the images where it
    was not annotated.
    """
    p = logits.float().softmax(dim=1)
    classes = p.shape[1]
    known = (targets.labels != targets.ignore)[:, None]
    safe = targets.labels.where(known[:, 0], targets.labels.new_zeros(()))
    y = F.one_hot(safe, classes).movedim(-1, 1).to(p.dtype) * known
    p = p * known
    if targets.unlabelled is not None and targets.background is not None:
        counted = (~targets.unlabelled).clone()
        counted[:, targets.background] &= counted.all(dim=1)
        p, y = p * counted[:, :, None, None], y * counted[:, :, None, None]
    overlap = (p * y).sum(dim=(0, 2, 3))
    total = (p + y).sum(dim=(0, 2, 3))
    present = y.sum(dim=(0, 2, 3)) > 0
    score = (2 * overlap + smooth) / (total + smooth)
    return ((1 - score) * present).sum() / present.sum().clamp(min=1)
