"""matterport's Mask R-CNN: the weights of a Keras ``.h5`` file under our names.

https://github.com/matterport/Mask_RCNN (MIT), commit 3deaec5; ``mask_rcnn_coco.h5`` and whatever
its users have trained: any number of classes, over ResNet-50 or ResNet-101, which are told by the
layers that there are. The network that takes them has no layer of its own for this family: biases
in front of the encoder's batch norms are taken off their means, and the batch norms of the heads
are folded into the layers before them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitrail.errors import UnknownNameError, WeightsError
from vitrail.models.maskrcnn.families import FAMILIES
from vitrail.models.registry import build
from vitrail.weights.files import check_state
from vitrail.weights.importers.matterport_layers import (
    GROUPS,
    RESNETS,
    STAGES,
    WEIGHTLESS,
    Layer,
    Shape,
    Sizes,
    layers,
)

EPSILON = 1e-3
"""Of Keras's batch norms; with torch's usual 1e-5 hardly a detection stays the same."""

HEADS = ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask")
"""What matterport's own examples leave out to train for other classes."""

_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_SUFFIX = re.compile(r"_\d+$")

Key = tuple[str, str]
"""A layer, and what of it: kernel, bias, gamma, beta, moving_mean or moving_variance."""
_Read = Callable[[Key, Shape], np.ndarray]


@dataclass(frozen=True)
class Matterport:
    """What a file of matterport's holds, as ours."""

    arguments: dict[str, object]
    """Of ``mask-rcnn``, as far as the layers tell; the sizes of the anchors, for one, they do not.
    Without a layer that tells them, ``classes`` and ``encoder`` are absent."""
    tensors: dict[str, Tensor]
    missing: tuple[str, ...]
    """matterport's names of the layers that the file lacks; those left out on request are none."""


def read_matterport(path: Path, *, exclude: Collection[str] = ()) -> Matterport:
    """Read what a ``.h5`` file holds, whether or not that is all.

    Parameters
    ----------
    path
        written by ``save_weights`` or ``save`` of Keras 2.
    exclude
        matterport's names of layers to leave out, such as :data:`HEADS`; a layer goes with its
        batch norm.

    Raises
    ------
    WeightsError
        the file cannot be read or is refused (see :mod:`vitrail.weights.h5_tensors`), holds
        nothing of this network, or something that does not fit it.
    UnknownNameError
        ``exclude`` has a name that is no layer's.
    """
    # Here and not above: h5py is loaded for these files alone.
    from vitrail.weights.h5_tensors import open_h5

    with open_h5(path) as file:
        names: dict[Key, tuple[str, ...]] = {}
        for name in file.shapes:
            key = _key(name)
            if key is None:
                continue
            if key in names:
                twice = f"{'/'.join(names[key])} and {'/'.join(name)}"
                raise WeightsError(f"{path}: {twice} are both {key[1]} of {key[0]}")
            names[key] = name
        shapes = {key: file.shapes[name] for key, name in names.items()}
        try:
            return _convert(shapes, lambda key, shape: file.read(names[key], shape), exclude)
        except _MisfitError as error:
            raise WeightsError(f"{path}: {error}") from None


def from_matterport(
    arrays: Mapping[str, np.ndarray], *, exclude: Collection[str] = ()
) -> Matterport:
    """As :func:`read_matterport`, of arrays in memory, named ``conv1/kernel:0`` and so on."""
    named: dict[Key, np.ndarray] = {}
    for name, values in arrays.items():
        layer, _, weight = name.partition("/")
        named[layer, weight.partition(":")[0]] = values
    try:
        return _convert(
            {key: values.shape for key, values in named.items()},
            lambda key, shape: named[key],
            exclude,
        )
    except _MisfitError as error:
        raise WeightsError(str(error)) from None


def read_whole_matterport(path: Path) -> Matterport:
    """As :func:`read_matterport`, of a file that must hold the whole network.

    Raises
    ------
    WeightsError
        likewise, or a layer is missing.
    """
    found = read_matterport(path)
    if found.missing:
        more = f" and {len(found.missing) - 4} more" if len(found.missing) > 4 else ""
        raise WeightsError(
            f"{path}: lacks the layers {', '.join(found.missing[:4])}{more}; expected the weights "
            "of a whole Mask R-CNN"
        )
    with torch.device("meta"):
        check_state(build("mask-rcnn", found.arguments), found.tensors, path)
    return found


class _MisfitError(WeightsError):
    """A fault whose message does not name the file yet."""


def _key(name: tuple[str, ...]) -> Key | None:
    """Which array of which layer it is, or None of one that is no layer's."""
    groups = name[1:-1] if name[0] == "model_weights" else name[:-1]  # as Keras's save writes
    what = name[-1].partition(":")[0]
    if not groups or what not in ("kernel", "bias", *_NORM):
        return None
    # The outermost group is the layer. What it holds may have another name: Keras counts the
    # layers of a second network in one session on (conv1_1).
    layer = _SUFFIX.sub("", groups[-1]) if groups[0] in GROUPS else groups[0]
    return layer, what


