"""What matterport's Mask R-CNN does to a picture before its network sees it, to the last bit.

Its numbers can only be reproduced with its own resizing (``utils.resize_image`` of
https://github.com/matterport/Mask_RCNN, MIT, commit 3deaec5): linear between half-pixel centres,
black beyond the edges, no smoothing when shrinking, and fractions cut off rather than rounded. It
is scikit-image's ``resize(order=1, mode="constant", anti_aliasing=False)``, whose order of
operations :func:`resize` keeps, in about a sixth of its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from vitrail.errors import ParameterError
from vitrail.models.base import Frame

STEP = 64
"""Of the sides of the input, px: the coarsest level of the pyramid has this stride."""

MEAN_PIXEL = (123.7, 116.8, 103.9)
"""RGB in 0..255, subtracted after padding: padding is not 0 in the network's input."""


class Fit(NamedTuple):
    """Where and how large a picture lies in the network's input."""

    scale: float
    """What both sides were multiplied by, before rounding."""
    resized: tuple[int, int]
    """``(h, w)`` of the picture in the input, px."""
    corner: tuple[int, int]
    """``(y, x)`` of its first pixel there."""
    canvas: tuple[int, int]
    """``(H, W)`` of the input."""

    @property
    def window(self) -> tuple[int, int, int, int]:
        """y1, x1, y2, x2 of the picture in the input, y2 and x2 exclusive."""
        (y, x), (h, w) = self.corner, self.resized
        return y, x, y + h, x + w


def fit(
    size: tuple[int, int],
    *,
    least: int = 800,
    most: int = 1024,
    least_scale: float = 0.0,
    mode: Literal["square", "pad64", "none"] = "square",
) -> Fit:
    """How matterport lays a picture into the input.

    Parameters
    ----------
    size
        ``(H, W)`` of the picture, px.
    least
        the short side becomes at least this many px (``IMAGE_MIN_DIM``); 0: no such rule.
        Pictures are never shrunk for it.
    most
        and the long side at most this many (``IMAGE_MAX_DIM``), which is then the side of the
        input; in mode ``square`` alone.
    least_scale
        pictures are enlarged at least so much (``IMAGE_MIN_SCALE``).
    mode
        ``square``: zeros to a square of ``most``; ``pad64``: to multiples of :data:`STEP`;
        ``none``: nothing is done (``IMAGE_RESIZE_MODE``).

    Raises
    ------
    ParameterError
        ``pad64`` with a ``least`` that is no multiple of :data:`STEP`, as the original demands.
    """
    height, width = size
    if mode == "none":
        return Fit(1.0, size, (0, 0), size)
    if mode == "pad64" and least % STEP:
        raise ParameterError(f"least={least}: mode pad64 wants a multiple of {STEP}")
    scale = max(1.0, least / min(size), least_scale)
    if mode == "square" and round(max(size) * scale) > most:
        scale = most / max(size)
    resized = (max(1, round(height * scale)), max(1, round(width * scale)))
    canvas = (most, most) if mode == "square" else (_ceil(resized[0]), _ceil(resized[1]))
    corner = ((canvas[0] - resized[0]) // 2, (canvas[1] - resized[1]) // 2)
    return Fit(scale, resized, corner, canvas)


def mold(picture: np.ndarray, fitted: Fit) -> np.ndarray:
    """The picture resized and laid into zeros: ``(H, W, C)`` to ``(*canvas, C)``, uint8 both."""
    canvas = np.zeros((*fitted.canvas, *picture.shape[2:]), picture.dtype)
    y1, x1, y2, x2 = fitted.window
    canvas[y1:y2, x1:x2] = resize(picture, fitted.resized)
    return canvas


def frame(size: tuple[int, int], fitted: Fit) -> Frame:
    """Where the picture lies, in the words of the networks."""
    return Frame(size, fitted.resized, fitted.corner)


def image_meta(
    size: tuple[int, int], fitted: Fit, active: Sequence[int], image_id: int = 0
) -> np.ndarray:
    """matterport's vector of an image: id, original shape, input's shape, window, scale and
    whether each class (background included) belongs to its data set; ``(12 + classes,)``
    float64, as ``compose_image_meta`` makes it."""
    shapes = [*size, 3, *fitted.canvas, 3]
    return np.array([image_id, *shapes, *fitted.window, fitted.scale, *active])


def resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Linear interpolation between half-pixel centres, with zeros beyond the edges.

    Parameters
    ----------
    values
        ``(H, W)`` or ``(H, W, C)``, uint8 or float32.
    size
        ``(h, w)`` of the result, px.

    Returns
    -------
    In the type and within the range of ``values``: the edges of the result, which the zeros
    darken, are not darker than its darkest value. Integers are cut off, not rounded. With
    ``values`` at ``size`` already it is ``values`` itself.
    """
    if values.shape[:2] == tuple(size):
        return values
    (top, down), (left, across) = (
        _centres(length, source) for length, source in zip(size, values.shape, strict=False)
    )
    wider = np.pad(values, ((1, 1), (1, 1)) + ((0, 0),) * (values.ndim - 2))
    # Columns are picked before anything is multiplied: the order of the products is scipy's.
    one, two = wider.take(left + 1, axis=1), wider.take(left + 2, axis=1)
    weights = across.reshape(-1, *(1,) * (values.ndim - 2))
    weights = np.broadcast_to(weights, one.shape[1:]).copy()
    others = 1.0 - weights
    result = np.empty((size[0], *one.shape[1:]), values.dtype)
    low, high = float(values.min()), float(values.max())
    total, term = np.empty(one.shape[1:]), np.empty(one.shape[1:])
    for row, (above, share) in enumerate(zip(top + 1, down, strict=True)):
        np.multiply(one[above], 1.0 - share, out=total)
        total *= others
        for column, across_share, down_share in (
            (two[above], weights, 1.0 - share),
            (one[above + 1], others, share),
            (two[above + 1], weights, share),
        ):
            np.multiply(column, down_share, out=term)
            term *= across_share
            total += term
        result[row] = total.clip(low, high, out=total)
    return result


def _centres(length: int, source: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of ``length`` points along an axis of ``source`` values: the value before it (-1:
    the zero before the first), and how far behind that it lies, 0..1."""
    # float64 and in this order, or points that fall on values would miss them by a rounding.
    centres = (np.arange(length, dtype=np.float64) + 0.5) * (source / length) - 0.5
    before = np.floor(centres).astype(np.intp)
    return before, centres - before


def _ceil(side: int) -> int:
    return -(-side // STEP) * STEP
