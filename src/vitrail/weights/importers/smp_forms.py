"""The networks of segmentation_models.pytorch (smp) that are ours too: names, widths and options.

https://github.com/qubvel-org/segmentation_models.pytorch (MIT), version 0.6.0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vitrail.errors import WeightsError

HEAD = "segmentation_head.0."
"""How the names of the last convolution's tensors begin."""


@dataclass(frozen=True)
class Form:
    """One of smp's networks, and ours that is the same."""

    architecture: str
    names: tuple[tuple[str, str], ...]
    """Patterns of smp's names, and what they become; the first that matches."""
    arguments: Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, object]]
    defaults: Mapping[str, object]
    """What a configuration must say, if it says anything, for ours to be the same."""

    def renamed(self, key: str) -> str:
        """Our name of a tensor outside of the encoder."""
        for pattern, ours in self.names:
            new, found = re.subn(rf"^{pattern}", ours, key)
            if found:
                return new
        return key


def _size(tensors: Mapping[str, Tensor], key: str, axis: int = 0) -> int:
    """Filters of a convolution, or with ``axis=1`` the channels that each of them reads."""
    shape = tuple(tensors[key].shape)
    if len(shape) != 4:
        raise WeightsError(f"{key} has the shape {shape}, expected that of a 2-d convolution")
    return shape[axis]


def outputs(tensors: Mapping[str, Tensor]) -> int:
    """Channels of the logits."""
    return _size(tensors, f"{HEAD}weight")


def _unet(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, object]:
    widths: list[int] = []
    while (key := f"decoder.blocks.{len(widths)}.conv1.0.weight") in tensors:
        widths.append(_size(tensors, key))
    return {"decoder_channels": widths}


def _fpn(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, object]:
    channels = _size(tensors, "decoder.seg_blocks.0.block.0.block.0.weight")
    return {
        "pyramid_channels": _size(tensors, "decoder.p5.weight"),
        "channels": channels,
        "concatenate": _size(tensors, f"{HEAD}weight", 1) != channels,
        "smooth": False,
        "align_corners": True,
        "dropout": config.get("decoder_dropout", 0.2),
    }


def _pspnet(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, object]:
    return {"form": "smp", "width": _size(tensors, "decoder.conv.0.weight")}


def _deeplab(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, object]:
    plus = "decoder.block1.0.weight" in tensors
    aspp = "decoder.aspp.0" if plus else "decoder.aspp" if _named(tensors) else "decoder.0"
    rates = config.get("decoder_atrous_rates", (12, 24, 36))
    arguments: dict[str, object] = {
        "output_stride": config.get("encoder_output_stride", 16 if plus else 8),
        "channels": _size(tensors, f"{aspp}.project.0.weight"),
        "rates": tuple(rates) if isinstance(rates, list) else rates,
        "separable": f"{aspp}.convs.1.0.0.weight" in tensors,
        "dropout": config.get("decoder_aspp_dropout", 0.5),
        "align_corners": True,
    }
    if plus:
        low = _size(tensors, "decoder.block1.0.weight")
        arguments |= {"decoder": "smp", "low_level_channels": low}
    return arguments


def _named(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the decoder's parts have names; before smp 0.4 they were numbered."""
    return any(key.startswith("decoder.aspp.") for key in tensors)


FORMS: dict[str, Form] = {
    "Unet": Form(
        "unet",
        (
            (r"decoder\.blocks\.(\d+)\.conv1\.", r"decoder.levels.\1.0."),
            (r"decoder\.blocks\.(\d+)\.conv2\.", r"decoder.levels.\1.1."),
            (r"segmentation_head\.0\.", "head."),
        ),
        _unet,
        {
            "encoder_depth": 5,
            "decoder_use_norm": ("batchnorm", True),
            "decoder_use_batchnorm": True,
            "decoder_attention_type": None,
            "decoder_add_center_block": False,
            "decoder_interpolation": "nearest",
        },
    ),
    "FPN": Form(
        "fpn",
        (
            (r"decoder\.p5\.", "pyramid.laterals.3."),
            (r"decoder\.p4\.skip_conv\.", "pyramid.laterals.2."),
            (r"decoder\.p3\.skip_conv\.", "pyramid.laterals.1."),
            (r"decoder\.p2\.skip_conv\.", "pyramid.laterals.0."),
            (r"decoder\.seg_blocks\.0\.block\.(\d+)\.block\.", r"branches.3.\1."),
            (r"decoder\.seg_blocks\.1\.block\.(\d+)\.block\.", r"branches.2.\1."),
            (r"decoder\.seg_blocks\.2\.block\.(\d+)\.block\.", r"branches.1.\1."),
            (r"decoder\.seg_blocks\.3\.block\.(\d+)\.block\.", r"branches.0.\1."),
            (r"segmentation_head\.0\.", "head."),
        ),
        _fpn,
        {"encoder_depth": 5, "decoder_interpolation": "nearest", "upsampling": 4},
    ),
    "PSPNet": Form(
        "pspnet",
        (
            (r"decoder\.psp\.blocks\.(\d+)\.pool\.1\.0\.", r"pyramid.maps.\1.convolve."),
            (r"decoder\.psp\.blocks\.(\d+)\.pool\.1\.1\.", r"pyramid.maps.\1.norm."),
            (r"decoder\.conv\.", "fuse."),
            (r"segmentation_head\.0\.", "head."),
        ),
        _pspnet,
        {
            "encoder_depth": 3,
            "decoder_use_norm": ("batchnorm", True),
            "psp_use_batchnorm": True,
            "upsampling": 8,
        },
    ),
    "DeepLabV3": Form(
        "deeplab-v3",
        (
            (r"decoder\.(aspp|0)\.", "classifier.0."),
            (r"decoder\.(conv|1)\.", "classifier.1."),
            (r"decoder\.(bn|2)\.", "classifier.2."),
            (r"segmentation_head\.0\.", "classifier.4."),
        ),
        _deeplab,
        {"encoder_depth": 5, "upsampling": (None, 8, 16)},
    ),
    "DeepLabV3Plus": Form(
        "deeplab-v3plus",
        (
            (r"decoder\.aspp\.0\.", "aspp."),
            (r"decoder\.aspp\.1\.", "refine.0."),
            (r"decoder\.aspp\.2\.", "refine.1."),
            (r"decoder\.block1\.", "low_level."),
            (r"decoder\.block2\.", "fuse.0."),
            (r"segmentation_head\.0\.", "head."),
        ),
        _deeplab,
        {"encoder_depth": 5, "decoder_aspp_separable": True, "upsampling": 4},
    ),
}
"""smp's networks that can be imported, by the names of its classes."""
