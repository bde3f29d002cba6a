"""What a step learns from: how much of it, and of which kind."""

from __future__ import annotations

import pytest
import torch

from tests.models.maskrcnn.drawn_objects import ellipses, example, near, rectangle
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments, SamplingArguments
from vitrail.models.maskrcnn.sampling import sample, sample_regions

ARGUMENTS = MaskRCNNArguments(classes=3)


def arguments(regions: int, share: float = 0.25, **others: bool) -> MaskRCNNArguments:
    sampling = SamplingArguments(regions=regions, regions_positive=share)
    return MaskRCNNArguments(classes=3, sampling=sampling, **others)


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [(50, 50, (5, 5)), (2, 50, (2, 8)), (50, 3, (5, 3)), (0, 50, (0, 10)), (3, 0, (3, 0))],
)
def test_half_positive_the_rest_negative(
    positives: int, negatives: int, expected: tuple[int, int]
) -> None:
    matched = torch.tensor([7] * positives + [-1] * negatives + [-2] * 20)
    positive, negative = sample(matched, 10, 0.5)
    assert (len(positive), len(negative)) == expected
    assert (matched[positive] == 7).all() and (matched[negative] == -1).all()
    assert len(set(positive.tolist() + negative.tolist())) == sum(expected)


def test_drawn_from_the_global_generator_and_from_all() -> None:
    matched = torch.full((30,), -1)
    torch.manual_seed(3)
    first = sample(matched, 10, 0.5)[1]
    second = sample(matched, 10, 0.5)[1]
    torch.manual_seed(3)
    assert torch.equal(sample(matched, 10, 0.5)[1], first)
    assert not torch.equal(first, second)
    seen = {int(n) for _ in range(60) for n in sample(matched, 10, 0.5)[1]}
    assert seen == set(range(30))


def test_true_boxes_join_the_proposals_and_come_first() -> None:
    target = example([rectangle(10, 10, 30, 30), rectangle(40, 5, 60, 50)], [2, 0])
    far = torch.tensor([[0.0, 55, 9, 64], [20, 40, 30, 60]])
    regions = sample_regions([far], [target], ARGUMENTS)
    (boxes,) = regions.boxes
    assert regions.class_ids.sort(descending=True).values.tolist() == [3, 1, 0, 0]
    assert (regions.class_ids[:2] > 0).all() and (regions.objects[2:] == -1).all()
    assert torch.equal(boxes[:2], target.boxes[regions.objects[:2]])
    assert torch.equal(regions.truth[:2], boxes[:2]) and not regions.truth[2:].any()
    assert {tuple(box) for box in boxes[2:].tolist()} == {tuple(box) for box in far.tolist()}


def test_an_image_after_the_other() -> None:
    targets = [
        example(ellipses(3, seed=1), [0, 1, 2]),
        example(),
        example(ellipses(2, seed=2), [2, 2]),
    ]
    proposals = [near(target.boxes, 40, side=64, seed=n) for n, target in enumerate(targets)]
    regions = sample_regions(proposals, targets, arguments(16, 0.5))
    assert [len(boxes) for boxes in regions.boxes] == [16, 16, 16]
    assert not regions.class_ids[16:32].any()
    for image, target in ((0, targets[0]), (2, targets[2])):
        part = slice(16 * image, 16 * image + 16)
        positive = regions.objects[part] >= 0
        numbers = regions.objects[part][positive]
        assert 0 < len(numbers) <= 8
        assert torch.equal(regions.class_ids[part][positive], target.class_ids[numbers] + 1)
        assert torch.equal(regions.truth[part][positive], target.boxes[numbers])


@pytest.mark.parametrize("found", [torch.zeros(0, 4), torch.tensor([[3.0, 3, 3, 3]] * 5)])
def test_no_truth(found: torch.Tensor) -> None:
    regions = sample_regions([found], [example()], ARGUMENTS)
    assert regions.class_ids.tolist() == [0] * len(found)
    assert regions.boxes[0].shape == regions.truth.shape == (len(found), 4)


def test_only_a_crowd() -> None:
    target = example([rectangle(0, 0, 32, 64)], crowd=[0])
    found = torch.tensor([[1.0, 1, 20, 20], [40, 40, 60, 60]])
    regions = sample_regions([found], [target], ARGUMENTS)
    assert regions.boxes[0].tolist() == [[40, 40, 60, 60]] and regions.class_ids.tolist() == [0]


def test_a_true_box_without_area_is_left_out() -> None:
    target = example([rectangle(5, 5, 20, 20), rectangle(30, 30, 31, 60)])
    flat = target._replace(boxes=target.boxes * torch.tensor([1, 1, 1, 1]))
    flat.boxes[1, 2] = flat.boxes[1, 0]
    assert sample_regions([torch.zeros(0, 4)], [flat], ARGUMENTS).objects.tolist() == [0]
    # One pixel wide, it has none where the last pixel's corner is what counts.
    inclusive = sample_regions([torch.zeros(0, 4)], [target], arguments(8, 0.5, inclusive=True))
    assert inclusive.objects.tolist() == [0]
    assert inclusive.boxes[0].tolist() == [[5, 5, 19, 19]]


def test_identical_proposals() -> None:
    target = example([rectangle(10, 10, 30, 30)], [1])
    same = torch.tensor([[10.0, 10, 30, 31]]).repeat(100, 1)
    regions = sample_regions([same], [target], arguments(16))
    assert regions.class_ids.tolist() == [2] * 4  # none is background


def test_regions_with_masks() -> None:
    targets = [
        example(ellipses(4, seed=1), [0, 1, 2, 0], boxed=[1, 2]),
        example(ellipses(2, seed=3), boxed=[0, 1]),
        example(ellipses(2, seed=2), [2, 1]),
    ]
    proposals = [near(target.boxes, 40, side=64, seed=n) for n, target in enumerate(targets)]
    regions = sample_regions(proposals, targets, arguments(16, 0.5))
    kept = regions.with_masks(targets)
    assert set(kept.objects[: len(kept.boxes[0])].tolist()) == {0, 3}
    assert not len(kept.boxes[1]) and len(kept.boxes[2]) == int((regions.objects[32:] >= 0).sum())
    assert len(kept.truth) == len(kept.class_ids) == sum(map(len, kept.boxes))
    for image in (0, 2):
        found = torch.isin(regions.boxes[image], kept.boxes[image]).all(1)
        assert (regions.objects.split(16)[image][found] >= 0).all()
    assert torch.equal(
        kept.truth[len(kept.boxes[0]) :], targets[2].boxes[kept.objects[-len(kept.boxes[2]) :]]
    )


def test_nothing_of_it_has_a_gradient() -> None:
    found = torch.tensor([[1.0, 1, 20, 20]], requires_grad=True)
    regions = sample_regions([found], [example([rectangle(1, 1, 20, 20)])], ARGUMENTS)
    assert not regions.boxes[0].requires_grad
