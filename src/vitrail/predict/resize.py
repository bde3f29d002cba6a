"""Resize a picture in each of the ways that networks were trained with."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import PIL.Image

from vitrail.predict import matterport

Interpolation = Literal["area", "antialias", "bilinear", "skimage"]

_STRIP_VALUES = 1 << 18
"""Interpolated at once (1 MB): a large picture never stands in memory as floating-point numbers."""


def resized(picture: np.ndarray, size: tuple[int, int], interpolation: Interpolation) -> np.ndarray:
    """A picture ``(H, W, C)`` uint8 at ``size``, ``(h, w, C)``.

    Values are 0 to 255: uint8, but for ``bilinear`` float32, which rounds nothing.
    """
    if picture.shape[:2] == size:
        return picture
    if interpolation == "bilinear":
        return _bilinear(picture, size)
    if interpolation == "skimage":
        return matterport.resize(picture, size)
    fitted = _antialias(picture, size) if interpolation == "antialias" else _area(picture, size)
    return fitted.reshape(*size, picture.shape[2])  # OpenCV drops the axis of a single band


def _bilinear(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As ``F.interpolate(mode="bilinear", align_corners=False)``: four neighbours, however much
    the picture shrinks."""
    (height, width), (h, w) = picture.shape[:2], size
    upper, lower, down = _neighbours(height, h)
    left, right, across = _neighbours(width, w)
    found = np.empty((h, w, picture.shape[2]), np.float32)
    rows = max(1, _STRIP_VALUES // (width * picture.shape[2]))
    for top in range(0, h, rows):
        part = slice(top, top + rows)
        strip = picture[upper[part]].astype(np.float32)
        strip += (picture[lower[part]] - strip) * down[part, None, None]
        first = strip.take(left, axis=1)
        found[part] = first + (strip.take(right, axis=1) - first) * across[:, None]
    return found


def _neighbours(source: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of ``length`` points along ``source`` pixels: the pixel before it, the one behind
    it, and how far it lies between them, (length,) float32 in 0..1.

    In PyTorch's steps: its centres are float32 and err by up to 1e-4 px along thousands of pixels,
    which shows at sharp edges.
    """
    scale = np.float64(np.float32(source) / np.float32(length))
    centres = (scale * (np.arange(length) + 0.5) - 0.5).astype(np.float32).clip(min=0)
    before = np.minimum(centres.astype(np.intp), source - 1)
    return before, np.minimum(before + 1, source - 1), centres - before.astype(np.float32)


def _antialias(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pillow's bilinear filter, as wide as it has to be when shrinking."""
    # Pillow knows pictures of one and of three bands.
    h, w = size
    parts = [picture] if picture.shape[2] == 3 else np.moveaxis(picture, 2, 0)
    bands = [PIL.Image.fromarray(np.ascontiguousarray(part)) for part in parts]
    fitted = [band.resize((w, h), PIL.Image.Resampling.BILINEAR) for band in bands]
    return np.dstack([np.asarray(band) for band in fitted])


def _area(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mean of what a pixel covers; when growing, bilinear."""
    (height, width), (h, w) = picture.shape[:2], size
    if (h < height) == (w < width):
        # Area averaging is free of aliasing when shrinking; it does not interpolate when growing.
        mode = cv2.INTER_AREA if h * w < height * width else cv2.INTER_LINEAR
        return cv2.resize(picture, (w, h), interpolation=mode)
    # One side shrinks and the other does not: each its own way, the shrinking one first.
    between = (w, height) if w < width else (width, h)
    averaged = cv2.resize(picture, between, interpolation=cv2.INTER_AREA)
    return cv2.resize(averaged, (w, h), interpolation=cv2.INTER_LINEAR)
