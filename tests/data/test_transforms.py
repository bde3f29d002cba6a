"""Training crops with labels: one draw for an image and its labels, and labels that stay labels."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from torch.utils.data import DataLoader

from tests.data.drawn_sources import BRIGHT, DrawnLabels, DrawnObjects
from vitrail.data.augment import AugmentConfig, build_augmentation
from vitrail.data.sample import LabelSpace, Sample, label_space
from vitrail.data.sampler import ResumableSampler
from vitrail.data.transforms import Example, TrainingSet
from vitrail.data.transforms.framing import ScaleJitter
from vitrail.data.transforms.geometry import Geometry
from vitrail.data.transforms.labels import LabelScene
from vitrail.data.transforms.reading import read_pixels
from vitrail.errors import ImageError

PLAIN = {"colour": 0, "grey": 0}
EVERYTHING = {
    "flip_vertical": 0.5,
    "rotate": 40,
    "rotate_probability": 0.8,
    "blur": 0.3,
    "noise": 0.3,
    "cutout": 0.4,
    "copy_paste": 0.4,
    "mosaic": 0.4,
}


def crops(size: int | tuple[int, int], **changes: object) -> TrainingSet[Example]:
    config = AugmentConfig.model_validate(changes)
    return TrainingSet(
        DrawnLabels(), build_augmentation(config, size, DrawnLabels.space, "labels"), seed=1
    )


def _jitter(scale: tuple[float, float]) -> ScaleJitter:
    return ScaleJitter(scale, stretch=0.0)


def agreement(example: Example) -> float:
    """Share of the known pixels whose brightness says what their label says."""
    bright = example.image.max(0).values > BRIGHT
    known = example.labels != 255
    return ((example.labels > 0) == bright)[known].float().mean().item()


@pytest.mark.parametrize("framing", ["scale-jitter", "resized-crop", "stretch"])
@pytest.mark.parametrize("rotate", [0, 180])
def test_image_and_labels_move_together(framing: str, rotate: float) -> None:
    shown = crops(96, framing=framing, rotate=rotate, flip_vertical=0.5, **PLAIN)
    found = [agreement(shown[(epoch, index)]) for epoch in range(3) for index in range(8)]
    assert min(found) > 0.97
    assert np.mean(found) > 0.985


def test_a_mosaic_moves_its_labels_along() -> None:
    shown = crops((90, 120), mosaic=1, **PLAIN)
    for index in range(8):
        example = shown[(0, index)]
        assert example.image.shape == (3, 90, 120)
        assert agreement(example) > 0.95


def test_labels_are_never_mixed() -> None:
    for kind, changes in {
        "one": {"rotate": 45},
        "all": EVERYTHING,
        "crop": {**EVERYTHING, "framing": "resized-crop"},
    }.items():
        shown = crops(80, **changes)
        for index in range(8):
            image, labels, _ = shown[(0, index)]
            assert image.shape == (3, 80, 80) and image.dtype == torch.uint8
            assert labels.shape == (80, 80) and labels.dtype == torch.uint8
            own = {0, 1 if index % 2 else 2, 255}
            assert set(labels.unique().tolist()) <= (own if kind == "one" else {0, 1, 2, 255})


def test_what_lies_outside_is_ignored() -> None:
    shown = crops(64, scale=(0.5, 0.5), rotate=0, stretch=0, **PLAIN)
    for index in range(8):
        image, labels, _ = shown[(0, index)]
        outside = labels == 255
        assert outside.sum() == 64 * 64 * 3 // 4
        assert not image[:, outside].any()
        assert image[:, ~outside].float().mean() > 30


def test_nothing_is_ignored_where_the_image_fills_the_crop() -> None:
    """At odd scales and sizes, rounding must not leave a row of padding."""
    torch.manual_seed(0)
    labels = np.zeros((67, 131), np.uint8)
    for size in (31, 64, 97):
        geometry = Geometry(_jitter((2.1, 3.7)), (size, size))
        for _ in range(60):
            plan = geometry.plan((67, 131))
            assert not plan.mask(labels, 255).any()


def test_the_scale_stays_in_its_range() -> None:
    shown = crops(100, rotate=0, scale=(0.4, 0.8))
    shares = [(shown[(epoch, 1)].labels != 255).float().mean().sqrt().item() for epoch in range(40)]
    assert min(shares) > 0.38
    assert max(shares) < 0.82
    assert np.ptp(shares) > 0.25


def test_a_resized_crop_shows_its_share_of_the_area() -> None:
    """Columns are numbered, so the labels tell which of them the crop shows."""
    torch.manual_seed(0)
    labels = np.tile(np.arange(200, dtype=np.uint16), (200, 1))
    geometry = build_augmentation(
        AugmentConfig(framing="resized-crop", area=(0.1, 0.3), rotate=0, flip=0),
        50,
        LabelSpace(("a", "b")),
        "labels",
    ).geometry
    shares = []
    for _ in range(50):
        plan = geometry.plan((200, 200))
        rows, columns = plan.mask(labels.T.copy(), 999)[:, 0], plan.mask(labels, 999)[0]
        assert rows.max() < 200 and columns.max() < 200
        shares.append(float(np.ptp(rows) + 1) * float(np.ptp(columns) + 1) / 40_000)
    assert 0.08 < min(shares) < 0.13
    assert 0.25 < max(shares) < 0.32


@pytest.mark.parametrize("angle", [0.0, 33.0])
def test_only_what_the_crop_needs_is_resized(angle: float) -> None:
    """A small crop of a huge frame, whose pixels do not even exist."""
    torch.manual_seed(0)
    geometry = Geometry(_jitter((50, 50)), (64, 64), rotate=angle, rotate_probability=1)
    plan = geometry.plan((40_000, 40_000))
    assert max(plan.resized) < 2 * 64
    assert max(plan.window[2:]) < 2 * 40_000 / 50


def test_a_rotated_part_equals_the_part_of_the_rotated_whole() -> None:
    """The window that a rotated crop needs is found: a fringe of it would be missing else."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.integers(0, 255, (300, 400, 3)).astype(np.uint8), (0, 0), 3)
    geometry = Geometry(_jitter((4, 4)), (100, 100), rotate=180, rotate_probability=1)
    for _ in range(20):
        plan = geometry.plan((300, 400))
        y, x, _, _ = plan.window
        assert plan.resized == plan.window[2:]  # at this scale nothing is resized
        pivot = x + plan.left + plan.pivot[1] - 0.5, y + plan.top + plan.pivot[0] - 0.5
        matrix = cv2.getRotationMatrix2D(pivot, plan.angle, 1)
        matrix[:, 2] -= (x + plan.left, y + plan.top)
        whole = cv2.warpAffine(frame, matrix, (100, 100))
        part = plan.image(frame).permute(1, 2, 0).numpy()
        assert np.abs(whole.astype(int) - part).max() <= 1


