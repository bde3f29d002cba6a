"""Training crops with objects: masks, boxes, class ids and flags stay one object's."""

import tracemalloc
from dataclasses import replace
from functools import partial
from itertools import chain

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.data.drawn_sources import BRIGHT, DrawnLabels, DrawnObjects
from vitrail.data.augment import AugmentConfig, build_augmentation
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.data.sampler import ResumableSampler
from vitrail.data.transforms import InstanceExample, TrainingSet, collate_instances
from vitrail.data.transforms.framing import Stretch
from vitrail.data.transforms.geometry import Geometry, Grid
from vitrail.data.transforms.instances import (
    MAX_OBJECTS,
    InstanceScene,
    extents,
    resized_example,
    to_planes,
)
from vitrail.errors import DataError
from vitrail.result.masks import Masks

EVERYTHING = {
    "flip_vertical": 0.5,
    "rotate": 40,
    "blur": 0.3,
    "noise": 0.3,
    "cutout": 0.3,
    "copy_paste": 0.5,
    "mosaic": 0.4,
    "min_visible": 0,
}
PLAIN = {"colour": 0, "grey": 0}
STILL = {"framing": "stretch", "rotate": 0, "flip": 0, **PLAIN}


def crops(
    size: int | tuple[int, int], number: int = 8, **changes: object
) -> TrainingSet[InstanceExample]:
    config = AugmentConfig.model_validate(changes)
    source = DrawnObjects(number)
    return TrainingSet(source, build_augmentation(config, size, source.space, "instances"), seed=1)


def scene(index: int, min_visible: float = 0.0, size: tuple[int, int] = (72, 96)) -> InstanceScene:
    source = DrawnObjects(40)
    plan = Geometry(Stretch(), size).plan(source.size)
    return InstanceScene.read(source[index], source.space, plan, min_visible=min_visible)


def check(example: InstanceExample) -> None:
    """What holds for every example, whatever was done to it."""
    count = len(example.boxes)
    masks = example.masks
    assert masks.shape == (count, *example.image.shape[1:]) and masks.dtype == torch.bool
    assert example.boxes.shape == (count, 4) and example.boxes.dtype == torch.float32
    assert example.class_ids.shape == example.crowd.shape == example.outlined.shape == (count,)
    assert set(example.class_ids.tolist()) <= {0, 1, 2}
    for mask, box in zip(masks, example.boxes.tolist(), strict=True):
        rows, columns = torch.where(mask)
        extent = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert [float(value) for value in extent] == box
    # No plane holds a number that is no object's.
    assert (example.planes > 0).sum() == masks.sum()


@pytest.mark.parametrize("changes", [{}, EVERYTHING, {**EVERYTHING, "framing": "resized-crop"}])
def test_boxes_are_the_extents_of_the_masks(changes: dict) -> None:
    shown = crops(80, **changes)
    counts = []
    for epoch in range(4):
        for index in range(8):
            example = shown[(epoch, index)]
            check(example)
            counts.append(len(example.boxes))
    assert max(counts) > 3


def test_image_and_masks_move_together() -> None:
    """Each object has a brightness of its own, which tells where its mask must be."""
    shown = crops(120, rotate=180, rotate_probability=1, flip_vertical=0.5, min_visible=0, **PLAIN)
    overlap = []
    for epoch in range(4):
        for index in range(8):
            example = shown[(epoch, index)]
            bright = example.image.max(0).values > BRIGHT
            painted = example.masks.any(0)
            if painted.sum() > 200:
                both = (bright & painted).sum() / (bright | painted).sum()
                overlap.append(both.item())
    assert len(overlap) > 15
    assert min(overlap) > 0.8
    assert np.mean(overlap) > 0.93


def test_nothing_is_lost_where_nothing_moves() -> None:
    source = DrawnObjects(40)
    shown = crops(source.size, 40, **STILL, min_visible=0)
    overlapping = 0
    for index in range(40):
        example, sample = shown[(0, index)], source[index]
        assert sample.instances is not None
        masked = [one.mask.dense()[0] for one in sample.instances if one.mask is not None]
        found = example.masks.numpy()
        assert len(example.boxes) == len(sample.instances)
        for mask, ours in zip(masked, found, strict=False):
            assert np.array_equal(mask, ours)
        overlapping += sum(masked, np.zeros(source.size, int)).max(initial=0) > 1
        assert example.class_ids.tolist() == [one.class_id for one in sample.instances]
        assert example.crowd.tolist() == [one.crowd for one in sample.instances]
        assert example.outlined.tolist() == [one.mask is not None for one in sample.instances]
        if index % 2:  # the bare box 2.0 3.0 12.4 13.0, to whole pixels
            assert example.boxes[-1].tolist() == [2, 3, 12, 13]
            assert found[-1].sum() == 100
        assert torch.equal(example.image, torch.from_numpy(sample.image).permute(2, 0, 1))
    assert overlapping > 5  # the set does hold objects that share pixels


