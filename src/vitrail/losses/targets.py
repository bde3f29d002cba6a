"""What a loss is given as the truth of a batch, and that truth laid out in planes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vitrail.errors import DataError, ParameterError

_LOG_ZERO = -1e5
"""Stands for log 0 where a finite gradient is needed; its exponential is 0 in float64 as well."""


class SemanticTargets(NamedTuple):
    """The truth for a batch. Its form and the logits' channels decide what the logits mean.

    ====================  ================  ===========================================
    logits                labels            meaning
    ====================  ================  ===========================================
    ``(B, 1, H, W)``      ``(B, [1,] H, W)``  binary: 1 the object, 0 not; sigmoid
    ``(B, C, H, W)``      ``(B, H, W)``     multi-class: ids ("sparse"); softmax
    ``(B, C, H, W)``      ``(B, C, H, W)``  multi-label: 0 or 1 for each; sigmoid
    the same              the same          with ``exclusive``: one-hot or
                                            probabilities ("categorical"); softmax
    ====================  ================  ===========================================
    """

    labels: Tensor
    """``(B, H, W)`` int64 class ids, or as above; ``ignore`` where nothing is known."""
    ignore: int
    """The id that takes no part in any loss (none of the classes)."""
    background: int | None = None
    """The id that stands for "none of the annotated classes", if there is one."""
    unlabelled: Tensor | None = None
    """``(B, C)`` bool: classes that were not annotated in that image."""
    omission_weight: float = 0.0
    """``w`` of :mod:`vitrail.losses.distribution`, in ``[0, 1]``."""
    exclusive: bool = False
    """Labels given as ``(B, C, H, W)`` belong to classes of which a pixel has exactly one."""


@dataclass(frozen=True, eq=False)
class Planes:
    """Logits and truth side by side; what several losses need is computed once and kept here.

    Logits are float32 at least, and 0 where nothing is labelled: whatever the network says
    there (infinities included) reaches neither a loss nor a gradient. A loss that needs a number
    as a constant detaches it: under ``torch.no_grad`` it would be kept here without its graph.
    """

    logits: Tensor
    """``(B, C, H, W)`` float32, or float64 if they were."""
    ids: Tensor | None
    """``(B, H, W)`` class ids with 0 at unlabelled pixels; None where labels came in planes."""
    given: Tensor | None
    """``(B, C, H, W)`` labels that came in planes, 0 where not labelled."""
    labelled: Tensor
    """``(B, 1 or C, H, W)`` bool."""
    exclusive: bool
    """Softmax over the channels, else a sigmoid of each."""
    background: int | None
    """Channel of the background, where classes exclude each other."""
    counted: Tensor | None
    """``(B, C)`` bool: planes whose truth is known; None if all of them."""
    omission: Tensor | None
    """``(B, C)``: what each class adds to the likelihood of a background label; or None."""

    @property
    def channels(self) -> int:
        return self.logits.shape[1]

    @cached_property
    def truth(self) -> Tensor:
        """``(B, C, H, W)`` share of each class in each pixel, 0 where not labelled."""
        if self.given is not None:
            return self.given
        assert self.ids is not None
        one_hot = F.one_hot(self.ids, self.channels).movedim(-1, 1)
        return one_hot.to(self.logits.dtype) * self.labelled

    @cached_property
    def known(self) -> Tensor:
        """``(B, 1 or C, H, W)`` bool: where the truth of a plane is known."""
        if self.counted is None:
            return self.labelled
        return self.labelled & self.counted[:, :, None, None]

    @cached_property
    def log_p(self) -> Tensor:
        """Log-probability of each class, ``(B, C, H, W)``."""
        return F.log_softmax(self.logits, 1) if self.exclusive else F.logsigmoid(self.logits)

    @cached_property
    def p(self) -> Tensor:
        """Probability of each class, ``(B, C, H, W)``."""
        return self.logits.softmax(dim=1) if self.exclusive else self.logits.sigmoid()

    @cached_property
    def known_p(self) -> Tensor:
        """``p``, 0 where the truth is not known."""
        return self.p * self.known

    @cached_property
    def known_truth(self) -> Tensor:
        """``truth``, 0 where it is not known."""
        return self.truth * self.known

    @cached_property
    def nll(self) -> Tensor:
        """``-log p(label)``: ``(B, 1, H, W)``, or ``(B, C, H, W)`` for independent labels."""
        if not self.exclusive:
            return F.binary_cross_entropy_with_logits(self.logits, self.truth, reduction="none")
        if self.ids is None:
            return -(self.truth * self.log_p).sum(dim=1, keepdim=True)
        log_likelihood = self.log_p.gather(1, self.ids[:, None])[:, 0]
        if self.omission is not None:
            background = torch.logsumexp(self.log_p + self.omission.log()[:, :, None, None], dim=1)
            log_likelihood = torch.where(self.ids == self.background, background, log_likelihood)
        return -log_likelihood[:, None]

    @cached_property
    def log_miss(self) -> Tensor:
        """``log(1 - p(label))``, shaped as ``nll``; finite however sure the network is."""
        if not self.exclusive:
            right = F.logsigmoid(-self.logits) * self.truth
            return right + self.log_p * (1 - self.truth)
        share = self.truth
        if self.omission is not None:
            at = (self.ids == self.background)[:, None]
            share = torch.where(at, self.omission[:, :, None, None].to(share.dtype), share)
        others = (1 - share).log().clamp(min=_LOG_ZERO)
        return torch.logsumexp(self.log_p + others, dim=1, keepdim=True)

    def at_label(self, values: Tensor) -> Tensor:
        """``(B or 1, C)`` numbers of classes, read at each pixel's class: ``(B, 1, H, W)``."""
        return (self.truth * values[:, :, None, None]).sum(dim=1, keepdim=True)


