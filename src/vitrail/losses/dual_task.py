"""Losses of a network that draws boundaries beside its classes, and of how well the two agree.

Takikawa et al., "Gated-SCNN: Gated Shape CNNs for Semantic Segmentation", arXiv:1907.05740
(written from the paper; the authors' code, CC BY-NC-SA, is not used).
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from vitrail.losses.base import weighted_mean
from vitrail.losses.boundary import contour
from vitrail.losses.distribution import BalancedCrossEntropy
from vitrail.losses.targets import Planes, SemanticTargets, read_planes

_UNKNOWN = 255
_REACH = 3
"""Pixels that smoothing and gradient see to each side."""
_FLAT = 1e-3
"""Steepness below which a place is on no boundary; a sharp one has 0.6."""


class DualTaskLoss(BaseModel):
    """``boundary`` BCE + ``gradient`` |steepness| + ``agreement`` CE; fields are weights.

    The paper's weights are 20, 1 and 1, that of the classes' own loss is 1. Its sums over pixels
    are means here, so that numbers do not depend on the image's size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    boundary: float = Field(default=20.0, ge=0, le=1e4, description="weight of the boundaries")
    gradient: float = Field(
        default=1.0, ge=0, le=1e4, description="weight of how steep the classes change"
    )
    agreement: float = Field(
        default=1.0, ge=0, le=1e4, description="weight of the classes on found boundaries"
    )
    confident: float = Field(
        default=0.8, gt=0, lt=1, description="probability of a boundary that is taken as found"
    )
    temperature: float = Field(
        default=1.0, gt=0, le=100, description="of the Gumbel softmax; lower: closer to arg-max"
    )
    widen: int = Field(
        default=0, ge=0, le=50, description="px by which true boundaries, 2 px wide, grow each way"
    )

    def __call__(
        self, logits: Tensor, boundary: Tensor, targets: SemanticTargets, *, noise: bool = True
    ) -> dict[str, Tensor]:
        """Named terms with their weights multiplied in, scalars in float32 (or float64).

        Parameters
        ----------
        logits:
            ``(B, C, H, W)`` of the classes, in any floating type.
        boundary:
            ``(B, 1, H, W)``, before the sigmoid.
        targets:
            The truth of the classes; boundaries are derived from it. What the network says at
            pixels that are ignored changes nothing.
        noise:
            Whether to add Gumbel noise, from torch's global generator; without it the terms are
            a deterministic function of the arguments.

        Raises
        ------
        ParameterError, DataError
            as :func:`~vitrail.losses.targets.read_planes`.
        """
        planes = read_planes(logits, targets)
        lines, known = true_boundary(planes, widen=self.widen)
        truth = lines.long().where(known, torch.full_like(lines, _UNKNOWN, dtype=torch.int64))
        drawn = BalancedCrossEntropy()(boundary, SemanticTargets(truth, _UNKNOWN))
        return {
            "boundary": self.boundary * drawn,
            "dual_gradient": self.gradient * self.steepness_error(planes, noise=noise),
            "dual_agreement": self.agreement * self.error_on_boundary(planes, boundary),
        }

    def steepness_error(self, planes: Planes, *, noise: bool) -> Tensor:
        """``mean |zeta - zeta_true|`` where one of the two label maps has a boundary.

        ``zeta`` is the gradient of the smoothed map of classes, which for the prediction is a
        sample of the Gumbel softmax (Jang et al., arXiv:1611.01144): arg-max has no derivative.
        """
        true = steepness(planes, planes.truth)
        found = steepness(planes, self._sample(planes, noise))
        with torch.no_grad():
            likeliest = steepness(planes, _decided(planes))
            if planes.exclusive and planes.counted is not None:
                # Where classes were not annotated, more boundaries may be right than the true ones.
                likeliest = likeliest * planes.counted.all(1)[:, None, None, None]
            takes_part = (true > _FLAT) | (likeliest > _FLAT)
            missing = _grown(~planes.labelled, _REACH)
            weight = (takes_part & ~missing).to(found.dtype)
        return weighted_mean(((found - true).abs() * weight).sum(), weight.sum())

    def error_on_boundary(self, planes: Planes, boundary: Tensor) -> Tensor:
        """Cross-entropy of the classes at the pixels that the network takes for boundary."""
        limit = math.log(self.confident / (1 - self.confident))
        found = (boundary.detach() > limit) & planes.labelled
        weight = found.to(planes.nll.dtype)
        return weighted_mean((planes.nll * weight).sum(), weight.sum())

    def _sample(self, planes: Planes, noise: bool) -> Tensor:
        """Each pixel's class, nearly decided: ``(B, C, H, W)`` in 0..1."""
        scores = planes.logits
        if noise:
            scores = scores + _gumbel(scores)
            if not planes.exclusive:  # a class against its absence, whose score is 0
                scores = scores - _gumbel(scores)
        scores = scores / self.temperature
        return scores.softmax(1) if planes.exclusive else scores.sigmoid()


