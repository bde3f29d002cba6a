"""Other projects' checkpoints made ours: a file of safetensors with a card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from vitrail.errors import ParameterError, UnknownNameError, WeightsError
from vitrail.models.registry import build
from vitrail.weights.card import Card
from vitrail.weights.files import check_state, write_tensors
from vitrail.weights.importers.adopt_detector import DETECTORS
from vitrail.weights.importers.adopted import ClassNames, adopted_card, preprocessing_of
from vitrail.weights.importers.smp import Imported, read_smp
from vitrail.weights.importers.smp_forms import FORMS
from vitrail.weights.importers.tensors import read_any_tensors
from vitrail.weights.importers.torchvision import from_torchvision
from vitrail.weights.published import PUBLISHED

TORCHVISION = {
    "fcn_resnet50": "fcn-resnet50-coco",
    "fcn_resnet101": "fcn-resnet101-coco",
    "deeplabv3_resnet50": "deeplabv3-resnet50-coco",
    "deeplabv3_resnet101": "deeplabv3-resnet101-coco",
    "deeplabv3_mobilenet_v3_large": "deeplabv3-mobilenetv3-coco",
    "lraspp_mobilenet_v3_large": "lraspp-mobilenetv3-coco",
}
"""torchvision's functions, and the published weights whose network is the same."""

NOT_RGB = "takes {bands} bands, and only RGB networks predict pictures: this one cannot be run"
"""Said of an imported network whose weights are kept, but which nothing can be predicted with."""

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def import_checkpoint(
    path: Path,
    out: Path,
    classes: ClassNames,
    *,
    architecture: str = "",
    encoder: str = "",
    image_size: int = 512,
    resize: str = "long-side",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Card:
    """Write a checkpoint of smp or torchvision as one of ours.

    Parameters
    ----------
    path
        what :func:`~vitrail.weights.importers.smp.read_smp` takes, or a ``.pth`` or
        ``.safetensors`` file with the state of one of torchvision's networks.
    out
        the ``.safetensors`` file to write; its card is named after it.
    classes
        names in the order of the network's outputs; nothing in the file tells them.
    architecture, encoder
        smp's name of the network (:data:`~vitrail.weights.importers.smp_forms.FORMS`) and of the
        encoder, where the file does not say; or torchvision's (:data:`TORCHVISION`).
    image_size, resize, mean, std
        how the network was fed, see :class:`~vitrail.weights.card.Preprocessing`; mean and
        standard deviation are by default ImageNet's for three bands, and 0.5 for others.

    Raises
    ------
    WeightsError
        the file cannot be read, is refused, or does not fit.
    UnknownNameError, ParameterError
        no such architecture or encoder, or class names that do not fit the network.
    OutputError
        ``out`` cannot be written.
    """
    if architecture in DETECTORS:
        raise ParameterError(
            f"{architecture} finds objects; import_detector in "
            "vitrail.weights.importers.adopt_detector takes it"
        )
    if architecture and architecture not in (*TORCHVISION, *FORMS):
        known = (*FORMS, *TORCHVISION, *DETECTORS)
        raise UnknownNameError("architecture to import", architecture, known)
    if architecture in TORCHVISION:
        imported = _read_torchvision(path, architecture)
    else:
        imported = read_smp(path, architecture=architecture, encoder=encoder)
    names, told = _names(path, imported, classes)
    bands = int(str(imported.arguments["in_channels"]))
    usual = _IMAGENET if bands == 3 else {"mean": (0.5,) * bands, "std": (0.5,) * bands}
    values = {"image_size": image_size, "resize": resize, "mean": mean, "std": std}
    told_values = {name: value for name, value in values.items() if value is not None}
    preprocessing = preprocessing_of(usual | told_values)
    if len(preprocessing.mean) != bands:
        raise ParameterError(
            f"mean and std have {len(preprocessing.mean)} values, the network of {path} {bands} "
            "bands; give one value for each"
        )
    not_rgb = "" if bands == 3 else f"; {NOT_RGB.format(bands=bands)}"
    source = architecture or imported.architecture
    card = adopted_card(
        out,
        summary=f"{imported.architecture} imported from {path.name} ({source})",
        architecture=imported.architecture,
        arguments=imported.arguments,
        classes=names,
        background=0 if imported.outputs == 1 else _index(names, "background"),
        preprocessing=preprocessing,
        limits=f"the preprocessing is what the import was told or assumed{told}{not_rgb}",
    )
    write_tensors(out, imported.tensors, card)
    return card


def _read_torchvision(path: Path, function: str) -> Imported:
    card = next(card for card in PUBLISHED if card.name == TORCHVISION[function])
    tensors = read_any_tensors(path)
    last = "classifier.low_classifier" if card.architecture == "lraspp" else "classifier.4"
    if f"{last}.weight" not in tensors:
        raise WeightsError(
            f"{path}: has no tensor {last}.weight; it is not the state of torchvision's {function}"
        )
    shape = tuple(tensors[f"{last}.weight"].shape)
    if len(shape) != 4:
        raise WeightsError(f"{path}: {last}.weight has the shape {shape}, expected 4 dimensions")
    outputs = shape[0]
    arguments = {**card.arguments, "classes": outputs, "in_channels": 3}
    if "auxiliary" in arguments:
        arguments["auxiliary"] = any(name.startswith("aux_classifier.") for name in tensors)
    try:
        state = from_torchvision(tensors, card.architecture)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    with torch.device("meta"):
        check_state(build(card.architecture, arguments), state, path)
    # The softmax of torchvision's single output would say the same of every pixel.
    if outputs == 1:
        raise WeightsError(f"{path}: has one output, and torchvision's networks have two or more")
    return Imported(card.architecture, arguments, state, outputs)


def _names(path: Path, imported: Imported, given: ClassNames) -> tuple[tuple[str, ...], str]:
    """The classes' names, and what the card shall say of them."""
    count = int(str(imported.arguments["classes"]))
    what = f"{path}: the network tells {count} classes apart"
    if imported.outputs == 1:
        what += " (its one output is an object against the background, which comes first)"
    return given.of(count, what)


def _index(names: tuple[str, ...], name: str) -> int | None:
    return names.index(name) if name in names else None
