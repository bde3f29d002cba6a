"""Run a network in half precision where that is harmless.

The first convolutions of an encoder decide the most: their rounding errors reach every later layer.
Kept in float32 they cost next to nothing, and the share of pixels that change their class against
the float32 network falls several times over (``benchmarks/unet_inference.py`` prints it).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vitrail.nn.fuse import with_same_tensors

_WHOLE = 3
"""How many of the first convolutions stay in float32: the stem and the first block."""


def cast_for_inference(model: nn.Module, dtype: torch.dtype, example: Tensor) -> nn.Module:
    """A copy of a float32 network in ``dtype``, its first convolutions excepted.

    What stays float32 is shared with the network, not copied.

    Parameters
    ----------
    model:
        A network in evaluation mode, on the CPU.
    dtype:
        ``torch.float32`` changes nothing.
    example:
        An input ``(B, C, H, W)`` in float32, observed once.

    Returns
    -------
    A network that takes float32 images and gives logits in whatever its last layer computes.
    Where a layer between does not accept the mixture, all of it is cast.
    """
    model = with_same_tensors(model)
    if dtype == torch.float32:
        return model
    mixed = with_same_tensors(model)
    _cast(mixed, dtype, keep=_first_convolutions(mixed, example))
    try:
        with torch.inference_mode():
            mixed(example)
    except RuntimeError:
        _cast(model, dtype, keep=[])
        return model
    return mixed


def _cast(model: nn.Module, dtype: torch.dtype, *, keep: list[str]) -> None:
    for name, module in model.named_modules():
        wanted = torch.float32 if name in keep else dtype
        # New ones in the place of the old, which the original goes on using.
        for key, weight in list(module.named_parameters(recurse=False)):
            if weight.is_floating_point():
                setattr(module, key, nn.Parameter(weight.detach().to(wanted), requires_grad=False))
        for key, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_floating_point():
                setattr(module, key, buffer.to(wanted))
    if keep:
        # Convolutions kept whole feed each other in float32; what leaves the last one is narrow.
        model.get_submodule(keep[-1]).register_forward_hook(lambda _, __, out: out.to(dtype))
    else:
        model.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(dtype), *inputs[1:]))


def _first_convolutions(model: nn.Module, example: Tensor) -> list[str]:
    """Names of the convolutions that run first, in order."""
    order: list[str] = []

    def observe(name: str) -> Callable[..., None]:
        return lambda _, __: order.append(name)

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
    return order[:_WHOLE]
