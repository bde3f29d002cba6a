"""The most that an image file may claim, and the errors of those that are damaged."""

from __future__ import annotations

import os
from dataclasses import dataclass

from vitrail.errors import ImageError, ImageTooLargeError, ParameterError

DEFAULT_MAX_PIXELS = 500_000_000
DEFAULT_MAX_BYTES = 4 * 1024**3
DEFAULT_MAX_DOWNLOAD = 512 * 1024**2


@dataclass(frozen=True)
class Limits:
    """The most that one image may claim."""

    max_pixels: int
    """Height times width."""
    max_bytes: int
    """Of the file, and of what it decodes to."""
    max_download: int
    """Of what a URL may send."""

    @classmethod
    def of(cls, max_pixels: int | None = None, max_bytes: int | None = None) -> Limits:
        """The arguments, or else VITRAIL_MAX_PIXELS and VITRAIL_MAX_BYTES, or else the defaults."""
        return cls(
            _limit("max_pixels", max_pixels, DEFAULT_MAX_PIXELS),
            _limit("max_bytes", max_bytes, DEFAULT_MAX_BYTES),
            _limit("max_bytes", max_bytes, DEFAULT_MAX_DOWNLOAD),
        )

    def check(self, name: str, width: int, height: int, bytes_per_pixel: int = 1) -> None:
        """Refuse what a header claims, before it is believed."""
        if width <= 0 or height <= 0:
            raise ImageError(f"{name}: its header claims {width} x {height} pixels; it is damaged")
        if width * height > self.max_pixels:
            raise ImageTooLargeError(
                f"{name}: its header claims {width:,} x {height:,} = {width * height:,} pixels, "
                f"more than the limit of {self.max_pixels:,}; nothing was decoded. If it is real, "
                "raise the limit with max_pixels=... or the environment variable VITRAIL_MAX_PIXELS"
            )
        self.check_bytes(name, width * height * bytes_per_pixel, "decoded it would take")

    def check_bytes(self, name: str, count: int, what: str = "it has") -> None:
        """Refuse more bytes than ``max_bytes``."""
        if count > self.max_bytes:
            raise ImageTooLargeError(
                f"{name}: {what} {count:,} bytes, more than the limit of {self.max_bytes:,}; "
                "raise it with max_bytes=... or the environment variable VITRAIL_MAX_BYTES"
            )


def _limit(name: str, given: int | None, default: int) -> int:
    variable = "VITRAIL_" + name.upper()
    value = os.environ.get(variable, "").strip() if given is None else given
    if value == "":
        return default
    try:
        number = int(value)  # takes 1_000_000, too
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        where = variable if given is None else name
        raise ParameterError(f"{where} must be a whole number of at least 1, got {value!r}")
    return number


def damaged(name: str, kind: str | None, error: Exception | str) -> ImageError:
    """The error for contents that a decoder gave up on, on one line."""
    if isinstance(error, MemoryError):
        return ImageTooLargeError(f"{name}: there is not enough memory to decode it")
    detail = " ".join(str(error).split()) or type(error).__name__
    return ImageError(
        f"{name}: the {kind or 'image'} data is damaged or cut short ({detail}); "
        "get a complete copy of the file"
    )
