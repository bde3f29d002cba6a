"""A small Mask or Faster R-CNN with drawn weights that finds dozens of objects in any picture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.drawn_weights import randomise
from vitrail.models.base import Frame
from vitrail.models.instances import InstanceModel
from vitrail.models.maskrcnn.families import FAMILIES
from vitrail.models.registry import build
from vitrail.weights.card import Card

CLASSES = ("disc", "square", "cross")
SMALL: dict[str, object] = {
    **{"encoder": "resnet18", "pyramid_channels": 16, "rpn_channels": 16, "mask_channels": 16},
    **{"box_width": 32, "mask_convs": 2, "classes": len(CLASSES)},
    "anchors": {"sizes": (16, 24, 32, 48, 64), "rounded": True, "whole_steps": True},
    "detection": {"score_threshold": 0.4, "max_detections": 100},
}
SHORT_SIDE = {
    **{"image_size": 96, "resize": "short-side", "max_side": 160, "interpolation": "bilinear"},
    **{"pad_value": "mean", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
}
SQUARE = {
    **{"image_size": 128, "resize": "square", "min_side": 96, "interpolation": "skimage"},
    **{"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
}


def detector(architecture: str = "mask-rcnn", **changed: object) -> tuple[InstanceModel, Card]:
    """A network as torchvision builds it, but small, and its card; ``changed`` are arguments."""
    arguments = {**FAMILIES["torchvision"], **SMALL, **changed}
    card = Card.model_validate(
        {
            **{"name": "drawn", "summary": "drawn", "architecture": architecture},
            **{"arguments": arguments, "classes": CLASSES, "preprocessing": SHORT_SIDE},
            **{"training_data": "none", "training_command": "none"},
            "licences": {"code": "Apache-2.0", "weights": "none", "training_data": "none"},
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(architecture, arguments)
    assert isinstance(model, InstanceModel)
    randomise(model)
    _spread(model.eval())
    return model, card


_SPREADS = {
    **{"rpn.objectness": 2.0, "rpn.deltas": 0.3},
    **{"box_predictor.scores": 1.5, "box_predictor.deltas": 1.0},
}


def _spread(model: InstanceModel) -> None:
    """Scale the layers that decide, so that what they answer to noise has a set spread: fresh
    ones find nothing, strong ones are sure of everything."""

    def scaled(spread: float) -> Callable[..., Tensor | None]:
        seen: list[int] = []

        def hook(layer: nn.Module, _: object, output: Tensor) -> Tensor | None:
            seen.append(1)
            if len(seen) > 1:  # the coarser levels of the pyramid
                return None
            factor = spread / float(output.std())
            layer.get_parameter("weight").mul_(factor)
            return output * factor

        return hook

    hooks = []
    for name, spread in _SPREADS.items():
        layer = model.get_submodule(name)
        nn.init.normal_(layer.get_parameter("weight"), generator=torch.Generator().manual_seed(2))
        hooks.append(layer.register_forward_hook(scaled(spread)))
    noise = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(1)) * 4 - 2
    with torch.no_grad():
        model.decode(model(noise), [Frame((96, 128), (96, 128))])
    for hook in hooks:
        hook.remove()