def test_a_small_image_is_turned_about_its_own_centre() -> None:
    """None of it is turned out of the crop, wherever in the crop it lies."""
    torch.manual_seed(0)
    labels = np.ones((40, 40), np.uint8)
    geometry = Geometry(_jitter((0.4, 0.4)), (100, 100), rotate=45, rotate_probability=1)
    for _ in range(40):
        shown = int((geometry.plan((40, 40)).mask(labels, 255) == 1).sum())
        assert shown > 0.88 * 1600  # at most two of its corners stick out


def test_flips_exchange_sides() -> None:
    rows = np.repeat(np.arange(64, dtype=np.uint8)[:, None], 64, 1)
    geometry = Geometry(_jitter((1, 1)), (64, 64), flip=1)
    assert np.array_equal(geometry.plan((64, 64)).mask(rows.T, 255), rows.T[:, ::-1])
    geometry = Geometry(_jitter((1, 1)), (64, 64), flip_vertical=1)
    assert np.array_equal(geometry.plan((64, 64)).mask(rows, 255), rows[::-1])


def test_copy_paste_lays_whole_objects_over_another_image() -> None:
    torch.manual_seed(0)
    source = DrawnLabels()
    below, donor = (
        LabelScene.read(
            source[index],
            source.space,
            Geometry(_jitter((scale, scale)), (64, 64)).plan((64, 64)),
            target=source.space,
        )
        for index, scale in ((1, 1), (2, 0.8))
    )
    assert (donor.labels == 255).any()  # which is no object
    scene = below.pasted(donor)
    pasted = donor.labels == 2
    assert np.array_equal(scene.labels, np.where(pasted, donor.labels, below.labels))
    assert torch.equal(scene.image, torch.where(torch.from_numpy(pasted), donor.image, below.image))
    assert {1, 2} <= set(np.unique(scene.labels).tolist())


