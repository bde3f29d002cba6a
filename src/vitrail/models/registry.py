"""The one registry of architectures: a name, its arguments, its builder.

Adding an architecture is one file under ``models/`` and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from vitrail.errors import ConfigError, UnknownNameError, VitrailError
from vitrail.models.base import SemanticModel
from vitrail.models.deeplab_v1 import DeepLabV1Arguments, build_deeplab_v1
from vitrail.models.deeplab_v2 import DeepLabV2Arguments, build_deeplab_v2
from vitrail.models.deeplab_v3 import DeepLabV3Arguments, build_deeplab_v3
from vitrail.models.deeplab_v3plus import DeepLabV3PlusArguments, build_deeplab_v3plus
from vitrail.models.fastfcn import FastFCNArguments, build_fastfcn
from vitrail.models.fcn import (
    DilatedFCNArguments,
    FCNArguments,
    build_dilated_fcn,
    build_fcn,
)
from vitrail.models.fpn import FPNArguments, build_fpn
from vitrail.models.gated_scnn import GatedSCNNArguments, build_gated_scnn
from vitrail.models.instances import InstanceModel
from vitrail.models.lraspp import LRASPPArguments, build_lraspp
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.build import build_faster_rcnn, build_mask_rcnn
from vitrail.models.plain_unet import PlainUNetArguments, build_plain_unet
from vitrail.models.pspnet import PSPNetArguments, build_pspnet
from vitrail.models.segformer import SegFormerArguments, build_segformer
from vitrail.models.unet import UNetArguments, build_unet
from vitrail.models.valid_unet import ValidUNetArguments, build_valid_unet
from vitrail.nn.dilated_gradients import make_gradients_right


@dataclass(frozen=True, slots=True)
class Architecture:
    """How to build one family of networks from plain values."""

    name: str
    summary: str
    arguments: type[BaseModel]
    build: Callable[[Any], SemanticModel | InstanceModel]


ARCHITECTURES: dict[str, Architecture] = {
    entry.name: entry
    for entry in (
        Architecture("unet", "U-Net over any timm encoder", UNetArguments, build_unet),
        Architecture(
            "unet-plain",
            "U-Net of plain padded convolutions, with an encoder of its own",
            PlainUNetArguments,
            build_plain_unet,
        ),
        Architecture(
            "unet-original",
            "the U-Net of the paper: valid convolutions, overlapping tiles",
            ValidUNetArguments,
            build_valid_unet,
        ),
        Architecture(
            "fcn",
            "FCN-32s, -16s or -8s: scores of several stages, added",
            FCNArguments,
            build_fcn,
        ),
        Architecture(
            "fcn-dilated",
            "FCN over a dilated encoder, as torchvision's fcn_resnet50",
            DilatedFCNArguments,
            build_dilated_fcn,
        ),
        Architecture(
            "fpn",
            "semantic FPN: a feature pyramid, its levels enlarged and added",
            FPNArguments,
            build_fpn,
        ),
        Architecture(
            "lraspp",
            "Lite R-ASPP: small and fast, over MobileNetV3",
            LRASPPArguments,
            build_lraspp,
        ),
        Architecture(
            "deeplab-v1",
            "DeepLab-LargeFOV: dilated VGG, or any encoder that can be dilated",
            DeepLabV1Arguments,
            build_deeplab_v1,
        ),
        Architecture(
            "deeplab-v2",
            "DeepLabv2: summed dilated branches, the best of several image scales",
            DeepLabV2Arguments,
            build_deeplab_v2,
        ),
        Architecture(
            "deeplab-v3",
            "DeepLabv3: atrous spatial pyramid pooling with image pooling",
            DeepLabV3Arguments,
            build_deeplab_v3,
        ),
        Architecture(
            "deeplab-v3plus",
            "DeepLabv3+: separable DeepLabv3 with a decoder to stride 4",
            DeepLabV3PlusArguments,
            build_deeplab_v3plus,
        ),
        Architecture(
            "fastfcn",
            "FastFCN: joint pyramid upsampling or dilation; FCN, PSP, ASPP or EncNet head",
            FastFCNArguments,
            build_fastfcn,
        ),
        Architecture(
            "pspnet",
            "PSPNet: pyramid pooling over a dilated or a short encoder",
            PSPNetArguments,
            build_pspnet,
        ),
        Architecture(
            "segformer",
            "SegFormer: Mix Transformer B0 to B5 and a decoder of 1x1 layers",
            SegFormerArguments,
            build_segformer,
        ),
        Architecture(
            "gated-scnn",
            "Gated-SCNN: a gated second stream draws the boundaries",
            GatedSCNNArguments,
            build_gated_scnn,
        ),
        Architecture(
            "mask-rcnn",
            "Mask R-CNN over a feature pyramid: the mask of each object",
            MaskRCNNArguments,
            build_mask_rcnn,
        ),
        Architecture(
            "faster-rcnn",
            "Faster R-CNN over a feature pyramid: the box of each object",
            MaskRCNNArguments,
            build_faster_rcnn,
        ),
    )
}


def build(architecture: str, arguments: Mapping[str, object]) -> SemanticModel | InstanceModel:
    """Build a network, with fresh weights, from its registered name and plain arguments.

    Raises
    ------
    UnknownNameError
        no architecture has that name.
    ConfigError
        an argument is unknown, of the wrong type or out of range.
    """
    validated = validate_arguments(architecture, arguments)
    try:
        model = ARCHITECTURES[architecture].build(validated)
    except VitrailError:
        raise
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{architecture}: {error}") from None
    make_gradients_right(model)
    return model


def validate_arguments(architecture: str, arguments: Mapping[str, object]) -> BaseModel:
    """Plain arguments as their architecture's own type, with the defaults filled in.

    Raises
    ------
    UnknownNameError, ConfigError
        as :func:`build` does; what only shows when the network is built is not found here.
    """
    entry = ARCHITECTURES.get(architecture)
    if entry is None:
        raise UnknownNameError("architecture", architecture, ARCHITECTURES)
    try:
        return entry.arguments.model_validate(dict(arguments))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(f"{architecture}: {where}={fault['input']!r}: {fault['msg']}") from None
