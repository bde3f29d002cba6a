"""Checkpoints of segmentation_models.pytorch (smp): Unet, FPN, PSPNet, DeepLabV3, DeepLabV3Plus.

https://github.com/qubvel-org/segmentation_models.pytorch (MIT), version 0.6.0. Read are a folder of
``save_pretrained`` (``config.json``, ``model.safetensors``) and a bare state. Widths and numbers of
classes and bands are read off the tensors; what cannot be seen there is the configuration's, or
smp's default. What our networks cannot do is refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitrail.errors import UnknownNameError, VitrailError, WeightsError
from vitrail.models.registry import build
from vitrail.weights.files import check_state
from vitrail.weights.importers.mobilenetv2 import timm_keys
from vitrail.weights.importers.tensors import read_any_tensors

_RESNETS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d"),
)
ENCODERS = (*_RESNETS, "mobilenet_v2", "tu-...")
"""Encoders of smp that are timm's too; ``tu-`` stands before timm's own names."""

_HEAD = "segmentation_head.0."


@dataclass(frozen=True)
class Imported:
    """A network of smp's, as ours."""

    architecture: str
    arguments: dict[str, object]
    tensors: dict[str, Tensor]
    outputs: int
    """Channels of its logits: with 1, it told an object from the background, and so do the two
    logits that it has here."""


@dataclass(frozen=True)
class _Form:
    """One of smp's networks, and ours that is the same."""

    architecture: str
    names: tuple[tuple[str, str], ...]
    """Patterns of smp's names, and what they become; the first that matches."""
    arguments: Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, object]]
    defaults: Mapping[str, object]
    """What a configuration must say, if it says anything, for ours to be the same."""


def read_smp(path: Path, *, architecture: str = "", encoder: str = "") -> Imported:
    """Read a checkpoint of segmentation_models.pytorch.

    Parameters
    ----------
    path
        a folder of ``save_pretrained``, or a ``.pth`` or ``.safetensors`` file with a state.
    architecture
        ``Unet``, ``FPN``, ``PSPNet``, ``DeepLabV3`` or ``DeepLabV3Plus``; a folder says it itself.
    encoder
        smp's name of the encoder, such as ``resnet34`` or ``tu-convnext_tiny``; likewise.

    Raises
    ------
    WeightsError
        the file cannot be read or is refused, does not say what it is, is of a network that we do
        not have, or does not fit it.
    UnknownNameError
        smp's architecture or the encoder is none that is known here.
    """
    config: dict[str, Any] = {}
    file = path
    if path.is_dir():
        config, file = _config(path / "config.json"), path / "model.safetensors"
    architecture = architecture or str(config.get("_model_class", ""))
    encoder = encoder or str(config.get("encoder_name", ""))
    if not architecture or not encoder:
        missing = "its architecture" if not architecture else "its encoder"
        raise WeightsError(
            f"{path}: does not say {missing}; give --architecture (one of {', '.join(FORMS)}) and "
            f"--encoder (one of {', '.join(ENCODERS)})"
        )
    form = FORMS.get(architecture)
    if form is None:
        raise UnknownNameError("architecture that is taken from smp", architecture, FORMS)
    _refuse(path, config, form)
    tensors = read_any_tensors(file)
    try:
        return _convert(tensors, config, form, encoder)
    except KeyError as error:
        raise WeightsError(
            f"{file}: has no tensor {error}; it is not the state of smp's {architecture}"
        ) from None
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from None
    except UnknownNameError:
        raise
    except VitrailError as error:
        raise WeightsError(f"{file}: cannot be built here: {error}") from None


