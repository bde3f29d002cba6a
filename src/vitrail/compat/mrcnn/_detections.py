"""The network made ready to detect, and what it finds in the original's words."""

from __future__ import annotations

import copy

import numpy as np
import torch

from vitrail.compat.mrcnn._network import preprocessing_of
from vitrail.compat.mrcnn.config import Config
from vitrail.models.instances import Detections, InstanceModel
from vitrail.predict.device import pick_device, pick_precision
from vitrail.predict.ready import make_ready

Detected = dict[str, np.ndarray]
"""What was found in an image: ``rois``, ``class_ids``, ``scores``, ``masks``."""


def prepared(network: InstanceModel, config: Config, device: str, precision: str) -> InstanceModel:
    """A copy of a network in evaluation mode, on a device, in a number format.

    In float32 it is left as it is. Folding its norms and another order in memory are faster, but
    round otherwise, and the original's way of cutting out regions makes the last bit of a box at
    the border count (:func:`vitrail.nn.roi.crop_and_resize`).
    """
    where = pick_device(device)
    number_format = pick_precision(precision, where)
    network = copy.deepcopy(network)
    if number_format == "float32":
        network = network.to(where, memory_format=torch.contiguous_format)  # pyright: ignore
        return network.eval()
    preprocessing = preprocessing_of(config)
    ready = make_ready(network, preprocessing, device=where, precision=number_format)
    assert isinstance(ready, InstanceModel)
    return ready


def told(found: Detections) -> Detected:
    """Detections as the original returns them."""
    assert found.masks is not None  # the configuration always has a mask head
    x1, y1, x2, y2 = found.boxes.round().int().numpy().T
    dense = found.masks.dense()
    return {
        "rois": np.stack([y1, x1, y2, x2], axis=1).astype(np.int32),
        "class_ids": (found.class_ids.numpy() + 1).astype(np.int32),
        "scores": found.scores.numpy().astype(np.float32),
        "masks": np.ascontiguousarray(dense.transpose(1, 2, 0)),
    }
