"""What the published families of Mask R-CNN say, as values of :class:`MaskRCNNArguments`.

torchvision: ``maskrcnn_resnet50_fpn``, ``maskrcnn_resnet50_fpn_v2`` (Li et al., arXiv:2111.11429)
and ``fasterrcnn_mobilenet_v3_large_fpn``, whose two levels are both at stride 32 and whose regions
are all cut out of the first. detectron2:
``COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x``. matterport: the COCO model of Mask_RCNN 2.0.
Each lacks ``classes``; Faster R-CNN adds ``masks=False``.
"""

from __future__ import annotations

_ANCHORS = {"rounded": True, "whole_steps": True}
_PROPOSALS = {"kept_training": 2000, "min_size": 1e-3}
MOBILENET_PROPOSALS = {**_PROPOSALS, "min_score": 0.05}
"""Proposals of torchvision's detector over MobileNetV3."""
_TORCHVISION: dict[str, object] = {
    "encoder": "resnet50",
    "anchors": _ANCHORS,
    "proposals": _PROPOSALS,
    "roi": {"aligned": False, "samples": 2},
    "min_box": 1e-2,
    "mask_paste": "padded",
}

FAMILIES: dict[str, dict[str, object]] = {
    "torchvision": {
        **_TORCHVISION,
        # The batch norms of these weights are those of Caffe2, which had added nothing.
        "norm_eps": 0.0,
        "frozen_norm": True,
    },
    "torchvision-v2": {
        **_TORCHVISION,
        "pyramid_norm": True,
        "rpn_convs": 2,
        "box_convs": 4,
        "box_layers": 1,
        "mask_norm": True,
    },
    "torchvision-mobilenet": {
        **_TORCHVISION,
        "encoder": "mobilenetv3_large_100",
        "torchvision": True,
        "norm_eps": 1e-5,  # not its encoder's usual 1e-3: frozen norms have one of their own
        "frozen_norm": True,
        "anchors": {**_ANCHORS, "sizes": ((32, 64, 128, 256, 512),) * 3},
        "proposals": MOBILENET_PROPOSALS,
    },
    "detectron2": {
        "encoder": "resnet50",
        "stride_in_1x1": True,
        "frozen_norm": True,
        # Any side above 0: less than float32 tells apart at the far end of an image.
        "proposals": {"min_size": 1e-6},
        "roi": {"aligned": True, "samples": 0},
        "mask_paste": "edges",
    },
    "matterport": {
        "encoder": "resnet101",
        "stride_in_1x1": True,
        "norm_eps": 1e-3,
        "same_pool": True,
        "frozen_norm": True,
        "rpn_channels": 512,
        "anchors": {"ratios": (2.0, 1.0, 0.5)},
        "proposals": {
            "candidates": 6000,
            "candidates_training": 6000,
            "by_level": False,
            "kept_training": 2000,
            "in_padding": True,
        },
        "inclusive": True,
        "rpn_delta_scale": (10, 10, 5, 5),
        "clamp_growth": False,
        "roi": {"pooling": "crop-and-resize", "level": "round"},
        "one_class_a_region": True,
        "mask_paste": "resize",
        "sampling": {"regions": 200, "regions_positive": 0.33},
        "detection": {"score_threshold": 0.7, "nms": 0.3},
    },
}
"""Arguments by the family's name."""
