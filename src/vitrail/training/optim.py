"""Which parameters learn how fast, and when."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vitrail.errors import ConfigError
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


class Frozen:
    """Keeps parts of a network as they are: the encoder, its first stages, the batch norms.

    What is frozen has no gradients, and its batch norms keep their statistics. What had none
    before stays as it is, and :meth:`end` leaves the network as it came: another training of it
    may freeze other parts.

    Raises
    ------
    ConfigError
        the encoder has not so many stages, or there is none.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.model, self.norms = model, config.freeze_norms
        wanted = config.freeze_encoder
        self.epochs = config.epochs if wanted is True else int(wanted)
        names = [name for name, _ in model.named_parameters() if name.startswith("encoder.")]
        stages = sorted({_stage(name) for name in names})
        if config.freeze_stages > len(stages):
            has = f"has {len(stages)} stages, the stem among them" if stages else "has no encoder"
            raise ConfigError(f"train.freeze_stages={config.freeze_stages}: the network {has}")
        self.stages = stages[: config.freeze_stages]
        self.has_encoder = bool(names)
        self.before = {name: one.requires_grad for name, one in model.named_parameters()}

    def begin(self, epoch: int) -> None:
        """Freeze or thaw for an epoch (from 1); after ``model.train()``."""
        self.end()
        if self.has_encoder and epoch <= self.epochs:
            self.model.get_submodule("encoder").requires_grad_(False).eval()
        for name, parameter in self.model.named_parameters():
            if self._in_frozen_stage(name):
                parameter.requires_grad_(False)
        for name, module in self.model.named_modules():
            norm = isinstance(module, _BatchNorm)
            # A container is none of a stage: it may hold others as well.
            if self._in_frozen_stage(name) and (norm or not any(module.children())):
                module.training = False
            if self.norms and norm:
                module.eval().requires_grad_(False)

    def end(self) -> None:
        """Give back the gradients that were taken away."""
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(self.before[name])

    def _in_frozen_stage(self, name: str) -> bool:
        return name.startswith("encoder.") and _stage(name) in self.stages

    def varies(self, epochs: int) -> bool:
        """Whether what is trained changes during the training."""
        return self.has_encoder and 0 < self.epochs < epochs

    def thawed(self, epochs: int) -> int:
        """The first epoch in which all is trained that ever will be."""
        return self.epochs + 1 if self.varies(epochs) else 1


def trainable(model: nn.Module) -> Iterator[nn.Parameter]:
    """Parameters that learn now."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)