def _config(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise WeightsError(
            f"{path}: no such file; a folder of save_pretrained has one; otherwise name the file "
            "with the state, --architecture and --encoder"
        ) from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected an object with the network's options")
    return content


def _refuse(path: Path, config: Mapping[str, Any], form: _Form) -> None:
    for option, ours in (_COMMON | dict(form.defaults)).items():
        told = config.get(option, ours)
        told = tuple(told) if isinstance(told, list) else told
        if told != ours and not (isinstance(ours, tuple) and told in ours):
            raise WeightsError(
                f"{path}: {option}={told!r} is not supported; only {ours!r} can be imported"
            )


_COMMON: dict[str, object] = {"aux_params": None}


def _convert(
    tensors: dict[str, Tensor], config: Mapping[str, Any], form: _Form, encoder: str
) -> Imported:
    head = tensors[f"{_HEAD}weight"]
    outputs = head.shape[0]
    state, name = _encoder(tensors, encoder, form)
    for key, value in tensors.items():
        if not key.startswith("encoder."):
            state[_renamed(key, form)] = value
    if outputs == 1:  # the softmax of (0, z) is the sigmoid of z
        for key, value in list(state.items()):
            if key in (_renamed(f"{_HEAD}weight", form), _renamed(f"{_HEAD}bias", form)):
                state[key] = torch.cat([torch.zeros_like(value), value])
    arguments: dict[str, object] = {
        "encoder": name,
        **form.arguments(tensors, config),
        "in_channels": _bands(state),
        "classes": max(2, outputs),
    }
    if form.architecture.startswith("deeplab") and not encoder.startswith("tu-"):
        arguments["dilate_first"] = True
    with torch.device("meta"):
        model = build(form.architecture, arguments)
    if form.architecture == "pspnet":  # smp keeps the stages that it does not use
        own = model.state_dict()
        state = {k: v for k, v in state.items() if k in own or not k.startswith("encoder.")}
    check_state(model, state, encoder)
    return Imported(form.architecture, arguments, state, outputs)


def _encoder(
    tensors: Mapping[str, Tensor], encoder: str, form: _Form
) -> tuple[dict[str, Tensor], str]:
    """The encoder's tensors under our names, and its name in timm."""
    inside = {
        key.removeprefix("encoder."): value
        for key, value in tensors.items()
        if key.startswith("encoder.")
    }
    if encoder.startswith("tu-"):
        name = encoder.removeprefix("tu-")
        state = {key.removeprefix("model."): value for key, value in inside.items()}
    elif encoder in _RESNETS:
        name, state = encoder, inside
    elif encoder == "mobilenet_v2":
        # smp's last feature is the 1280-wide layer; PSPNet does not get that far.
        name = "mobilenetv2_100" + ("" if form.architecture == "pspnet" else "+head")
        state = timm_keys({key.removeprefix("features."): v for key, v in inside.items()})
    else:
        raise WeightsError(
            f"encoder {encoder}: smp's own form of it cannot be imported; those that can are "
            f"{', '.join(ENCODERS)}"
        )
    return {f"encoder.net.{key}": value for key, value in state.items()}, name


def _renamed(key: str, form: _Form) -> str:
    for pattern, ours in form.names:
        new, found = re.subn(rf"^{pattern}", ours, key)
        if found:
            return new
    return key


def _bands(state: Mapping[str, Tensor]) -> int:
    """Bands of the image: what the encoder's first filter takes."""
    return next(value for value in state.values() if value.ndim == 4).shape[1]


def _width(tensors: Mapping[str, Tensor], key: str) -> int:
    return tensors[key].shape[0]


def _unet(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, object]:
    widths: list[int] = []
    while (key := f"decoder.blocks.{len(widths)}.conv1.0.weight") in tensors:
        widths.append(_width(tensors, key))
    return {"decoder_channels": widths}


def _fpn(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, object]:
    channels = _width(tensors, "decoder.seg_blocks.0.block.0.block.0.weight")
    return {
        "pyramid_channels": _width(tensors, "decoder.p5.weight"),
        "channels": channels,
        "concatenate": tensors[f"{_HEAD}weight"].shape[1] != channels,
        "smooth": False,
        "align_corners": True,
        "dropout": config.get("decoder_dropout", 0.2),
    }


def _pspnet(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, object]:
    return {"form": "smp", "width": _width(tensors, "decoder.conv.0.weight")}


def _deeplab(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, object]:
    plus = "decoder.block1.0.weight" in tensors
    aspp = "decoder.aspp.0" if plus else "decoder.aspp" if _named(tensors) else "decoder.0"
    arguments: dict[str, object] = {
        "output_stride": config.get("encoder_output_stride", 16 if plus else 8),
        "channels": _width(tensors, f"{aspp}.project.0.weight"),
        "rates": tuple(config.get("decoder_atrous_rates", (12, 24, 36))),
        "separable": f"{aspp}.convs.1.0.0.weight" in tensors,
        "dropout": config.get("decoder_aspp_dropout", 0.5),
        "align_corners": True,
    }
    if plus:
        low = _width(tensors, "decoder.block1.0.weight")
        arguments |= {"decoder": "smp", "low_level_channels": low}
    return arguments


def _named(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the decoder's parts have names; before smp 0.4 they were numbered."""
    return any(key.startswith("decoder.aspp.") for key in tensors)


FORMS: dict[str, _Form] = {
    "Unet": _Form(
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
    "FPN": _Form(
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
    "PSPNet": _Form(
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
    "DeepLabV3": _Form(
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
    "DeepLabV3Plus": _Form(
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
