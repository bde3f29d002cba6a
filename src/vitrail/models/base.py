"""What every semantic network has in common: its raw output, its loss and its decoding."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor, nn

from vitrail.losses import SemanticTargets, semantic_loss

_STRIP_VALUES = 1 << 22
"""Upsampled logits held at once while decoding (16 MB): memory stays flat in image size."""


class RawOutput(NamedTuple):
    """What a semantic network returns, in training and in evaluation alike."""

    logits: Tensor
    """``(B, classes, H, W)``, at the input's size, before any softmax."""


class Frame(NamedTuple):
    """Where an image lies in a batch: what was resized, and what is padding."""

    original: tuple[int, int]
    """``(H, W)`` of the image as it was read."""
    resized: tuple[int, int]
    """``(h, w)`` of its part of the batch, from the top left; the rest is padding."""


class SemanticModel(nn.Module):
    """Base of the networks that give every pixel a class; subclasses write ``forward``."""

    classes: int
    """Number of classes, background included."""
    stride: int = 32
    """The input is padded to a multiple of this (px) for full-quality skips."""

    def forward(self, images: Tensor) -> RawOutput:
        """Images ``(B, C, H, W)``, normalised as the card says, to logits of the same size."""
        raise NotImplementedError

    def loss(self, raw: RawOutput, targets: SemanticTargets) -> dict[str, Tensor]:
        """Named terms that sum to the training loss."""
        return semantic_loss(raw.logits, targets)

    def decode(self, raw: RawOutput, frames: list[Frame]) -> list[np.ndarray]:
        """Class of each pixel, ``(H, W)`` uint8 (uint16 above 256 classes), at original size."""
        planes = raw.logits.float().cpu().numpy()
        return [
            labels_at(logits[:, : frame.resized[0], : frame.resized[1]], frame.original)
            for logits, frame in zip(planes, frames, strict=True)
        ]


def labels_at(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Upsample logits bilinearly and take the best class, without the upsampled stack in memory.

    Parameters
    ----------
    logits:
        ``(classes, h, w)`` float32.
    size:
        ``(H, W)`` of the result, in pixels.

    Returns
    -------
    ``(H, W)`` uint8, or uint16 above 256 classes. Equal to arg-max over ``F.interpolate(...,
    mode="bilinear", align_corners=False)``; a tie goes to the lower class id.
    """
    classes, source_height, source_width = logits.shape
    height, width = size
    dtype = np.uint8 if classes <= 256 else np.uint16
    if classes == 1:  # one logit: object where positive
        logits = np.concatenate([np.zeros_like(logits), logits])
        classes = 2
    if (source_height, source_width) == size:
        return _argmax(logits, dtype)
    labels = np.empty(size, dtype)
    # Rows first, by hand, so that a strip needs only the source rows it reads; columns by OpenCV.
    centres = (np.arange(height, dtype=np.float64) + 0.5) * (source_height / height) - 0.5
    centres = centres.clip(0, source_height - 1)
    upper = np.floor(centres).astype(np.intp)
    lower = np.minimum(upper + 1, source_height - 1)
    weight = (centres - upper).astype(np.float32)[None, :, None]
    rows = max(1, _STRIP_VALUES // (classes * width))
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        strip = (
            logits[:, upper[part]] * (1 - weight[:, part])
            + logits[:, lower[part]] * weight[:, part]
        )
        wide = np.stack(
            [
                cv2.resize(plane, (width, plane.shape[0]), interpolation=cv2.INTER_LINEAR)
                for plane in strip
            ]
        )
        labels[part] = _argmax(wide, dtype)
    return labels


def _argmax(planes: np.ndarray, dtype: type) -> np.ndarray:
    """Arg-max over the first axis as running comparisons: several times faster than np.argmax."""
    labels = np.zeros(planes.shape[1:], dtype)
    best = planes[0].copy()
    for index in range(1, len(planes)):
        np.copyto(labels, index, where=planes[index] > best)
        if index + 1 < len(planes):
            np.maximum(best, planes[index], out=best)
    return labels
