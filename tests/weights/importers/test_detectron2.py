"""detectron2's states against its computation written out with its own names.

detectron2 itself is not installed with the tests: the forward pass below follows its
``modeling/backbone/resnet.py`` and ``fpn.py``, ``proposal_generator/rpn.py`` and
``roi_heads/{box_head,fast_rcnn,mask_head}.py`` (version 0.6), tensor by tensor.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vitrail.errors import WeightsError
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.build import build_mask_rcnn
from vitrail.models.maskrcnn.families import FAMILIES
from vitrail.models.maskrcnn.network import MaskRCNN
from vitrail.weights.files import load_state, write_tensors
from vitrail.weights.importers import tensors_for
from vitrail.weights.importers.detectron2 import from_detectron2
from vitrail.weights.importers.tensors import read_any_tensors
from vitrail.weights.published import PUBLISHED

CLASSES, PYRAMID, WIDTH, BLOCKS = 3, 16, 24, (2, 2, 2, 2)
"""A ResNet of bottlenecks, as ResNet-50, with fewer of them: timm's ``resnet26``."""
MEAN = (103.53, 116.28, 123.675)
"""Blue, green, red: ``MODEL.PIXEL_MEAN``; ``MODEL.PIXEL_STD`` is 1."""


class Drawn:
    """A state with detectron2's names, its values drawn so that the signal keeps its strength."""

    def __init__(self) -> None:
        self.dice = torch.Generator().manual_seed(0)
        self.state: dict[str, Tensor] = {}

    def normal(self, *shape: int, spread: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=self.dice) * spread

    def conv(self, name: str, out: int, into: int, side: int, *, norm: bool = False) -> None:
        self.state[f"{name}.weight"] = self.normal(
            out, into, side, side, spread=(2 / (into * side * side)) ** 0.5
        )
        if not norm:
            self.state[f"{name}.bias"] = self.normal(out, spread=0.1)
            return
        for part, low in (("weight", 0.4), ("bias", -0.2), ("running_mean", -0.2)):
            drawn = torch.rand(out, generator=self.dice)
            self.state[f"{name}.norm.{part}"] = low + drawn * 0.4
        self.state[f"{name}.norm.running_var"] = 0.5 + torch.rand(out, generator=self.dice)

    def linear(self, name: str, out: int, into: int) -> None:
        self.state[f"{name}.weight"] = self.normal(out, into, spread=(2 / into) ** 0.5)
        self.state[f"{name}.bias"] = self.normal(out, spread=0.1)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    drawn = Drawn()
    drawn.conv("backbone.bottom_up.stem.conv1", 64, 3, 7, norm=True)
    before = 64
    for stage, blocks in enumerate(BLOCKS):
        width = 64 << stage
        for block in range(blocks):
            name = f"backbone.bottom_up.res{stage + 2}.{block}"
            if block == 0:
                drawn.conv(f"{name}.shortcut", 4 * width, before, 1, norm=True)
            drawn.conv(f"{name}.conv1", width, before, 1, norm=True)
            drawn.conv(f"{name}.conv2", width, width, 3, norm=True)
            drawn.conv(f"{name}.conv3", 4 * width, width, 1, norm=True)
            before = 4 * width
        drawn.conv(f"backbone.fpn_lateral{stage + 2}", PYRAMID, before, 1)
        drawn.conv(f"backbone.fpn_output{stage + 2}", PYRAMID, PYRAMID, 3)
    drawn.conv("proposal_generator.rpn_head.conv", PYRAMID, PYRAMID, 3)
    drawn.conv("proposal_generator.rpn_head.objectness_logits", 3, PYRAMID, 1)
    drawn.conv("proposal_generator.rpn_head.anchor_deltas", 12, PYRAMID, 1)
    drawn.linear("roi_heads.box_head.fc1", WIDTH, PYRAMID * 49)
    drawn.linear("roi_heads.box_head.fc2", WIDTH, WIDTH)
    drawn.linear("roi_heads.box_predictor.cls_score", CLASSES + 1, WIDTH)
    drawn.linear("roi_heads.box_predictor.bbox_pred", CLASSES * 4, WIDTH)
    for number in range(1, 5):
        drawn.conv(f"roi_heads.mask_head.mask_fcn{number}", PYRAMID, PYRAMID, 3)
    drawn.conv("roi_heads.mask_head.deconv", PYRAMID, PYRAMID, 2)
    drawn.conv("roi_heads.mask_head.predictor", CLASSES, PYRAMID, 1)
    drawn.state["pixel_mean"] = torch.tensor(MEAN).view(3, 1, 1)
    drawn.state["pixel_std"] = torch.ones(3, 1, 1)
    for level in range(5):
        drawn.state[f"proposal_generator.anchor_generator.cell_anchors.{level}"] = torch.zeros(3, 4)
    return drawn.state


@pytest.fixture(scope="module")
def network(state: dict[str, Tensor]) -> MaskRCNN:
    values = {
        **FAMILIES["detectron2"],
        **{"encoder": "resnet26", "classes": CLASSES, "pyramid_channels": PYRAMID},
        **{"rpn_channels": PYRAMID, "box_width": WIDTH, "mask_channels": PYRAMID},
    }
    model = build_mask_rcnn(MaskRCNNArguments.model_validate(values))
    load_state(model, from_detectron2(state), "drawn")
    return model.eval()


