"""Weights drawn for tests: every tensor matters, so that a wrong one is noticed."""

import torch
from torch import nn


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Draw convolutions that keep the signal's strength, and batch norms that change it, in place.

    Fresh batch norms are the identity in evaluation mode: one that is missing, swapped with
    another or computed with another epsilon would not show. Fresh depthwise convolutions let the
    signal fade until the deepest features depend on biases alone.
    """
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                spread = (2 / module.weight[0].numel()) ** 0.5
                module.weight.normal_(0, spread, generator=dice)
            elif isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_(0, 0.1, generator=dice)
                # Small ones too: these tell one epsilon from another.
                module.running_var.uniform_(0.05, 1, generator=dice)
                module.weight.uniform_(0.3, 0.8, generator=dice)
                module.bias.normal_(0, 0.2, generator=dice)
