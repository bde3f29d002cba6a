"""What every semantic network has in common: its raw output, its loss and its decoding."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from vitrail.losses import SemanticTargets, WeightedLoss, build_loss

_STRIP_VALUES = 1 << 22
"""Upsampled logits held at once while decoding (16 MB): memory stays flat in image size."""


class RawOutput(NamedTuple):
    """What a semantic network returns, in training and in evaluation alike."""

    logits: Tensor
    """``(B, classes, H, W)``, at the input's size, before any softmax; with one channel for two
    classes, before the sigmoid of the second."""
    auxiliary: tuple[Tensor, ...] = ()
    """Logits of auxiliary heads, each shaped as ``logits``; none in evaluation mode, where
    nothing would read them."""
    presence: Tensor | None = None
    """``(B, classes)``, before the sigmoid: whether a class occurs in the image at all; in
    training mode, where the network says so."""
    boundary: Tensor | None = None
    """``(B, 1, H, W)``, before the sigmoid: whether a pixel lies on the boundary of two classes;
    in both modes, where the network says so."""

    def of(self, index: int) -> RawOutput:
        """What belongs to one image of the batch, as a batch of one."""
        one = slice(index, index + 1)
        return RawOutput(
            self.logits[one],
            tuple(logits[one] for logits in self.auxiliary),
            None if self.presence is None else self.presence[one],
            None if self.boundary is None else self.boundary[one],
        )


class Frame(NamedTuple):
    """Where an image lies in a batch: what was resized, and what is padding."""

    original: tuple[int, int]
    """``(H, W)`` of the image as it was read."""
    resized: tuple[int, int]
    """``(h, w)`` of its part of the batch; the rest is padding."""
    corner: tuple[int, int] = (0, 0)
    """``(y, x)`` of that part's first pixel; other than the top left only where the preprocessing
    centres the picture, as matterport's does."""

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of that part."""
        (y, x), (h, w) = self.corner, self.resized
        return slice(y, y + h), slice(x, x + w)


class SemanticModel(nn.Module):
    """Base of the networks that give every pixel a class; subclasses write ``forward``."""

    classes: int
    """Number of classes, background included."""
    channels: int
    """Of the logits: one for each class, or a single one for two classes (sigmoid)."""
    stride: int = 32
    """The input is padded to a multiple of this (px) for full-quality skips."""
    criterion: WeightedLoss = build_loss("ce + dice")
    """What :meth:`loss` is made of."""
    auxiliary_weight: float = 0.4
    """Weight of each auxiliary head's loss (Zhao et al., arXiv:1612.01105, section 3.3)."""

    def forward(self, images: Tensor) -> RawOutput:
        """Images ``(B, C, H, W)``, normalised as the card says, to logits of the same size."""
        raise NotImplementedError

    def loss(self, raw: RawOutput, targets: SemanticTargets) -> dict[str, Tensor]:
        """Named terms that sum to the training loss."""
        terms = self.criterion(raw.logits, targets)
        for logits in raw.auxiliary:
            for name, term in self.criterion(logits, targets).items():
                name = f"auxiliary_{name}"
                terms[name] = terms.get(name, 0) + self.auxiliary_weight * term
        return terms

    def decode(self, raw: RawOutput, frames: list[Frame]) -> list[np.ndarray]:
        """Class of each pixel, ``(H, W)`` uint8 (uint16 above 256 classes), at original size."""
        planes = raw.logits.float().cpu().numpy()
        return [
            labels_at(logits[:, *frame.window], frame.original)
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
    # Read class by class: many times slower where the classes of a pixel lie together.
    logits = np.ascontiguousarray(logits)
    classes, source_height, source_width = logits.shape
    height, width = size
    dtype = np.uint8 if classes <= 256 else np.uint16
    if classes == 1:  # object where positive
        logits, classes = two_planes(logits), 2
    best = _argmax(logits, dtype)
    if (source_height, source_width) == size:
        return best
    # Where the four neighbours of a point agree on a class, so does every mean of them: only the
    # seams between classes have to be interpolated.
    upper, lower, down = _neighbours(height, source_height)
    left, right, across = _neighbours(width, source_width)
    seam = np.zeros(best.shape, bool)
    seam[:-1] |= best[:-1] != best[1:]
    seam[:, :-1] |= best[:, :-1] != best[:, 1:]
    seam[:-1, :-1] |= seam[1:, :-1] | seam[:-1, 1:]
    labels = best[upper].take(left, axis=1)
    flat = logits.reshape(classes, -1)
    rows = max(1, _STRIP_VALUES // (4 * classes * width))
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        # A flat search and a division are faster than np.nonzero, which fills two arrays.
        y, x = np.divmod(np.flatnonzero(seam[upper[part]].take(left, axis=1)), width)
        y += top
        above, below, beside = upper[y] * source_width, lower[y] * source_width, across[x]
        top_row = _between(flat, above + left[x], above + right[x], beside)
        bottom_row = _between(flat, below + left[x], below + right[x], beside)
        labels[y, x] = _argmax(top_row + (bottom_row - top_row) * down[y], dtype)
    return labels


def two_planes(logits: np.ndarray) -> np.ndarray:
    """One logit for two classes, ``(1, h, w)``, as one for each, ``(2, h, w)``: the softmax of
    these is the sigmoid of that. Others are returned as they are."""
    return logits if len(logits) > 1 else np.concatenate([np.zeros_like(logits), logits])


def _neighbours(length: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of ``length`` points along an axis of ``source`` values: the value before it, the
    one behind it, and how far it lies between them (float32, 0..1)."""
    centres = (np.arange(length, dtype=np.float64) + 0.5) * (source / length) - 0.5
    centres = centres.clip(0, source - 1)
    before = np.floor(centres).astype(np.intp)
    after = np.minimum(before + 1, source - 1)
    return before, after, (centres - before).astype(np.float32)


def _between(flat: np.ndarray, one: np.ndarray, two: np.ndarray, share: np.ndarray) -> np.ndarray:
    """``(classes, n)``: ``share`` of the way from the columns ``one`` to the columns ``two``."""
    first = flat.take(one, axis=1)
    return first + (flat.take(two, axis=1) - first) * share


def _argmax(planes: np.ndarray, dtype: type) -> np.ndarray:
    """Arg-max over the first axis as running comparisons: several times faster than np.argmax."""
    labels = np.zeros(planes.shape[1:], dtype)
    best = planes[0].copy()
    for index in range(1, len(planes)):
        np.copyto(labels, index, where=planes[index] > best)
        if index + 1 < len(planes):
            np.maximum(best, planes[index], out=best)
    return labels
