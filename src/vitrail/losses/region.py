"""Losses that compare areas: the overlap of a predicted region with the true one.

``p`` is the network's probability of a class, ``y`` the truth; sums run over the labelled pixels
of the batch, or of each image with ``per_image``. The mean is over the classes that occur in the
truth there; ``absent`` adds those that do not, whose score then is ``smooth / (sum p + smooth)``.
A class takes no part in images where it was not annotated.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from vitrail.losses.base import Loss
from vitrail.losses.processes import alone, over_processes
from vitrail.losses.targets import Planes

_EPSILON = 1e-7
"""Least denominator: with ``smooth=0`` a class without a pixel would divide 0 by 0."""


class Region(Loss):
    """What the region losses share."""

    per_image: bool = Field(
        default=False, description="score each image alone, not the whole batch"
    )
    background: bool = Field(default=True, description="the background class takes part")
    absent: bool = Field(default=False, description="classes without a true pixel take part")

    def sum(self, planes: Planes, values: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(C,)``, of all processes, or ``(B, C)`` with ``per_image``."""
        if self.per_image:
            return values.sum(dim=(2, 3))
        return over_processes(values.sum(dim=(0, 2, 3)))

    def mean(self, planes: Planes, loss: Tensor) -> Tensor:
        """Mean of ``(C,)`` or ``(B, C)`` over what takes part."""
        counts = planes.known.expand_as(planes.logits) if self.absent else planes.known_truth
        takes_part = self.sum(planes, counts) > 0
        if not self.background and planes.background is not None:
            takes_part = takes_part.clone()
            takes_part[..., planes.background] = False
        return self.class_mean(planes, loss, takes_part)


class _Smooth(Region):
    smooth: float = Field(default=1.0, ge=0, le=1e6, description="added above and below the line")


class Dice(_Smooth):
    """``1 - (2 sum p y + smooth) / (sum p + sum y + smooth)``.

    Milletari et al., "V-Net", arXiv:1606.04797, with first powers in the denominator; the 1 above
    and below keeps it defined when both sides are empty (Jadon, arXiv:2006.14822).
    """

    def value(self, planes: Planes) -> Tensor:
        p, y = planes.known_p, planes.known_truth
        above = 2 * self.sum(planes, p * y) + self.smooth
        below = self.sum(planes, p + y) + self.smooth
        return self.mean(planes, 1 - above / below.clamp(min=_EPSILON))


class SquaredDice(_Smooth):
    """``1 - (2 sum p y + smooth) / (sum p^2 + sum y^2 + smooth)``: V-Net as published.

    Milletari et al., arXiv:1606.04797. Its gradient is gentler than Dice's on unsure pixels.
    """

    def value(self, planes: Planes) -> Tensor:
        p, y = planes.known_p, planes.known_truth
        above = 2 * self.sum(planes, p * y) + self.smooth
        below = self.sum(planes, p.square() + y.square()) + self.smooth
        return self.mean(planes, 1 - above / below.clamp(min=_EPSILON))


class LogCoshDice(Dice):
    """``log cosh(Dice loss)``: Jadon, arXiv:2006.14822. Flatter close to the optimum."""

    def value(self, planes: Planes) -> Tensor:
        dice = super().value(planes)
        return dice + F.softplus(-2 * dice) - math.log(2)  # stable log cosh


class Jaccard(_Smooth):
    """``1 - (sum p y + smooth) / (sum p + sum y - sum p y + smooth)``: soft IoU.

    Rahman and Wang, "Optimizing intersection-over-union in deep neural networks for image
    segmentation", ISVC 2016, doi:10.1007/978-3-319-50835-1_22.
    """

    def value(self, planes: Planes) -> Tensor:
        p, y = planes.known_p, planes.known_truth
        both = self.sum(planes, p * y)
        below = self.sum(planes, p + y) - both + self.smooth
        return self.mean(planes, 1 - (both + self.smooth) / below.clamp(min=_EPSILON))


class Tversky(_Smooth):
    """``1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth)``.

    ``TP = sum p y``, ``FP = sum p (1 - y)``, ``FN = sum (1 - p) y``. Salehi et al.,
    arXiv:1706.05721, whose best was 0.3 and 0.7: a missed pixel costs more than a false one.
    0.5 and 0.5 is Dice, 1 and 1 is Jaccard (with ``smooth=0``).
    """

    alpha: float = Field(default=0.3, ge=0, le=100, description="weight of false positives")
    beta: float = Field(default=0.7, ge=0, le=100, description="weight of false negatives")

    def value(self, planes: Planes) -> Tensor:
        return self.mean(planes, self.per_class(planes))

    def per_class(self, planes: Planes) -> Tensor:
        p, y = planes.known_p, planes.known_truth
        hit = self.sum(planes, p * y)
        false = self.sum(planes, p) - hit
        missed = self.sum(planes, y) - hit
        below = hit + self.alpha * false + self.beta * missed + self.smooth
        return 1 - (hit + self.smooth) / below.clamp(min=_EPSILON)


