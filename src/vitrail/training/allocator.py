"""Memory that one step frees is what the next one takes: kept, and not given back in between.

Every step of a training allocates the same activations. The C library returns large blocks to the
system at once and asks for them again, and the system fills each page with zeros each time: on two
cores a quarter of a DeepLabv3+ step at 320 px, eight images (`benchmarks/train_speed.py` measures
a smaller one).
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Parameters of mallopt(3), from glibc's malloc.h."""
_KEEP = {_TRIM_THRESHOLD: -1, _MMAP_MAX: 0}
"""Nothing is given back, and no block is a mapping of its own."""
_DEFAULT = {_TRIM_THRESHOLD: 64 << 20, _MMAP_THRESHOLD: 32 << 20, _MMAP_MAX: 65536}
"""What glibc's own adjustment arrives at once large blocks are freed; setting any of them switches
that adjustment off, and what it starts from would be slow from then on."""


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory in the process; at the end, give back what the C library can.

    The process stays as large as its worst step made it, which is what it needs again. Does
    nothing where the C library is not glibc.
    """
    library = _glibc()
    if library is None:
        yield
        return
    _set(library, _KEEP)
    try:
        yield
    finally:
        _set(library, _DEFAULT)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The process's own C library, if it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        library.mallopt(parameter, value)
