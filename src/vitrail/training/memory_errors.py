"""Errors of memory that ran out, told with the settings that would have saved it."""

from __future__ import annotations

import errno

import torch

_WORKER = ("dataloader worker", "in dataloader worker process")
_SHARED = ("bus error", "shared memory", "/torch_", "unable to mmap")
_ALLOCATORS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate",
    "bad_alloc",
    "alloc_failed",
)


def explain_out_of_memory(
    error: BaseException,
    *,
    batch_size: int,
    image_size: int,
    accumulate: int = 1,
    workers: int = 0,
    processes: int = 1,
) -> str | None:
    """What to lower after an error, with the numbers in force; None where it is another error.

    Parameters
    ----------
    error:
        As it was caught: of torch's allocators on any device, Python's, or of a loader process.
    batch_size, accumulate:
        Images of a step over all processes, and the parts that they are computed in.
    image_size:
        Side of the training crop, px.
    workers:
        Loader processes.
    processes:
        Of the training.
    """
    text = str(error).lower()
    if any(word in text for word in _WORKER):
        memory = isinstance(error, MemoryError) or any(
            word in text for word in (*_SHARED, *_ALLOCATORS, "killed", "exited unexpectedly")
        )
        return _of_workers(text, workers) if memory else None
    if isinstance(error, RuntimeError | OSError) and any(word in text for word in _SHARED):
        return _of_workers(text, workers)
    ours = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if isinstance(error, OSError):
        ours = error.errno == errno.ENOMEM
    elif isinstance(error, RuntimeError):
        ours = ours or any(word in text for word in _ALLOCATORS)
    if not ours:
        return None
    now = max(1, batch_size // (accumulate * processes))
    told = f"out of memory: {now} images of {image_size} px at once do not fit"
    if now > 1:
        told += (
            f"; set train.accumulate={accumulate * 2} (now {accumulate}: {now // 2} at once, the "
            f"same training, slower) or train.batch_size={max(1, batch_size // 2)} (now "
            f"{batch_size}), and if that is not enough train.image_size={_smaller(image_size)}"
        )
    else:
        told = told.replace("1 images of", "one image of").replace("do not fit", "does not fit")
        told += (
            f"; set train.image_size={_smaller(image_size)} (now {image_size}), or choose a "
            "smaller encoder"
        )
    return told


def _of_workers(text: str, workers: int) -> str:
    if any(word in text for word in _SHARED):
        what = "the shared memory (/dev/shm) of the loader processes is full"
    else:
        what = "a loader process was killed, most likely since memory ran out"
    if workers < 1:
        return f"{what}; lower train.batch_size or train.image_size"
    told = f"{what}: set train.workers={workers // 2} (now {workers})"
    if any(word in text for word in _SHARED):
        told += ", or give the container more (docker run --shm-size=2g)"
    return told


def _smaller(image_size: int) -> int:
    """About three quarters of the side, a multiple of 32 where that leaves something."""
    return max(16, image_size * 3 // 4 // 32 * 32)
