"""torchvision's Faster and Mask R-CNN: the names of their tensors turned into ours.

``fasterrcnn_resnet50_fpn``, ``maskrcnn_resnet50_fpn``, their second versions and
``fasterrcnn_mobilenet_v3_large_fpn``, as ``torchvision.models.detection`` has them
(https://github.com/pytorch/vision, BSD-3-Clause).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from vitrail.errors import WeightsError
from vitrail.weights.importers.mobilenetv3 import timm_keys

_BACKBONE = "backbone.body."
_DEPTH = r"(?P<depth>\d+)"
_NAMES = [
    (re.compile(pattern.replace("#", _DEPTH)), ours)
    for pattern, ours in (
        # With norms a convolution is .0 and its norm .1; older files lack the .0 without norms.
        (r"backbone\.fpn\.inner_blocks\.#\.(?P<rest>.*)", "pyramid.laterals.{depth}.{rest}"),
        (r"backbone\.fpn\.layer_blocks\.#\.(?P<rest>.*)", "pyramid.smooth.{depth}.{rest}"),
        (r"rpn\.head\.conv\.#\.0\.(?P<rest>.*)", "rpn.convs.{depth}.{rest}"),
        (r"rpn\.head\.conv\.(?P<rest>weight|bias)", "rpn.convs.0.{rest}"),
        (r"rpn\.head\.cls_logits\.(?P<rest>.*)", "rpn.objectness.{rest}"),
        (r"rpn\.head\.bbox_pred\.(?P<rest>.*)", "rpn.deltas.{rest}"),
        (r"roi_heads\.box_predictor\.cls_score\.(?P<rest>.*)", "box_predictor.scores.{rest}"),
        (r"roi_heads\.box_predictor\.bbox_pred\.(?P<rest>.*)", "box_predictor.deltas.{rest}"),
        (r"roi_heads\.mask_head\.#\.(?P<rest>.*)", "mask_head.convs.{depth}.{rest}"),
        (r"roi_heads\.mask_predictor\.conv5_mask\.(?P<rest>.*)", "mask_head.upsample.{rest}"),
        (r"roi_heads\.mask_predictor\.mask_fcn_logits\.(?P<rest>.*)", "mask_head.logits.{rest}"),
    )
]
_BOX_HEAD = re.compile(r"roi_heads\.box_head\.(?P<part>fc6|fc7|\d+)\.(?P<rest>.*)")
_OLD_MASK_CONV = re.compile(r"roi_heads\.mask_head\.mask_fcn(?P<depth>\d+)\.(?P<rest>.*)")
_OF_BACKGROUND = {"box_predictor.deltas": 4, "mask_head.logits": 1}
"""Rows of a layer that belong to the class 0, of which there is neither box nor mask."""


def from_torchvision_detection(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state of torchvision's Faster or Mask R-CNN over a pyramid, under our names.

    Raises
    ------
    WeightsError
        a tensor is not one of such a network.
    """
    normed = any(
        name.startswith("backbone.fpn.") and name.endswith("running_mean") for name in tensors
    )
    backbone = {
        name.removeprefix(_BACKBONE): value
        for name, value in tensors.items()
        if name.startswith(_BACKBONE)
    }
    if any(name[:1].isdigit() for name in backbone):  # a ResNet's names are timm's
        backbone = timm_keys(backbone)
    state = {f"encoder.net.{name}": value for name, value in backbone.items()}
    for name, value in tensors.items():
        if name.startswith(_BACKBONE):
            continue
        ours = _renamed(name, normed=normed)
        layer = ours.rpartition(".")[0]
        if ours in state:
            raise WeightsError(f"{name}: stands for {ours}, which an earlier tensor stands for")
        state[ours] = value[_OF_BACKGROUND.get(layer, 0) :] if value.ndim else value
    return state


def _renamed(name: str, *, normed: bool) -> str:
    if match := _BOX_HEAD.fullmatch(name):
        return _of_box_head(match["part"], match["rest"])
    if match := _OLD_MASK_CONV.fullmatch(name):  # counted from 1
        return f"mask_head.convs.{int(match['depth']) - 1}.{match['rest']}"
    for pattern, ours in _NAMES:
        if match := pattern.fullmatch(name):
            parts = match.groupdict()
            if "depth" in parts and not normed and not ours.startswith("rpn."):
                parts["rest"] = parts["rest"].removeprefix("0.")
            return ours.format(**parts)
    raise WeightsError(f"{name}: not a tensor of torchvision's Faster or Mask R-CNN over a pyramid")


def _of_box_head(part: str, rest: str) -> str:
    """Two layers with names, or convolutions and norms ahead of one layer, by numbers: the
    flattening and the activations between them count too."""
    if part in ("fc6", "fc7"):
        return f"box_head.layers.{int(part[2]) - 6}.{rest}"
    if rest.startswith(("0.", "1.")):
        return f"box_head.convs.{part}.{rest}"
    return f"box_head.layers.0.{rest}"
