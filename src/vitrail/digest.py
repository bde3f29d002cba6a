"""Checksums of files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path


def digests(
    path: Path,
    algorithms: Iterable[str] = ("sha256",),
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, str]:
    """Hexadecimal checksums of a file by algorithm, in one pass.

    Parameters
    ----------
    path
        the file; read in pieces.
    algorithms
        names that :mod:`hashlib` knows.
    progress
        told the bytes read so far.

    Raises
    ------
    OSError
        it cannot be read.
    """
    # md5 is what some publishers give: against accidents it is enough.
    sums = {name: hashlib.new(name, usedforsecurity=False) for name in sorted(algorithms)}
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            for one in sums.values():
                one.update(chunk)
            done += len(chunk)
            progress(done)
    return {name: one.hexdigest() for name, one in sums.items()}
