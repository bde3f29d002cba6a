"""Weights that other projects have written, under the names that our networks give their tensors.

Each module reads one project's files; none of them executes what a file contains.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor

from vitrail.errors import ConfigError, UnknownNameError, WeightsError
from vitrail.models.registry import build, validate_arguments
from vitrail.weights.card import Card
from vitrail.weights.files import check_state, read_tensors
from vitrail.weights.header import CARD_KEY, read_card, read_metadata
from vitrail.weights.importers.tensors import read_any_tensors
from vitrail.weights.importers.torchvision import from_torchvision


def tensors_for(card: Card, path: Path) -> dict[str, Tensor]:
    """The tensors of a file for the network that a card describes, checked against it.

    Besides our own checkpoints it takes files in the layout in which the card's weights are
    published.

    Raises
    ------
    WeightsError
        the file cannot be read, is refused, does not fit the network, or holds a card of its own
        that describes another one.
    """
    layout = "vitrail" if card.download is None else card.download.layout
    if layout == "vitrail" or path.suffix == ".safetensors":
        _check_card(card, path)
    if layout == "matterport" and path.suffix != ".safetensors":
        from vitrail.weights.importers.matterport import read_whole_matterport

        tensors = read_whole_matterport(path).tensors
    else:
        tensors = read_tensors(path) if layout == "vitrail" else read_any_tensors(path)
        if not any(name.startswith("encoder.") for name in tensors):  # else they are ours already
            try:
                tensors = converted(tensors, layout, card.architecture)
            except WeightsError as error:
                raise WeightsError(f"{path}: {error}") from None
    with torch.device("meta"):
        check_state(build(card.architecture, card.arguments), tensors, path)
    return tensors


def converted(tensors: dict[str, Tensor], layout: str, architecture: str) -> dict[str, Tensor]:
    """Another project's tensors under our names.

    Raises
    ------
    WeightsError
        they are not of such a network.
    """
    # Here and not above: a model that ships with us needs none of these.
    if layout == "torchvision":
        return from_torchvision(tensors, architecture)
    if layout == "torchvision-detection":
        from vitrail.weights.importers.torchvision_detection import from_torchvision_detection

        return from_torchvision_detection(tensors)
    if layout == "detectron2":
        from vitrail.weights.importers.detectron2 import from_detectron2

        return from_detectron2(tensors)
    return tensors


def _check_card(card: Card, path: Path) -> None:
    """Refuse a checkpoint whose own card describes another network, or the same of other classes.

    Its tensors may have the same shapes all the same: what is called a cat there would be called a
    dog here.
    """
    if CARD_KEY not in read_metadata(path):
        return
    own = read_card(path)
    try:
        fault = _difference(own, card)
    except (UnknownNameError, ConfigError) as error:
        raise WeightsError(f"{path}: its card describes no network we know: {error}") from None
    if fault:
        raise WeightsError(
            f"{path}: is another network than {card.name}: {fault}; load it as what it is, with "
            f"vitrail.load({str(path)!r})"
        )


def _difference(own: Card, card: Card) -> str:
    """In what a card describes another network than the one wanted; nothing if in nothing."""
    if own.architecture != card.architecture:
        return _told("the architecture", own.architecture, card.architecture)
    theirs = validate_arguments(own.architecture, own.arguments).model_dump()
    wanted = validate_arguments(card.architecture, card.arguments).model_dump()
    wanted.pop("detection", None)  # thresholds: neither tensors nor classes hang on them
    for name, value in wanted.items():
        if theirs[name] != value:
            return _told(name, theirs[name], value)
    for number, (mine, other) in enumerate(zip_longest(own.classes, card.classes)):
        if mine != other:
            return _told(f"class {number}", mine, other)
    if own.background != card.background:
        return _told("the background", own.background, card.background)
    for name in ("mean", "std"):  # of what it is fed with
        mine, other = getattr(own.preprocessing, name), getattr(card.preprocessing, name)
        if mine != other:
            return _told(name, mine, other)
    return ""


def _told(what: str, own: object, wanted: object) -> str:
    return f"{what} is {own!r}, expected {wanted!r}"
