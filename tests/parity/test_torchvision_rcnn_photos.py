"""Mask R-CNN on photographs, from their pixels on, against torchvision's with the same weights."""

from __future__ import annotations

from importlib.metadata import version
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from tests.drawn_rcnn import networks
from vitrail.models.maskrcnn.network import MaskRCNN
from vitrail.predict.preprocess import to_batch
from vitrail.weights.card import Preprocessing

TORCHVISION = f"torchvision-{version('torchvision')}"
SIZES = {256: 427, 800: 1333}
"""Short side of the input, px, and the long one's limit; 800 is as published."""
PHOTOS = {
    "square": lambda: data.astronaut(),
    "cat": lambda: data.chelsea(),
    "cup": lambda: data.coffee(),
    "tall": lambda: data.rocket()[:, 180:460],
    "wide": lambda: data.immunohistochemistry()[100:290],
}
"""512 x 512, 300 x 451, 400 x 600, 427 x 280 and 190 x 512 px."""

pytestmark = pytest.mark.slow


@pytest.fixture(
    scope="module",
    params=product(["maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"], SIZES),
    ids=lambda given: f"{TORCHVISION}-{given[0]}-{given[1]}",
)
def both(request: pytest.FixtureRequest) -> tuple[Any, MaskRCNN, Preprocessing]:
    name, side = request.param
    fed = Preprocessing(
        image_size=side,
        max_side=SIZES[side],
        resize="short-side",
        interpolation="bilinear",
        pad_value="mean",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    return *networks(name, side, SIZES[side], proposals=300, objects=40), fed


@pytest.mark.parametrize("name", PHOTOS)
@torch.inference_mode()
def test_detections_are_torchvisions(name: str, both: tuple[Any, MaskRCNN, Preprocessing]) -> None:
    """Boxes to 0.01 px, scores to 1e-4, masks to an IoU of 0.999 (one pixel in small ones); in any
    order, since rounding decides between equal scores."""
    theirs, ours, fed = both
    photo = np.ascontiguousarray(PHOTOS[name]())
    (expected,) = theirs([torch.from_numpy(photo).permute(2, 0, 1).float() / 255])
    batch, frames = to_batch([photo], fed, stride=ours.stride)
    (found,) = ours.decode(ours(batch), frames)
    assert found.masks is not None
    assert len(found.boxes) == len(expected["boxes"]) >= 24
    # Drawn weights see one class alone in some of the larger inputs.
    assert fed.image_size == 800 or len(found.class_ids.unique()) > 1
    ours_masks, their_masks = found.masks.dense(), expected["masks"][:, 0].numpy() >= 0.5
    rest = list(range(len(found.boxes)))
    for box, score, label, mask in zip(
        expected["boxes"], expected["scores"], expected["labels"], their_masks, strict=True
    ):
        same = [
            at
            for at in rest
            if found.class_ids[at] == label - 1
            and (found.boxes[at] - box).abs().max() <= 1e-2
            and abs(found.scores[at] - score) <= 1e-4
        ]
        assert same, f"{box.tolist()} of class {label} is not among ours"
        either = (ours_masks[same[0]] | mask).sum()
        apart = (ours_masks[same[0]] ^ mask).sum()
        assert apart <= max(0.001 * either, 1)
        rest.remove(same[0])
