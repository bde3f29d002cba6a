"""``mrcnn.visualize``: pictures of images, masks, boxes and scores, over matplotlib."""

from __future__ import annotations

from vitrail.compat.mrcnn._draw import (
    apply_mask,
    display_images,
    display_top_masks,
    draw_box,
    random_colors,
)
from vitrail.compat.mrcnn._draw_instances import (
    display_differences,
    display_instances,
    draw_boxes,
    draw_rois,
)
from vitrail.compat.mrcnn._draw_scores import plot_overlaps, plot_precision_recall
from vitrail.compat.mrcnn._missing import missing

__all__ = [
    "apply_mask",
    "display_differences",
    "display_images",
    "display_instances",
    "display_top_masks",
    "draw_box",
    "draw_boxes",
    "draw_rois",
    "plot_overlaps",
    "plot_precision_recall",
    "random_colors",
]

__getattr__ = missing(
    "mrcnn.visualize",
    {
        "display_table": "print(result.measure()), the table of a vitrail result's objects",
        "display_weight_stats": "model.network.named_parameters(), which gives all tensors",
    },
)
