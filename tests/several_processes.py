"""Run a function in several processes that exchange tensors over gloo, and get what it returns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import multiprocessing


def in_processes(function: Callable[[int], Any], folder: Path, processes: int = 2) -> list[Any]:
    """``[function(0), function(1), ...]``, each in a process of its own.

    ``function`` stands at the top of a module, and returns what ``torch.save`` takes.
    """
    multiprocessing.spawn(_work, (processes, folder, function), processes)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(processes)]


def _work(rank: int, processes: int, folder: Path, function: Callable[[int], Any]) -> None:
    torch.set_num_threads(1)
    store = (folder / "rendezvous").as_uri()
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=processes)
    try:
        torch.save(function(rank), folder / f"{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()