class FocalTversky(Tversky):
    """``mean over classes of (Tversky loss)^(1 / gamma)``.

    Abraham and Khan, arXiv:1810.07842, whose best was 4/3. Their alpha weighs false negatives;
    here, as in :class:`Tversky`, it weighs false positives.
    """

    gamma: float = Field(
        default=4 / 3, ge=0.1, le=10, description="above 1: dwells on poor classes"
    )

    def value(self, planes: Planes) -> Tensor:
        loss = self.per_class(planes)
        # A root has no finite derivative at 0, where there is nothing left to learn.
        power = loss.clamp(min=_EPSILON).pow(1 / self.gamma)
        return self.mean(planes, torch.where(loss > _EPSILON, power, loss))


class SensitivitySpecificity(Region):
    """``r sum (y - p)^2 y / sum y + (1 - r) sum (y - p)^2 (1 - y) / sum (1 - y)``.

    Brosch et al., MICCAI 2015, doi:10.1007/978-3-319-24574-4_1, with their ``r = 0.05``.
    """

    r: float = Field(
        default=0.05, ge=0, le=1, description="weight of sensitivity against specificity"
    )

    def value(self, planes: Planes) -> Tensor:
        y = planes.known_truth
        rest = (1 - planes.truth) * planes.known
        error = (planes.p - planes.truth).square()
        inside = self.sum(planes, error * y) / self.sum(planes, y).clamp(min=_EPSILON)
        outside = self.sum(planes, error * rest) / self.sum(planes, rest).clamp(min=_EPSILON)
        return self.mean(planes, self.r * inside + (1 - self.r) * outside)


class IouBalanced(Loss):
    """Cross-entropy in which each object's pixels weigh ``IoU^eta``, at the same total.

    Wu et al., "IoU-balanced loss functions for single-stage object detection",
    arXiv:1908.05641, which weighs detections; here the samples are the regions of one class in
    one image, ``IoU = TP / (TP + FP + FN)`` with soft counts, and the background keeps weight 1.
    The weights are constants to the gradient. Well-segmented regions gain, poor ones fade: a
    loss to refine with, not to start with.
    """

    eta: float = Field(
        default=1.5, ge=0, le=10, description="how much a good region gains; 0: nothing"
    )

    def value(self, planes: Planes) -> Tensor:
        return self.pixel_mean(planes, self.weight(planes) * planes.nll)

    def weight(self, planes: Planes) -> Tensor:
        """Weight of each pixel, ``(B, 1 or C, H, W)``, without a gradient."""
        p, y, nll = planes.known_p.detach(), planes.known_truth, planes.nll.detach()
        both = (p * y).sum(dim=(2, 3))
        iou = both / ((p + y).sum(dim=(2, 3)) - both).clamp(min=_EPSILON)
        gain = iou**self.eta
        if planes.exclusive:
            value = planes.at_label(gain)
            objects = planes.labelled.clone()
            if planes.background is not None:
                objects &= planes.truth[:, planes.background, None] < 0.5
        else:
            value = gain[:, :, None, None].expand_as(y)
            objects = y > 0.5
        before = over_processes((nll * objects).sum())
        after = over_processes((nll * value * objects).sum())
        scale = torch.where(after > 0, before / after.clamp(min=_EPSILON), 0)
        return torch.where(objects & (after > 0), value * scale, torch.ones_like(value))


class Lovasz(Region):
    """The Lovász extension of the Jaccard loss: its convex surrogate, on sorted errors.

    Berman et al., arXiv:1705.08790: Lovász-softmax over the classes that occur; the hinge for
    binary and multi-label, where each label is scored by itself. Sorting costs ``C N log N``.
    Of several processes each sorts its own share of the batch, unless ``per_image``.
    """

    def value(self, planes: Planes) -> Tensor:
        y = planes.known_truth
        if planes.exclusive:
            errors = (y - planes.known_p).abs()
        else:
            errors = F.relu(1 - planes.logits * (2 * y - 1)) * planes.known
        # An unknown pixel has error 0 and is no object: sorted last, it changes no sum before it.
        if self.per_image:
            errors, y = errors.flatten(2), y.flatten(2)
        else:
            errors, y = (each.movedim(1, 0).flatten(1) for each in (errors, y))
        errors, order = errors.sort(dim=-1, descending=True)
        slope = _jaccard_slope((y > 0.5).gather(-1, order)).to(errors.dtype)
        loss = (errors * slope).sum(dim=-1)
        if self.per_image:
            return self.mean(planes, loss)
        with alone():
            return self.mean(planes, loss)


def _jaccard_slope(truth: Tensor) -> Tensor:
    """How much each error in ``(..., N)`` bool, greatest first, adds to the Jaccard loss."""
    objects = truth.cumsum(dim=-1)  # of integers: exact, and deterministic on a GPU
    total = objects[..., -1:]
    pixels = torch.arange(1, truth.shape[-1] + 1, device=truth.device)
    loss = 1 - (total - objects) / (total + pixels - objects)
    return torch.cat([loss[..., :1], loss[..., 1:] - loss[..., :-1]], dim=-1)
