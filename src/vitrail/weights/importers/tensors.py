"""The tensors of a ``.pth``, ``.pkl`` or ``.safetensors`` file; nothing that is in it runs."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitrail.errors import WeightsError
from vitrail.weights.array_pickle import read_array_pickle
from vitrail.weights.files import no_memory, read_tensors
from vitrail.weights.header import PICKLES

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Under which training scripts put the network's state, beside the optimiser's and the like."""
_PREFIXES = ("module.", "model.")
"""What DistributedDataParallel, and a network held by a training module, put before every name."""


_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How ``torch.save`` files begin that are no zip files, in which other names may end, too."""
_ALLOCATORS = ("not enough memory", "can't allocate memory", "bad_alloc")
"""What torch's errors say when its own allocator finds no memory."""


def read_any_tensors(path: Path) -> dict[str, Tensor]:
    """The network's state in a file of safetensors, of ``torch.save``, or of arrays, on the CPU.

    A file of ``torch.save`` is a pickle. It is read with ``weights_only=True``: tensors and plain
    containers are built, anything else that the pickle asks for is refused, and no code of it runs.
    A ``.pkl`` file of NumPy arrays, as detectron2's, is read by
    :func:`~vitrail.weights.array_pickle.read_array_pickle`.

    Raises
    ------
    WeightsError
        the file is missing, cut short, of another kind, asks for more than tensors, does not fit
        into memory, or holds no network's state.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        with path.open("rb") as file:
            start = file.read(len(_LEGACY))
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    if not start.startswith(PICKLES):
        what = "not a file of torch.save" if start else "the file is empty"
        raise WeightsError(f"{path}: {what}; expected a .pth or .safetensors file")
    if path.suffix == ".pkl" and start[:1] == PICKLES[0] and start != _LEGACY:
        return _state(_with_tensors(read_array_pickle(path), path), path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: this pickle asks for more than tensors ({_asked(error)}), which could run "
            "code, and is refused; have whoever made it save the network's state_dict() alone, or "
            "a .safetensors file"
        ) from None
    except MemoryError:
        raise WeightsError(no_memory(path)) from None
    except Exception as error:  # the reader lets through whatever a made-up file runs into
        if any(words in str(error) for words in _ALLOCATORS):
            raise WeightsError(no_memory(path)) from None
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
            for key, value in tensors.items():
                if fault := _fault(value):
                    raise WeightsError(
                        f"{path}: {key} {fault}; expected plain tensors of numbers, as "
                        "torch.save(network.state_dict(), FILE) writes them"
                    )
            return tensors
    raise WeightsError(
        f"{path}: holds {type(content).__name__}, and not a network's state (names with tensors); "
        "expected what torch.save(network.state_dict(), FILE) writes"
    )


def _fault(value: Tensor) -> str:
    """Why a tensor cannot be a weight: those that hold no values of their own, or other kinds."""
    if value.is_meta:
        return "was saved without its values (device meta)"
    if value.is_nested or value.layout != torch.strided:
        return f"is laid out as {str(value.layout).removeprefix('torch.')}"
    if value.is_quantized:
        return "is quantized"
    if value.is_complex():
        return "holds complex numbers"
    # A view may claim any size: the elements of an expanded one are all the same.
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"has the shape {tuple(value.shape)}, of which the file holds only a part"
    return ""


def _with_tensors(content: object, path: Path) -> object:
    """Dictionaries, and those directly inside, with tensors for arrays; the arrays are copied."""
    if not isinstance(content, dict):
        return content
    try:
        inner = {
            key: {name: _tensor(part) for name, part in value.items()}
            for key, value in content.items()
            if key in _WRAPPERS and isinstance(value, dict)
        }
        return {key: _tensor(value) for key, value in content.items()} | inner
    except MemoryError:
        raise WeightsError(no_memory(path)) from None


def _tensor(value: object) -> object:
    if not isinstance(value, np.ndarray):
        return value
    return torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C", copy=True))


def _asked(error: BaseException) -> str:
    """Which name the pickle asked for, from torch's message."""
    words = str(error).split("GLOBAL ")
    return words[1].split()[0] if len(words) > 1 else "other objects"