def conv(state: dict[str, Tensor], name: str, x: Tensor, stride: int = 1) -> Tensor:
    """detectron2's ``Conv2d`` with its norm, a ``FrozenBatchNorm2d`` (eps 1e-5)."""
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
    x = F.conv2d(x, weight, bias, stride=stride, padding=weight.shape[-1] // 2)
    if f"{name}.norm.weight" not in state:
        return x
    parts = ("weight", "bias", "running_mean", "running_var")
    scale, shift, mean, var = (state[f"{name}.norm.{part}"].view(-1, 1, 1) for part in parts)
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


def pyramid(state: dict[str, Tensor], blue_first: Tensor) -> list[Tensor]:
    """p2 to p6 of bytes ``(B, 3, H, W)``."""
    name = "backbone.bottom_up"
    x = blue_first - state["pixel_mean"]
    x = F.max_pool2d(conv(state, f"{name}.stem.conv1", x, 2).relu(), 3, stride=2, padding=1)
    stages: list[Tensor] = []
    for stage, blocks in enumerate(BLOCKS):
        for block in range(blocks):
            here = f"{name}.res{stage + 2}.{block}"
            stride = 2 if block == 0 and stage else 1  # in the first 1x1: STRIDE_IN_1X1
            inner = conv(state, f"{here}.conv1", x, stride).relu()
            inner = conv(state, f"{here}.conv3", conv(state, f"{here}.conv2", inner).relu())
            x = (inner + (x if block else conv(state, f"{here}.shortcut", x, stride))).relu()
        stages.append(x)
    top = None
    levels: list[Tensor] = []
    for number in (5, 4, 3, 2):
        lateral = conv(state, f"backbone.fpn_lateral{number}", stages[number - 2])
        top = lateral if top is None else lateral + F.interpolate(top, scale_factor=2.0)
        levels.insert(0, conv(state, f"backbone.fpn_output{number}", top))
    return [*levels, F.max_pool2d(levels[-1], 1, stride=2)]


def test_every_tensor_lands_and_none_is_left(network: MaskRCNN, state: dict[str, Tensor]) -> None:
    converted = from_detectron2(state)
    own = {k for k in network.state_dict() if not k.endswith("num_batches_tracked")}
    assert converted.keys() == own
    dropped = [name for name in state if name.startswith("pixel_") or "cell_anchors" in name]
    assert len(converted) == len(state) - len(dropped) and len(dropped) == 7


@torch.inference_mode()
def test_pyramid_and_proposal_head_are_the_same(
    network: MaskRCNN, state: dict[str, Tensor]
) -> None:
    """From RGB bytes and the card's preprocessing on, against BGR bytes and detectron2's."""
    card = next(card for card in PUBLISHED if card.name == "maskrcnn-resnet50-detectron2-coco")
    pixels = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(1))
    mean = torch.tensor(card.preprocessing.mean).view(3, 1, 1)
    std = torch.tensor(card.preprocessing.std).view(3, 1, 1)
    raw = network((pixels / 255 - mean) / std)
    levels = pyramid(state, pixels.flip(1).float())
    head = "proposal_generator.rpn_head"
    for number, level in enumerate(levels):
        scale = level.abs().max()
        assert torch.allclose(raw.features[number], level, atol=1e-4 * float(scale))
        hidden = conv(state, f"{head}.conv", level).relu()
        for got, name in ((raw.objectness, "objectness_logits"), (raw.deltas, "anchor_deltas")):
            expected = conv(state, f"{head}.{name}", hidden)
            assert torch.allclose(got[number], expected, atol=1e-4 * float(expected.abs().max()))


@torch.inference_mode()
def test_heads_are_the_same(network: MaskRCNN, state: dict[str, Tensor]) -> None:
    """Background is the last of detectron2's scores, and the first of ours."""
    dice = torch.Generator().manual_seed(2)
    pooled = torch.randn(5, PYRAMID, 7, 7, generator=dice)
    x = pooled.flatten(1)
    for name in ("fc1", "fc2"):
        layer = f"roi_heads.box_head.{name}"
        x = F.linear(x, state[f"{layer}.weight"], state[f"{layer}.bias"]).relu()
    layer = "roi_heads.box_predictor"
    scores = F.linear(x, state[f"{layer}.cls_score.weight"], state[f"{layer}.cls_score.bias"])
    deltas = F.linear(x, state[f"{layer}.bbox_pred.weight"], state[f"{layer}.bbox_pred.bias"])
    own_scores, own_deltas = network.box_predictor(network.box_head(pooled))
    assert torch.allclose(own_scores[:, 0], scores[:, CLASSES], atol=1e-4)
    assert torch.allclose(own_scores[:, 1:], scores[:, :CLASSES], atol=1e-4)
    assert torch.allclose(own_deltas, deltas, atol=1e-4)
    assert network.mask_head is not None
    x = pooled = torch.randn(5, PYRAMID, 14, 14, generator=dice)
    for number in range(1, 5):
        x = conv(state, f"roi_heads.mask_head.mask_fcn{number}", x).relu()
    layer = "roi_heads.mask_head.deconv"
    x = F.conv_transpose2d(x, state[f"{layer}.weight"], state[f"{layer}.bias"], stride=2).relu()
    logits = F.conv2d(
        x,
        state["roi_heads.mask_head.predictor.weight"],
        state["roi_heads.mask_head.predictor.bias"],
    )
    assert torch.allclose(network.mask_head(pooled), logits, atol=1e-4)


