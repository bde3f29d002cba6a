"""detectron2's Faster and Mask R-CNN over a feature pyramid: its names turned into ours.

https://github.com/facebookresearch/detectron2 (Apache-2.0), ``GeneralizedRCNN`` with a ResNet, FPN
and ``StandardROIHeads``, as its model zoo publishes it (``.pkl`` files of arrays) and its trainer
saves it (``model_final.pth``).

Three things differ besides the names: its networks take blue first, their background's score comes
last, and what belongs to the input and the anchors (``pixel_mean``, ``pixel_std``,
``cell_anchors``) is among the weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vitrail.errors import WeightsError

_BACKBONE = "backbone.bottom_up."
_DROPPED = "proposal_generator.anchor_generator.cell_anchors."
_INPUT = {"pixel_mean": (103.53, 116.28, 123.675), "pixel_std": (1.0, 1.0, 1.0)}
"""What detectron2's configurations of Faster and Mask R-CNN say: blue, green, red of 0 to 255."""

_SHORTCUT = ("downsample.0", "downsample.1")


def _block(match: re.Match[str], norm: bool) -> str:
    stage, block, name = match.groups()
    layers = _SHORTCUT if name == "shortcut" else (name, name.replace("conv", "bn"))
    return f"encoder.net.layer{int(stage) - 1}.{block}.{layers[norm]}"


def _numbered(ours: str, first: int) -> Callable[[re.Match[str], bool], str]:
    return lambda match, norm: f"{ours}.{int(match[1]) - first}"


def _named(ours: str, norm: str = "") -> Callable[[re.Match[str], bool], str]:
    return lambda match, is_norm: norm if is_norm and norm else ours


_LAYERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], bool], str]], ...] = tuple(
    (re.compile(pattern), ours)
    for pattern, ours in (
        (r"backbone\.bottom_up\.stem\.conv1", _named("encoder.net.conv1", "encoder.net.bn1")),
        (r"backbone\.bottom_up\.res([2-5])\.(\d+)\.(shortcut|conv[123])", _block),
        (r"backbone\.fpn_lateral([2-5])", _numbered("pyramid.laterals", 2)),
        (r"backbone\.fpn_output([2-5])", _numbered("pyramid.smooth", 2)),
        (r"proposal_generator\.rpn_head\.conv", _named("rpn.convs.0")),
        (r"proposal_generator\.rpn_head\.conv\.conv(\d)", _numbered("rpn.convs", 0)),
        (r"proposal_generator\.rpn_head\.objectness_logits", _named("rpn.objectness")),
        (r"proposal_generator\.rpn_head\.anchor_deltas", _named("rpn.deltas")),
        (r"roi_heads\.box_head\.conv(\d)", _numbered("box_head.convs", 1)),
        (r"roi_heads\.box_head\.fc(\d)", _numbered("box_head.layers", 1)),
        (r"roi_heads\.box_predictor\.cls_score", _named("box_predictor.scores")),
        (r"roi_heads\.box_predictor\.bbox_pred", _named("box_predictor.deltas")),
        (r"roi_heads\.mask_head\.mask_fcn(\d)", _numbered("mask_head.convs", 1)),
        (r"roi_heads\.mask_head\.deconv", _named("mask_head.upsample")),
        (r"roi_heads\.mask_head\.predictor", _named("mask_head.logits")),
    )
)
"""detectron2's layers, and ours by whether the convolution or the norm behind it is meant."""


def from_detectron2(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state of detectron2's ``GeneralizedRCNN`` under our names, for RGB and background first.

    Parameters
    ----------
    tensors
        named as detectron2 names them.

    Raises
    ------
    WeightsError
        the tensors are of another project, or of a network that was fed otherwise (its
        ``pixel_mean`` or ``pixel_std`` is not the usual one of BGR bytes).
    """
    if not any(name.startswith(_BACKBONE) for name in tensors):
        first = f"the first is {next(iter(tensors))!r}" if tensors else "there are no tensors"
        raise WeightsError(
            "not a network of detectron2's with a feature pyramid: no tensor's name begins with "
            f"{_BACKBONE!r}; {first}"
        )
    state: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name in _INPUT:
            _check_input(name, value)
        elif not name.startswith(_DROPPED):
            state[_renamed(name, tensors)] = value
    _replace(state, "encoder.net.conv1.weight", lambda value: value.flip(1))
    for part in ("weight", "bias"):
        _replace(state, f"box_predictor.scores.{part}", lambda value: value.roll(1, 0))
    return state


def _renamed(name: str, tensors: Mapping[str, Tensor]) -> str:
    layer, _, part = name.rpartition(".")
    is_norm = layer.endswith(".norm")
    layer = layer.removesuffix(".norm")
    for pattern, ours in _LAYERS:
        if match := pattern.fullmatch(layer):
            renamed = ours(match, is_norm)
            # A norm behind a layer that usually has none: the two are numbered then.
            if not renamed.startswith("encoder.") and f"{layer}.norm.weight" in tensors:
                renamed += ".1" if is_norm else ".0"
            return f"{renamed}.{part}"
    return name  # the network's check says that it is too much


def _replace(state: dict[str, Tensor], name: str, change: Callable[[Tensor], Tensor]) -> None:
    if name in state and state[name].ndim:
        state[name] = change(state[name])


def _check_input(name: str, value: Tensor) -> None:
    usual = torch.tensor(_INPUT[name])
    if value.numel() != len(usual) or not torch.allclose(value.flatten().float(), usual, atol=1e-2):
        shown = ", ".join(f"{number:g}" for number in value.flatten()[:4].tolist())
        raise WeightsError(
            f"{name} is {shown}, expected {', '.join(f'{number:g}' for number in usual.tolist())}: "
            "the network was trained with other input (INPUT.FORMAT or MODEL.PIXEL_* of its "
            "configuration) than the card says"
        )
