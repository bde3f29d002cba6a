"""Batch norms whose statistics run over the images of all processes, on any device.

Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167, synchronised as in Peng et al.,
"MegDet", arXiv:1711.07240. With few images a process, statistics of its own images alone are
noisy, and a training depends on how many processes it has. PyTorch's ``SyncBatchNorm`` runs on a
GPU only; the one here is for the CPU, and gives what one process with all the images would have.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm

from vitrail.errors import ConfigError


def synchronise_norms(model: nn.Module) -> nn.Module:
    """Let a network's batch norms take their statistics over all processes' images.

    Parameters
    ----------
    model:
        On the device where it will be trained; changed in place. Make averaged copies of it
        before: in evaluation they need no synchronised layers.

    Returns
    -------
    The network, with the same keys in its state: itself, unless it is a lone batch norm on a
    GPU. Without a process group, or with a group of one, nothing was changed.

    Raises
    ------
    ConfigError
        a batch norm of a kind that is not known here; names it.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return model
    if any(tensor.is_cuda for tensor in model.parameters()):
        return convert_sync_batchnorm(model)
    for name, module in model.named_modules():
        if isinstance(module, _Synchronised | nn.SyncBatchNorm) or not isinstance(
            module, _BatchNorm
        ):
            continue
        synchronised = _SYNCHRONISED.get(type(module))
        if synchronised is None:
            raise ConfigError(
                f"{name}: the batch norm {type(module).__qualname__} cannot be synchronised "
                "between processes; train in one process, or choose another encoder"
            )
        module.__class__ = synchronised
    return model


class _Synchronised(_BatchNorm):
    """Adds the exchange between processes to a batch norm; keys and attributes stay."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        self._check_input_dim(input)
        normal, mean, variance, count = _Normalise.apply(input, self.weight, self.bias, self.eps)  # pyright: ignore
        if self.training and self.track_running_stats:
            self._remember(mean, variance, count)
        return self.finish(normal)

    def finish(self, normal: Tensor) -> Tensor:
        """What the layer does after normalising."""
        return normal

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics, as torch does: with the unbiased variance."""
        assert self.running_mean is not None and self.running_var is not None
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if share is None:
                share = 1.0 / float(self.num_batches_tracked)
        assert share is not None
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


class _BatchNorm1d(_Synchronised, nn.BatchNorm1d):
    pass


class _BatchNorm2d(_Synchronised, nn.BatchNorm2d):
    pass


class _BatchNorm3d(_Synchronised, nn.BatchNorm3d):
    pass


class _BatchNormAct2d(_Synchronised, BatchNormAct2d):
    """timm's, with dropping and activation behind it."""

    def finish(self, normal: Tensor) -> Tensor:
        drop, act = cast(nn.Module, self.drop), cast(nn.Module, self.act)
        return act(drop(normal))


_SYNCHRONISED: dict[type[nn.Module], type[_Synchronised]] = {
    nn.BatchNorm1d: _BatchNorm1d,
    nn.BatchNorm2d: _BatchNorm2d,
    nn.BatchNorm3d: _BatchNorm3d,
    BatchNormAct2d: _BatchNormAct2d,
}


class _Normalise(torch.autograd.Function):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` with moments over all processes.

    Two exchanges forward (the mean must be known before the squares around it are summed: sums of
    plain squares cancel), one backward. Sums are float64, as torch's on the CPU. The gradients of
    weight and bias are this process's share, as those of every other parameter.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide = x if x.dtype == torch.float64 else x.float()
        axes = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        own = wide.new_tensor([x.numel() // x.shape[1]], dtype=torch.float64)
        sums = torch.cat([wide.sum(axes, dtype=torch.float64), own])
        dist.all_reduce(sums)
        count = sums[-1:].clamp(min=1)
        exact_mean = sums[:-1] / count
        mean = exact_mean.to(wide.dtype)
        centred = wide - mean.view(shape)
        squares = centred.square().sum(axes, dtype=torch.float64)
        dist.all_reduce(squares)
        variance = squares / count - (exact_mean - mean).square()
        scale = torch.rsqrt(variance + eps).to(wide.dtype)
        ctx.save_for_backward(x, weight, mean, scale, count)
        ctx.has_bias = bias is not None
        factor = scale if weight is None else scale * weight
        normal = centred.mul_(factor.view(shape))
        if bias is not None:
            normal = normal.add_(bias.view(shape))
        ctx.mark_non_differentiable(exact_mean, variance, count)
        return normal.to(x.dtype), exact_mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        axes = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        slope = gradients[0].to(mean.dtype)
        normal = (x.to(mean.dtype) - mean.view(shape)).mul_(scale.view(shape))
        for_bias = slope.sum(axes, dtype=torch.float64)
        for_weight = (slope * normal).sum(axes, dtype=torch.float64)
        means = torch.stack([for_bias, for_weight])
        dist.all_reduce(means)
        means = (means / count).to(mean.dtype)
        factor = scale if weight is None else scale * weight
        inside = slope - means[0].view(shape) - normal.mul_(means[1].view(shape))
        return (
            inside.mul_(factor.view(shape)).to(x.dtype),
            None if weight is None else for_weight.to(weight.dtype),
            for_bias.to(x.dtype if weight is None else weight.dtype) if ctx.has_bias else None,
            None,
        )
