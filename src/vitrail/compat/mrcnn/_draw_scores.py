"""Pictures of scores: precision over recall, and which prediction overlaps which object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vitrail.compat.mrcnn._draw import pyplot


def plot_precision_recall(AP: float, precisions: np.ndarray, recalls: np.ndarray) -> None:  # noqa: N803
    """Draw the curve that :func:`~vitrail.compat.mrcnn.utils.compute_ap` returned."""
    _, ax = pyplot().subplots(1)
    ax.set_title(f"Precision-Recall Curve. AP@50 = {AP:.3f}")
    ax.set_xlabel("recall")
    ax.set_ylabel("precision")
    ax.set_xlim(0, 1.1)
    ax.set_ylim(0, 1.1)
    ax.plot(recalls, precisions)


def plot_overlaps(
    gt_class_ids: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    overlaps: np.ndarray,
    class_names: Sequence[str],
    threshold: float = 0.5,
) -> None:
    """Draw the IoU of each prediction with each object.

    Parameters
    ----------
    gt_class_ids:
        ``(N,)``; zeros are padding and left out.
    pred_class_ids, pred_scores:
        ``(M,)``, in the order of the rows of ``overlaps``; class ids of 0 are left out.
    overlaps:
        ``(M, N)`` IoU, as :func:`~vitrail.compat.mrcnn.utils.compute_matches` returns it.
    class_names:
        By class id.
    threshold:
        From this IoU on a cell says whether the classes match.
    """
    plt = pyplot()
    gt_class_ids = np.asarray(gt_class_ids)[np.asarray(gt_class_ids) != 0]
    pred_class_ids = np.asarray(pred_class_ids)[np.asarray(pred_class_ids) != 0]
    rows, columns = len(pred_class_ids), len(gt_class_ids)
    cells = np.asarray(overlaps)[:rows, :columns]
    plt.figure(figsize=(12, 10))
    plt.imshow(cells, interpolation="nearest", cmap="Blues")
    plt.yticks(
        np.arange(rows),
        [
            f"{class_names[id]} ({score:.2f})"
            for id, score in zip(pred_class_ids, pred_scores, strict=False)
        ],
    )
    plt.xticks(np.arange(columns), [class_names[id] for id in gt_class_ids], rotation=90)
    middle = cells.max(initial=0) / 2
    for row, column in np.ndindex(*cells.shape):
        iou, text = cells[row, column], ""
        if iou > threshold:
            text = "match" if gt_class_ids[column] == pred_class_ids[row] else "wrong"
        plt.text(
            *(column, row, f"{iou:.3f}\n{text}"),
            **{"horizontalalignment": "center", "verticalalignment": "center", "fontsize": 9},
            color="white" if iou > middle else "black",
        )
    plt.tight_layout()
    plt.xlabel("Ground Truth")
    plt.ylabel("Predictions")
