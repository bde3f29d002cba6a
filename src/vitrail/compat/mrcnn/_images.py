"""Images and masks at other sizes, and back, as the original does it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import skimage.transform
from scipy import ndimage

from vitrail.errors import DataError, ParameterError
from vitrail.predict import matterport

Window = tuple[int, int, int, int]
"""y1 x1 y2 x2, px: the part of a molded image that is no padding."""

Crop = tuple[int, int, int, int]
"""y, x, height, width, px."""

_MODES = ("none", "square", "pad64", "crop")


def resize(
    image: np.ndarray,
    output_shape: Sequence[int],
    order: int = 1,
    mode: str = "constant",
    cval: int = 0,
    clip: bool = True,
    preserve_range: bool = False,
    anti_aliasing: bool = False,
    anti_aliasing_sigma: float | None = None,
) -> np.ndarray:
    """``skimage.transform.resize`` with the original's defaults: bilinear, 0 beyond the edge."""
    return np.asarray(
        skimage.transform.resize(
            image,
            tuple(output_shape),
            order=order,
            mode=mode,
            cval=cval,
            clip=clip,
            preserve_range=preserve_range,
            anti_aliasing=anti_aliasing,
            anti_aliasing_sigma=anti_aliasing_sigma,
        )
    )


def resize_image(
    image: np.ndarray,
    min_dim: int | None = None,
    max_dim: int | None = None,
    min_scale: float | None = None,
    mode: str = "square",
) -> tuple[np.ndarray, Window, float, list[tuple[int, int]], Crop | None]:
    """Enlarge an image and pad it with zeros, half of them (rounded down) at the top and left.

    Parameters
    ----------
    image:
        ``(H, W, C)``.
    min_dim:
        The short side becomes at least this, px. None or 0: as it is.
    max_dim:
        ``square``: the long side becomes at most this, px, whatever ``min_dim`` says.
    min_scale:
        The image is enlarged by at least this.
    mode:
        ``none``: nothing is done. ``square``: padded to ``max_dim`` on both sides. ``pad64``:
        padded to multiples of 64; ``min_dim`` has to be one. ``crop``: a part of ``min_dim`` on
        both sides, drawn by :mod:`random`.

    Returns
    -------
    The image, of its own type; the window of it that is no padding; the scale; what was added
    before and behind each axis; the part that was cut out in mode ``crop``, otherwise None.

    Raises
    ------
    ParameterError
        an unknown mode, or sizes that it cannot be done with.
    """
    image = np.asarray(image)
    _check(image, min_dim, max_dim, mode)
    least, least_scale, size = min_dim or 0, min_scale or 0.0, (image.shape[0], image.shape[1])
    if mode == "crop":
        scale = max(1.0, least / min(size), least_scale)
        height, width = round(size[0] * scale), round(size[1] * scale)
        y, x = random.randint(0, height - least), random.randint(0, width - least)
        cut = matterport.resize(image, (height, width))[y : y + least, x : x + least]
        return cut, (0, 0, least, least), scale, [(0, 0)] * 3, (y, x, least, least)
    fitted = matterport.fit(
        size,
        least=least,
        most=max_dim or 0,
        least_scale=least_scale,
        mode=mode,  # pyright: ignore[reportArgumentType] - checked
    )
    y1, x1, y2, x2 = fitted.window
    padding = [(y1, fitted.canvas[0] - y2), (x1, fitted.canvas[1] - x2), (0, 0)]
    return matterport.mold(image, fitted), fitted.window, fitted.scale, padding, None


def _check(image: np.ndarray, min_dim: int | None, max_dim: int | None, mode: str) -> None:
    if mode not in _MODES:
        raise ParameterError(f"mode={mode!r}: expected {', '.join(map(repr, _MODES))}")
    if image.ndim != 3 or 0 in image.shape:
        raise ParameterError(f"image has shape {image.shape}, expected (H, W, C)")
    if mode == "square" and not max_dim:
        raise ParameterError("mode='square' needs max_dim, the side of the square in px")
    if mode == "pad64" and min_dim and min_dim % 64:
        raise ParameterError(f"mode='pad64': min_dim={min_dim}, expected a multiple of 64")
    if mode == "crop" and not min_dim:
        raise ParameterError("mode='crop' needs min_dim, the side of the part in px")


def resize_mask(
    mask: np.ndarray,
    scale: float,
    padding: Sequence[tuple[int, int]],
    crop: Crop | None = None,
) -> np.ndarray:
    """What :func:`resize_image` did to an image, done to its masks ``(H, W, N)``; nearest pixel."""
    zoomed = np.asarray(ndimage.zoom(mask, zoom=(scale, scale, 1), order=0))
    if crop is None:
        return np.pad(zoomed, padding)
    y, x, height, width = crop
    return zoomed[y : y + height, x : x + width]


def minimize_mask(bbox: np.ndarray, mask: np.ndarray, mini_shape: Sequence[int]) -> np.ndarray:
    """Each mask cut out at its box and shrunk, to save memory.

    Parameters
    ----------
    bbox:
        ``(N, 4)`` y1 x1 y2 x2, px.
    mask:
        ``(H, W, N)``.
    mini_shape:
        ``(h, w)`` of the small masks.

    Returns
    -------
    ``(h, w, N)`` bool; :func:`expand_mask` goes back, and loses detail.

    Raises
    ------
    DataError
        a box without area.
    """
    mini = np.zeros((*mini_shape, mask.shape[-1]), bool)
    for number, (y1, x1, y2, x2) in enumerate(np.asarray(bbox)[:, :4].tolist()):
        part = mask[y1:y2, x1:x2, number]
        if part.size == 0:
            raise DataError(f"object {number} has the box {y1} {x1} {y2} {x2}, without any area")
        mini[..., number] = np.around(_fitted((part != 0).astype(float), mini_shape))
    return mini


def expand_mask(bbox: np.ndarray, mini_mask: np.ndarray, image_shape: Sequence[int]) -> np.ndarray:
    """Small masks at their boxes in a frame ``(H, W, ...)`` again: ``(H, W, N)`` bool."""
    mask = np.zeros((*image_shape[:2], mini_mask.shape[-1]), bool)
    for number, (y1, x1, y2, x2) in enumerate(np.asarray(bbox)[:, :4].tolist()):
        small = mini_mask[..., number].astype(float)
        mask[y1:y2, x1:x2, number] = np.around(_fitted(small, (y2 - y1, x2 - x1)))
    return mask


def unmold_mask(mask: np.ndarray, bbox: np.ndarray, image_shape: Sequence[int]) -> np.ndarray:
    """The network's mask of an object in the frame of its image.

    Parameters
    ----------
    mask:
        ``(h, w)`` probabilities, such as 28 x 28.
    bbox:
        y1 x1 y2 x2 in px of the image, with an area.
    image_shape:
        ``(H, W, ...)`` of the image.

    Returns
    -------
    ``(H, W)`` bool, True from a probability of 0.5 on.
    """
    y1, x1, y2, x2 = (int(edge) for edge in bbox)
    full = np.zeros(tuple(image_shape[:2]), bool)
    full[y1:y2, x1:x2] = _fitted(mask, (y2 - y1, x2 - x1)) >= 0.5
    return full


def _fitted(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """:func:`resize` of floats, faster."""
    return matterport.resize(values, (int(shape[0]), int(shape[1])))
