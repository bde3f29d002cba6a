"""torchvision's Mask R-CNN with drawn weights that find a hundred objects, and cards of ours."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from skimage import data
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.misc import FrozenBatchNorm2d

from vitrail.models.maskrcnn.families import FAMILIES
from vitrail.weights.card import Card, Licences, Preprocessing

CLASSES = 90
"""Of COCO as torchvision counts it, without background."""
_TORCHVISION: dict[str, object] = {
    "resize": "short-side",
    "interpolation": "bilinear",
    "pad_value": "mean",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
_MATTERPORT: dict[str, object] = {
    "resize": "square",
    "interpolation": "skimage",
    "mean": (123.7 / 255, 116.8 / 255, 103.9 / 255),
    "std": (1 / 255,) * 3,
}
_SPREADS = {
    **{"rpn.head.cls_logits": 2.0, "rpn.objectness": 2.0},
    **{"rpn.head.bbox_pred": 0.3, "rpn.deltas": 0.3},
    **{"roi_heads.box_predictor.cls_score": 1.5, "box_predictor.scores": 6.0},
    **{"roi_heads.mask_predictor.mask_fcn_logits": 2.0},
}
"""Standard deviation of what a layer answers; 1 for every other. matterport's threshold of 0.7
takes scores that are surer."""


def photo(height: int, width: int) -> np.ndarray:
    """A photograph of any size, ``(height, width, 3)`` uint8."""
    return cv2.resize(data.astronaut(), (width, height), interpolation=cv2.INTER_CUBIC)


def torchvision_network(side: int) -> MaskRCNN:
    """``maskrcnn_resnet50_fpn`` as its published weights are run, batch norms frozen; ``side`` is
    that of the input, 800 px as published."""
    body = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    backbone = _resnet_fpn_extractor(body, 3)
    network = MaskRCNN(backbone, 1 + CLASSES, min_size=side, max_size=side * 5 // 3).eval()
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0  # as of the published weights
    return network


def as_tensor(picture: np.ndarray) -> Tensor:
    """What torchvision's detectors take: ``(3, H, W)`` float32 in 0..1."""
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous().float() / 255


def draw_weights(network: nn.Module, run: Callable[[], object]) -> None:
    """Draw seeded weights, each layer's scaled so that its answer in ``run`` has a set spread.

    Fresh weights find nothing: their scores are all alike. Mishkin and Matas, "All you need is a
    good init", arXiv:1511.06422, without the orthogonal start.
    """
    dice = torch.Generator().manual_seed(0)
    seen: set[str] = set()

    def scaled(name: str) -> Callable[..., Tensor | None]:
        def hook(layer: nn.Module, _: object, output: Tensor) -> Tensor | None:
            if name in seen:  # layers that look at every level of the pyramid
                return None
            seen.add(name)
            factor = _SPREADS.get(name, 1.0) / float(output.std())
            layer.get_parameter("weight").mul_(factor)
            return output * factor

        return hook

    hooks = []
    with torch.no_grad():
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                layer.weight.normal_(generator=dice).div_(layer.weight[0].numel() ** 0.5)
                if layer.bias is not None:
                    layer.bias.zero_()
                hooks.append(layer.register_forward_hook(scaled(name)))
            elif isinstance(layer, FrozenBatchNorm2d | nn.BatchNorm2d):
                layer.get_buffer("running_mean").normal_(0, 0.1, generator=dice)
                layer.get_buffer("running_var").uniform_(0.5, 1.5, generator=dice)
        run()
    for hook in hooks:
        hook.remove()


def card(family: str, side: int, **changed: object) -> Card:
    """The card of one of our families at an input of ``side`` px; ``changed`` are arguments."""
    sizes: dict[str, object] = {"image_size": side}
    if family == "matterport":
        preprocessing = {**_MATTERPORT, **sizes, "min_side": side * 800 // 1024}
    else:
        preprocessing = {**_TORCHVISION, **sizes, "max_side": side * 5 // 3}
    arguments = {**FAMILIES[family], "classes": CLASSES, **changed}
    return Card(
        name=f"drawn-{family}",
        summary="random weights",
        architecture="mask-rcnn",
        arguments=arguments,
        classes=tuple(f"class {index}" for index in range(CLASSES)),
        preprocessing=Preprocessing.model_validate(preprocessing),
        training_data="none",
        training_command="none",
        licences=Licences(code="Apache-2.0", weights="none", training_data="none"),
        limits="its weights are random",
    )