def read_planes(logits: Tensor, targets: SemanticTargets) -> Planes:
    """Lay a batch out for the losses.

    Raises
    ------
    ParameterError
        the shapes of logits and labels do not fit together.
    DataError
        a label is no class (looked at on the CPU only: elsewhere that would stall the device).
    """
    labels = targets.labels
    if logits.ndim != 4 or not logits.is_floating_point():
        raise ParameterError(
            f"logits: expected floating-point (B, C, H, W), got {logits.dtype} "
            f"{tuple(logits.shape)}"
        )
    batch, channels, height, width = logits.shape
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if channels == 1 and labels.ndim == 3:
        labels = labels[:, None]
    in_planes = labels.ndim == 4
    expected = (batch, channels, height, width) if in_planes else (batch, height, width)
    if tuple(labels.shape) != expected:
        raise ParameterError(
            f"labels {tuple(targets.labels.shape)} do not fit logits {tuple(logits.shape)}: "
            f"expected {(batch, height, width)} or {(batch, channels, height, width)}"
        )
    labelled = labels != targets.ignore
    _check_values(labels, labelled, 2 if in_planes else channels)
    labels = labels.where(labelled, labels.new_zeros(()))
    exclusive = channels > 1 and (not in_planes or targets.exclusive)
    if not in_planes:
        labelled = labelled[:, None]
    elif exclusive:
        labelled = labelled.all(dim=1, keepdim=True)
    given = labels.to(logits.dtype) * labelled if in_planes else None
    background = targets.background if exclusive else None
    if background is not None and not 0 <= background < channels:
        raise ParameterError(f"background={background} is none of the {channels} channels")
    counted, omission = _omitted(targets, channels, background, exclusive)
    if counted is not None and not exclusive:
        labelled = labelled & counted[:, :, None, None]
    return Planes(
        logits.where(labelled, logits.new_zeros(())),
        None if in_planes else labels.long(),
        given,
        labelled,
        exclusive,
        background,
        counted,
        omission if not in_planes else None,
    )


def _omitted(
    targets: SemanticTargets, channels: int, background: int | None, exclusive: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Which planes count, and what each class adds to a background label's likelihood."""
    unlabelled = targets.unlabelled
    if unlabelled is None or (exclusive and background is None):
        return None, None
    if channels == 1 and unlabelled.shape[1] == 2:  # named as background and object
        unlabelled = unlabelled[:, 1:]
    if unlabelled.shape[1] != channels:
        raise ParameterError(f"unlabelled: expected (B, {channels}), got {tuple(unlabelled.shape)}")
    counted = (~unlabelled).clone()
    if background is None:
        return counted, None
    counted[:, background] &= counted.all(dim=1)
    omission = unlabelled * targets.omission_weight
    omission[:, background] = 1.0
    return counted, omission


def _check_values(labels: Tensor, labelled: Tensor, classes: int) -> None:
    if labels.device.type != "cpu" or labels.dtype == torch.bool or not labels.numel():
        return
    seen = labels.where(labelled, labels.new_zeros(()))
    low, high = seen.aminmax()
    if not (low >= 0 and high <= classes - 1):
        worst = low if low < 0 else high
        raise DataError(
            f"the batch holds the label {worst.item()}; expected 0 to {classes - 1}, or the "
            "ignore id. Does the data set have more classes than the network?"
        )
