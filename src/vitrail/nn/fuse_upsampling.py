"""Compute a decoder's doubling and the 3x3 convolution behind it as one transposed convolution.

Nearest-neighbour doubling shows a 3x3 filter every value twice, so that along each axis it meets
only two different ones: on even places it gives one the weight ``w0`` and the next ``w1 + w2``,
on odd places ``w0 + w1`` and ``w2``. A transposed convolution with kernel ``(w2, w1 + w2, w0 + w1,
w0)``, stride 2 and padding 1 is that very sum, with 4 products in place of 9 and without the
doubled tensor in memory. A convolution over a concatenation is the sum of one over each part; so
the skip keeps its 3x3 convolution.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vitrail.nn.fuse import TOLERANCE, first_tensor, is_plain, with_same_tensors
from vitrail.nn.fuse_layers import AddedConv2d
from vitrail.nn.upsample import ConvNormAct, PlainLevel


class FoldedLevel(nn.Module):
    """A decoder level in its folded form; sizes that are not doubled take the unfolded one.

    Parameters
    ----------
    level:
        A level whose first convolution has no batch norm left behind it.
    below:
        How many of its input channels come from the level below; the others are the skip's.
    """

    def __init__(self, level: PlainLevel, below: int) -> None:
        super().__init__()
        conv = _first_convolution(level)
        assert conv is not None
        weight, width = conv.weight.detach(), conv.out_channels
        self.level = level
        # Their weights are known: initial ones would move the random state of whoever loads.
        self.enlarge = nn.ConvTranspose2d(below, width, 4, stride=2, padding=1, device="meta")
        kernel = doubled(doubled(weight[:, :below], 2), 3)
        self.enlarge.weight = nn.Parameter(kernel.transpose(0, 1).contiguous())
        self.enlarge.bias = conv.bias
        self.relu = nn.ReLU(inplace=True)
        self.skip: AddedConv2d | None = None
        above = conv.in_channels - below
        if above:
            self.skip = AddedConv2d(above, width, 3, padding=1, bias=False, device="meta")
            self.skip.weight = nn.Parameter(weight[:, below:].clone())

    def forward(self, x: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        """As :meth:`PlainLevel.forward`."""
        if not doubles(x, size):
            return self.level(x, skip, size)
        y = self.enlarge(x)
        return self.level[1](self.relu(y) if self.skip is None else self.skip(y, skip))


def fold_upsampling(model: nn.Module, example: Tensor) -> nn.Module:
    """Fold the levels of a :class:`~vitrail.nn.upsample.PlainDecoder` that double their input.

    Parameters
    ----------
    model:
        A float32 network in evaluation mode, its batch norms folded; it is left as it is.
    example:
        An input that it takes; observed once to see which levels double.

    Returns
    -------
    A folded copy, or the network itself where there is nothing to fold, where folding would
    change the output, or where this torch lacks oneDNN (its own transposed convolution is slow).
    """
    if not torch.backends.mkldnn.is_available():
        return model
    folded = with_same_tensors(model)
    widths = _doubling_levels(folded, example)
    if not widths:
        return model
    for name, below in widths.items():
        level = folded.get_submodule(name)
        assert isinstance(level, PlainLevel)
        folded.set_submodule(name, FoldedLevel(level, below))
    with torch.inference_mode():
        before, after = first_tensor(model(example)), first_tensor(folded(example))
    return folded if (after - before).abs().max() <= TOLERANCE * before.abs().max() else model


def doubled(weight: Tensor, axis: int) -> Tensor:
    """A filter of 3 along an axis as the 4 of a transposed convolution with stride 2."""
    w0, w1, w2 = weight.unbind(axis)
    return torch.stack([w2, w1 + w2, w0 + w1, w0], axis)


def doubles(x: Tensor, size: tuple[int, int]) -> bool:
    return tuple(size) == (2 * x.shape[-2], 2 * x.shape[-1])


def _doubling_levels(model: nn.Module, example: Tensor) -> dict[str, int]:
    """Names of the levels that can be folded, with the channels that come from below."""
    widths: dict[str, int] = {}

    def observe(name: str) -> Callable[..., None]:
        def hook(level: PlainLevel, inputs: tuple[Tensor, Tensor | None, tuple[int, int]]) -> None:
            x, _, size = inputs
            if doubles(x, size) and _first_convolution(level) is not None:
                widths[name] = x.shape[1]

        return hook

    hooks = [
        module.register_forward_pre_hook(observe(name))
        for name, module in model.named_modules()
        if isinstance(module, PlainLevel)
    ]
    try:
        with torch.inference_mode():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return widths


def _first_convolution(level: PlainLevel) -> nn.Conv2d | None:
    """A level's first convolution; ``None`` where a batch norm or a hook stands behind it."""
    first = level[0]
    assert isinstance(first, ConvNormAct)
    conv, norm, _ = first
    clear = is_plain(conv) and isinstance(norm, nn.Identity)
    return conv if clear and isinstance(conv, nn.Conv2d) else None
