"""From pictures of any size to one batch, remembering where each picture lies in it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from vitrail.models.base import Frame
from vitrail.predict import matterport
from vitrail.predict.resize import resized
from vitrail.weights.card import LONGEST, Preprocessing


def fit_size(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """``(h, w)`` that a picture of ``(H, W)`` is resized to; each at least 1 px.

    ``short-side`` without ``max_side`` rounds the long side down, as torchvision's ``resize`` does.
    """
    side = preprocessing.image_size
    if preprocessing.resize == "stretch":
        return side, side
    if preprocessing.resize == "square":
        return matterport.fit(size, least=preprocessing.min_side or 0, most=side).resized
    long, short = max(size), min(size)
    if preprocessing.resize == "short-side":
        if preprocessing.max_side is not None:
            return _fit_between(size, side, preprocessing.max_side, preprocessing.rounding)
        if long <= LONGEST * short:
            return side * size[0] // short, side * size[1] // short
    factor = (side if preprocessing.resize == "long-side" else LONGEST * side) / long
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _fit_between(size: tuple[int, int], side: int, most: int, rounding: str) -> tuple[int, int]:
    """A short side of ``side`` unless the long one would exceed ``most``.

    ``down`` is torchvision's ``GeneralizedRCNNTransform``, ``nearest`` detectron2's
    ``ResizeShortestEdge``, in their order of operations.
    """
    if rounding == "down":
        scale = min(side / min(size), most / max(size))
        return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
    scale = side / min(size)
    h, w = (side, scale * size[1]) if size[0] < size[1] else (scale * size[0], side)
    if max(h, w) > most:
        shrink = most / max(h, w)
        h, w = h * shrink, w * shrink
    return max(1, int(h + 0.5)), max(1, int(w + 0.5))


def padded_size(
    size: tuple[int, int], preprocessing: Preprocessing, stride: int
) -> tuple[int, int]:
    """``(h, w)`` of the input for what was resized to ``size``."""
    if preprocessing.resize == "square":
        return preprocessing.image_size, preprocessing.image_size
    if not preprocessing.pad:
        return size
    return -(-size[0] // stride) * stride, -(-size[1] // stride) * stride


def frame_of(size: tuple[int, int], preprocessing: Preprocessing) -> Frame:
    """Where a picture of ``(H, W)`` comes to lie: at the top left; in a square, in its middle."""
    if preprocessing.resize != "square":
        return Frame(size, fit_size(size, preprocessing))
    side, least = preprocessing.image_size, preprocessing.min_side or 0
    return matterport.frame(size, matterport.fit(size, least=least, most=side))


def to_batch(
    pictures: Sequence[np.ndarray], preprocessing: Preprocessing, *, stride: int
) -> tuple[Tensor, list[Frame]]:
    """Resize, normalise, and pad with black or, where the card says so, with the mean colour.

    Parameters
    ----------
    pictures:
        ``(H, W, C)`` uint8 each, sizes may differ.
    preprocessing:
        The card's.
    stride:
        The batch's height and width are multiples of this, where the card wants padding.

    Returns
    -------
    ``(B, C, h, w)`` float32 in channels-last memory, and each picture's frame.
    """
    frames = [frame_of(picture.shape[:2], preprocessing) for picture in pictures]
    largest = (max(frame.resized[0] for frame in frames), max(frame.resized[1] for frame in frames))
    height, width = padded_size(largest, preprocessing, stride)
    channels = len(preprocessing.mean)
    # A byte has 256 values: looking up what each becomes is one pass instead of three.
    every_byte = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1)
    table = normalise(every_byte.expand(-1, channels, 1, 1).contiguous(), preprocessing).numpy()
    table = table.reshape(256, 1, channels)
    batch = np.empty((len(pictures), height, width, channels), np.float32)
    margin = table[0, 0] if preprocessing.pad_value == "black" else np.float32(0)
    for picture, frame, place in zip(pictures, frames, batch, strict=True):
        (h, w), (top, left) = frame.resized, frame.corner
        fitted = resized(picture, (h, w), preprocessing.interpolation)
        if (h, w) != (height, width):
            place[:] = margin
        if fitted.dtype == np.uint8:
            place[top : top + h, left : left + w] = cv2.LUT(fitted, table).reshape(fitted.shape)
        else:
            pixels = torch.from_numpy(fitted).permute(2, 0, 1)
            place[top : top + h, left : left + w] = normalise(pixels, preprocessing).permute(
                1, 2, 0
            )
    return torch.from_numpy(batch).permute(0, 3, 1, 2), frames


def normalise(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """``(x / 255 - mean) / std`` of ``(..., C, h, w)`` values 0 to 255, as float32 in the same
    memory order; in place where they are float32 already."""
    mean = torch.tensor(preprocessing.mean, device=pixels.device).view(-1, 1, 1)
    std = torch.tensor(preprocessing.std, device=pixels.device).view(-1, 1, 1)
    return pixels.float().mul_(1 / (255 * std)).sub_(mean / std)
