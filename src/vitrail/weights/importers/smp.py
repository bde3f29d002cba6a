"""Checkpoints of segmentation_models.pytorch (smp): Unet, FPN, PSPNet, DeepLabV3, DeepLabV3Plus.

https://github.com/qubvel-org/segmentation_models.pytorch (MIT), version 0.6.0. Read are a folder of
``save_pretrained`` (``config.json``, ``model.safetensors``) and a bare state. Widths and numbers of
classes and bands are read off the tensors; what cannot be seen there is the configuration's, or
smp's default. What our networks cannot do is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitrail.errors import UnknownNameError, VitrailError, WeightsError
from vitrail.models.registry import build
from vitrail.weights.files import check_state
from vitrail.weights.importers.mobilenetv2 import timm_keys
from vitrail.weights.importers.smp_forms import FORMS, HEAD, Form, outputs
from vitrail.weights.importers.tensors import read_any_tensors

_RESNETS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d"),
)
ENCODERS = (*_RESNETS, "mobilenet_v2", "tu-...")
"""Encoders of smp that are timm's too; ``tu-`` stands before timm's own names."""


@dataclass(frozen=True)
class Imported:
    """A network of smp's, as ours."""

    architecture: str
    arguments: dict[str, object]
    tensors: dict[str, Tensor]
    outputs: int
    """Channels of its logits: with 1, it told an object from the background, and so do the two
    logits that it has here."""


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
    architecture = architecture or _name(path, config, "_model_class")
    encoder = encoder or _name(path, config, "encoder_name")
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
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected an object with the network's options")
    return content


def _name(path: Path, config: Mapping[str, Any], option: str) -> str:
    """A name that a configuration tells; empty where it tells none."""
    told = config.get(option)
    if not isinstance(told, str | None):
        raise WeightsError(f"{path / 'config.json'}: {option}={told!r}: expected a name")
    return told or ""


def _refuse(path: Path, config: Mapping[str, Any], form: Form) -> None:
    for option, ours in (_COMMON | dict(form.defaults)).items():
        told = config.get(option, ours)
        told = tuple(told) if isinstance(told, list) else told
        if told != ours and not (isinstance(ours, tuple) and told in ours):
            raise WeightsError(
                f"{path}: {option}={told!r} is not supported; only {ours!r} can be imported"
            )


_COMMON: dict[str, object] = {"aux_params": None}


def _convert(
    tensors: dict[str, Tensor], config: Mapping[str, Any], form: Form, encoder: str
) -> Imported:
    channels = outputs(tensors)
    state, name = _encoder(tensors, encoder, form)
    for key, value in tensors.items():
        if not key.startswith("encoder."):
            state[form.renamed(key)] = value
    if channels == 1:  # the softmax of (0, z) is the sigmoid of z
        for key in (form.renamed(f"{HEAD}{part}") for part in ("weight", "bias")):
            if key in state:
                state[key] = torch.cat([torch.zeros_like(state[key]), state[key]])
    arguments: dict[str, object] = {
        "encoder": name,
        **form.arguments(tensors, config),
        "classes": max(2, channels),
    }
    if form.architecture.startswith("deeplab") and not encoder.startswith("tu-"):
        arguments["dilate_first"] = True
    bands = _bands(form, arguments, state)
    arguments["in_channels"] = bands
    model = _bare(form, arguments, bands)
    if form.architecture == "pspnet":  # smp keeps the stages that it does not use
        own = model.state_dict()
        state = {k: v for k, v in state.items() if k in own or not k.startswith("encoder.")}
    check_state(model, state, encoder)
    return Imported(form.architecture, arguments, state, channels)


def _encoder(
    tensors: Mapping[str, Tensor], encoder: str, form: Form
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


def _bands(form: Form, arguments: Mapping[str, object], state: Mapping[str, Tensor]) -> int:
    """Bands of the image: what the filters take whose shape depends on them.

    Where the state has no such filters, or not of that kind, the check of its fit says so.
    """
    three, four = (
        {
            key: tuple(value.shape)
            for key, value in _bare(form, arguments, bands).state_dict().items()
        }
        for bands in (3, 4)
    )
    for key, shape in three.items():
        more = [b - a for a, b in zip(shape, four[key], strict=True)]
        if any(more) and key in state and state[key].ndim == len(shape):
            axis = next(axis for axis, difference in enumerate(more) if difference)
            return max(1, state[key].shape[axis] // more[axis])
    return 3


def _bare(form: Form, arguments: Mapping[str, object], bands: int) -> nn.Module:
    with torch.device("meta"):
        return build(form.architecture, {**arguments, "in_channels": bands})
