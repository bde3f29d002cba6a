"""What every registered architecture that finds objects must do; new ones go to ``CASES``."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.models.maskrcnn.drawn_objects import example, rectangle
from vitrail.data.transforms import InstanceExample
from vitrail.models.base import Frame
from vitrail.models.instances import Detections, InstanceModel, RawDetections
from vitrail.models.maskrcnn.families import FAMILIES
from vitrail.models.registry import build
from vitrail.weights.files import load_state

SMALL = {"classes": 3, "encoder": "resnet18", "pyramid_channels": 16, "rpn_channels": 16} | {
    "box_width": 32,
    "mask_channels": 16,
    "mask_convs": 2,
    "sampling": {"regions": 64, "regions_positive": 0.33},
}
OF_RESNET_50 = ("stride_in_1x1", "norm_eps")
CASES = {
    f"mask-{family}": (
        "mask-rcnn",
        {name: value for name, value in arguments.items() if name not in OF_RESNET_50}
        | SMALL
        | ({"encoder": "mobilenetv3_small_100"} if "torchvision" in arguments else {}),
    )
    for family, arguments in FAMILIES.items()
} | {
    "faster": ("faster-rcnn", SMALL),
    "mask-pool-4-bands": (
        "mask-rcnn",
        SMALL | {"encoder": "mobilenetv2_050", "in_channels": 4, "roi": {"pooling": "pool"}},
    ),
}
ALL = {"score_threshold": 0.0, "nms": 1.0}
"""What an untrained network finds, it finds without any certainty."""


@pytest.fixture(params=CASES)
def model(request: pytest.FixtureRequest) -> InstanceModel:
    torch.manual_seed(0)
    model = build(*CASES[request.param])
    assert isinstance(model, InstanceModel)
    return model


def images(model: InstanceModel, *size: int, count: int = 2) -> Tensor:
    bands = next(p for p in model.parameters() if p.ndim == 4).shape[1]
    return torch.randn(count, bands, *size, generator=torch.Generator().manual_seed(1))


def found(model: InstanceModel, raw: RawDetections, frames: list[Frame]) -> list[Detections]:
    return model.decode(raw, frames, model.params.model_copy(update=ALL))


def truth(*boxes: tuple[int, int, int, int]) -> InstanceExample:
    """What a square image of 96 px shows, in classes 0, 1, 2, 0, ..."""
    masks = [rectangle(*box, size=(96, 96)) for box in boxes]
    return example(masks, [number % 3 for number in range(len(boxes))], size=(96, 96))


OBJECTS = truth((8, 8, 56, 72), (40, 30, 96, 96), (0, 70, 24, 96))
FULL = [Frame((96, 96), (96, 96))] * 2


def total(model: InstanceModel, pictures: Tensor, targets: list[InstanceExample]) -> Tensor:
    return torch.stack(list(model.loss(model(pictures), targets).values())).sum()


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 40), (1, 1)])
def test_any_size_is_taken(model: InstanceModel, size: tuple[int, int]) -> None:
    model.eval()
    original = (2 * size[0] + 1, 3 * size[1])
    with torch.inference_mode():
        raw = model(images(model, *size))
        detections = found(model, raw, [Frame(original, size)] * 2)
    assert len(detections) == 2
    assert raw.size == tuple(-(-side // model.stride) * model.stride for side in size)
    for one in detections:
        count = len(one.boxes)
        assert one.boxes.shape == (count, 4) and one.boxes.dtype == torch.float32
        assert one.scores.shape == one.class_ids.shape == (count,)
        assert one.boxes.isfinite().all() and one.scores.isfinite().all()
        assert (one.boxes >= 0).all()
        assert (one.boxes <= torch.tensor([original[1], original[0]]).repeat(2)).all()
        assert (one.boxes[:, :2] <= one.boxes[:, 2:]).all()
        assert (one.scores.diff() <= 0).all()
        assert one.class_ids.dtype == torch.int64
        assert not count or 0 <= one.class_ids.min() <= one.class_ids.max() < model.classes
        assert one.masks is None or (len(one.masks), one.masks.size) == (count, original)


def test_training_lowers_the_loss(model: InstanceModel) -> None:
    pictures = images(model, 96, 96)
    pictures[0, :, 8:72, 8:56] += 2
    pictures[0, :, 30:, 40:] -= 2
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for _ in range(8):
        loss = total(model, pictures, [OBJECTS, truth()])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.8 * losses[0]


def test_every_parameter_gets_a_gradient(model: InstanceModel) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # residual branches may start switched off
            torch.nn.init.ones_(module.weight)
    total(model, images(model, 96, 96), [OBJECTS, truth()]).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


@pytest.mark.parametrize(
    "target",
    [
        truth(),
        truth((0, 0, 96, 96)),
        truth((95, 95, 96, 96), (0, 0, 1, 1), (50, 20, 51, 21)),
        truth((0, 0, 96, 1), (95, 0, 96, 96)),
    ],
    ids=["empty", "whole-image", "one-pixel", "one-wide-at-the-edge"],
)
def test_losses_and_gradients_are_numbers(model: InstanceModel, target: InstanceExample) -> None:
    losses = model.loss(model(images(model, 96, 96)), [target, target])
    torch.stack(list(losses.values())).sum().backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_evaluation_is_deterministic_and_blind_to_its_batch(model: InstanceModel) -> None:
    model.eval()
    pictures = images(model, 96, 96)
    with torch.inference_mode():
        together, again = (found(model, model(pictures), FULL) for _ in range(2))
        alone = found(model, model(pictures[1:]), FULL[1:])
    for one, two in zip(together, again, strict=True):
        assert torch.equal(one.boxes, two.boxes) and torch.equal(one.scores, two.scores)
        assert one.masks == two.masks
    assert len(together[1].boxes) == len(alone[0].boxes)
    torch.testing.assert_close(together[1].scores, alone[0].scores, rtol=1e-4, atol=1e-5)


def test_export_gives_the_same_raw_output(model: InstanceModel) -> None:
    """All that an image goes through whatever is in it."""
    model.eval()
    pictures = images(model, 64, 96, count=1)
    exported = torch.export.export(model, (pictures,)).module()
    with torch.inference_mode():
        ours, expected = exported(pictures), model(pictures)
    assert ours.size == expected.size
    for name in ("features", "objectness", "deltas"):
        levels = zip(getattr(ours, name), getattr(expected, name), strict=True)
        for one, two in levels:
            torch.testing.assert_close(one, two)


def test_heads_are_exported_for_any_number_of_regions(model: InstanceModel) -> None:
    """:meth:`InstanceModel.decode` as a whole cannot be: how many regions there are, and of which
    size each, depends on what is found, and masks end as RLE."""
    model.eval()
    assert model.heads
    for name, shape in model.heads.items():
        head = model.get_submodule(name)
        few, many = torch.randn(3, *shape), torch.randn(7, *shape)
        number = torch.export.Dim("regions", min=2, max=1000)
        exported = torch.export.export(head, (few,), dynamic_shapes=({0: number},)).module()
        with torch.inference_mode():
            torch.testing.assert_close(exported(many), head(many))


def test_a_copy_of_the_weights_finds_the_same(
    model: InstanceModel, request: pytest.FixtureRequest
) -> None:
    copy = build(*CASES[request.node.callspec.params["model"]])
    assert isinstance(copy, InstanceModel)
    load_state(copy, model.state_dict(), "the other one")
    pictures = images(model, 96, 96, count=1)
    with torch.inference_mode():
        one, two = (found(m.eval(), m(pictures), FULL[:1])[0] for m in (model, copy))
    assert len(one.boxes) and torch.equal(one.boxes, two.boxes)
    assert torch.equal(one.scores, two.scores) and one.masks == two.masks


def test_no_detections(model: InstanceModel) -> None:
    model.eval()
    params = model.params.model_copy(update={"score_threshold": 1.0})
    with torch.inference_mode():
        detections = model.decode(model(images(model, 96, 96)), FULL, params)
    for one in detections:
        assert one.boxes.shape == (0, 4) and one.scores.shape == one.class_ids.shape == (0,)
        assert not one.capped
        assert one.masks is None or (len(one.masks), one.masks.size) == (0, (96, 96))


def test_at_most_as_many_as_wanted(model: InstanceModel) -> None:
    model.eval()
    with torch.inference_mode():
        raw = model(images(model, 96, 96))
        few = model.decode(raw, FULL, model.params.model_copy(update=ALL | {"max_detections": 3}))
        many = model.decode(
            raw, FULL, model.params.model_copy(update=ALL | {"max_detections": 100_000})
        )
    for one, two in zip(few, many, strict=True):
        assert one.capped and not two.capped and len(two.boxes) > 3
        kept = len(one.boxes)
        assert 0 < kept <= 3 and torch.equal(one.boxes, two.boxes[:kept])
