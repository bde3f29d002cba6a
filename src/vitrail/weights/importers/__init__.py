"""Weights that other projects have written, under the names that our networks give their tensors.

Each module reads one project's files; none of them executes what a file contains.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vitrail.errors import WeightsError
from vitrail.models.registry import build
from vitrail.weights.card import Card
from vitrail.weights.files import check_state, read_tensors
from vitrail.weights.importers.tensors import read_any_tensors
from vitrail.weights.importers.torchvision import from_torchvision


def tensors_for(card: Card, path: Path) -> dict[str, Tensor]:
    """The tensors of a file for the network that a card describes, checked against it.

    Besides our own checkpoints it takes files in the layout in which the card's weights are
    published.

    Raises
    ------
    WeightsError
        the file cannot be read, is refused, or does not fit the network.
    """
    layout = "vitrail" if card.download is None else card.download.layout
    tensors = read_tensors(path) if layout == "vitrail" else read_any_tensors(path)
    if layout == "torchvision" and not any(name.startswith("encoder.") for name in tensors):
        try:
            tensors = from_torchvision(tensors, card.architecture)
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from None
    with torch.device("meta"):
        check_state(build(card.architecture, card.arguments), tensors, path)
    return tensors
