"""From pictures of any size to one batch, remembering where each picture lies in it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from vitrail.models.base import Frame
from vitrail.weights.card import Preprocessing


def fit_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """``(H, W)`` scaled so that the longer is ``long_side``; the shorter is at least 1 px."""
    factor = long_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def to_batch(
    pictures: Sequence[np.ndarray], preprocessing: Preprocessing, *, stride: int
) -> tuple[Tensor, list[Frame]]:
    """Resize, pad at the right and bottom with black, and normalise.

    Parameters
    ----------
    pictures:
        ``(H, W, C)`` uint8 each, sizes may differ.
    preprocessing:
        The card's; ``image_size`` is the long side after resizing.
    stride:
        The batch's height and width are multiples of this.

    Returns
    -------
    ``(B, C, h, w)`` float32 in channels-last memory, and each picture's frame.
    """
    frames = [
        Frame(picture.shape[:2], fit_size(picture.shape[:2], preprocessing.image_size))
        for picture in pictures
    ]
    height, width = (
        -(-max(frame.resized[axis] for frame in frames) // stride) * stride for axis in (0, 1)
    )
    channels = len(preprocessing.mean)
    canvas = np.zeros((len(pictures), height, width, channels), np.uint8)
    for picture, frame, place in zip(pictures, frames, canvas, strict=True):
        (h, w), (original_h, original_w) = frame.resized, frame.original
        # Area averaging is free of aliasing when shrinking; it does not interpolate when growing.
        shrinks = h * w < original_h * original_w
        mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized = cv2.resize(picture, (w, h), interpolation=mode)
        place[:h, :w] = resized.reshape(h, w, channels)
    # A byte has 256 values: looking up what each becomes is one pass instead of three.
    every_byte = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1)
    table = normalise(every_byte.expand(-1, channels, 1, 1).contiguous(), preprocessing).numpy()
    rows = canvas.reshape(len(pictures) * height, width, channels)
    batch = cv2.LUT(rows, table.reshape(256, 1, channels)).reshape(canvas.shape)
    return torch.from_numpy(batch).permute(0, 3, 1, 2), frames


def normalise(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """``(x / 255 - mean) / std`` of ``(B, C, h, w)`` uint8, as float32 in the same memory order."""
    mean = torch.tensor(preprocessing.mean, device=pixels.device).view(-1, 1, 1)
    std = torch.tensor(preprocessing.std, device=pixels.device).view(-1, 1, 1)
    return pixels.float().mul_(1 / (255 * std)).sub_(mean / std)
