"""What a Mask R-CNN learns from, and its five losses, against torchvision's own code.

The same seed draws the same anchors and regions, so whole terms are compared, samples included.
"""

from __future__ import annotations

from importlib.metadata import version
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import roi_heads
from torchvision.models.detection._utils import (
    BalancedPositiveNegativeSampler,
    BoxCoder,
    Matcher,
)
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss, maskrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import box_iou

from tests.models.maskrcnn.drawn_objects import ellipses, example, near
from vitrail.data.transforms import InstanceExample
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments, SamplingArguments
from vitrail.models.maskrcnn.boxes import decode, encode
from vitrail.models.maskrcnn.losses import head_losses, mask_loss, rpn_losses
from vitrail.models.maskrcnn.matching import match_boxes
from vitrail.models.maskrcnn.sampling import sample_regions

pytestmark = pytest.mark.parametrize(
    "seed", [0, 1, 2], ids=f"torchvision-{version('torchvision')}-{{}}".format
)
CLASSES = 5
SIDE = 128
ARGUMENTS = MaskRCNNArguments(
    classes=CLASSES, sampling=SamplingArguments(anchors=64, regions=48, regions_positive=0.5)
)


def targets_of(seed: int) -> list[InstanceExample]:
    generator = torch.Generator().manual_seed(seed)
    targets = []
    for count in (5, 1, 9):
        classes = torch.randint(CLASSES, (count,), generator=generator).tolist()
        masks = ellipses(count, size=(SIDE, SIDE), seed=10 * seed + count)
        targets.append(example(masks, classes, size=(SIDE, SIDE)))
    return targets


def test_matching(seed: int) -> None:
    truth = targets_of(seed)[2].boxes
    boxes = near(truth, 500, side=SIDE, seed=seed)
    iou, crowd = box_iou(truth, boxes), torch.zeros(len(truth), dtype=torch.bool)
    for low, high, low_quality in ((0.3, 0.7, True), (0.3, 0.7, False), (0.5, 0.5, False)):
        theirs = Matcher(high, low, low_quality)(iou.clone())
        ours = match_boxes(boxes, truth, crowd, low, high, allow_low_quality=low_quality)
        assert torch.equal(ours, theirs)
        assert len(theirs.unique()) > 3


def test_deltas(seed: int) -> None:
    truth = targets_of(seed)[2].boxes
    boxes = near(truth, len(truth) * 2, side=SIDE, seed=seed)[: len(truth)]
    for scale in ((1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)):
        coder = BoxCoder(scale)
        deltas = coder.encode_single(truth, boxes)
        torch.testing.assert_close(encode(truth, boxes, scale), deltas)
        torch.manual_seed(seed)
        noisy = deltas + torch.randn_like(deltas)
        torch.testing.assert_close(decode(noisy, boxes, scale), coder.decode_single(noisy, boxes))


def test_losses_of_proposals(seed: int) -> None:
    targets = targets_of(seed)
    anchors = near(torch.cat([target.boxes for target in targets]), 900, side=SIDE, seed=seed)
    torch.manual_seed(seed)
    objectness, deltas = torch.randn(3, 900), torch.randn(3, 900, 4)

    sampler = BalancedPositiveNegativeSampler(64, 0.5)
    theirs = SimpleNamespace(
        box_similarity=box_iou,
        proposal_matcher=Matcher(0.7, 0.3, allow_low_quality_matches=True),
        fg_bg_sampler=sampler,
    )
    labels, matched = RegionProposalNetwork.assign_targets_to_anchors(
        theirs, [anchors] * 3, [{"boxes": target.boxes} for target in targets]
    )
    goals = list(BoxCoder((1.0, 1.0, 1.0, 1.0)).encode(matched, [anchors] * 3))
    torch.manual_seed(seed)
    expected = RegionProposalNetwork.compute_loss(
        theirs, objectness.reshape(-1, 1), deltas.reshape(-1, 4), labels, goals
    )
    torch.manual_seed(seed)
    terms = rpn_losses(anchors, objectness, deltas, targets, ARGUMENTS)
    torch.testing.assert_close(tuple(terms.values()), expected)


class Heads(RoIHeads):
    """torchvision's, as far as they draw regions."""

    def __init__(self) -> None:
        none = nn.Identity()
        scale = (10.0, 10.0, 5.0, 5.0)
        super().__init__(none, none, none, 0.5, 0.5, 48, 0.5, scale, 0.05, 0.5, 100)


def test_losses_of_regions(seed: int) -> None:
    targets = targets_of(seed)
    proposals = [near(target.boxes, 200, side=SIDE, seed=seed) for target in targets]
    truth = [{"boxes": target.boxes, "labels": target.class_ids + 1} for target in targets]
    torch.manual_seed(seed)
    boxes, _, labels, goals = Heads().select_training_samples(proposals, truth)
    torch.manual_seed(seed)
    regions = sample_regions(proposals, targets, ARGUMENTS)

    def table(parts: list[Tensor], classes: Tensor) -> list[list[float]]:
        rows = torch.cat([torch.cat(parts), classes[:, None]], 1)
        return sorted(rows.tolist())

    assert [len(part) for part in regions.boxes] == [len(part) for part in boxes] == [48] * 3
    assert table(regions.boxes, regions.class_ids) == table(boxes, torch.cat(labels))

    # The same outputs, in their order and in ours: where each of our regions is among theirs.
    order: list[Tensor] = []
    for image, (ours, found) in enumerate(zip(regions.boxes, boxes, strict=True)):
        equal = (ours[:, None] == found[None]).all(2)
        assert (equal.sum(1) == 1).all()
        order.append(equal.int().argmax(1) + 48 * image)
    places = torch.cat(order)
    torch.manual_seed(seed)
    logits, deltas = torch.randn(144, CLASSES + 1), torch.randn(144, 4 * (CLASSES + 1))
    expected = fastrcnn_loss(logits, deltas, labels, goals)
    terms = head_losses(logits[places], deltas[places, 4:], regions, ARGUMENTS)
    torch.testing.assert_close(tuple(terms.values()), expected)


def test_loss_of_masks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what is learnt: torchvision's RoIAlign, half a pixel off, gives shares, no masks."""
    targets = targets_of(seed)
    proposals = [near(target.boxes, 200, side=SIDE, seed=seed) for target in targets]
    torch.manual_seed(seed)
    regions = sample_regions(proposals, targets, ARGUMENTS).with_masks(targets)
    logits = torch.randn(len(regions.class_ids), CLASSES, 28, 28)
    objects = regions.objects.split([len(boxes) for boxes in regions.boxes])
    arguments = (
        F.pad(logits, (0, 0, 0, 0, 1, 0), value=9.0),  # theirs has background first
        regions.boxes,
        [target.masks for target in targets],
        [target.class_ids + 1 for target in targets],
        list(objects),
    )
    found = mask_loss(logits, regions, targets, ARGUMENTS)
    assert len(logits) > 30 and abs(found - maskrcnn_loss(*arguments)) < 0.02

    project = roi_heads.project_masks_on_boxes

    def halved(masks: Tensor, boxes: Tensor, matched: Tensor, side: int) -> Tensor:
        return (project(masks, boxes - 0.5, matched, side) >= 0.5 - 1e-5).float()

    monkeypatch.setattr(roi_heads, "project_masks_on_boxes", halved)
    torch.testing.assert_close(found, maskrcnn_loss(*arguments))
