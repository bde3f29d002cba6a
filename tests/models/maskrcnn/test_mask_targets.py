"""True masks cut out for regions, against RoIAlign of full frames and by hand."""

from __future__ import annotations

import pytest
import torch
import torchvision

from tests.models.maskrcnn.drawn_objects import ellipses, example, near, rectangle
from vitrail.models.maskrcnn import mask_targets as module
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.mask_targets import mask_targets
from vitrail.models.maskrcnn.sampling import Regions, sample_regions

ARGUMENTS = MaskRCNNArguments(classes=1)


def one_region(*box: float, number: int = 0) -> Regions:
    boxes = torch.tensor([box], dtype=torch.float32)
    return Regions([boxes], torch.tensor([1]), torch.tensor([number]), boxes)


def test_a_pixel_is_a_pixel() -> None:
    masks = ellipses(3, seed=5)
    target = example(masks)
    for number, mask in enumerate(masks):
        found = mask_targets(one_region(0, 0, 64, 64, number=number), [target], 64, ARGUMENTS)
        assert found.dtype == torch.bool and torch.equal(found[0], torch.from_numpy(mask))


def test_half_a_bin_is_inside() -> None:
    target = example([rectangle(0, 0, 7, 14)])
    found = mask_targets(one_region(0, 0, 28, 28), [target], 14, ARGUMENTS)
    assert found[0, :7, :4].all() and found.sum() == 28


def test_an_inclusive_region_ends_a_pixel_further() -> None:
    target = example([rectangle(8, 8, 36, 36)])
    inclusive = MaskRCNNArguments(classes=1, inclusive=True)
    assert mask_targets(one_region(8, 8, 35, 35), [target], 28, inclusive).all()


@pytest.mark.parametrize("pixels", [1, 3000, 1 << 22])
@pytest.mark.parametrize("size", [(64, 64), (200, 120)])
def test_as_roialign_of_full_frames(
    pixels: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are cut out at once; regions at the border and tiny ones among them."""
    monkeypatch.setattr(module, "_PIXELS", pixels)
    targets = [example(ellipses(6, size=size, seed=seed), size=size) for seed in (1, 2)]
    edges = torch.tensor([[0.0, 0, *size[::-1]], [0.2, 0.7, 1.1, 1.3], [50, 50, 64, 64]])
    proposals = [
        torch.cat([near(target.boxes, 60, side=min(size), seed=9), edges]) for target in targets
    ]
    loose = ARGUMENTS.model_copy(
        update={"sampling": ARGUMENTS.sampling.model_copy(update={"region_iou": 0.02})}
    )
    regions = sample_regions(proposals, targets, loose).with_masks(targets)
    found = mask_targets(regions, targets, 28, ARGUMENTS)
    objects = regions.objects.split([len(boxes) for boxes in regions.boxes])
    expected = torch.cat(
        [
            torchvision.ops.roi_align(
                target.masks[numbers, None].float(),
                list(boxes.split(1)),
                28,
                sampling_ratio=-1,
                aligned=True,
            )[:, 0]
            for target, numbers, boxes in zip(targets, objects, regions.boxes, strict=True)
        ]
    )
    assert len(found) > 40 and 0.05 < found.float().mean() < 0.95
    sure = (expected - 0.5).abs() > 2e-5
    assert sure.float().mean() > 0.9
    assert torch.equal(found[sure], (expected > 0.5)[sure])
    assert found[~sure].all()


def test_overlapping_objects_have_their_own_masks() -> None:
    target = example([rectangle(0, 0, 40, 40), rectangle(20, 20, 60, 60)])
    assert len(target.planes) == 2
    for number in (0, 1):
        region = one_region(*target.boxes[number].tolist(), number=number)
        assert mask_targets(region, [target], 28, ARGUMENTS).all()


def test_without_regions() -> None:
    none = torch.zeros(0, 4)
    nothing = torch.zeros(0, dtype=torch.int64)
    regions = Regions([none, none], nothing, nothing, none)
    assert mask_targets(regions, [example(), example()], 28, ARGUMENTS).shape == (0, 28, 28)


def test_many_objects_do_not_take_a_frame_each() -> None:
    """A hundred regions of a 1000 x 1000 image: full frames of float32 would be 400 MB."""
    size = (1000, 1000)
    masks = [rectangle(9 * n, 9 * n, 9 * n + 60, 9 * n + 60, size) for n in range(100)]
    target = example(masks, size=size)
    regions = Regions(
        [target.boxes], torch.ones(100, dtype=torch.int64), torch.arange(100), target.boxes
    )
    with torch.profiler.profile(profile_memory=True, with_stack=False) as profile:
        found = mask_targets(regions, [target], 28, ARGUMENTS)
    events = profile.events()
    assert events is not None
    largest = max(event.self_cpu_memory_usage for event in events)
    assert largest < 4 * 1000 * 1000
    assert found.all()