def test_what_is_cut_out_is_ignored() -> None:
    torch.manual_seed(0)
    shown = crops(64, framing="stretch", rotate=0, cutout=1, cutout_area=(0.1, 0.2), **PLAIN)
    for index in range(8):
        image, labels, _ = shown[(0, index)]
        hidden = labels == 255
        assert 0.09 < hidden.float().mean() < 0.21
        rows, columns = torch.where(hidden)
        assert hidden.sum() == (np.ptp(rows.numpy()) + 1) * (np.ptp(columns.numpy()) + 1)
        assert not image[:, hidden].any()


def test_unlabelled_classes_come_along() -> None:
    """A class that is unlabelled in one of a mosaic's four images is so in the whole."""

    class Halves(DrawnLabels):
        def __getitem__(self, index: int) -> Sample:
            one = super().__getitem__(index)
            return Sample(one.id, one.picture, one.size, one.labels, unlabelled=frozenset({index}))

    augmentation = build_augmentation(AugmentConfig(mosaic=1), 64, Halves.space, "labels")
    flags = TrainingSet(Halves(), augmentation, order=[1, 2])[(0, 0)].unlabelled
    assert flags.tolist() == [False, True, True]
    assert crops(64)[(0, 3)].unlabelled.tolist() == [False, False, True]


def test_objects_are_painted_for_training_on_labels() -> None:
    """A set of objects has no background class: its label maps have, and ids move up by one."""
    source = DrawnObjects()
    space = label_space(source)
    assert space.classes == ("background", "disc", "square", "ring")
    config = AugmentConfig(framing="stretch", rotate=0, flip=0, colour=0, grey=0)
    shown = TrainingSet(source, build_augmentation(config, source.size, space, "labels"))
    _, labels, flags = shown[(0, 2)]
    assert torch.equal(labels, torch.from_numpy(source[2].semantic(source.space)))
    assert flags.tolist() == [False, False, True, False]  # of its classes, squares


def test_labels_beyond_255_become_int32() -> None:
    class Wide(DrawnLabels):
        space = LabelSpace(tuple(f"class {n}" for n in range(300)), 0, 65535)

        def __getitem__(self, index: int) -> Sample:
            one = super().__getitem__(index)
            assert one.labels is not None
            return Sample(one.id, one.picture, one.size, one.labels.astype(np.uint16) * 140)

    augmentation = build_augmentation(AugmentConfig(rotate=30), 96, Wide.space, "labels")
    labels = TrainingSet(Wide(), augmentation)[(0, 2)].labels
    assert labels.dtype == torch.int32
    assert {0, 280} <= set(labels.unique().tolist()) <= {0, 280, 65535}


def same(first: Example, second: Example) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_an_item_is_a_function_of_seed_epoch_and_position() -> None:
    shown = crops(48, **EVERYTHING)
    state = torch.get_rng_state()
    wanted = shown[(3, 5)]
    assert torch.equal(torch.get_rng_state(), state)  # the caller's generator is left alone
    for index in ((0, 5), (3, 4), (1, 1)):
        assert not same(shown[index], wanted)
    assert same(shown[(3, 5)], wanted)
    assert same(pickle.loads(pickle.dumps(shown))[(3, 5)], wanted)
    shown.seed = 2
    assert not same(shown[(3, 5)], wanted)


def test_a_plain_position_is_drawn_by_the_global_generator() -> None:
    shown = crops(48)
    torch.manual_seed(4)
    first, second = shown[1], shown[1]
    torch.manual_seed(4)
    assert same(shown[1], first)
    assert not same(first, second)


def test_an_order_shows_samples_again_with_other_draws() -> None:
    augmentation = build_augmentation(AugmentConfig(), 48, DrawnLabels.space, "labels")
    shown = TrainingSet(DrawnLabels(), augmentation, order=[6, 6, 3])
    assert len(shown) == 3
    assert set(shown[(0, 0)].labels.unique().tolist()) <= {0, 2, 255}
    assert set(shown[(0, 2)].labels.unique().tolist()) <= {0, 1, 255}
    assert not same(shown[(0, 0)], shown[(0, 1)])


def epoch_of(workers: int, start: str | None = None, **options: bool) -> list[torch.Tensor]:
    shown = crops(48, **EVERYTHING)
    sampler = ResumableSampler(len(shown), 4, seed=3)
    loader = DataLoader(
        shown,
        batch_sampler=sampler,
        num_workers=workers,
        multiprocessing_context=start,
        **options,  # pyright: ignore[reportArgumentType]
    )
    return [tensor for _ in range(2) for example in loader for tensor in example]


