"""Arithmetic on pixels: into the types that vitrail works on, upright, and how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from vitrail.errors import ImageError

Decoded = tuple[np.ndarray, np.ndarray | None]
"""Pixels (H, W, C) uint8, uint16 or float32, and alpha (H, W) uint8 or None."""

ORIENTATION = 0x0112  # the tag's number in EXIF and in TIFF


def split_alpha(array: np.ndarray, name: str) -> Decoded:
    """(H, W, C) of any real type -> pixels and alpha; four bands are RGB and alpha."""
    if 0 in array.shape:
        raise ImageError(f"{name}: there is nothing in an array of shape {array.shape}")
    pixels = to_pixels(array, name)
    if pixels.shape[2] != 4:
        return pixels, None
    return np.ascontiguousarray(pixels[:, :, :3]), to_alpha(pixels[:, :, 3])


def to_pixels(array: np.ndarray, name: str) -> np.ndarray:
    """Any real array -> contiguous uint8, uint16 or float32; not copied where it is one already.

    bool becomes 0 and 255. Other integers become the smallest of uint8, uint16, float32 (exact up
    to 2**24) that holds all their values. NaN and infinity are refused.
    """
    kind = array.dtype.kind
    if kind == "b":
        array = array.astype(np.uint8) * np.uint8(255)
    elif kind in "iu" and array.dtype not in (np.uint8, np.uint16):
        low, high = int(array.min()), int(array.max())
        small = np.uint8 if high < 256 else np.uint16
        array = array.astype(small if low >= 0 and high < 65536 else np.float32)
    elif kind == "f":
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite: refused below
            array = array.astype(np.float32, copy=False)
        if not (np.isfinite(array.min()) and np.isfinite(array.max())):
            count = int(array.size - np.isfinite(array).sum())
            raise ImageError(
                f"{name}: {count:,} of {array.size:,} values are NaN or infinite; replace them "
                "first, for example with numpy.nan_to_num, and pass the array"
            )
    elif kind != "u":
        raise ImageError(
            f"{name}: values of type {array.dtype} are not a picture; expected bool, integers or "
            "floats"
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(array)


def to_alpha(band: np.ndarray) -> np.ndarray:
    """(H, W) uint8, uint16 or float in [0, 1] -> uint8."""
    if band.dtype == np.uint16:
        band = (band.astype(np.uint32) + 128) // 257
    elif band.dtype != np.uint8:
        band = np.rint(np.clip(band, 0, 1) * 255)
    return np.ascontiguousarray(band, dtype=np.uint8)


def orient(array: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W) or (H, W, C), turned and mirrored as EXIF orientations 2 to 8 ask for."""
    if orientation not in range(2, 9):
        return np.ascontiguousarray(array)
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def shown_range(pixels: np.ndarray) -> tuple[float, float]:
    """The values that are shown as black and as white."""
    if pixels.dtype != np.float32:
        return 0.0, float(np.iinfo(pixels.dtype).max)
    low, high = float(pixels.min()), float(pixels.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1


def shown_table(pixels: np.ndarray) -> np.ndarray:
    """65536 values uint8: what each uint16 value is shown as; the rule is in ``Image.rgb``."""
    values = np.arange(65536, dtype=np.float64)
    flat = np.ascontiguousarray(pixels).reshape(pixels.shape[0], -1)
    share = np.cumsum(
        cv2.calcHist([flat], [0], None, [65536], [0, 65536]).ravel(), dtype=np.float64
    )
    share /= share[-1]
    low, high = (int(np.searchsorted(share, part)) for part in (0.001, 0.999))
    if low == high:  # all but a few pixels are equal: show what range there is
        low, high = int(flat.min()), int(flat.max())
    if high >= 32768 or low == high:
        low, high = 0, 65535
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def over_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 as it looks on white paper; alpha (H, W) uint8. Rounded to the nearest."""
    out = np.empty_like(pixels)
    for rows in strips(pixels):
        product = (255 - pixels[rows]) * alpha[rows, :, None].astype(np.uint16)
        product += 128
        product += product >> 8  # with the next shift: / 255, exact and rounded, without division
        out[rows] = 255 - (product >> 8)
    return out


def by_strips(
    pixels: np.ndarray,
    dtype: type,
    function: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, ...] | None = None,
) -> np.ndarray:
    """``function`` over a few rows at a time, so that what it allocates stays small."""
    out = np.empty(shape or pixels.shape, dtype)
    for rows in strips(pixels):
        out[rows] = function(pixels[rows])
    return out


def strips(pixels: np.ndarray) -> Iterator[slice]:
    """The rows, in slices of some 2**16 pixels: these and what is made of them fit the cache."""
    rows = max(1, (1 << 16) // pixels.shape[1])
    for top in range(0, pixels.shape[0], rows):
        yield slice(top, top + rows)
