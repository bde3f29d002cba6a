"""Faster and Mask R-CNN against torchvision's with the same weights."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.drawn_rcnn import FUNCTIONS, networks
from vitrail.models.base import Frame
from vitrail.models.instances import Detections, RawDetections
from vitrail.models.maskrcnn.network import MaskRCNN
from vitrail.weights.importers.torchvision_detection import from_torchvision_detection

TORCHVISION = f"torchvision-{version('torchvision')}"
PROPOSALS, OBJECTS = 300, 40


class Run(NamedTuple):
    """The same images in both networks."""

    theirs: Any
    ours: MaskRCNN
    batch: Any
    frames: list[Frame]
    expected: list[dict[str, Tensor]]
    raw: RawDetections
    found: list[Detections]


@pytest.fixture(scope="module", params=FUNCTIONS, ids=lambda name: f"{TORCHVISION}-{name}")
def run(request: pytest.FixtureRequest) -> Run:
    theirs, ours = networks(request.param, 192, 300, proposals=PROPOSALS, objects=OBJECTS)
    dice = torch.Generator().manual_seed(5)
    images = [torch.rand(3, *size, generator=dice) for size in ((150, 230), (260, 170))]
    with torch.inference_mode():
        expected = theirs(images)
        batch, _ = theirs.transform(images)
        frames = [
            Frame((image.shape[1], image.shape[2]), size)
            for image, size in zip(images, batch.image_sizes, strict=True)
        ]
        raw = ours(batch.tensors)
        return Run(theirs, ours, batch, frames, expected, raw, ours.decode(raw, frames))


def test_proposals_are_equal(run: Run) -> None:
    with torch.inference_mode():
        expected, _ = run.theirs.rpn(run.batch, run.theirs.backbone(run.batch.tensors))
    proposals = run.ours.proposals(run.raw, run.frames, training=False)
    for one, two in zip(proposals, expected, strict=True):
        torch.testing.assert_close(one, two, atol=1e-2, rtol=0)


def test_boxes_scores_and_classes_are_equal(run: Run) -> None:
    for found, expected in zip(run.found, run.expected, strict=True):
        assert len(found.boxes) == len(expected["boxes"]) >= 24
        torch.testing.assert_close(found.boxes, expected["boxes"], atol=1e-2, rtol=0)
        torch.testing.assert_close(found.scores, expected["scores"], atol=1e-4, rtol=0)
        assert torch.equal(found.class_ids, expected["labels"] - 1)
        assert len(found.class_ids.unique()) > 1


def test_masks_are_equal(run: Run) -> None:
    for found, expected in zip(run.found, run.expected, strict=True):
        if found.masks is None:
            assert "masks" not in expected
            continue
        ours, theirs = found.masks.dense(), expected["masks"][:, 0].numpy() >= 0.5
        shared = (ours & theirs).sum((1, 2))
        either = (ours | theirs).sum((1, 2))
        assert np.median(either) > 200
        # IoU >= 0.999; a mask of fewer than 1,000 px may differ in one, by rounding.
        assert (either - shared <= np.maximum(0.001 * either, 1)).all()


def test_each_tensor_has_its_place(run: Run) -> None:
    state = run.ours.state_dict()
    assert all(
        torch.equal(state[n], t)
        for n, t in from_torchvision_detection(run.theirs.state_dict()).items()
    )
