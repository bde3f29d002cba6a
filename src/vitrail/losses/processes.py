"""Sums over the images of all processes, so that several compute the loss of one whole batch.

A loss such as Dice is a ratio of sums over the batch, and cross-entropy a mean over labelled
pixels: neither is the mean of what each process finds in its own images. Inside
:func:`across_processes` every such sum runs over all processes. Each of them then has the loss
of the whole batch; the gradient mean of ``DistributedDataParallel`` is that of one process with
all the images: the reverse of an all-reduce is an all-reduce, which makes each process's gradient
``processes`` times its share, and the mean divides by that number again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

_together: ContextVar[bool] = ContextVar("together", default=False)


@contextmanager
def across_processes() -> Iterator[None]:
    """Let losses computed inside be those of all processes' images together.

    Without a process group, or with a group of one, nothing changes and nothing is sent. All
    processes must call the same losses in the same order, each with a batch (which may be
    without a single label): how many sums are exchanged depends on the loss alone. Do not use it
    where processes have different numbers of batches, such as in validation.
    """
    token = _together.set(_processes() > 1)
    try:
        yield
    finally:
        _together.reset(token)


@contextmanager
def alone() -> Iterator[None]:
    """Inside :func:`across_processes`, sum over this process's images only."""
    token = _together.set(False)
    try:
        yield
    finally:
        _together.reset(token)


def over_processes(total: Tensor) -> Tensor:
    """A sum over this process's images to that over all processes'; differentiable.

    Outside :func:`across_processes` it is ``total`` itself.
    """
    if not _together.get():
        return total
    return _AllReduce.apply(total)  # pyright: ignore[reportReturnType]


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _AllReduce(torch.autograd.Function):
    """A sum over processes, whose reverse is the sum of the processes' gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
