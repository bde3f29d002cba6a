"""The names of torchvision's detectors; their numbers are compared in ``tests/parity``."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models import detection

from vitrail.errors import WeightsError
from vitrail.models.maskrcnn.families import FAMILIES
from vitrail.models.registry import build
from vitrail.weights.files import check_state
from vitrail.weights.importers.torchvision_detection import from_torchvision_detection


def state_of(function: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        return getattr(detection, function)(
            weights=None, weights_backbone=None, num_classes=7
        ).state_dict()


@pytest.mark.parametrize(
    ("function", "family"),
    [
        ("maskrcnn_resnet50_fpn", "torchvision"),
        ("maskrcnn_resnet50_fpn_v2", "torchvision-v2"),
        ("fasterrcnn_resnet50_fpn", "torchvision"),
        ("fasterrcnn_resnet50_fpn_v2", "torchvision-v2"),
        ("fasterrcnn_mobilenet_v3_large_fpn", "torchvision-mobilenet"),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", "torchvision-mobilenet"),
    ],
)
def test_every_tensor_has_a_place(function: str, family: str) -> None:
    architecture = "mask-rcnn" if function.startswith("mask") else "faster-rcnn"
    with torch.device("meta"):
        ours = build(architecture, FAMILIES[family] | {"classes": 6})
    check_state(ours, from_torchvision_detection(state_of(function)), function)


def test_the_background_has_neither_box_nor_mask() -> None:
    deltas, logits = torch.arange(12.0)[:, None], torch.arange(3.0)[:, None, None, None]
    state = from_torchvision_detection(
        {
            "roi_heads.box_predictor.bbox_pred.weight": deltas,
            "roi_heads.mask_predictor.mask_fcn_logits.weight": logits,
            "roi_heads.box_predictor.cls_score.weight": deltas[:3],
        }
    )
    assert torch.equal(state["box_predictor.deltas.weight"], deltas[4:])
    assert torch.equal(state["mask_head.logits.weight"], logits[1:])
    assert torch.equal(state["box_predictor.scores.weight"], deltas[:3])


def test_names_of_older_files() -> None:
    tensor = torch.zeros(1)
    state = from_torchvision_detection(
        {
            "backbone.fpn.inner_blocks.2.weight": tensor,
            "rpn.head.conv.weight": tensor,
            "roi_heads.mask_head.mask_fcn3.bias": tensor,
        }
    )
    assert list(state) == [
        "pyramid.laterals.2.weight",
        "rpn.convs.0.weight",
        "mask_head.convs.2.bias",
    ]


def test_other_networks_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"head\.classification_head.*not a tensor of"):
        from_torchvision_detection({"head.classification_head.conv.0.0.weight": torch.zeros(1)})


def test_one_tensor_twice_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"stands for rpn\.convs\.0\.weight"):
        from_torchvision_detection(
            {"rpn.head.conv.weight": torch.zeros(1), "rpn.head.conv.0.0.weight": torch.zeros(1)}
        )