def test_an_image_without_objects() -> None:
    example = crops(64, **STILL)[(0, 0)]
    check(example)
    assert example.boxes.shape == (0, 4)
    assert example.masks.shape == (0, 64, 64)
    full = crops(64, copy_paste=1)
    for index in range(8):
        check(full[(0, index)])


def test_pasted_objects_hide_what_lies_below() -> None:
    torch.manual_seed(0)
    dropped = hidden = 0
    for index in range(1, 40):
        below, donor = scene(index), scene(index - 1)
        donor = replace(donor, class_ids=donor.class_ids + 10)  # to know them again
        before, after = below.example(), below.pasted(donor).example()
        pasted, masks = after.class_ids >= 10, after.masks
        cover = masks[pasted].any(0)
        assert not (masks[~pasted].any(0) & cover).any()  # no pixel is shared
        expected = [mask & ~cover for mask in before.masks if (mask & ~cover).any()]
        assert int((~pasted).sum()) == len(expected)
        assert all(map(torch.equal, masks[~pasted], expected))
        assert torch.equal(after.image, torch.where(cover, donor.image, below.image))
        assert not after.crowd[pasted].any() and after.outlined[pasted].all()
        able = torch.from_numpy(~donor.crowd & donor.outlined)
        allowed = donor.example().masks[able]
        for mask in masks[pasted]:
            assert any(torch.equal(mask, other) for other in allowed)
        check(after._replace(class_ids=after.class_ids % 10))
        dropped += len(before.boxes) - len(expected)
        hidden += int((before.masks & cover).any(2).any(1).sum())
    assert dropped >= 1
    assert hidden > 10


def test_of_a_scene_without_objects_nothing_is_pasted() -> None:
    empty, full = scene(0), scene(4)
    assert full.pasted(empty) is full
    joined = empty.pasted(full).example()
    assert 1 <= len(joined.boxes) <= 3  # the crowd is never pasted


def test_objects_that_are_hardly_visible_are_dropped() -> None:
    """A bar of 40 px: the crop shows its first n columns, of which a rectangle hides some."""
    mask = np.zeros((50, 100), bool)
    mask[10:12, 30:70] = True
    one = Instance.from_masks(0, Masks.from_dense(mask[None]))
    sample = Sample("bar", np.zeros((50, 100, 3), np.uint8), (50, 100), instances=(one,))
    space = LabelSpace(("bar",))
    plan = Geometry(Stretch(), (50, 100)).plan((50, 100))

    def left(shown: int, hidden: int, share: float) -> int:
        part = replace(plan, size=(50, 30 + shown))
        whole = InstanceScene.read(sample, space, part, min_visible=share)
        return len(whole.hidden(0, 30, 50, hidden).plane)

    assert left(20, 0, 0.5) == 1
    assert left(19, 0, 0.5) == 0
    assert left(30, 10, 0.5) == 1
    assert left(30, 11, 0.5) == 0  # cropping and covering count together
    assert left(1, 0, 0.0) == 1
    assert left(0, 0, 0.0) == 0


def test_what_is_left_of_a_crowd_stays_one() -> None:
    """It would be background otherwise, with objects on it."""
    mask = np.ones((50, 100), bool)
    crowd = Instance.from_masks(0, Masks.from_dense(mask[None]), crowd=True)
    sample = Sample("all", np.zeros((50, 100, 3), np.uint8), (50, 100), instances=(crowd,))
    plan = replace(Geometry(Stretch(), (50, 100)).plan((50, 100)), size=(5, 10))
    scene = InstanceScene.read(sample, LabelSpace(("bar",)), plan, min_visible=0.1)
    assert scene.crowd.tolist() == [True]


def test_the_share_that_is_visible_does_not_depend_on_the_scale() -> None:
    """Resized to a third, an object that is all there is whole, but for its outline."""
    counts = [len(scene(index, 0.0).plane) for index in range(20)]
    for size in ((24, 32), (36, 48), (216, 288)):
        assert [len(scene(index, 0.6, size).plane) for index in range(20)] == counts


def test_a_mosaic_holds_the_objects_of_its_four_images() -> None:
    parts = [scene(index, size=(40, 50)) for index in (4, 3, 7, 9)]
    corners = [(0, 0), (0, 50), (40, 0), (40, 50)]
    joined = InstanceScene.tiled(parts, corners, (80, 100)).example()
    check(joined)
    found, number = joined.masks, 0
    for part, (y, x) in zip(parts, corners, strict=True):
        example = part.example()
        assert torch.equal(joined.image[:, y : y + 40, x : x + 50], part.image)
        for mask, box, class_id in zip(
            example.masks, example.boxes, example.class_ids, strict=True
        ):
            assert torch.equal(found[number][y : y + 40, x : x + 50], mask)
            assert found[number].sum() == mask.sum()
            assert torch.equal(joined.boxes[number], box + torch.tensor([x, y, x, y]))
            assert joined.class_ids[number] == class_id
            number += 1
    assert number == len(joined.boxes) > 10


