"""Weight files for the compatible model: matterport's and Keras's ``.h5``, and vitrail's own."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vitrail.errors import UnknownNameError, WeightsError
from vitrail.weights.card import Card
from vitrail.weights.files import load_state, read_tensors
from vitrail.weights.header import CARD_KEY, read_card, read_metadata
from vitrail.weights.importers.matterport import read_matterport
from vitrail.weights.importers.matterport_layers import (
    GROUPS,
    RESNETS,
    WEIGHTLESS,
    Sizes,
    layers,
)

_ALL = tuple(layers(Sizes(RESNETS["resnet101"], 1, 1, 1, 1, 1, 2)))
_OURS: Mapping[str, tuple[str, ...]] = {
    name: (layer.ours, *([layer.our_norm] if layer.our_norm else []))
    for layer in _ALL
    for name in (layer.name, layer.norm)
    if name
}
"""How our tensors' names begin, by the original's name of a layer or of the batch norm that goes
with it."""


@dataclass(frozen=True)
class WeightFile:
    """What a file of weights holds, without what was left out on request."""

    path: Path
    tensors: dict[str, Tensor]
    """Under our names."""
    left_out: tuple[str, ...]
    """How the names of our tensors begin that were left out on request."""
    card: Card | None
    """Of vitrail's own files, where they have one."""


def read_weights(path: Path, exclude: Collection[str] = ()) -> WeightFile:
    """Read a ``.safetensors`` of vitrail's, or a ``.h5`` in the original's layout.

    Parameters
    ----------
    path:
        The file.
    exclude:
        The original's names of layers to leave out, such as ``mrcnn_class_logits``.

    Raises
    ------
    WeightsError
        the file is missing or damaged, or holds nothing of this network.
    UnknownNameError
        ``exclude`` has a name that is no layer's.
    """
    left_out = tuple(ours for name in exclude for one in _layers_of(name) for ours in _OURS[one])
    if path.suffix != ".safetensors":
        return WeightFile(path, read_matterport(path, exclude=exclude).tensors, left_out, None)
    card = read_card(path) if CARD_KEY in read_metadata(path) else None
    tensors = {name: value for name, value in read_tensors(path).items() if not _of(name, left_out)}
    return WeightFile(path, tensors, left_out, card)


def fill(network: nn.Module, found: WeightFile, *, partly: bool, complete: bool) -> None:
    """Copy what a file holds into a network.

    Parameters
    ----------
    network:
        What is filled.
    found:
        What the file holds.
    partly:
        Whether tensors may be missing from the file, and tensors that the network does not have
        are skipped.
    complete:
        Whether to warn of what is missing though it was not left out on request.

    Raises
    ------
    WeightsError
        a tensor has another shape than the network's, nothing fits, or, unless ``partly``, one is
        missing or too much. The network is not changed then.
    """
    if not partly:
        load_state(network, found.tensors, found.path)
        return
    own = {
        name: value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    common = [name for name in own if name in found.tensors]
    if not common:
        raise WeightsError(f"{found.path}: holds no weights of this network")
    differing = [name for name in common if own[name].shape != found.tensors[name].shape]
    if differing:
        theirs = {_theirs(name): None for name in differing}
        raise WeightsError(
            f"{found.path}: does not fit the configuration: {', '.join(list(theirs)[:6])} have "
            "other shapes; where the classes differ, leave the heads out with exclude="
            '["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]'
        )
    surplus = {_theirs(name): None for name in found.tensors if name not in own}
    if surplus:
        warnings.warn(
            f"{found.path}: {_some(surplus)} are no layers of this network and were skipped; is "
            "BACKBONE the one that it was trained with?",
            stacklevel=4,
        )
    lacking = {
        _theirs(name): None
        for name in own
        if name not in found.tensors and not _of(name, found.left_out)
    }
    if lacking and complete:
        warnings.warn(
            f"{found.path}: lacks {_some(lacking)}, which stay as they were", stacklevel=4
        )
    with torch.no_grad():
        for name in common:
            own[name].copy_(found.tensors[name])


def _layers_of(name: str) -> tuple[str, ...]:
    """A layer, or those of a group; none for one without weights."""
    if name in WEIGHTLESS:
        return ()
    if name not in _OURS and name not in GROUPS:
        raise UnknownNameError("layer of Mask R-CNN", name, (*_OURS, *GROUPS, *WEIGHTLESS))
    return GROUPS.get(name, (name,))


def _of(name: str, beginnings: Collection[str]) -> bool:
    return any(name.startswith(f"{beginning}.") for beginning in beginnings)


def _theirs(name: str) -> str:
    """The original's layer that one of our tensors belongs to; the tensor's own name of others."""
    return next((layer for layer, ours in _OURS.items() if _of(name, ours)), name)


def _some(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")
