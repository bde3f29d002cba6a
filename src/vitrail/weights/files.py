"""Checkpoints: safetensors with the card inside. Nothing here can execute what a file contains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vitrail.atomic import make_folder, write_atomically
from vitrail.errors import WeightsError
from vitrail.weights.card import Card
from vitrail.weights.header import CARD_KEY, read_metadata

_SHOWN = 4
"""How many differing tensors a message lists before it only counts them."""


def write_checkpoint(
    path: Path, model: nn.Module, card: Card, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write weights and card, atomically: the path holds the old file or the whole new one.

    Convolution and matrix weights are stored as ``dtype``; vectors (biases, batch-norm
    statistics) stay float32, since they are small and their range matters.

    Raises
    ------
    OutputError
        the file could not be written; the old one, if any, is untouched.
    """
    write_tensors(path, model.state_dict(), card, dtype=dtype)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], card: Card, *, dtype: torch.dtype = torch.float32
) -> None:
    """As :func:`write_checkpoint`, of a network's state."""
    kept = {
        name: (value.to(dtype) if value.is_floating_point() and value.ndim > 1 else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in tensors.items()
        if not name.endswith("num_batches_tracked")  # only counts training steps
    }
    kept = _apart(kept)
    content = save(kept, {CARD_KEY: card.model_dump_json()})
    make_folder(path.parent)
    write_atomically(path, lambda file: file.write(content))


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with memory of their own, which safetensors insists on."""
    seen: set[int] = set()
    apart: dict[str, Tensor] = {}
    for name, value in tensors.items():
        place = value.untyped_storage().data_ptr()
        apart[name] = value.clone() if place in seen else value
        seen.add(place)
    return apart


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU.

    Raises
    ------
    WeightsError
        the file is missing, is not safetensors, or is cut short.
    """
    read_metadata(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error})") from None


def load_state(model: nn.Module, tensors: dict[str, Tensor], source: str | Path) -> None:
    """Fill a network with tensors that must fit it exactly.

    Raises
    ------
    WeightsError
        as :func:`check_state` does.
    """
    check_state(model, tensors, source)
    with torch.no_grad():
        for name, value in _counted(model.state_dict()).items():
            value.copy_(tensors[name])


def check_state(model: nn.Module, tensors: dict[str, Tensor], source: str | Path) -> None:
    """See whether tensors fit a network, which may lie on the ``meta`` device.

    Raises
    ------
    WeightsError
        lists what is missing, what is too much, and which shapes differ.
    """
    own, given = _counted(model.state_dict()), _counted(tensors)
    faults = [
        *_listed("lacks", [name for name in own if name not in given]),
        *_listed("has too much", [name for name in given if name not in own]),
        *_listed(
            "differs in shape",
            [
                f"{name} {tuple(given[name].shape)} where the model has {tuple(value.shape)}"
                for name, value in own.items()
                if name in given and given[name].shape != value.shape
            ],
        ),
    ]
    if faults:
        raise WeightsError(f"{source}: does not fit the model: " + "; ".join(faults))


def _counted(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """All but batch norm's step counters, which only training reads."""
    return {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}


def _listed(fault: str, names: list[str]) -> list[str]:
    if not names:
        return []
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{fault} {', '.join(names[:_SHOWN])}{rest}"]


def no_memory(path: Path) -> str:
    """What to say where a file is sound and the machine too small for it."""
    size = path.stat().st_size / 1e6
    return f"{path}: there is not enough memory for its tensors ({size:,.0f} MB in the file)"
