"""Run a network in half precision where that is harmless.

The first convolutions of an encoder decide the most: their rounding errors reach every later layer.
Kept in float32 they cost next to nothing, and the share of pixels that change their class against
the float32 network falls several times over (``benchmarks/unet_inference.py`` prints it).
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

_FINE = 4
"""Convolutions before the first one that reads beyond this stride stay in float32."""


def cast_for_inference(model: nn.Module, dtype: torch.dtype, example: Tensor) -> nn.Module:
    """A copy of a float32 network in ``dtype``, its first convolutions excepted.

    Parameters
    ----------
    model:
        A network in evaluation mode, on the CPU.
    dtype:
        ``torch.float32`` gives a plain copy.
    example:
        An input ``(B, C, H, W)`` in float32, observed once.

    Returns
    -------
    A network that takes float32 images and gives logits in whatever its last layer computes.
    Where a layer between does not accept the mixture, all of it is cast.
    """
    model = copy.deepcopy(model)
    if dtype == torch.float32:
        return model
    mixed = copy.deepcopy(model)
    _cast(mixed, dtype, keep=_fine_convolutions(mixed, example))
    try:
        with torch.inference_mode():
            mixed(example)
    except RuntimeError:
        _cast(model, dtype, keep=set())
        return model
    return mixed


def _cast(model: nn.Module, dtype: torch.dtype, *, keep: set[str]) -> None:
    for name, module in model.named_modules():
        wanted = torch.float32 if name in keep else dtype
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(wanted)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_pre_hook(
                lambda _, inputs, wanted=wanted: (inputs[0].to(wanted), *inputs[1:])
            )


def _fine_convolutions(model: nn.Module, example: Tensor) -> set[str]:
    """Names of the convolutions that run before the first one whose input is coarser than fine."""
    heights: list[tuple[str, int]] = []

    def observe(name: str) -> Callable[..., None]:
        return lambda _, inputs: heights.append((name, int(inputs[0].shape[-2])))

    hooks = [
        module.register_forward_pre_hook(observe(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        with torch.inference_mode():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    fine: set[str] = set()
    for name, height in heights:
        if height < example.shape[-2] // _FINE:
            break
        fine.add(name)
    return fine
