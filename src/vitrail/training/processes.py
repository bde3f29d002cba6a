"""What several processes of one training tell each other besides gradients: their metrics."""

from __future__ import annotations

import copy
import zlib
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from vitrail.errors import ParameterError
from vitrail.metrics import Metric
from vitrail.metrics.base import State

M = TypeVar("M", bound=Metric)


def merge_across_processes(metric: M, device: torch.device | str = "cpu") -> M:
    """Give every process the metric over what all of them have counted.

    The numbers are those of one process that counted everything, bit for bit. Plain arrays
    travel, no pickle. Without a process group, or with a group of one, nothing is sent.

    Parameters
    ----------
    metric:
        Of the same settings in all processes; changed in place, and returned. All processes must
        call this together.
    device:
        Where the process group exchanges tensors: a CUDA device for NCCL.

    Raises
    ------
    ParameterError
        the processes hold metrics of different kinds, or one whose state is no numbers; in all
        of them.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return metric
    states = _gather(metric.state(), torch.device(device))
    metric.reset()
    part = copy.deepcopy(metric)
    for state in states:
        part.load(state)
        metric.merge(part)
    return metric


def _gather(state: State, device: torch.device) -> list[State]:
    """The states of all processes, in the order of their ranks."""
    names = sorted(state)
    arrays = {name: np.ascontiguousarray(state[name]).reshape(state[name].shape) for name in names}
    numbers = all(array.dtype.kind in "biuf" for array in arrays.values())
    form = repr([(name, arrays[name].dtype.str, arrays[name].ndim) for name in names])
    head = torch.tensor([numbers, zlib.crc32(form.encode())], device=device)
    heads = _all_gather(head)
    if any(not torch.equal(other, heads[0]) or not other[0] for other in heads):
        raise ParameterError(
            f"cannot merge metrics across processes: this one holds {form}, another one something "
            "else, or something that is no number; expected the same metric in each"
        )
    lengths = [length for name in names for length in arrays[name].shape]
    shapes = [
        gathered.tolist()
        for gathered in _all_gather(torch.tensor(lengths, dtype=torch.int64, device=device))
    ]
    packed = np.frombuffer(b"".join(arrays[name].tobytes() for name in names), np.uint8)
    sizes = [sum(_nbytes(arrays, names, shape)) for shape in shapes]
    padded = torch.zeros(max(sizes), dtype=torch.uint8, device=device)
    padded[: len(packed)] = torch.from_numpy(packed.copy()).to(device)
    states: list[State] = []
    for gathered, shape in zip(_all_gather(padded), shapes, strict=True):
        content, start, lengths = gathered.cpu().numpy(), 0, iter(shape)
        received: State = {}
        for name, size in zip(names, _nbytes(arrays, names, shape), strict=True):
            part = content[start : start + size].tobytes()
            form_of_it = [next(lengths) for _ in range(arrays[name].ndim)]
            received[name] = np.frombuffer(part, arrays[name].dtype).reshape(form_of_it).copy()
            start += size
        states.append(received)
    return states


def _nbytes(arrays: State, names: list[str], shape: list[int]) -> list[int]:
    """Bytes of each array of a process whose arrays' lengths, one after the other, are these."""
    lengths = iter(shape)
    return [
        arrays[name].itemsize * int(np.prod([next(lengths) for _ in range(arrays[name].ndim)]))
        for name in names
    ]


def _all_gather(tensor: Tensor) -> list[Tensor]:
    """A tensor of one size in all processes, from each of them."""
    gathered = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    if tensor.numel():
        dist.all_gather(gathered, tensor)
    return gathered


def sum_across_processes(values: Tensor, device: torch.device | str = "cpu") -> Tensor:
    """The sum of a tensor over all processes, in the place and type of ``values``."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return values
    total = values.to(device)
    dist.all_reduce(total)
    return total.to(values.device)


def is_first_process() -> bool:
    """Whether this process speaks for all of them."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def any_process(asked: bool, device: torch.device | str = "cpu") -> bool:
    """Whether at least one process says so; all must call it together."""
    return bool(sum_across_processes(torch.tensor(float(asked)), device) > 0)