def true_boundary(planes: Planes, *, widen: int = 0) -> tuple[Tensor, Tensor]:
    """Which pixels lie on a boundary of two classes, and where that is known at all.

    A boundary is the pixels with another label among their four neighbours, on both sides. It is
    not known at pixels without a label, nor beside them, nor at background pixels of images in
    which not every class was annotated (but where an annotated object begins).

    Returns
    -------
    Two ``(B, 1, H, W)`` bool.
    """
    if planes.exclusive:
        ids = planes.truth.argmax(1) if planes.ids is None else planes.ids
        lines, known = contour(ids[:, None], planes.labelled), planes.labelled
    else:
        lines = contour(planes.truth > 0.5, planes.labelled).any(1, keepdim=True)
        known = planes.labelled.all(1, keepdim=True)
    lines = _grown(lines, widen) & known
    clear = known & ~_grown(~known, widen + 1)
    if planes.exclusive and planes.counted is not None and planes.background is not None:
        complete = planes.counted.all(1)[:, None, None, None]
        clear = clear & (complete | (planes.truth[:, planes.background, None] < 0.5))
    return lines, lines | clear


def steepness(planes: Planes, shares: Tensor) -> Tensor:
    """``zeta = |gradient(G * shares)| / sqrt(2)``, over all classes where they exclude each other.

    ``shares``: ``(B, C, H, W)``, how much of each class is in each pixel. To ``(B, 1, H, W)``, or
    for independent labels ``(B, C, H, W)`` without the root: the gradient that a class has is
    then not also that of another. 0.625 beside a sharp straight boundary.
    """
    down, across = cast(tuple[Tensor, Tensor], _Slopes.apply(shares))
    square = down.square() + across.square()
    if planes.exclusive:
        square = square.sum(1, keepdim=True) / 2
    tiny = 1e-12  # the root has no derivative at 0
    return (square + tiny).sqrt() - math.sqrt(tiny)


class _Slopes(torch.autograd.Function):
    """Derivatives of ``(B, C, H, W)`` smoothed by a Gaussian, downwards and across.

    Both are Sobel's (a difference along, (1, 2, 1) / 4 across) after (1, 4, 6, 4, 1) / 16 in both
    directions, with the border's pixels repeated outside. Sums of neighbours do that: exact where
    a convolution in TF32 is not. With a backward of its own, since autograd's fills a whole map
    with zeros for each of the forty slices.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> tuple[Tensor, Tensor]:
        wide = F.pad(values, (_REACH,) * 4, mode="replicate")
        return _slope(wide, -2, -1), _slope(wide, -1, -2)

    @staticmethod
    def backward(ctx: Any, down: Tensor, across: Tensor) -> Tensor:
        # A correlation's adjoint is the one with the mirrored weights: here the same, negative.
        sides = (2 * _REACH,) * 4
        wide = _slope(F.pad(down, sides), -2, -1) + _slope(F.pad(across, sides), -1, -2)
        for axis in (-2, -1):  # a border pixel gets what its repetitions got
            length = wide.shape[axis]
            first, inner, last = wide.split([_REACH, length - 2 * _REACH, _REACH], dim=axis)
            inner.select(axis, 0).add_(first.sum(axis))
            inner.select(axis, -1).add_(last.sum(axis))
            wide = inner
        return -wide


def _slope(values: Tensor, along: int, across: int) -> Tensor:
    """Derivative along one axis of what is smoothed along both; shorter by six on each axis."""
    smooth = _pair_sums(values, along, 4)
    inner = smooth.shape[along] - 2
    rise = smooth.narrow(along, 2, inner) - smooth.narrow(along, 0, inner)
    return _pair_sums(rise, across, 6).div_(1024)  # 16 along, 16 and 4 across


def _pair_sums(values: Tensor, axis: int, times: int) -> Tensor:
    """Neighbours added, so many times: binomial weights, not normalised."""
    for _ in range(times):
        length = values.shape[axis] - 1
        values = values.narrow(axis, 0, length) + values.narrow(axis, 1, length)
    return values


def _grown(mask: Tensor, reach: int) -> Tensor:
    """A ``(B, C, H, W)`` bool mask with all that is within ``reach`` pixels in each direction."""
    # Pooling would say the same; with a single channel torch's is many times slower.
    for axis, pad in ((-2, (0, 0, reach, reach)), (-1, (reach, reach))):
        wide, length = F.pad(mask, pad), mask.shape[axis]
        mask = wide.narrow(axis, 0, length).clone()
        for step in range(1, 2 * reach + 1):
            mask |= wide.narrow(axis, step, length)
    return mask


def _gumbel(scores: Tensor) -> Tensor:
    """Standard Gumbel noise: ``-log`` of exponential noise, kept off 0."""
    noise = torch.empty_like(scores).exponential_()
    return -noise.clamp_(min=torch.finfo(noise.dtype).tiny).log()


def _decided(planes: Planes) -> Tensor:
    """The network's labels, ``(B, C, H, W)`` of 0 and 1."""
    if planes.exclusive:
        best = planes.logits.argmax(1)
        return F.one_hot(best, planes.channels).movedim(-1, 1).to(planes.logits.dtype)
    return (planes.logits > 0).to(planes.logits.dtype)
