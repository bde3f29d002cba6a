"""``mrcnn.utils``: boxes, masks, image sizes, average precision, and the base of data sets."""

from __future__ import annotations

from vitrail.compat.mrcnn._boxes import (
    apply_box_deltas,
    box_refinement,
    compute_iou,
    compute_overlaps,
    compute_overlaps_masks,
    denorm_boxes,
    extract_bboxes,
    generate_anchors,
    generate_pyramid_anchors,
    non_max_suppression,
    norm_boxes,
    trim_zeros,
)
from vitrail.compat.mrcnn._dataset import Dataset
from vitrail.compat.mrcnn._fetch import download_trained_weights
from vitrail.compat.mrcnn._images import (
    expand_mask,
    minimize_mask,
    resize,
    resize_image,
    resize_mask,
    unmold_mask,
)
from vitrail.compat.mrcnn._missing import missing
from vitrail.compat.mrcnn._scores import (
    compute_ap,
    compute_ap_range,
    compute_matches,
    compute_recall,
)

__all__ = [
    "Dataset",
    "apply_box_deltas",
    "box_refinement",
    "compute_ap",
    "compute_ap_range",
    "compute_iou",
    "compute_matches",
    "compute_overlaps",
    "compute_overlaps_masks",
    "compute_recall",
    "denorm_boxes",
    "download_trained_weights",
    "expand_mask",
    "extract_bboxes",
    "generate_anchors",
    "generate_pyramid_anchors",
    "minimize_mask",
    "non_max_suppression",
    "norm_boxes",
    "resize",
    "resize_image",
    "resize_mask",
    "trim_zeros",
    "unmold_mask",
]

__getattr__ = missing(
    "mrcnn.utils",
    {
        "COCO_MODEL_URL": "vitrail.weights.catalog.find('maskrcnn-resnet101-matterport-coco')"
        ".card.download.url",
        "batch_slice": "the network as it is: vitrail's work on whole batches",
        "box_refinement_graph": "vitrail.models.maskrcnn.boxes.encode, which works on tensors",
    },
)