def test_the_number_of_workers_changes_nothing() -> None:
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (1000, 1000))  # OpenCV's pool is up
    alone, two = epoch_of(0), epoch_of(2, persistent_workers=True)
    assert len(alone) == 12
    assert all(torch.equal(a, b) for a, b in zip(alone, two, strict=True))
    assert not torch.equal(alone[0], alone[6])  # another epoch


@pytest.mark.slow
def test_how_workers_start_changes_nothing() -> None:
    alone, spawned = epoch_of(0), epoch_of(2, "spawn", persistent_workers=True)
    assert all(torch.equal(a, b) for a, b in zip(alone, spawned, strict=True))


def photo(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A JPEG of an orange shape on dark ground, and its labels."""
    height, width = size
    labels = np.zeros(size, np.uint8)
    cv2.ellipse(labels, (width // 3, height // 2), (width // 5, height // 4), 20, 0, 360, 1, -1)
    labels[-height // 10 :, -width // 10 :] = 1  # and one in the far corner
    image = np.where(labels[..., None] > 0, (230, 160, 20), (30, 30, 30)).astype(np.uint8)
    PIL.Image.fromarray(image).save(path, quality=95)
    return image, labels


@pytest.mark.parametrize("size", [(1203, 1601), (997, 1001)])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_large_jpeg_is_decoded_small_and_stays_aligned(
    tmp_path: Path, size: tuple[int, int], factor: int
) -> None:
    path = tmp_path / "photo.jpg"
    _, labels = photo(path, size)
    sample = Sample("photo", path, size, labels)
    scale = (max(size) / factor - 1) / max(size)
    torch.manual_seed(0)
    crop = (round(size[0] * scale), round(size[1] * scale))
    geometry = Geometry(_jitter((1, 1)), crop)
    plan = geometry.plan(size)
    pixels, snapped, found = read_pixels(sample, plan)
    assert found == factor
    assert pixels.shape == (-(-size[0] // factor), -(-size[1] // factor), 3)
    image, moved = snapped.image(pixels, found), snapped.mask(labels, 255)
    full = plan.image(sample.image)
    assert (image.float() - full.float()).abs().mean() < 1.5
    # Where the two disagree, the pixel is on an outline: none lies deeper than a pixel.
    inside = cv2.erode(moved, np.ones((3, 3), np.uint8)) == 1
    outside = cv2.dilate(moved, np.ones((3, 3), np.uint8)) == 0
    assert image[0, inside].min() > 170
    assert image[0, outside].max() < 90


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_plan_for_a_reduced_image_shows_whole_blocks(factor: int) -> None:
    torch.manual_seed(0)
    frame = (1203, 1601)
    geometry = Geometry(_jitter((1, 3)), (40, 60), rotate=90)
    for _ in range(50):
        plan = geometry.plan(frame)
        snapped = plan.snapped(frame, factor)
        (y, x, h, w), (top, left, height, width) = plan.window, snapped.window
        assert not any(value % factor for value in snapped.window)
        assert 0 <= y - top < factor and 0 <= x - left < factor
        assert abs(y + h - top - height) < factor and abs(x + w - left - width) < factor
        assert top + height <= frame[0] and left + width <= frame[1]
        assert snapped.snapped(frame, 1) is snapped
        assert (snapped.resized, snapped.top, snapped.angle) == (
            plan.resized,
            plan.top,
            plan.angle,
        )


@pytest.mark.parametrize("kind", ["png", "quarter turn", "half turn", "cut", "array"])
def test_what_is_no_ordinary_jpeg_is_decoded_whole(tmp_path: Path, kind: str) -> None:
    size = (400, 600)
    path = tmp_path / ("photo.png" if kind == "png" else "photo.jpg")
    image, labels = photo(path, size)
    if kind.endswith("turn"):
        exif = PIL.Image.Exif()
        exif[0x0112] = 6 if kind == "quarter turn" else 3
        stored = np.rot90(image, 1 if kind == "quarter turn" else 2)
        PIL.Image.fromarray(stored).save(path, exif=exif)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    sample = Sample("photo", image if kind == "array" else path, size, labels)
    plan = Geometry(_jitter((1, 1)), (50, 75)).plan(size)
    assert plan.reduction == 8
    if kind == "cut":
        with pytest.raises(ImageError, match="cut short"):
            read_pixels(sample, plan)
        return
    pixels, plan, factor = read_pixels(sample, plan)
    assert factor == 1
    assert pixels.shape == (400, 600, 3)
    shown = plan.image(pixels).max(0).values > BRIGHT
    assert (shown.numpy() == (plan.mask(labels, 0) > 0)).mean() > 0.97
