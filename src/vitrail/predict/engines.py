"""Which engine runs a network, by what the network finds."""

from __future__ import annotations

import torch

from vitrail.models.base import SemanticModel
from vitrail.models.instances import InstanceModel
from vitrail.models.registry import ARCHITECTURES
from vitrail.predict.device import Precision
from vitrail.predict.instances import InstanceNetwork
from vitrail.predict.network import Network
from vitrail.predict.network_params import DetectorParams, NetworkParams, Params
from vitrail.weights.card import Card


def params_of(card: Card) -> type[Params]:
    """The class of the parameters that a card's network takes."""
    entry = ARCHITECTURES.get(card.architecture)
    # Thresholds of detection are an argument of just those architectures that detect.
    detects = entry is not None and "detection" in entry.arguments.model_fields
    return DetectorParams if detects else NetworkParams


def engine_for(
    model: SemanticModel | InstanceModel,
    card: Card,
    *,
    device: torch.device,
    precision: Precision,
    params: Params | None = None,
) -> Network | InstanceNetwork:
    """A trained network ready to be called with images; ``params`` as :func:`params_of` says."""
    if isinstance(model, InstanceModel):
        params = params or DetectorParams.model_validate({})
        assert isinstance(params, DetectorParams)
        return InstanceNetwork(model, card, device=device, precision=precision, params=params)
    params = params or NetworkParams.model_validate({})
    assert isinstance(params, NetworkParams)
    return Network(model, card, device=device, precision=precision, params=params)
