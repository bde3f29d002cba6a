"""Make a trained network fast to run: batch norms folded into the convolutions before them.

Folding is exact algebra (``w' = w * gamma / sqrt(var + eps)``, see
:func:`torch.nn.utils.fuse_conv_bn_eval`). Which batch norm follows which convolution is observed
on a test input rather than guessed from names, and the folded network must give the same output
on it, or the original is kept.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vitrail.nn.dilated_gradients import DilatedDepthwiseConv2d
from vitrail.nn.fuse_layers import (
    NOTHING,
    RELU,
    RELU6,
    AddedConv2d,
    FusedAddedConv2d,
    FusedConv2d,
    FusedConvTranspose2d,
)

TOLERANCE = 1e-3
"""Largest difference that folding may make, relative to the largest output."""


def fold_batch_norms(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy of the network in evaluation mode without the batch norms that follow convolutions.

    Parameters
    ----------
    model:
        Any network; it is left as it is.
    example:
        An input that it takes; observed once to see what follows what.

    Returns
    -------
    The folded copy, or an unfolded copy where folding would change the output.
    """
    model = copy.deepcopy(model).eval()
    with torch.inference_mode():
        before = first_tensor(model(example))
    folded = with_same_tensors(model)
    for conv_name, norm_name in _followers(folded, example, nn.Conv2d, nn.BatchNorm2d).items():
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        folded.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
        # timm's BatchNormAct2d carries the activation that comes after it.
        folded.set_submodule(norm_name, getattr(norm, "act", nn.Identity()))
    with torch.inference_mode():
        after = first_tensor(folded(example))
    if (after - before).abs().max() > TOLERANCE * before.abs().max():
        return model
    return folded


def fuse_activations(model: nn.Module, example: Tensor) -> nn.Module:
    """Join each convolution of a folded network with the ReLU or ReLU6 behind it, on the CPU.

    Returns
    -------
    A fused copy, or the network itself where this torch or this CPU does not offer the primitive
    or it would change the output.
    """
    fused = with_same_tensors(model)
    followers = _followers(fused, example, (nn.Conv2d, nn.ConvTranspose2d), (nn.ReLU, nn.ReLU6))
    try:
        for name, module in list(fused.named_modules()):
            if isinstance(module, AddedConv2d):
                fused.set_submodule(name, FusedAddedConv2d(module))
            if not is_plain(module):
                continue
            activation = NOTHING
            if name in followers:
                after = fused.get_submodule(followers[name])
                activation = RELU6 if isinstance(after, nn.ReLU6) else RELU
                fused.set_submodule(followers[name], nn.Identity())
            if isinstance(module, nn.Conv2d):
                fused.set_submodule(name, FusedConv2d(module, activation))
            else:
                fused.set_submodule(name, FusedConvTranspose2d(module, activation))
        with torch.inference_mode():
            before, after = first_tensor(model(example)), first_tensor(fused(example))
    except (RuntimeError, AttributeError):
        return model
    # Rounding may fall differently: as far as the layers' number format allows, and as folding may.
    formats = {tensor.dtype for tensor in model.parameters()} | {before.dtype}
    rounding = max(torch.finfo(dtype).eps for dtype in formats)
    limit = max(TOLERANCE, 16 * rounding) * before.abs().max()
    return fused if (after - before).abs().max() <= limit else model


def with_same_tensors(model: nn.Module) -> nn.Module:
    """A copy whose layers can be replaced while its weights are the very tensors of the original:
    several copies of a large network would be what its memory peaks at."""
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def is_plain(module: nn.Module) -> TypeGuard[nn.Conv2d | nn.ConvTranspose2d]:
    """A convolution, transposed or not, of the common form and without hooks (those get lost)."""
    return (
        type(module) in (nn.Conv2d, nn.ConvTranspose2d, DilatedDepthwiseConv2d)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and not (module._forward_hooks or module._forward_pre_hooks)
    )


def _followers(
    model: nn.Module,
    example: Tensor,
    first: type[nn.Module] | tuple[type[nn.Module], ...],
    second: type[nn.Module] | tuple[type[nn.Module], ...],
) -> dict[str, str]:
    """Names of modules of kind ``first`` whose output went straight into one of kind ``second``.

    A shared module counts only where it has the same neighbour every time, as convolutions have
    that look at each level of a pyramid. Nor does an output count that something was added to in
    place, as residual blocks do.
    """
    makers: dict[int, tuple[str, int]] = {}
    outputs: list[Tensor] = []  # kept alive, so that ids stay unique
    pairs: Counter[tuple[str, str]] = Counter()
    calls: dict[str, int] = {}
    readers: dict[int, int] = {}
    hooks = []

    def made(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            makers[id(output)] = name, output._version
            outputs.append(output)

        return hook

    def read(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            calls[name] = calls.get(name, 0) + 1
            maker, version = makers.get(id(inputs[0]), ("", 0))
            if maker and inputs[0]._version == version:
                pairs[maker, name] += 1
                readers[id(inputs[0])] = readers.get(id(inputs[0]), 0) + 1

        return hook

    for name, module in model.named_modules():
        if isinstance(module, first):
            hooks.append(module.register_forward_hook(made(name)))
        elif isinstance(module, second):
            hooks.append(module.register_forward_pre_hook(read(name)))
    try:
        # Inference mode, in which we may have been called, would count no versions.
        with torch.inference_mode(False), torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    shared = {makers[key][0] for key, count in readers.items() if count > 1}
    return {
        a: b for (a, b), count in pairs.items() if calls[a] == calls[b] == count and a not in shared
    }


def first_tensor(output: object) -> Tensor:
    while not isinstance(output, Tensor):
        output = output[0]  # pyright: ignore[reportIndexIssue]
    return output
