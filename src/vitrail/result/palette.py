"""Colours for any number of classes: apart from each other for colour-blind readers too."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

# Okabe and Ito's eight colours for every kind of colour vision (https://jfly.uni-koeln.de/color/),
# without black, which is no colour on a photo; ordered so that the first few differ most.
_FIRST = (
    (230, 159, 0),
    (0, 114, 178),
    (0, 158, 115),
    (86, 180, 233),
    (213, 94, 0),
    (204, 121, 167),
    (240, 228, 66),
)

# What a reader without the long (protan) or middle (deutan) wavelength cones sees, on linear RGB:
# Machado, Oliveira and Fernandes 2009, doi:10.1109/TVCG.2009.113, table 1 at severity 1.0.
_VISIONS = np.array(
    [
        np.eye(3),
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
    ],
    np.float32,
)


def palette(count: int) -> np.ndarray:
    """``count`` distinct colours, (count, 3) uint8 RGB; the first k are those of ``palette(k)``.

    The first seven are Okabe and Ito's. Each further one is the colour farthest, in CIELAB and in
    the worst of three kinds of colour vision, from all before it. After 512 they repeat.
    """
    length = 32
    while length < min(count, 512):
        length *= 2
    return np.resize(_farthest(length), (count, 3))


def visions(colours: np.ndarray) -> np.ndarray:
    """(K, 3) uint8 RGB -> (3, K, 3) CIELAB, as normal, protan and deutan readers see them."""
    srgb = colours.astype(np.float32) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.einsum("vij,kj->vki", _VISIONS, linear), 0, 1).astype(np.float32)
    return cv2.cvtColor(seen, cv2.COLOR_LRGB2Lab)


def vary(colour: np.ndarray, step: int) -> np.ndarray:
    """A neighbour of a colour, for the ``step``-th object of one class; step 0 is the colour."""
    # Three turns of hue by five of lightness, in an order that keeps consecutive ones apart.
    turn, shift = ((0, 5, -5)[step % 3], (0, -42, 30, -22, 48)[step % 5])
    hue, light, saturation = (int(v) for v in cv2.cvtColor(_pixel(colour), cv2.COLOR_RGB2HLS)[0, 0])
    varied = ((hue + turn) % 180, int(np.clip(light + shift, 50, 215)), saturation)
    return cv2.cvtColor(_pixel(np.array(varied, np.uint8)), cv2.COLOR_HLS2RGB)[0, 0]


def luminance(colour: np.ndarray) -> float:
    """Relative luminance of an sRGB colour, 0 (black) to 1 (white), as WCAG 2 defines it."""
    srgb = np.asarray(colour, float) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG 2 contrast ratio of two colours, 1 (equal) to 21 (black on white)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ink_on(ground: np.ndarray) -> np.ndarray:
    """Black or white, whichever reads better on a ground, (3,) uint8; contrast at least 4.5."""
    inks = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    return max(inks, key=lambda ink: contrast(ink, ground))


def light_and_dark(colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A light and a dark shade of a colour: one of the two shows on any ground."""
    colour = np.asarray(colour, float)
    return (
        np.rint(255 - (255 - colour) * 0.5).astype(np.uint8),
        np.rint(colour * 0.15).astype(np.uint8),
    )


@lru_cache(maxsize=8)
def _farthest(length: int) -> np.ndarray:
    """Okabe and Ito's colours, then a greedy farthest-point sampling of saturated RGB."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    light, green, blue = visions(grid)[0].T
    # Neither so dark nor so light nor so grey that a tint of it would pass for the photo's own.
    grid = grid[(light > 38) & (light < 90) & (np.hypot(green, blue) > 32)]
    seen = visions(grid)
    chosen = [np.array(colour, np.uint8) for colour in _FIRST]
    distance = np.full(len(grid), np.inf)
    for number in range(length):
        if number == len(chosen):
            chosen.append(grid[int(distance.argmax())])
        last = visions(chosen[number][None])
        distance = np.minimum(distance, np.linalg.norm(seen - last, axis=2).min(axis=0))
    return np.array(chosen[:length])


def _pixel(colour: np.ndarray) -> np.ndarray:
    return np.asarray(colour, np.uint8).reshape(1, 1, 3)
