"""torchvision's detectors with drawn weights, and ours with the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision.models import detection

from tests.drawn_weights import randomise
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.build import build_mask_rcnn
from vitrail.models.maskrcnn.families import FAMILIES
from vitrail.models.maskrcnn.network import MaskRCNN
from vitrail.weights.importers.torchvision_detection import from_torchvision_detection

FUNCTIONS = {
    "maskrcnn_resnet50_fpn": "torchvision",
    "maskrcnn_resnet50_fpn_v2": "torchvision-v2",
    "fasterrcnn_resnet50_fpn": "torchvision",
    "fasterrcnn_mobilenet_v3_large_fpn": "torchvision-mobilenet",
}
"""torchvision's functions, and our families."""


def networks(
    function: str, min_size: int, max_size: int, *, proposals: int, objects: int
) -> tuple[Any, MaskRCNN]:
    """torchvision's network of six classes, and ours, in evaluation mode."""
    torch.manual_seed(0)
    theirs = getattr(detection, function)(
        weights=None,
        weights_backbone=None,
        num_classes=7,
        min_size=min_size,
        max_size=max_size,
        rpn_post_nms_top_n_test=proposals,
        box_detections_per_img=objects,
    ).eval()
    draw(theirs)
    family = FAMILIES[FUNCTIONS[function]]
    arguments = MaskRCNNArguments.model_validate(
        {
            **family,
            "classes": 6,
            "masks": function.startswith("mask"),
            "norm_eps": 1e-5,  # without weights torchvision builds plain batch norms
            "proposals": {**family["proposals"], "kept": proposals},  # pyright: ignore
            "detection": {"max_detections": objects},
        }
    )
    ours = build_mask_rcnn(arguments).eval()
    ours.load_state_dict(from_torchvision_detection(theirs.state_dict()))
    return theirs, ours


def draw(network: nn.Module) -> None:
    """Weights whose scores and boxes are spread as a trained network's are."""
    randomise(network)
    dice = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if tensor.ndim == 1:
                continue
            if "inner_blocks" in name:  # an encoder that nobody trained lets the signal grow
                tensor *= 1e-3
            elif "box_head" in name and tensor.ndim == 2:
                tensor.normal_(0, (2 / tensor.shape[1]) ** 0.5, generator=dice)
            elif "bbox_pred" in name:
                tensor.normal_(0, 0.01, generator=dice)
            elif "mask_fcn_logits" in name:  # what it reads is positive; masks have two sides
                tensor -= tensor.mean(1, keepdim=True)
            elif "cls_score" in name or "cls_logits" in name:
                tensor.normal_(0, 0.05, generator=dice)