def _convert(shapes: Mapping[Key, Shape], read: _Read, exclude: Collection[str]) -> Matterport:
    sizes = _sizes(shapes)
    left_out = _left_out(exclude)
    tensors: dict[str, Tensor] = {}
    missing: list[str] = []
    for layer in layers(sizes):
        if layer.name in left_out or layer.norm in left_out:
            continue
        if (layer.name, "kernel") not in shapes:
            missing.append(layer.name)
            continue
        for name, values in _ours(layer, shapes, read):
            tensors[name] = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    if not tensors:
        first = ", ".join(sorted({layer for layer, _ in shapes})[:4]) or "nothing"
        raise _MisfitError(
            f"holds no layer of matterport's Mask R-CNN that was asked for, but {first}"
        )
    return Matterport(_arguments(sizes), tensors, tuple(missing))


def _left_out(exclude: Collection[str]) -> set[str]:
    names = {
        name
        for layer in layers(Sizes(RESNETS["resnet101"], 1, 1, 1, 1, 1, 2))
        for name in (layer.name, layer.norm)
        if name
    }
    for name in exclude:
        if name not in names and name not in (*GROUPS, *WEIGHTLESS):
            raise UnknownNameError(
                "layer of matterport's Mask R-CNN", name, (*names, *GROUPS, *WEIGHTLESS)
            )
    return {inner for name in exclude for inner in GROUPS.get(name, (name,))}


def _sizes(shapes: Mapping[Key, Shape]) -> Sizes:
    """The widths of the layers that there are; the first that tells decides."""

    def side(axis: int, *names: str, of: int = 1) -> int:
        told = (shapes.get((name, "kernel"), ()) for name in names)
        return next((shape[axis] // of for shape in told if len(shape) > max(axis, 1)), 0)

    blocks = tuple(_blocks(shapes, stage) for stage in STAGES)
    if any(blocks) and blocks not in RESNETS.values():
        raise _MisfitError(
            f"its encoder has {blocks} blocks in its stages; expected "
            + " or ".join(f"{count} ({name})" for name, count in RESNETS.items())
        )
    # A background alone would be nothing to find.
    classes = side(-1, "mrcnn_class_logits", "mrcnn_mask") or side(-1, "mrcnn_bbox_fc", of=4)
    if classes == 1:
        raise _MisfitError("has one class, which is the background; expected two or more")
    return Sizes(
        blocks=blocks,
        pyramid=side(-1, *(f"fpn_c{stage}p{stage}" for stage in STAGES))
        or side(2, "rpn_conv_shared", "mrcnn_class_conv1", "mrcnn_mask_conv1"),
        rpn=side(-1, "rpn_conv_shared") or side(2, "rpn_class_raw", "rpn_bbox_pred"),
        box=side(-1, "mrcnn_class_conv1", "mrcnn_class_conv2")
        or side(0, "mrcnn_class_logits", "mrcnn_bbox_fc"),
        pooled=side(0, "mrcnn_class_conv1"),
        mask=side(-1, "mrcnn_mask_conv1") or side(2, "mrcnn_mask_deconv", "mrcnn_mask"),
        classes=classes,
    )


def _blocks(shapes: Mapping[Key, Shape], stage: int) -> int:
    letters = "abcdefghijklmnopqrstuvwxyz"
    found = [(f"res{stage}{letter}_branch2a", "kernel") in shapes for letter in letters]
    return sum(found)


def _ours(
    layer: Layer, shapes: Mapping[Key, Shape], read: _Read
) -> Iterator[tuple[str, np.ndarray]]:
    """What a layer and its batch norm become."""

    def value(of: str, what: str, shape: Shape) -> np.ndarray:
        if (of, what) not in shapes:
            raise _MisfitError(f"has no {what} of {of}, though {layer.name} is there")
        if shapes[of, what] != shape:
            raise _MisfitError(f"{what} of {of} has shape {shapes[of, what]}, expected {shape}")
        return read((of, what), shape)

    kernel = value(layer.name, "kernel", layer.shape)
    bias = value(layer.name, "bias", (layer.width,))
    if layer.norm:
        gamma, beta, mean, variance = (value(layer.norm, what, bias.shape) for what in _NORM)
        if (variance < 0).any():
            raise _MisfitError(f"moving_variance of {layer.norm} is negative")
        if layer.our_norm:
            yield f"{layer.ours}.weight", layer.turned(kernel)
            kept = {"weight": gamma, "bias": beta, "running_var": variance}
            kept["running_mean"] = mean - bias
            yield from ((f"{layer.our_norm}.{what}", values) for what, values in kept.items())
            return
        # In float64, or folding would add roundings that the original does not have.
        scale = gamma / np.sqrt(variance.astype(np.float64) + EPSILON)
        kernel, bias = kernel * scale, (bias - mean.astype(np.float64)) * scale + beta
    yield f"{layer.ours}.weight", layer.turned(layer.outputs(kernel))
    yield f"{layer.ours}.bias", layer.outputs(bias)


def _arguments(sizes: Sizes) -> dict[str, object]:
    """The family's, with what this file says otherwise."""
    encoder = next((name for name, blocks in RESNETS.items() if blocks == sizes.blocks), None)
    told: dict[str, object] = {
        "encoder": encoder,
        "classes": sizes.classes - 1 if sizes.classes else None,
        "pyramid_channels": sizes.pyramid,
        "rpn_channels": sizes.rpn,
        "box_width": sizes.box,
        "mask_channels": sizes.mask,
    }
    arguments = {**FAMILIES["matterport"], **{name: value for name, value in told.items() if value}}
    if encoder is None:
        del arguments["encoder"]
    roi = arguments.get("roi")
    if sizes.pooled and isinstance(roi, dict):
        arguments["roi"] = {**roi, "box_size": sizes.pooled}
    return arguments
