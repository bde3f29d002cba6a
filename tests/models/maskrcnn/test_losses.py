"""The losses of a two-stage detector on small outputs: values by hand, and that they are finite."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from tests.models.maskrcnn.drawn_objects import ellipses, example, near, rectangle
from vitrail.data.transforms import InstanceExample
from vitrail.models.base import Frame
from vitrail.models.instances import RawDetections
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments, SamplingArguments
from vitrail.models.maskrcnn.boxes import encode
from vitrail.models.maskrcnn.build import build_mask_rcnn
from vitrail.models.maskrcnn.losses import head_losses, mask_loss, rcnn_loss, rpn_losses
from vitrail.models.maskrcnn.sampling import Regions, sample_regions

SIDE = 64
ARGUMENTS = MaskRCNNArguments(classes=3, rpn_delta_scale=(10, 10, 5, 5))
TERMS = {"rpn_class", "rpn_bbox", "class", "bbox", "mask"}


class Outputs(nn.Module):
    """A network whose outputs are a parameter each, for regions a row for each."""

    def __init__(self, images: int, arguments: MaskRCNNArguments, proposals: list[Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.arguments, self.found = arguments, proposals
        self.objectness = nn.ParameterList(torch.randn(images, 3, n, n) for n in (8, 4))
        self.deltas = nn.ParameterList(torch.randn(images, 12, n, n) for n in (8, 4))
        self.scores = nn.Parameter(torch.randn(4096, 1 + arguments.classes))
        self.box_deltas = nn.Parameter(torch.randn(4096, 4 * arguments.classes))
        self.masks = nn.Parameter(torch.randn(256, arguments.classes, 28, 28))

    def raw(self) -> RawDetections:
        return RawDetections((), tuple(self.objectness), tuple(self.deltas), (SIDE, SIDE))

    def anchors(self, raw: RawDetections) -> Tensor:
        levels = []
        for level, side in zip(raw.objectness, (16.0, 32.0), strict=True):
            stride = SIDE / level.shape[-1]
            at = torch.arange(level.shape[-1]) * stride
            y, x = torch.meshgrid(at, at, indexing="ij")
            centres = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4)
            half = side / 2 * torch.tensor([[1, 2], [1, 1], [2, 1]])
            levels.append((centres + torch.cat([-half, half], 1)).flatten(0, 1))
        return torch.cat(levels)

    def proposals(
        self, raw: RawDetections, frames: Sequence[Frame], *, training: bool
    ) -> list[Tensor]:
        assert training and all(frame == ((SIDE, SIDE), (SIDE, SIDE), (0, 0)) for frame in frames)
        return self.found

    def box_outputs(self, features: object, boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        count = sum(map(len, boxes))
        return self.scores[:count], self.box_deltas[:count]

    def mask_logits(self, features: object, boxes: Sequence[Tensor]) -> Tensor:
        return self.masks[: sum(map(len, boxes))]


FLAT = example([rectangle(10, 10, 40, 40), rectangle(30, 30, 50, 50)])
FLAT = FLAT._replace(boxes=torch.tensor([[10.0, 10, 10, 40], [30, 30, 30, 30]]))
SAME = [torch.tensor([[5.0, 5, 30, 30]]).repeat(60, 1)]
BATCHES: dict[str, tuple[list[InstanceExample], list[Tensor] | None]] = {
    "objects": ([example(ellipses(4, seed=1), [0, 1, 2, 0]), example(ellipses(2, seed=2))], None),
    "no truth": ([example(), example()], None),
    "one without truth": ([example(ellipses(3)), example()], None),
    "no proposals": ([example(ellipses(3))], [torch.zeros(0, 4)]),
    "neither": ([example()], [torch.zeros(0, 4)]),
    "only crowds": ([example(ellipses(2), crowd=[0, 1])], None),
    "a crowd of all": ([example([rectangle(0, 0, SIDE, SIDE)], crowd=[0])], None),
    "only boxes": ([example(ellipses(3), boxed=[0, 1, 2])], None),
    "no area": ([FLAT], None),
    "one pixel": ([example([rectangle(20, 20, 21, 21)])], None),
    "same proposals": ([example([rectangle(5, 5, 30, 30)])], SAME),
    "same, no truth": ([example()], SAME),
    "empty proposals": ([example(ellipses(3))], [torch.full((1000, 4), 7.0)]),
}


@pytest.mark.parametrize("inclusive", [False, True], ids=["", "inclusive"])
@pytest.mark.parametrize("name", BATCHES)
def test_finite_and_every_output_has_a_gradient(name: str, inclusive: bool) -> None:
    targets, proposals = BATCHES[name]
    if proposals is None:
        proposals = [near(target.boxes, 50, side=SIDE, seed=n) for n, target in enumerate(targets)]
    arguments = ARGUMENTS.model_copy(update={"inclusive": inclusive})
    network = Outputs(len(targets), arguments, proposals)
    terms = rcnn_loss(network, network.raw(), targets)
    assert set(terms) == TERMS
    for term, value in terms.items():
        assert value.shape == () and value.dtype == torch.float32, term
        assert value.isfinite() and value >= 0, term
    torch.stack(list(terms.values())).sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()
    nothing_left = {
        "no truth": {"rpn_bbox", "bbox", "mask"},
        "same, no truth": {"rpn_bbox", "bbox", "mask"},
        "only crowds": {"rpn_bbox", "bbox", "mask"},
        "only boxes": {"mask"},
        "no area": {"rpn_bbox", "bbox", "mask"},
        "neither": {"rpn_bbox", "class", "bbox", "mask"},
        "a crowd of all": TERMS - {"rpn_class", "class"},
    }
    zero = {term for term, value in terms.items() if value == 0}
    if name in nothing_left:
        assert zero - {"class"} == nothing_left[name] - {"class"}
    elif name != "one pixel" or not inclusive:  # which then has no area
        assert not zero


def test_a_crowd_over_everything_leaves_nothing() -> None:
    """Anchors are clipped by nothing, so a crowd that holds them all is wider than the image."""
    target = example([rectangle(0, 0, SIDE, SIDE)], crowd=[0])
    target = target._replace(boxes=torch.tensor([[-99.0, -99, 199, 199]]))
    network = Outputs(1, ARGUMENTS, [near(target.boxes[:0], 20, side=SIDE)])
    terms = rcnn_loss(network, network.raw(), [target])
    assert all(value == 0 for value in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_without_masks_there_are_four_terms() -> None:
    arguments = ARGUMENTS.model_copy(update={"masks": False})
    network = Outputs(1, arguments, [torch.zeros(0, 4)])
    assert set(rcnn_loss(network, network.raw(), [example(ellipses(1))])) == TERMS - {"mask"}


@pytest.mark.parametrize("name", ["objects", "no truth", "only crowds"])
def test_every_parameter_of_a_network_has_a_gradient(name: str) -> None:
    arguments = MaskRCNNArguments(
        classes=3, encoder="resnet18", pyramid_channels=8, box_width=16, mask_channels=8
    )
    network = build_mask_rcnn(arguments).train()
    targets = BATCHES[name][0]
    terms = network.loss(network(torch.randn(len(targets), 3, SIDE, SIDE)), targets)
    assert set(terms) == TERMS
    torch.stack(list(terms.values())).sum().backward()
    for parameter, value in network.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all(), parameter


def test_bfloat16_outputs_are_computed_in_float32() -> None:
    targets = BATCHES["objects"][0]
    found = [near(target.boxes, 50, side=SIDE) for target in targets]
    network = Outputs(2, ARGUMENTS, found).bfloat16()
    values = []
    for _ in range(2):
        torch.manual_seed(7)
        values.append(rcnn_loss(network, network.raw(), targets))
        torch.stack(list(values[-1].values())).sum().backward()
        for parameter in network.parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all()
            assert parameter.grad.any() and parameter.grad.dtype == parameter.dtype
        network.zero_grad()
        network.float()
    for half, full in zip(values[0].values(), values[1].values(), strict=True):
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, full, rtol=1e-6, atol=0)


def test_the_right_answer_costs_nothing() -> None:
    target = example(ellipses(3, seed=4), [0, 1, 2])
    anchors = torch.cat([target.boxes, torch.tensor([[0.0, 60, 3, 64]]).repeat(9, 1)])
    certain = torch.tensor([[40.0] * 3 + [-40] * 9])
    terms = rpn_losses(anchors, certain, torch.zeros(1, 12, 4), [target], ARGUMENTS)
    assert terms["rpn_class"] < 1e-6 and terms["rpn_bbox"] == 0

    regions = sample_regions([target.boxes], [target], ARGUMENTS)
    scores = torch.full((len(regions.class_ids), 4), -40.0)
    scores[torch.arange(len(scores)), regions.class_ids] = 40
    terms = head_losses(scores, torch.zeros(len(scores), 12), regions, ARGUMENTS)
    assert terms["class"] < 1e-6 and terms["bbox"] == 0

    logits = torch.zeros(len(scores), 3, 64, 64)  # regions as fine as pixels
    whole = Regions(
        [torch.tensor([[0.0, 0, 64, 64]]).repeat(len(scores), 1)],
        regions.class_ids,
        regions.objects,
        regions.truth,
    )
    for number, (one, of) in enumerate(zip(whole.objects, whole.class_ids, strict=True)):
        logits[number, of - 1] = target.masks[one] * 80.0 - 40
    assert mask_loss(logits, whole, [target], ARGUMENTS) < 1e-6


def test_values_by_hand() -> None:
    target = example([rectangle(10, 10, 30, 30)], [1])
    sampling = SamplingArguments(anchors=4, regions=4)
    arguments = MaskRCNNArguments(classes=2, sampling=sampling)
    anchors = torch.tensor([[10.0, 10, 30, 30], [40, 40, 60, 60], [0, 40, 9, 60], [50, 0, 60, 9]])
    deltas = torch.full((1, 4, 4), 9.0)
    deltas[0, 0] = torch.tensor([0.5, 0, 1 / 18, 0])
    terms = rpn_losses(anchors, torch.zeros(1, 4), deltas, [target], arguments)
    assert terms["rpn_class"].item() == pytest.approx(math.log(2))
    bend = 1 / 9
    distance = (0.5 - bend / 2) + (1 / 18) ** 2 / 2 / bend
    assert terms["rpn_bbox"].item() == pytest.approx(distance / 4)

    regions = sample_regions([anchors[1:]], [target], arguments)
    assert regions.class_ids.tolist() == [2, 0, 0, 0]
    deltas = torch.full((4, 8), 9.0)
    deltas[0, 4:] = torch.tensor([0.5, 0, 1 / 18, 0])
    terms = head_losses(torch.zeros(4, 3), deltas, regions, arguments)
    assert terms["class"].item() == pytest.approx(math.log(3))
    assert terms["bbox"].item() == pytest.approx(distance / 4)

    logits = torch.stack([torch.full((28, 28), 9.0), torch.zeros(28, 28)])[None]
    kept = regions.with_masks([target])
    assert mask_loss(logits, kept, [target], arguments).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("inclusive", [False, True])
def test_learning_the_deltas_leads_to_the_truth(inclusive: bool) -> None:
    """The minimum of the box losses is where decoding gives the true box."""
    target = example([rectangle(10, 12, 40, 50)])
    shift = torch.tensor([0.0, 0, 1, 1]) * inclusive
    arguments = ARGUMENTS.model_copy(update={"inclusive": inclusive})
    anchor = torch.tensor([[8.0, 10, 42, 47]]) - shift
    for scale, losses in (
        (
            arguments.rpn_delta_scale,
            lambda deltas: rpn_losses(anchor, torch.zeros(1, 1), deltas[None], [target], arguments)[
                "rpn_bbox"
            ],
        ),
        (
            arguments.box_delta_scale,
            lambda deltas: head_losses(
                torch.zeros(1, 4),
                deltas.repeat(1, 3),
                Regions([anchor], torch.tensor([1]), torch.tensor([0]), target.boxes - shift),
                arguments,
            )["bbox"],
        ),
    ):
        right = encode(target.boxes - shift, anchor, scale)
        assert losses(right) == 0 and losses(right + 0.1) > 0.01
