"""Writing a file whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from vitrail.errors import OutputError


def write_atomically(path: Path, fill: Callable[[IO[bytes]], object]) -> Path:
    """Fill a temporary file beside ``path``, then rename it: the path holds old or new, never half.

    Parameters
    ----------
    path:
        Where the file shall be; its folder exists.
    fill:
        Writes the content into the open binary file that it is given.

    Returns
    -------
    ``path``.

    Raises
    ------
    OutputError
        it could not be written; what stood there before is untouched and nothing is left over.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                fill(file)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise output_error(path, error) from error
    return path


def make_folder(folder: Path) -> Path:
    """Make a folder and those above it, if missing.

    Raises
    ------
    OutputError
        it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    return folder


def output_error(path: Path, error: OSError) -> OutputError:
    """What to tell of a failed write."""
    reason = error.strerror or str(error)
    return OutputError(f"cannot write {path}: {reason}; free space or choose another folder")
