"""What libjpeg has to say: it reports damaged data on file descriptor 2, and nowhere else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG", "Invalid SOS", "Inconsistent progression")
"""libjpeg's warnings (``jerror.h``) that mean wrong pixels; others are of no consequence."""
_SAID_ELSEWHERE = ("JFIF revision", "Adobe color transform", "libpng", "grfmt_", "imdecode_")
"""Of no consequence, or told by the decoder's failure, which becomes a finding of its own."""


class DecoderMessages:
    """Runs decoders and returns what they print.

    For the moment of a call, file descriptor 2 points to a temporary file. What is not libjpeg's
    (another thread's) is handed on afterwards. Where there is no descriptor 2, as in a windowed
    Python, calls just run, and no messages come.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the object

    def during(self, decode: Callable[[], T]) -> tuple[T, str]:
        """Run ``decode``; its result, and libjpeg's words on damage in one line ("" if none)."""
        try:
            saved = os.dup(2)
        except OSError:
            return decode(), ""
        try:
            os.dup2(self._file.fileno(), 2)
            try:
                result = decode()
            finally:
                os.dup2(saved, 2)
        finally:
            os.close(saved)
        return result, self._take() if os.fstat(self._file.fileno()).st_size else ""

    def close(self) -> None:
        self._file.close()

    def _take(self) -> str:
        self._file.seek(0)
        lines = self._file.read().decode("utf-8", "replace").splitlines(keepends=True)
        self._file.seek(0)
        self._file.truncate()
        damage = [line.strip() for line in lines if any(mark in line for mark in _DAMAGE)]
        known = (*_DAMAGE, *_SAID_ELSEWHERE)
        others = "".join(line for line in lines if not any(mark in line for mark in known))
        with suppress(OSError):
            os.write(2, others.encode())
        return "; ".join(dict.fromkeys(damage))
