"""Average precision as the original computes it: one image, all classes in one curve.

Not COCO's measure (:mod:`vitrail.metrics.coco_ap`): there is no curve for each class, no crowds,
and recall is not interpolated at 101 points.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vitrail.compat.mrcnn._boxes import compute_overlaps, compute_overlaps_masks, trim_zeros


def compute_matches(
    gt_boxes: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair predictions with the truth by the IoU of their masks, the best score first.

    A prediction takes the object that it overlaps most among those that are free and overlap
    enough; it is a pair if the classes agree, otherwise the next one is tried.

    Parameters
    ----------
    gt_boxes, pred_boxes:
        ``(N, 4)`` and ``(M, 4)``; rows of zeros at the end are padding.
    gt_class_ids, pred_class_ids, pred_scores:
        ``(N,)``, ``(M,)``, ``(M,)``.
    gt_masks, pred_masks:
        ``(H, W, N)`` and ``(H, W, M)``.
    iou_threshold:
        IoU of a pair, at least.
    score_threshold:
        Overlaps below this are not looked at.

    Returns
    -------
    ``(N,)`` int64, for each object the prediction in the order of falling scores, or -1; ``(M,)``
    int64, for each prediction in that order the object, or -1; ``(M, N)`` IoU in that order.
    """
    gt_boxes, pred_boxes = trim_zeros(gt_boxes), trim_zeros(pred_boxes)
    objects, found = len(gt_boxes), len(pred_boxes)
    order = np.argsort(pred_scores[:found])[::-1]
    classes = np.asarray(pred_class_ids)[order]
    overlaps = compute_overlaps_masks(pred_masks[..., order], gt_masks[..., :objects])
    gt_match = np.full(objects, -1, np.int64)
    pred_match = np.full(found, -1, np.int64)
    least = max(iou_threshold, score_threshold)
    for number, row in enumerate(overlaps):
        for candidate in np.argsort(row)[::-1]:
            if row[candidate] < least:
                break
            if gt_match[candidate] < 0 and classes[number] == gt_class_ids[candidate]:
                gt_match[candidate], pred_match[number] = number, candidate
                break
    return gt_match, pred_match, overlaps


def compute_ap(
    gt_boxes: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
    iou_threshold: float = 0.5,
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Area under the curve of precision over recall; parameters as :func:`compute_matches`.

    Returns
    -------
    The average precision; the curve's precisions, each the best one from its recall on, and its
    recalls, both ``(M + 2,)`` with the ends added; ``(M, N)`` IoU, predictions by falling score.
    The precision is 0 where there is no object.
    """
    gt_match, pred_match, overlaps = compute_matches(
        gt_boxes,
        gt_class_ids,
        gt_masks,
        pred_boxes,
        pred_class_ids,
        pred_scores,
        pred_masks,
        iou_threshold,
    )
    right = np.cumsum(pred_match >= 0)
    precisions = np.concatenate([[0], right / np.arange(1, len(right) + 1), [0]])
    recalls = np.concatenate([[0], right / max(1, len(gt_match)), [1]])
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    return float(np.sum(np.diff(recalls) * precisions[1:])), precisions, recalls, overlaps


def compute_ap_range(
    gt_box: np.ndarray,
    gt_class_id: np.ndarray,
    gt_mask: np.ndarray,
    pred_box: np.ndarray,
    pred_class_id: np.ndarray,
    pred_score: np.ndarray,
    pred_mask: np.ndarray,
    iou_thresholds: Sequence[float] | np.ndarray | None = None,
    verbose: int = 1,
) -> float:
    """Mean of :func:`compute_ap` over thresholds, 0.5 to 0.95 in steps of 0.05 by default."""
    thresholds = np.arange(0.5, 1.0, 0.05) if iou_thresholds is None else iou_thresholds
    found: list[float] = []
    for threshold in thresholds:
        ap, *_ = compute_ap(
            gt_box,
            gt_class_id,
            gt_mask,
            pred_box,
            pred_class_id,
            pred_score,
            pred_mask,
            iou_threshold=float(threshold),
        )
        if verbose:
            print(f"AP @{threshold:.2f}:\t {ap:.3f}")
        found.append(ap)
    mean = float(np.mean(found))
    if verbose:
        print(f"AP @{thresholds[0]:.2f}-{thresholds[-1]:.2f}:\t {mean:.3f}")
    return mean


def compute_recall(
    pred_boxes: np.ndarray, gt_boxes: np.ndarray, iou: float
) -> tuple[float, np.ndarray]:
    """Share of the objects that boxes find.

    Returns
    -------
    The share of ``(N, 4)`` objects that are the nearest one of a box with at least this IoU (0
    where there are none), and the indices of those boxes.
    """
    if not len(gt_boxes) or not len(pred_boxes):
        return 0.0, np.zeros(0, np.int64)
    overlaps = compute_overlaps(pred_boxes, gt_boxes)
    positive = np.flatnonzero(overlaps.max(axis=1) >= iou)
    return len(set(overlaps[positive].argmax(axis=1).tolist())) / len(gt_boxes), positive
