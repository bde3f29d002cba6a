"""A lock between processes: one file, held by the operating system, free again after a crash."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vitrail.atomic import output_error
from vitrail.errors import OutputError

_POLL = 0.1
"""Seconds between two looks at a lock that is waited for."""


@contextmanager
def locked(path: Path, what: str, *, wait: float = 0.0) -> Iterator[None]:
    """Hold ``path`` as a lock; it is removed afterwards.

    Parameters
    ----------
    path
        the lock's file; its folder exists.
    what
        what another process is doing if it holds the lock (``x.zip: is being downloaded``).
    wait
        seconds to wait for whoever holds it.

    Raises
    ------
    OutputError
        another process (or another thread of this one) holds it, or it cannot be written.
    """
    until = time.monotonic() + wait
    while (descriptor := _take(path)) is None and time.monotonic() < until:
        time.sleep(_POLL)
    if descriptor is None:
        raise OutputError(f"{what} by another process; wait until it is done, or end it")
    try:
        yield
    finally:
        if sys.platform != "win32":  # while it is held: nobody can lock a file that is gone
            with suppress(OSError):
                path.unlink()
        os.close(descriptor)
        if sys.platform == "win32":  # an open file cannot be removed there
            with suppress(OSError):
                path.unlink()


def _take(path: Path) -> int | None:
    """A locked descriptor, or None if somebody else has it."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise output_error(path, error) from error
        try:
            _lock(descriptor)
        except OSError:
            os.close(descriptor)
            return None
        try:  # its last holder may have removed it between our opening and our locking
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
