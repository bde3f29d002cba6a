"""The semantic encoding loss: which classes does an image show at all?

Zhang et al.: "Context Encoding for Semantic Segmentation", arXiv:1803.08904, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vitrail.losses import SemanticTargets
from vitrail.losses.base import weighted_mean
from vitrail.losses.targets import Planes, read_planes


def presence_loss(presence: Tensor, logits: Tensor, targets: SemanticTargets) -> Tensor:
    """Binary cross-entropy of each image's classes, each counting the same however small it is.

    Parameters
    ----------
    presence:
        ``(B, C)``, before the sigmoid.
    logits:
        ``(B, C, H, W)``; they say what the labels mean, their values do not matter.
    targets:
        The truth: a class is present where a labelled pixel has it (for labels that are
        probabilities: as far as its surest pixel). Classes that were not annotated in an image,
        and images without a labelled pixel, take no part.

    Returns
    -------
    A scalar; 0, with its gradient graph, where nothing is labelled.
    """
    planes = read_planes(logits.detach(), targets)
    counted = planes.known.flatten(2).any(dim=2).expand_as(presence)
    wide = presence if presence.dtype == torch.float64 else presence.float()
    truth = _present(planes).to(wide.dtype)
    terms = F.binary_cross_entropy_with_logits(wide, truth, reduction="none")
    return weighted_mean((terms * counted).sum(), counted.sum())


def _present(planes: Planes) -> Tensor:
    """``(B, C)``: 1 where the class has a labelled pixel."""
    if planes.given is not None:
        return planes.given.flatten(2).amax(dim=2)
    assert planes.ids is not None
    # Unlabelled pixels go to a bin of their own, behind the classes.
    bins = planes.ids.where(planes.labelled[:, 0], planes.ids.new_tensor(planes.channels))
    seen = planes.logits.new_zeros(len(bins), planes.channels + 1)
    return seen.scatter_(1, bins.flatten(1), 1.0)[:, : planes.channels]
