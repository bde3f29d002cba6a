"""Whether a network can learn a single batch by heart: if not, it will not learn a data set."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

LossTerms = Callable[[nn.Module, Tensor, Any, str], Mapping[str, Tensor]]
"""Network, images, truth and precision to the named terms of the loss; see
:meth:`vitrail.training.task.Task.terms`."""

_LEARNT = 1e-4
"""A loss below which there is nothing left to learn from the batch."""
_SHOWN = 3
"""Names that a message lists before it only counts them."""


@dataclass(frozen=True, slots=True)
class OneBatch:
    """How a few steps on one batch went."""

    losses: tuple[float, ...]
    """Before each step, and after the last one."""
    problem: str | None
    """What is wrong; None where the loss fell."""
    without_gradient: tuple[str, ...]
    """Trained parameters that the loss does not depend on."""

    @property
    def text(self) -> str:
        """One line for the console."""
        if self.problem is not None:
            return f"one batch: {self.problem}"
        told = f"one batch: the loss falls from {self.losses[0]:.4g} to {min(self.losses):.4g} in "
        return told + f"{len(self.losses) - 1} steps"


def fit_one_batch(
    model: nn.Module,
    images: Tensor,
    targets: Any,
    loss: LossTerms,
    *,
    steps: int = 8,
    lr: float = 1e-3,
    precision: str = "float32",
) -> OneBatch:
    """Take some steps of Adam on one batch and see whether the loss falls.

    Works on a copy of the network, with the same draws of dropout in each step, so that any
    network that learns at all passes. The network and the random generators stay as they were.

    Parameters
    ----------
    images:
        ``(B, C, H, W)`` as the network takes them, on its device; the targets too.
    loss:
        Forward pass and loss.
    steps:
        At least 1.
    lr:
        Learning rate of the steps.
    precision:
        ``float32``, ``bfloat16`` or ``float16``: of the forward pass.
    """
    network = copy.deepcopy(model).train()
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not trained:
        return OneBatch((), "no parameter is trained: all are frozen", ())
    optimizer = torch.optim.Adam(trained.values(), lr=lr)
    losses: list[float] = []
    unused: tuple[str, ...] = ()
    problem: str | None = None
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.enable_grad():
        for step in range(steps + 1):
            torch.manual_seed(0)
            terms = loss(network, images, targets, precision)
            problem = _not_finite(terms, step)
            if problem is not None:
                break
            total = torch.stack(list(terms.values())).sum()
            losses.append(total.item())
            if step == steps:
                break
            optimizer.zero_grad()
            if total.requires_grad:
                total.backward()
            if step == 0:
                unused = tuple(name for name, p in trained.items() if p.grad is None)
                problem = _bad_gradients(trained)
                if problem is not None:
                    break
            optimizer.step()
    if problem is None and losses[0] > _LEARNT and min(losses[1:]) >= losses[0]:
        problem = (
            f"the loss does not fall: {losses[0]:.4g} before, {min(losses[1:]):.4g} at best in "
            f"{steps} steps of Adam at a rate of {lr:g}. Do the labels belong to the images, and "
            "does the loss suit them?"
        )
    return OneBatch(tuple(losses), problem, unused)


def _not_finite(terms: Mapping[str, Tensor], step: int) -> str | None:
    for name, value in terms.items():
        if not math.isfinite(value.item()):
            when = "before the first step" if step == 0 else f"after {step} steps"
            return f"{name} is {value.item()} {when}"
    return None


def _bad_gradients(trained: Mapping[str, nn.Parameter]) -> str | None:
    gradients = {name: p.grad for name, p in trained.items() if p.grad is not None}
    if not any(bool(gradient.any()) for gradient in gradients.values()):
        return "no gradient reaches any parameter: the loss does not depend on the network"
    broken = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
    return f"the gradient is not finite of {named(broken)}" if broken else None


def named(names: list[str] | tuple[str, ...]) -> str:
    """The first names of a list, and how many more there are."""
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