@pytest.mark.parametrize("suffix", ["pkl", "pth"])
def test_both_of_its_files(suffix: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    """The zoo's arrays in a pickle, and what its trainer saves."""
    path = tmp_path / f"model_final.{suffix}"
    if suffix == "pkl":
        arrays = {name: value.numpy() for name, value in state.items()}
        path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo"}))
    else:
        torch.save({"model": state, "optimizer": {"state": {}}, "iteration": 269999}, path)
    found = from_detectron2(read_any_tensors(path))
    for name, value in from_detectron2(state).items():
        assert torch.equal(found[name], value), name


def test_norms_and_more_convolutions_find_their_places() -> None:
    """With ``MODEL.FPN.NORM``, ``RPN.CONV_DIMS`` and convolutions in the box head."""
    names = {
        "backbone.fpn_lateral3.weight": "pyramid.laterals.1.0.weight",
        "backbone.fpn_lateral3.norm.running_mean": "pyramid.laterals.1.1.running_mean",
        "backbone.fpn_lateral3.norm.weight": "pyramid.laterals.1.1.weight",
        "backbone.fpn_output5.weight": "pyramid.smooth.3.weight",
        "proposal_generator.rpn_head.conv.conv1.bias": "rpn.convs.1.bias",
        "roi_heads.box_head.conv2.weight": "box_head.convs.1.0.weight",
        "roi_heads.box_head.conv2.norm.weight": "box_head.convs.1.1.weight",
        "roi_heads.mask_head.mask_fcn4.weight": "mask_head.convs.3.weight",
        "backbone.bottom_up.res4.22.shortcut.norm.bias": "encoder.net.layer3.22.downsample.1.bias",
        "roi_heads.box_head.attention.weight": "roi_heads.box_head.attention.weight",
    }
    found = from_detectron2({name: torch.zeros(4) for name in names})
    assert list(found) == list(names.values())


def test_the_state_is_left_as_it_was(state: dict[str, Tensor]) -> None:
    before = {name: value.clone() for name, value in state.items()}
    from_detectron2(state)
    assert all(torch.equal(state[name], value) for name, value in before.items())


def test_other_states_are_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"not a network of detectron2's.*the first is 'a'"):
        from_detectron2({"a": torch.zeros(2)})
    with pytest.raises(WeightsError, match="there are no tensors"):
        from_detectron2({})
    rgb = torch.from_numpy(np.array(MEAN[::-1], "f4"))
    with pytest.raises(WeightsError, match=r"pixel_mean is 123\.675, .*expected 103\.53.*INPUT"):
        from_detectron2(state | {"pixel_mean": rgb})
    with pytest.raises(WeightsError, match=r"pixel_std is 57\.375"):
        from_detectron2(state | {"pixel_std": torch.full((3, 1, 1), 57.375)})


def test_a_file_for_the_card_of_the_zoo(state: dict[str, Tensor], tmp_path: Path) -> None:
    """Through the same door as the download: converted, checked, and kept as a file of ours."""
    published = next(card for card in PUBLISHED if card.name == "maskrcnn-resnet50-detectron2-coco")
    small = {
        **{"encoder": "resnet26", "classes": CLASSES, "pyramid_channels": PYRAMID},
        **{"rpn_channels": PYRAMID, "box_width": WIDTH, "mask_channels": PYRAMID},
    }
    card = published.model_copy(
        update={"arguments": published.arguments | small, "classes": ("a", "b", "c")}
    )
    path, kept = tmp_path / "model_final.pkl", tmp_path / "kept.safetensors"
    arrays = {name: value.numpy() for name, value in state.items()}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo"}))
    tensors = tensors_for(card, path)
    write_tensors(kept, tensors, card)
    again = tensors_for(card, kept)  # our names by now: nothing is turned round twice
    assert all(torch.equal(again[name], value) for name, value in tensors.items())
    assert torch.equal(
        again["encoder.net.conv1.weight"][:, 0],
        state["backbone.bottom_up.stem.conv1.weight"][:, 2],
    )
    path.write_bytes(pickle.dumps({"model": arrays | {"roi_heads.extra.weight": np.ones(3)}}))
    with pytest.raises(
        WeightsError, match=r"model_final\.pkl: .*too much roi_heads\.extra\.weight"
    ):
        tensors_for(card, path)
    path.write_bytes(pickle.dumps({"model": {"a": np.ones(3)}}))
    with pytest.raises(WeightsError, match=r"model_final\.pkl: not a network of detectron2's"):
        tensors_for(card, path)
