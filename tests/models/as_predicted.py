"""A network as :mod:`vitrail.predict` runs it, beside the network itself."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from tests.drawn import discs
from vitrail.image import Image
from vitrail.models.base import SemanticModel
from vitrail.predict.network import Network
from vitrail.predict.network_params import NetworkParams
from vitrail.weights.card import Card

SIDE = 96
"""Of the picture, px: a multiple of every stride, so that nothing is padded."""


def share_of_equal_labels(
    model: SemanticModel, architecture: str, precision: Literal["float32", "bfloat16"]
) -> float:
    """Share of a picture's pixels that folded, fused and cast get the class they get plainly."""
    card = Card.model_validate(
        {
            **{"name": "drawn", "summary": "drawn", "architecture": architecture},
            **{"arguments": {}, "classes": [f"class {n}" for n in range(model.classes)]},
            **{"background": 0, "preprocessing": {"image_size": SIDE}},
            **{"training_data": "none", "training_command": "none"},
            "licences": {"code": "Apache-2.0", "weights": "none", "training_data": "none"},
        }
    )
    network = Network(
        model.eval(),
        card,
        device=torch.device("cpu"),
        precision=precision,
        params=NetworkParams.model_validate({}),
    )
    picture = discs(1, size=SIDE)[0][0]
    labels = network(Image(picture)).labels
    preprocessing = card.preprocessing
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
    mean, deviation = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
    )
    with torch.inference_mode():
        plain = model((pixels - mean) / deviation).logits.argmax(1)[0].numpy()
    assert len(np.unique(plain)) > 1  # one class everywhere would agree with anything
    return float(np.mean(labels == plain))
