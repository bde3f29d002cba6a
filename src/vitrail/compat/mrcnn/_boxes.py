"""Boxes as the original has them: NumPy arrays of ``y1 x1 y2 x2``, y2 and x2 exclusive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def extract_bboxes(mask: np.ndarray) -> np.ndarray:
    """The box around each mask.

    Parameters
    ----------
    mask:
        ``(H, W, N)``, objects where it is not 0.

    Returns
    -------
    ``(N, 4)`` int32, px; 0 0 0 0 for an empty mask.
    """
    mask = np.asarray(mask) != 0
    boxes = np.zeros((mask.shape[-1], 4), np.int32)
    if not mask.size:
        return boxes
    for axis, column in ((1, 0), (0, 1)):  # rows that hold something, then columns
        hit = np.asarray(mask.any(axis=axis))
        boxes[:, column] = hit.argmax(0)
        boxes[:, column + 2] = len(hit) - hit[::-1].argmax(0)
        boxes[~hit.any(0)] = 0
    return boxes


def compute_iou(
    box: np.ndarray, boxes: np.ndarray, box_area: float, boxes_area: np.ndarray
) -> np.ndarray:
    """IoU of one box with each of several, whose areas are known: ``(N,)``."""
    heights = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
    widths = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
    shared = np.maximum(heights, 0) * np.maximum(widths, 0)
    return shared / (box_area + boxes_area - shared)


def compute_overlaps(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """IoU of each of ``(N, 4)`` with each of ``(M, 4)`` boxes: ``(N, M)`` float64."""
    boxes1, boxes2 = np.asarray(boxes1, np.float64), np.asarray(boxes2, np.float64)
    corner = np.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    sides = np.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:]) - corner
    shared = sides.clip(min=0).prod(-1)
    union = _areas(boxes1)[:, None] + _areas(boxes2)[None] - shared
    return shared / np.where(union > 0, union, 1)


def compute_overlaps_masks(masks1: np.ndarray, masks2: np.ndarray) -> np.ndarray:
    """IoU of each of ``(H, W, N)`` with each of ``(H, W, M)`` masks: ``(N, M)``.

    A pixel belongs to a mask above 0.5. 0 where both masks are empty.
    """
    # Counts are exact in float32 up to 2^24 pixels.
    pixels = masks1.shape[0] * masks1.shape[1]
    dtype = np.float32 if pixels < 1 << 24 else np.float64
    flat1 = (masks1 > 0.5).reshape(pixels, masks1.shape[-1]).astype(dtype)
    flat2 = (masks2 > 0.5).reshape(pixels, masks2.shape[-1]).astype(dtype)
    shared = flat1.T @ flat2
    union = flat1.sum(0)[:, None] + flat2.sum(0)[None] - shared
    return shared / np.where(union > 0, union, 1)


def non_max_suppression(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Indices of the boxes to keep, best first, ``(K,)`` int32.

    A box goes where its IoU with a better one that stays is above ``threshold``.
    """
    waiting = np.argsort(scores)[::-1]
    kept: list[int] = []
    while waiting.size:
        best, waiting = int(waiting[0]), waiting[1:]
        kept.append(best)
        overlaps = compute_overlaps(boxes[best][None], boxes[waiting])[0]
        waiting = waiting[overlaps <= threshold]
    return np.array(kept, np.int32)


def box_refinement(box: np.ndarray, gt_box: np.ndarray) -> np.ndarray:
    """Deltas that lead from boxes to others, ``(N, 4)`` float32: dy dx dh dw."""
    box, gt_box = np.asarray(box, np.float32), np.asarray(gt_box, np.float32)
    (centres, sides), (gt_centres, gt_sides) = _centres(box), _centres(gt_box)
    return np.concatenate([(gt_centres - centres) / sides, np.log(gt_sides / sides)], axis=1)


def apply_box_deltas(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Where deltas, ``(N, 4)`` dy dx dh dw, lead from boxes: ``(N, 4)`` float32."""
    boxes, deltas = np.asarray(boxes, np.float32), np.asarray(deltas, np.float32)
    centres, sides = _centres(boxes)
    corners = centres + deltas[:, :2] * sides - 0.5 * sides * np.exp(deltas[:, 2:])
    return np.concatenate([corners, corners + sides * np.exp(deltas[:, 2:])], axis=1)


def norm_boxes(boxes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """From px to shares of ``(H, W)``, float32: the last pixel's edge is 1 there."""
    scale, shift = _frame(shape)
    return ((np.asarray(boxes) - shift) / scale).astype(np.float32)


def denorm_boxes(boxes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The reverse of :func:`norm_boxes`, rounded to int32 (halves to even)."""
    scale, shift = _frame(shape)
    return np.around(np.asarray(boxes) * scale + shift).astype(np.int32)


def generate_anchors(
    scales: float | Sequence[float],
    ratios: Sequence[float],
    shape: Sequence[int],
    feature_stride: float,
    anchor_stride: int,
) -> np.ndarray:
    """The anchors of one level of the pyramid.

    Parameters
    ----------
    scales:
        Sides of the square ones, px.
    ratios:
        Width / height.
    shape:
        ``(h, w)`` of the level's features.
    feature_stride:
        Of the level, px of the image.
    anchor_stride:
        Features from one anchor to the next.

    Returns
    -------
    ``(h' * w' * A, 4)`` float64, px: row by row, and for each place all ratios of a scale.
    """
    root = np.sqrt(np.asarray(ratios, np.float64))
    sides = np.atleast_1d(np.asarray(scales, np.float64))[None, :]
    heights, widths = (sides / root[:, None]).T.ravel(), (sides * root[:, None]).T.ravel()
    y = np.arange(0, shape[0], anchor_stride)[:, None, None] * feature_stride
    x = np.arange(0, shape[1], anchor_stride)[None, :, None] * feature_stride
    edges = (y - heights / 2, x - widths / 2, y + heights / 2, x + widths / 2)
    return np.stack(np.broadcast_arrays(*edges), axis=-1).reshape(-1, 4)


def generate_pyramid_anchors(
    scales: Sequence[float],
    ratios: Sequence[float],
    feature_shapes: Sequence[Sequence[int]] | np.ndarray,
    feature_strides: Sequence[float],
    anchor_stride: int,
) -> np.ndarray:
    """The anchors of all levels, finest first: :func:`generate_anchors`, one scale a level."""
    levels = zip(scales, feature_shapes, feature_strides, strict=True)
    return np.concatenate(
        [
            generate_anchors(scale, ratios, shape, stride, anchor_stride)
            for scale, shape, stride in levels
        ]
    )


def trim_zeros(x: np.ndarray) -> np.ndarray:
    """A matrix without its rows of zeros, which pad lists of boxes."""
    return x[(x != 0).any(axis=1)]


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _centres(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes[:, :2] + 0.5 * sides, sides


def _frame(shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    height, width = shape[:2]
    return np.array([height, width, height, width]) - 1, np.array([0, 0, 1, 1])
