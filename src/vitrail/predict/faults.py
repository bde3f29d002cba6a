"""Which errors concern one image, so that the others can go on."""

from __future__ import annotations

import cv2

from vitrail.errors import ImageError, VitrailError

_NO_MEMORY = "there is not enough memory for this image; make it smaller"
_OF_TORCH = ("out of memory", "DefaultCPUAllocator")
"""What PyTorch says when a device or the CPU has no room, in a plain RuntimeError."""


def fault_of(error: Exception) -> VitrailError | None:
    """What is wrong with an image, from what was raised for it; None where that says nothing of
    the image and has to be raised on."""
    if isinstance(error, VitrailError):
        return error
    full = isinstance(error, MemoryError)
    if isinstance(error, RuntimeError):
        full = any(phrase in str(error) for phrase in _OF_TORCH)
    if isinstance(error, cv2.error):
        full = getattr(error, "code", 0) == cv2.Error.StsNoMem
    return ImageError(_NO_MEMORY) if full else None
