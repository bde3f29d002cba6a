"""Small masks enlarged to the size of their objects, one at a time and only inside their boxes.

Three rules, which differ by up to a pixel along the outline: detectron2's
``paste_masks_in_image``, torchvision's ``roi_heads.paste_masks_in_image`` and matterport's
``utils.unmold_mask``. In each the small mask is 0 outside and interpolated bilinearly; they differ
in where it lies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

_STRIP_VALUES = 1 << 22
"""Interpolated values held at once (16 MB)."""

Rule = Literal["edges", "padded", "resize"]


class Span(NamedTuple):
    """Where a row or column of a small mask lies along an axis of the image."""

    start: float
    """Position of its beginning, px."""
    step: float
    """Px from one of its values to the next; 0: it has no extent."""
    first: int
    """First px of the image that it can reach."""
    end: int
    """Behind the last of those."""

    def weights(self, values: int) -> np.ndarray:
        """``(end - first, values)`` float32: what each px takes of each value."""
        centres = (np.arange(self.first, self.end) + 0.5 - self.start) / self.step - 0.5
        distances = np.abs(centres[:, None] - np.arange(values))
        return np.maximum(1 - distances, 0).astype(np.float32)


def enlarge_masks(
    masks: np.ndarray,
    boxes: np.ndarray,
    size: tuple[int, int],
    *,
    rule: Rule,
    threshold: float,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Each mask at the size of its box, as :meth:`vitrail.result.Masks.from_crops` takes it.

    Parameters
    ----------
    masks:
        ``(N, s, s)`` float32 probabilities.
    boxes:
        ``(N, 4)`` float32 x1 y1 x2 y2, px of the image.
    size:
        ``(H, W)`` of the image.
    rule:
        Where the small mask lies; ``edges``: its edges are the box's. ``padded``: a border of 0 is
        put around it and around the box in proportion, whose corners then lose their fraction.
        ``resize``: its edges are those of the box, which is whole; it does not darken where all
        of it is lit.
    threshold:
        Probability from which a pixel belongs to the object.

    Yields
    ------
    ``(y0, x0, crop)``: where the crop's corner lies, and ``(h, w)`` bool.
    """
    height, width = size
    for mask, box in zip(masks, boxes.astype(np.float32), strict=True):
        across = _span(box[0], box[2], len(mask), width, rule)
        down = _span(box[1], box[3], len(mask), height, rule)
        if across.end <= across.first or down.end <= down.first:
            yield 0, 0, np.zeros((0, 0), bool)
            continue
        least = mask.min() if rule == "resize" else 0.0
        if least >= threshold:
            filled = np.ones((down.end - down.first, across.end - across.first), bool)
            yield down.first, across.first, filled
            continue
        columns = mask @ across.weights(len(mask)).T
        yield down.first, across.first, _rows(down.weights(len(mask)), columns, threshold)


def _rows(weights: np.ndarray, columns: np.ndarray, threshold: float) -> np.ndarray:
    """``weights @ columns >= threshold`` without the product of a large object in memory."""
    crop = np.empty((len(weights), columns.shape[1]), bool)
    rows = max(1, _STRIP_VALUES // columns.shape[1])
    for top in range(0, len(weights), rows):
        part = slice(top, top + rows)
        np.greater_equal(weights[part] @ columns, threshold, out=crop[part])
    return crop


def _span(low: np.float32, high: np.float32, values: int, limit: int, rule: Rule) -> Span:
    if rule == "padded":
        # In float32, as torchvision computes it: the fraction is cut off behind.
        half = (high - low) * np.float32(0.5) * np.float32((values + 2) / values)
        centre = (high + low) * np.float32(0.5)
        begin, end = int(centre - half), int(centre + half) + 1
        step = max(end - begin, 1) / (values + 2)
        return Span(begin + step, step, max(begin, 0), min(begin + max(end - begin, 1), limit))
    start, length = float(low), float(high - low)
    step = length / values
    if length <= 0:
        return Span(start, 0.0, 0, 0)
    if rule == "resize":
        return Span(start, step, max(int(start), 0), min(int(high), limit))
    # Beyond the edge the mask fades out over half of one of its values.
    first, end = math.floor(start - step / 2), math.ceil(float(high) + step / 2)
    return Span(start, step, max(first, 0), min(end, limit))
