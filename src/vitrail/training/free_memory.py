"""How much memory a training may use here: the machine's, a container's limit, or the GPU's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

_UNLIMITED = 1 << 60
"""Version 1 of control groups says "no limit" with a number close to 2**63."""


def free_memory(device: torch.device, root: Path = Path("/")) -> int | None:
    """Bytes that can still be taken on a device; None where the system does not say.

    On CUDA it is what the driver has free and what torch holds in reserve. On the CPU it is
    ``MemAvailable`` of Linux, or less where the process is in a control group (a container, a
    batch job) with less left below its limit.

    Parameters
    ----------
    root:
        Where ``proc`` and ``sys`` are.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    known = [_machine(root), *_groups(root)]
    return min((size for size in known if size is not None), default=None)


def _machine(root: Path) -> int | None:
    return _field(root / "proc" / "meminfo", "MemAvailable:", 1024)


def _groups(root: Path) -> Iterator[int]:
    """What is left in each control group that this process is in, however deep."""
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text("ascii").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        base = root / "sys" / "fs" / "cgroup"
        if number == "0" and not controllers:
            names = ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = base / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inner = base / path.strip("/")
        # A container may see only its own group, at the base, under a path that is the host's.
        chain = (place for place in (inner, *inner.parents) if place.is_relative_to(base))
        for place in chain:
            limit, used = (_number(place / name) for name in names[:2])
            if limit is None or used is None or limit > _UNLIMITED:
                continue
            # Pages of files are given back when memory runs short.
            cached = _field(place / "memory.stat", names[2], 1) or 0
            yield max(0, limit - max(0, used - cached))


def _number(file: Path) -> int | None:
    """The whole number that a file holds; None where it does not exist, or says "max"."""
    try:
        return int(file.read_text("ascii"))
    except (OSError, ValueError):
        return None


def _field(file: Path, name: str, unit: int) -> int | None:
    """The number behind a name at the beginning of a line, times its unit in bytes."""
    try:
        for line in file.read_text("ascii").splitlines():
            first, *rest = line.split()
            if first == name:
                return int(rest[0]) * unit
    except (OSError, ValueError, IndexError):
        return None
    return None
