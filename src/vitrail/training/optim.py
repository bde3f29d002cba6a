"""Which parameters learn how fast, and when."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from vitrail.training.config import TrainConfig

_STAGE = re.compile(r"(?:blocks|stages|stages_|layers|layer|features)[._]?(\d+)")
"""How timm's backbones number their stages: ``blocks.3``, ``stages_2``, ``layer4``."""


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Groups of equal rate and decay, each with its ``peak`` rate.

    Biases and norms are not decayed. The encoder (``encoder.*``) gets ``encoder_lr_scale``; with
    ``layer_decay`` below 1 each earlier stage of it that share again, the stem as the first one
    (Clark et al., "ELECTRA", arXiv:2003.10555, called layer-wise learning-rate decay).
    """
    stages = {name: _stage(name) for name, _ in model.named_parameters()}
    deepest = max(stages.values(), default=0)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        share = 1.0
        if name.startswith("encoder."):
            share = config.encoder_lr_scale * config.layer_decay ** (deepest - stages[name])
        groups.setdefault((share, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.lr * share,
            "peak": config.lr * share,
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for (share, decayed), parameters in groups.items()
    ]


def _stage(name: str) -> int:
    """Number of the encoder stage that a parameter belongs to; the stem's is -1."""
    found = _STAGE.search(name)
    return int(found[1]) if found else -1


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of a recipe, over :func:`parameter_groups`."""
    groups = parameter_groups(model, config)
    # One pass over all numbers of a tensor, where that is written.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in model.parameters())
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            groups,
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
            fused=fused,
        )
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=fused)


def set_rates(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Give each group that share of its peak rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def rate_share(progress: float, config: TrainConfig) -> float:
    """Share of the peak rate at ``progress`` in 0..1: a linear rise, then the schedule.

    one-cycle: half a cosine to zero, Smith and Topin, "Super-Convergence", arXiv:1708.07120,
    without the momentum cycle. poly: ``(1 - t)^power``, Liu et al., "ParseNet", arXiv:1506.04579,
    as DeepLab uses it. ``t`` counts from the end of the warm-up.
    """
    if progress < config.warmup:
        return max(progress / config.warmup, 1e-3)
    left = 1 - min(1.0, (progress - config.warmup) / (1 - config.warmup))
    if config.schedule == "one-cycle":
        return 0.5 * (1 - math.cos(math.pi * left))
    return left**config.poly_power if config.schedule == "poly" else 1.0


class FrozenEncoder:
    """Keeps the encoder as it is, batch-norm statistics included, while it is frozen."""

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.encoder = getattr(model, "encoder", None)
        wanted = config.freeze_encoder
        self.epochs = config.epochs if wanted is True else int(wanted)

    def begin(self, epoch: int) -> None:
        """Freeze or thaw for an epoch (from 1); after ``model.train()``."""
        if self.encoder is None or not self.epochs:
            return
        frozen = epoch <= self.epochs
        self.encoder.requires_grad_(not frozen)
        if frozen:
            self.encoder.eval()

    def varies(self, epochs: int) -> bool:
        """Whether what is trained changes during the training."""
        return self.encoder is not None and 0 < self.epochs < epochs


def trainable(model: nn.Module) -> Iterator[nn.Parameter]:
    """Parameters that learn now."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)
