"""From pictures of any size to one batch, remembering where each picture lies in it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import PIL.Image
import torch
from torch import Tensor

from vitrail.models.base import Frame
from vitrail.weights.card import LONGEST, Preprocessing


def fit_size(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """``(h, w)`` that a picture of ``(H, W)`` is resized to; each at least 1 px.

    ``short-side`` rounds the long side down, as torchvision's ``resize`` does.
    """
    side = preprocessing.image_size
    if preprocessing.resize == "stretch":
        return side, side
    long, short = max(size), min(size)
    if preprocessing.resize == "short-side" and long <= LONGEST * short:
        return side * size[0] // short, side * size[1] // short
    factor = (side if preprocessing.resize == "long-side" else LONGEST * side) / long
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def padded_size(
    size: tuple[int, int], preprocessing: Preprocessing, stride: int
) -> tuple[int, int]:
    """``(h, w)`` of the input for what was resized to ``size``."""
    if not preprocessing.pad:
        return size
    return -(-size[0] // stride) * stride, -(-size[1] // stride) * stride


def to_batch(
    pictures: Sequence[np.ndarray], preprocessing: Preprocessing, *, stride: int
) -> tuple[Tensor, list[Frame]]:
    """Resize, pad at the right and bottom with black, and normalise.

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
    frames = [
        Frame(picture.shape[:2], fit_size(picture.shape[:2], preprocessing)) for picture in pictures
    ]
    largest = (max(frame.resized[0] for frame in frames), max(frame.resized[1] for frame in frames))
    height, width = padded_size(largest, preprocessing, stride)
    channels = len(preprocessing.mean)
    canvas = np.zeros((len(pictures), height, width, channels), np.uint8)
    for picture, frame, place in zip(pictures, frames, canvas, strict=True):
        h, w = frame.resized
        place[:h, :w] = _resized(picture, (h, w), preprocessing).reshape(h, w, channels)
    # A byte has 256 values: looking up what each becomes is one pass instead of three.
    every_byte = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1)
    table = normalise(every_byte.expand(-1, channels, 1, 1).contiguous(), preprocessing).numpy()
    rows = canvas.reshape(len(pictures) * height, width, channels)
    batch = cv2.LUT(rows, table.reshape(256, 1, channels)).reshape(canvas.shape)
    return torch.from_numpy(batch).permute(0, 3, 1, 2), frames


def _resized(
    picture: np.ndarray, size: tuple[int, int], preprocessing: Preprocessing
) -> np.ndarray:
    """A picture ``(H, W, C)`` uint8 at ``size``; one band may come back as ``(h, w)``."""
    if picture.shape[:2] == size:
        return picture
    (height, width), (h, w) = picture.shape[:2], size
    if preprocessing.interpolation == "antialias":
        # Pillow knows pictures of one and of three bands.
        parts = [picture] if picture.shape[2] == 3 else np.moveaxis(picture, 2, 0)
        bands = [PIL.Image.fromarray(np.ascontiguousarray(part)) for part in parts]
        fitted = [band.resize((w, h), PIL.Image.Resampling.BILINEAR) for band in bands]
        return np.dstack([np.asarray(band) for band in fitted])
    if (h < height) == (w < width):
        # Area averaging is free of aliasing when shrinking; it does not interpolate when growing.
        mode = cv2.INTER_AREA if h * w < height * width else cv2.INTER_LINEAR
        return cv2.resize(picture, (w, h), interpolation=mode)
    # One side shrinks and the other does not: each its own way, the shrinking one first.
    between = (w, height) if w < width else (width, h)
    averaged = cv2.resize(picture, between, interpolation=cv2.INTER_AREA)
    return cv2.resize(averaged, (w, h), interpolation=cv2.INTER_LINEAR)


def normalise(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """``(x / 255 - mean) / std`` of ``(B, C, h, w)`` uint8, as float32 in the same memory order."""
    mean = torch.tensor(preprocessing.mean, device=pixels.device).view(-1, 1, 1)
    std = torch.tensor(preprocessing.std, device=pixels.device).view(-1, 1, 1)
    return pixels.float().mul_(1 / (255 * std)).sub_(mean / std)
