"""The tensors of a ``.pth`` or ``.safetensors`` file, without running anything that is in it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vitrail.errors import WeightsError
from vitrail.weights.files import read_tensors
from vitrail.weights.header import PICKLES

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Under which training scripts put the network's state, beside the optimiser's and the like."""
_PREFIXES = ("module.", "model.")
"""What DistributedDataParallel, and a network held by a training module, put before every name."""


def read_any_tensors(path: Path) -> dict[str, Tensor]:
    """The network's state in a file of safetensors, or of ``torch.save``, on the CPU.

    A file of ``torch.save`` is a pickle. It is read with ``weights_only=True``: tensors and plain
    containers are built, anything else that the pickle asks for is refused, and no code of it runs.

    Raises
    ------
    WeightsError
        the file is missing, cut short, of another kind, asks for more than tensors, or holds no
        network's state.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    if not start.startswith(PICKLES):
        what = "not a file of torch.save" if start else "the file is empty"
        raise WeightsError(f"{path}: {what}; expected a .pth or .safetensors file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: this pickle asks for more than tensors ({_asked(error)}), which could run "
            "code, and is refused; have whoever made it save the network's state_dict() alone, or "
            "a .safetensors file"
        ) from None
    except Exception as error:  # the reader lets through whatever a made-up file runs into
        reason = str(error).splitlines()[0].split(". ")[0][:150] if str(error) else "it ends early"
        raise WeightsError(
            f"{path}: damaged, cut short, or not a file of torch.save ({reason}); expected a .pth "
            "or .safetensors file"
        ) from None
    return _state(content, path)


def _state(content: object, path: Path) -> dict[str, Tensor]:
    """The mapping from names to tensors in what a file holds."""
    if isinstance(content, Mapping):
        inner = next(
            (content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), content
        )
        tensors = {key: value for key, value in inner.items() if isinstance(value, Tensor)}
        if tensors and all(isinstance(key, str) for key in tensors):
            for prefix in _PREFIXES:
                if all(key.startswith(prefix) for key in tensors):
                    tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
            return tensors
    raise WeightsError(
        f"{path}: holds {type(content).__name__}, and not a network's state (names with tensors); "
        "expected what torch.save(network.state_dict(), FILE) writes"
    )


def _asked(error: BaseException) -> str:
    """Which name the pickle asked for, from torch's message."""
    words = str(error).split("GLOBAL ")
    return words[1].split()[0] if len(words) > 1 else "other objects"
