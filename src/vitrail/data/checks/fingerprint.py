"""64 bits that stay (nearly) equal when an image is resized, compressed or brightened.

The perceptual hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions"
(2010), section 3.2.1: the signs of the 8 x 8 lowest cosine frequencies of a 32 x 32 grey picture,
relative to their median. The hash of the mirrored picture comes free with it, as mirroring turns
the signs of the odd horizontal frequencies.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

_SIDE, _KEPT = 32, 8
FLAT = 0.6
"""Grey levels (of 255) of standard deviation below which a picture has no fingerprint: what is
left is noise, and two such pictures would be alike for no reason."""
_MIRROR = np.where(np.arange(_KEPT) % 2, -1, 1).astype(np.float32)
DETAIL = 64
"""px, side of the picture by which two images are compared after their hashes are."""


class Fingerprint(NamedTuple):
    """Two 64-bit hashes."""

    plain: int
    mirrored: int
    """Of the picture with left and right exchanged."""


def fingerprint(grey: np.ndarray) -> Fingerprint | None:
    """From ``(h, w)`` grey of any real type; None where the picture is flat."""
    small = _shrunk(grey, _SIDE)
    if float(small.std()) < FLAT:
        return None
    low = cv2.dct(small)[:_KEPT, :_KEPT]
    return Fingerprint(_signs(low), _signs(low * _MIRROR))


def _shrunk(grey: np.ndarray, side: int) -> np.ndarray:
    """``(side, side)`` float32; 16 bits, of which cameras use 10 to 16, are brought to 0..255."""
    small = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    if grey.dtype != np.uint8:
        small *= 255 / max(float(small.max()), 1.0)
    return small


def _signs(low: np.ndarray) -> int:
    values = low.ravel()
    # The first value is the mean brightness: it takes no part in the median.
    return int.from_bytes(np.packbits(values > np.median(values[1:])).tobytes())


def details(grey: np.ndarray) -> np.ndarray:
    """What two images are compared by: (64, 64) float32 of unit norm, local contrast evened out.

    Large shapes that all pictures of a set share (the rim of a fundus photograph, the dashboard of
    a car) would otherwise outweigh what tells them apart. 0 everywhere for a flat picture.
    """
    small = _shrunk(grey, DETAIL)
    small -= cv2.GaussianBlur(small, (0, 0), 3)
    # 3 grey levels: noise below that must not be blown up to the size of edges.
    small /= np.sqrt(cv2.GaussianBlur(small * small, (0, 0), 3)) + 3
    small -= small.mean()
    norm = float(np.linalg.norm(small))
    return small / norm if norm > 1e-3 else np.zeros_like(small)
