"""The network as a whole, and its stages one by one."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from vitrail.errors import ConfigError
from vitrail.models.base import Frame
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.build import SamePool, build_mask_rcnn
from vitrail.models.maskrcnn.families import FAMILIES
from vitrail.models.maskrcnn.network import MaskRCNN
from vitrail.models.summary import summarise

SMALL = {
    "classes": 3,
    "encoder": "resnet18",
    "pyramid_channels": 16,
    "rpn_channels": 16,
    "box_width": 32,
    "mask_channels": 16,
    "mask_convs": 1,
}
FRAMES = [Frame((96, 128), (96, 128))] * 2


def network(**values: object) -> MaskRCNN:
    torch.manual_seed(0)
    return build_mask_rcnn(MaskRCNNArguments.model_validate(SMALL | values)).eval()


def images() -> Tensor:
    return torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))


def test_levels_and_anchors() -> None:
    model = network()
    with torch.inference_mode():
        raw = model(images())
    assert [level.shape[-2:] for level in raw.features] == [
        (24, 32),
        (12, 16),
        (6, 8),
        (3, 4),
        (2, 2),
    ]
    assert torch.equal(raw.features[4], raw.features[3][:, :, ::2, ::2])
    anchors = model.anchors(raw)
    assert len(anchors) == 3 * sum(level[0, 0].numel() for level in raw.features)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centres[-1].tolist() == [64, 64]  # two features of stride 64 cover 96 and 128 px


def test_features_of_proposals_without_extent() -> None:
    for pooling in ("align", "pool", "crop-and-resize"):
        model = network(roi={"pooling": pooling})
        nothing = torch.rand(1000, 1, generator=torch.Generator().manual_seed(2)) * 90
        regions = [nothing.repeat(1, 4), nothing[:0].repeat(1, 4)]
        with torch.inference_mode():
            raw = model(images())
            scores, deltas = model.box_outputs(raw.features, regions)
            params = model.params.model_copy(update={"score_threshold": 0.0})
            found = model.detect(scores, deltas, regions, FRAMES, params)
        assert scores.shape == (1000, 4) and deltas.shape == (1000, 12)
        assert scores.isfinite().all()
        assert not len(found[0].boxes) and not len(found[1].boxes)  # no object without an area


def test_decode_is_made_of_the_stages() -> None:
    model = network()
    with torch.inference_mode():
        raw = model(images())
        proposals = model.proposals(raw, FRAMES, training=False)
        found = model.detect(*model.box_outputs(raw.features, proposals), proposals, FRAMES)
        decoded = model.decode(raw, FRAMES)
        boxes, classes = [one.boxes for one in found], [one.class_ids for one in found]
        small = model.mask_probabilities(raw.features, boxes, classes)
        logits = model.mask_logits(raw.features, boxes)
    for one, two in zip(found, decoded, strict=True):
        assert len(one.boxes) and torch.equal(one.boxes, two.boxes)
        assert torch.equal(one.scores, two.scores)
    assert small.shape == (sum(map(len, boxes)), 28, 28)
    every = logits.sigmoid()[torch.arange(len(small)), torch.cat(classes)]
    torch.testing.assert_close(small, every)


def test_more_objects_than_the_mask_head_takes_at_once() -> None:
    model = network(detection={"score_threshold": 0.0, "nms": 1.0, "max_detections": 150})
    with torch.inference_mode():
        raw = model(images())
        (first, second) = model.decode(raw, FRAMES)
        (alone,) = model.decode(
            raw._replace(
                **{
                    name: tuple(level[1:] for level in getattr(raw, name))
                    for name in ("features", "objectness", "deltas")
                }
            ),
            FRAMES[1:],
        )
    assert first.masks is not None and len(first.masks) == len(first.boxes) == 150
    assert second.masks == alone.masks


def test_padding_is_nowhere_told_as_an_object() -> None:
    frame = Frame(original=(60, 60), resized=(48, 48), corner=(20, 30))
    model = network(detection={"score_threshold": 0.0})
    with torch.inference_mode():
        raw = model(images()[:1])
        (proposals,) = model.proposals(raw, [frame], training=False)
        (found,) = model.decode(raw, [frame])
    assert len(proposals) and len(found.boxes)
    low, high = proposals.amin(0).tolist(), proposals.amax(0).tolist()
    assert low[0] >= 30 and low[1] >= 20 and high[2] <= 78 and high[3] <= 68
    assert found.boxes.min() >= 0 and found.boxes.max() <= 60
    assert found.boxes[:, 2:].max() > 50  # not the px of the batch, where all end at 78

    whole = network(proposals={"in_padding": True})
    with torch.inference_mode():
        (wide,) = whole.proposals(raw, [frame], training=False)
    assert wide[:, 0].min() < 30


def test_half_precision_runs_through() -> None:
    model = network(detection={"score_threshold": 0.0})
    with torch.inference_mode():
        raw = model(images())
        regions = model.proposals(raw, FRAMES, training=False)
        wide, _ = model.box_outputs(raw.features, regions)
        half = model.bfloat16()
        raw = half(images().bfloat16())
        narrow, _ = half.box_outputs(raw.features, regions)
        found = half.decode(raw, FRAMES)
    assert raw.features[0].dtype == narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float().softmax(1), wide.softmax(1), atol=0.02, rtol=0)
    assert all(one.boxes.dtype == one.scores.dtype == torch.float32 for one in found)


def test_frozen_norms_keep_their_statistics() -> None:
    for frozen in (True, False):
        model = network(frozen_norm=frozen, pyramid_norm=True).train()
        encoder = [m for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
        before = [norm.running_mean.clone() for norm in encoder if norm.running_mean is not None]
        model(images())
        after = [norm.running_mean for norm in encoder if norm.running_mean is not None]
        changed = [not torch.equal(one, two) for one, two in zip(before, after, strict=True)]
        assert any(changed) is not frozen
        assert all(norm.weight.requires_grad for norm in encoder)
        assert all(m.training for m in model.pyramid.modules())


@pytest.mark.parametrize("side", [7, 8])
def test_same_pool_pads_as_tensorflow(side: int) -> None:
    row = torch.arange(float(side)).expand(1, 1, side, side)
    # TensorFlow: 4 outputs for both; windows begin at -1 on odd sides and at 0 on even ones.
    expected = [1, 3, 5, 6] if side == 7 else [2, 4, 6, 7]
    assert SamePool()(row)[0, 0, 0].tolist() == expected


def test_published_resnets() -> None:
    arguments = FAMILIES["matterport"] | {"classes": 2, "encoder": "resnet50", "box_width": 8}
    with torch.device("meta"):
        model = build_mask_rcnn(MaskRCNNArguments.model_validate(arguments))
    blocks = [getattr(model.encoder.net, f"layer{stage}")[0] for stage in (1, 2, 3, 4)]
    assert [block.conv1.stride for block in blocks] == [(1, 1), (2, 2), (2, 2), (2, 2)]
    assert all(block.conv2.stride == (1, 1) for block in blocks)
    assert isinstance(model.encoder.net.maxpool, SamePool)
    norms = [m for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}
    assert model.rpn.convs[0].out_channels == 512


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_arguments(family: str) -> None:
    arguments = MaskRCNNArguments.model_validate(FAMILIES[family] | {"classes": 80})
    again = json.loads(json.dumps(FAMILIES[family]))  # as in a card
    assert MaskRCNNArguments.model_validate(again | {"classes": 80}) == arguments


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"anchors": {"sizes": [32, 64]}}, "anchors.sizes=.*expected 5"),
        ({"anchors": {"sizes": [4, 8, [16, 24], 32, 64]}}, "as many sizes at each level"),
        ({"anchors": {"ratios": []}}, "at least one of both"),
        ({"torchvision": True, "encoder": "mobilenetv3_small_100"}, "anchors.sizes=.*expected 3"),
        ({"torchvision": True}, "mobilenetv3_large_100 .*got encoder 'resnet18'"),
        ({"stride_in_1x1": True}, "stride_in_1x1: encoder='resnet18'"),
        ({"same_pool": True, "encoder": "mobilenetv2_050"}, "same_pool: encoder='mobilenetv2_050'"),
        ({"encoder": "mobilevit_xxs+head"}, "encoder"),
        ({"encoder": "vit_tiny_patch16_224"}, "encoder"),
        (
            {"encoder": "vgg11"},
            r"encoder='vgg11' has the strides .*expected stages at 4, 8, 16, 32",
        ),
    ],
)
def test_what_cannot_be_built(values: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        network(**values)


def test_heads_are_measured_with_the_rest() -> None:
    model = network(proposals={"kept": 50}, detection={"max_detections": 10})
    summary = summarise(model, 64, depth=1)
    layers = {layer.name: layer for layer in summary.layers}
    assert list(layers) == ["encoder", "pyramid", "rpn", "box_head", "box_predictor", "mask_head"]
    assert layers["box_head"].macs == 50 * (16 * 7 * 7 * 32 + 32 * 32)
    assert layers["mask_head"].outputs == ((10, 3, 28, 28),)
    assert summary.training_parameters == 0
    assert summary.regions == (50, 10)
    assert "50 proposals and 10 objects" in str(summary)
    assert summary.training > summary.peak
