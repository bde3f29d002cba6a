"""Losses that compare, pixel by pixel, the predicted distribution with the true one.

``p`` is the network's probability of a class (softmax, or sigmoid for binary and multi-label),
``y`` the truth. Means run over labelled pixels; with class weights they are weighted means, so
only the ratios of weights matter.

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

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from vitrail.errors import ConfigError
from vitrail.losses.base import Loss, weighted_mean
from vitrail.losses.targets import Planes


class BinaryCrossEntropy(Loss):
    """``-mean(y log p + (1 - y) log(1 - p))`` with ``p`` a sigmoid of each channel.

    On multi-class labels every class is told from all the others by itself (one against the
    rest). ``smoothing`` moves the truth to ``y (1 - s) + s / 2``, as Keras does; Szegedy et al.,
    arXiv:1512.00567.
    """

    smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of the truth spread evenly"
    )

    def value(self, planes: Planes) -> Tensor:
        return self.plane_mean(planes, _binary(planes, smoothing=self.smoothing))


class WeightedBinaryCrossEntropy(Loss):
    """``-mean(beta y log p + (1 - y) log(1 - p))``: torch's ``pos_weight``.

    ``beta > 1`` finds more of the object (fewer false negatives), ``beta < 1`` claims less of it
    (fewer false positives). Pihur et al.; surveyed in Jadon, arXiv:2006.14822. Multi-class: one
    against the rest.
    """

    beta: float = Field(default=1.0, gt=0, le=1e4, description="weight of object pixels")

    def value(self, planes: Planes) -> Tensor:
        return self.plane_mean(planes, _binary(planes, beta=self.beta))


class CrossEntropy(Loss):
    """``-mean log p(label)``: over a softmax for classes, binary cross-entropy otherwise.

    ``smoothing`` puts ``s / C`` of the truth on every class and ``1 - s`` on the label; Szegedy
    et al., arXiv:1512.00567. Numbers are torch's, class weights and smoothing together included.
    """

    smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of the truth spread evenly"
    )

    def value(self, planes: Planes) -> Tensor:
        if not planes.exclusive:
            return self.plane_mean(planes, _binary(planes, smoothing=self.smoothing))
        if not self.smoothing:
            return self.pixel_mean(planes, planes.nll)
        spread = planes.log_p.new_ones(planes.channels)
        weight = planes.labelled.to(spread.dtype)
        if self.weights is not None:
            spread = spread.new_tensor(self.weights)
            weight = self.pixel_weight(planes)
        even = -(planes.log_p * spread[None, :, None, None]).mean(dim=1, keepdim=True)
        loss = (1 - self.smoothing) * weight * planes.nll
        loss = loss + self.smoothing * planes.labelled * even
        return weighted_mean(loss.sum(), weight.sum())


class BalancedCrossEntropy(Loss):
    """``-mean(beta y log p + (1 - beta)(1 - y) log(1 - p))``.

    Without ``beta`` it is ``1 - sum(y) / (H W)`` in each image, over its labelled pixels; Xie and
    Tu, "Holistically-nested edge detection", arXiv:1504.06375. For classes the same rule reads
    ``-mean (1 - frequency(label)) log p(label)``, which for two classes is the formula above. An
    image without any object has ``beta = 1`` and costs nothing.
    """

    beta: float | None = Field(
        default=None, ge=0, le=1, description="weight of object pixels; none: from each image"
    )

    def check(self, channels: int, *, exclusive: bool) -> None:
        super().check(channels, exclusive=exclusive)
        if exclusive and self.beta is not None:
            raise ConfigError(
                f"balanced_ce(beta={self.beta}): a fixed beta has two sides, and there are "
                f"{channels} classes; leave it out, or use ce(weights=[...])"
            )

    def value(self, planes: Planes) -> Tensor:
        pixels = planes.labelled.sum(dim=(2, 3)).clamp(min=1)
        beta = 1 - planes.truth.sum(dim=(2, 3)) / pixels
        if planes.exclusive:
            return self.pixel_mean(planes, planes.at_label(beta) * planes.nll)
        beta = beta[:, :, None, None] if self.beta is None else self.beta
        weight = beta * planes.truth + (1 - beta) * (1 - planes.truth)
        return self.pixel_mean(planes, weight * planes.nll)


class Focal(Loss):
    """``-mean alpha_t (1 - p_t)^gamma log p_t``, ``p_t`` the probability of the truth.

    Lin et al., arXiv:1708.02002. ``alpha_t`` is ``alpha`` on the object and ``1 - alpha`` off
    it; among classes, ``1 - alpha`` is for the background and ``alpha`` for all the others. The
    mean is over pixels (the paper divides by the number of anchors with an object).
    """

    gamma: float = Field(
        default=2.0, ge=0, le=10, description="how fast easy pixels fade; 0: not at all"
    )
    alpha: float | None = Field(
        default=0.25, ge=0, le=1, description="weight of the object; none: equal"
    )

    def value(self, planes: Planes) -> Tensor:
        # By logarithms: (1 - p)^gamma has no finite derivative at p = 1 for gamma below 1.
        loss = torch.exp(self.gamma * planes.log_miss) * planes.nll
        if self.alpha is None:
            return self.pixel_mean(planes, loss)
        if planes.exclusive:
            alpha = planes.logits.new_full((1, planes.channels), self.alpha)
            if planes.background is not None:
                alpha[:, planes.background] = 1 - self.alpha
            return self.pixel_mean(planes, planes.at_label(alpha) * loss)
        alpha = self.alpha * planes.truth + (1 - self.alpha) * (1 - planes.truth)
        return self.pixel_mean(planes, alpha * loss)


class Ohem(Loss):
    """Cross-entropy of the hard pixels only: online hard example mining.

    Kept are the pixels whose label has ``p < threshold``, and at least the hardest ``keep`` of
    the batch's labelled pixels. Shrivastava et al., arXiv:1604.03540; on pixels, Wu et al.,
    "Bridging category-level and instance-level semantic image segmentation", arXiv:1605.06885.
    Of several processes each keeps the hardest of its own share of the batch.
    """

    threshold: float = Field(
        default=0.7, gt=0, le=1, description="label probability of an easy pixel"
    )
    keep: float = Field(default=0.1, gt=0, le=1, description="least share of the pixels to keep")

    def value(self, planes: Planes) -> Tensor:
        labelled = planes.labelled
        nll = planes.nll[labelled]
        if not nll.numel():
            return planes.nll.sum() * 0.0
        hard = int((nll.detach() > -math.log(self.threshold)).sum())
        hardest = nll.topk(max(hard, math.ceil(self.keep * nll.numel())), sorted=False)
        if self.weights is None:
            return hardest.values.mean()
        weight = self.pixel_weight(planes)[labelled][hardest.indices]
        total = weight.sum()
        one = torch.ones_like(total)
        return (hardest.values * weight).sum() / torch.where(total > 0, total, one)


class MeanSquaredError(Loss):
    """``mean (p - y)^2`` over pixels and classes (Brier, 1950): bounded, so mild on bad labels."""

    def value(self, planes: Planes) -> Tensor:
        return self.plane_mean(planes, (planes.p - planes.truth).square())


def _binary(planes: Planes, *, beta: float = 1.0, smoothing: float = 0.0) -> Tensor:
    """Binary cross-entropy of every plane, ``(B, C, H, W)``."""
    truth = planes.truth
    if smoothing:
        truth = truth * (1 - smoothing) + smoothing / 2
    weight = None if beta == 1 else planes.logits.new_tensor(beta)
    return F.binary_cross_entropy_with_logits(
        planes.logits, truth, pos_weight=weight, reduction="none"
    )