def test_masks_of_some_objects() -> None:
    example = scene(4).example()
    picked = torch.tensor([2, 0])
    assert torch.equal(example.masks_of(picked), example.masks[picked])


def test_as_few_planes_as_overlaps_need() -> None:
    rng = np.random.default_rng(0)
    apart = [(10 * n, 3, rng.random((8, 20)) < 0.7) for n in range(9)]
    grid = Grid.of((0, 0, 100, 30), (100, 30))
    planes, plane, areas = to_planes(apart, grid)
    assert planes.shape == (1, 100, 30) and not plane.any()
    assert areas.tolist() == [int(crop.sum()) for _, _, crop in apart]
    nested = [(0, 0, np.ones((20 - n, 30), bool)) for n in range(4)]
    planes, plane, _ = to_planes([*nested, (90, 0, np.ones((5, 5), bool))], grid)
    assert plane.tolist() == [0, 1, 2, 3, 0]
    assert extents(planes, plane)[:, 3].tolist() == [20, 19, 18, 17, 95]


@pytest.mark.parametrize("resized", [(17, 23), (40, 61), (90, 150)])
def test_a_grid_shows_what_resizing_a_full_frame_shows(resized: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(resized))
    for _ in range(20):
        frame = np.zeros((100, 120), np.uint8)
        h, w = rng.integers(1, 60, 2)
        y, x = rng.integers(0, (100 - h, 120 - w))
        crop = rng.random((h, w)) < 0.7
        frame[y : y + h, x : x + w] = crop
        top, left, height, width = window = 20, 30, 40, 61
        part = frame[top : top + height, left : left + width]
        expected = cv2.resize(part, resized[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        shown = np.zeros(resized, np.uint8)
        y, x, seen = Grid.of(window, resized).seen(int(y), int(x), crop)
        shown[y : y + seen.shape[0], x : x + seen.shape[1]] = seen
        assert np.array_equal(shown, expected)


def test_planes_cost_what_is_shown_not_what_the_image_has() -> None:
    """Twenty objects over each other in 12 megapixels: 500 MB as full frames."""
    size = (3000, 4000)
    stack = [Masks.from_crops([(n, n, np.ones((300, 300), bool))], size) for n in range(20)]
    objects = tuple(Instance.from_masks(0, mask) for mask in stack)
    sample = Sample("large", np.zeros((1, 1, 3), np.uint8), size, instances=objects)
    tracemalloc.start()
    try:
        example = resized_example(sample, (300, 400), (0, 0), (320, 416))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(example.planes) == 20 and example.boxes[0].tolist() == [0, 0, 30, 30]
    assert peak < 500e6 / 10


def test_a_crop_keeps_no_planes_it_does_not_need() -> None:
    """Overlaps that lie outside the crop cost it nothing."""
    stack = [Masks.from_crops([(0, 0, np.ones((20 - n, 30), bool))], (100, 30)) for n in range(4)]
    far = Masks.from_crops([(80, 0, np.ones((5, 5), bool))], (100, 30))
    objects = tuple(Instance.from_masks(0, mask) for mask in (*stack, far))
    sample = Sample("stack", np.zeros((100, 30, 3), np.uint8), (100, 30), instances=objects)
    plan = Geometry(Stretch(), (100, 30)).plan((100, 30))
    lower = replace(plan, top=50, size=(50, 30))
    example = InstanceScene.read(sample, LabelSpace(("a",)), lower, min_visible=0).example()
    check(example)
    assert example.planes.shape == (1, 50, 30)
    assert example.boxes.tolist() == [[0, 30, 5, 35]]


def test_samples_that_cannot_be_trained_on_are_named() -> None:
    plan = Geometry(Stretch(), (64, 64)).plan((64, 64))
    read = partial(InstanceScene.read, plan=plan, min_visible=0)
    with pytest.raises(DataError, match=r"^3: has labels for pixels but no objects"):
        read(DrawnLabels()[3], DrawnLabels.space)
    dot = Instance.from_box(0, (0, 0, 1, 1), (64, 64))
    crowded = Sample("many", np.zeros((64, 64, 3), np.uint8), (64, 64), None, (dot,) * 13_001)
    assert len(crowded.instances or ()) == MAX_OBJECTS + 1
    with pytest.raises(DataError, match=r"^many: has 13,001 objects, at most 13,000"):
        read(crowded, LabelSpace(("dot",)))


def test_batches_hold_unequal_counts_whatever_the_workers() -> None:
    def batches(workers: int) -> list[list[InstanceExample]]:
        shown = crops(48, **EVERYTHING)
        loader = DataLoader(
            shown,
            batch_sampler=ResumableSampler(len(shown), 4, seed=3),
            num_workers=workers,
            collate_fn=collate_instances,
        )
        return list(loader)

    alone, two = batches(0), batches(2)
    assert [len(batch) for batch in alone] == [4, 4]
    assert len({len(one.boxes) for batch in alone for one in batch}) > 2
    for ours, theirs in zip(chain(*alone), chain(*two), strict=True):
        assert isinstance(theirs, InstanceExample)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
