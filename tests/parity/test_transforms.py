"""Geometry, colours and boxes against torchvision's functionals, and masks against Pillow."""

from importlib.metadata import version

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from skimage import data
from torch import Tensor
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2

from tests.data.drawn_sources import DrawnObjects
from vitrail.data.augment import AugmentConfig, build_augmentation
from vitrail.data.sample import LabelSpace
from vitrail.data.transforms import TrainingSet
from vitrail.data.transforms.framing import ScaleJitter
from vitrail.data.transforms.geometry import Geometry, Plan
from vitrail.data.transforms.photometric import ColourJitter, turn_hue

F = v2.functional
TORCHVISION = f"torchvision-{version('torchvision')}"
PILLOW = f"pillow-{version('pillow')}"
SIZES = [(70, 90), (151, 203), (320, 180), (35, 300)]


def photo() -> np.ndarray:
    """(200, 260, 3) uint8."""
    return np.ascontiguousarray(data.astronaut()[40:240, 100:360])


def labels() -> np.ndarray:
    """(200, 260) uint16: blocks of ids up to 999."""
    blocks = np.random.default_rng(0).integers(0, 1000, (20, 26)).astype(np.uint16)
    return blocks.repeat(10, 0).repeat(10, 1)


def tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


def whole(size: tuple[int, int], **more) -> Plan:
    """The plan that shows a whole photo at some size."""
    return Plan((0, 0, 200, 260), size, 0, 0, size, **more)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{TORCHVISION}-{size[0]}x{size[1]}")
def test_resizing_equals_v2(size: tuple[int, int]) -> None:
    expected = F.resize(tensor(photo()), list(size), antialias=True)
    assert torch.equal(whole(size).image(photo()), expected)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{PILLOW}-{size[0]}x{size[1]}")
def test_masks_take_the_nearest_pixel_as_pillow_does(size: tuple[int, int]) -> None:
    found = whole(size).mask(labels(), 0)
    picture = PIL.Image.fromarray(labels().astype(np.int32))
    expected = picture.resize((size[1], size[0]), PIL.Image.Resampling.NEAREST)
    assert np.array_equal(found, np.asarray(expected))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{TORCHVISION}-{size[0]}x{size[1]}")
def test_masks_take_the_nearest_pixel_as_v2_does(size: tuple[int, int]) -> None:
    """``nearest-exact``; they may differ where two pixels are equally near."""
    mask = torch.from_numpy(labels().astype(np.float32))[None]
    expected = F.resize(mask, list(size), v2.InterpolationMode.NEAREST_EXACT)[0].numpy()
    rows, columns = (
        (2 * np.arange(out) + 1) * extent % (2 * out) != 0
        for out, extent in zip(size, (200, 260), strict=True)
    )
    assert np.count_nonzero(rows) * np.count_nonzero(columns) > 0.5 * expected.size
    assert np.array_equal(
        whole(size).mask(labels(), 0)[rows][:, columns], expected[rows][:, columns]
    )


@pytest.mark.parametrize(
    "flips", [(True, False), (False, True), (True, True)], ids=lambda f: f"{TORCHVISION}-{f}"
)
def test_flips_equal_v2(flips: tuple[bool, bool]) -> None:
    plan = whole((200, 260), flips=flips)
    image, mask = tensor(photo()), torch.from_numpy(labels().astype(np.int32))[None]
    for wanted, flip in zip(flips, (F.horizontal_flip, F.vertical_flip), strict=True):
        image, mask = (flip(image), flip(mask)) if wanted else (image, mask)
    assert torch.equal(plan.image(photo()), image)
    assert np.array_equal(plan.mask(labels(), 0), mask[0].numpy())


@pytest.mark.parametrize("angle", [7.0, -23.5, 90.0, 171.0], ids=lambda a: f"{TORCHVISION}-{a}")
def test_rotations_equal_v2(angle: float) -> None:
    plan = whole((200, 260), angle=angle, pivot=(100, 130))
    mask = torch.from_numpy(labels().astype(np.int32))[None]
    expected = F.rotate(mask, angle, fill=[999.0])[0].numpy()
    assert (plan.mask(labels(), 999) == expected).mean() > 0.9995
    theirs = F.rotate(tensor(photo()), angle, v2.InterpolationMode.BILINEAR, fill=[0.0])
    apart = (plan.image(photo()).int() - theirs).abs().float()
    # Along the frame, v2 fades into the fill twice; inside, they differ by rounding.
    inside = cv2.erode((expected != 999).astype(np.uint8), np.ones((5, 5)), borderValue=0) > 0
    assert inside.mean() > 0.4
    assert apart[:, torch.from_numpy(inside)].max() <= 2
    assert apart.mean() < 0.3


@pytest.mark.parametrize("scale", [0.6, 1.0, 2.0], ids=lambda s: f"{TORCHVISION}-{s}")
def test_crops_and_padding_equal_v2(scale: float) -> None:
    """At scale 2 the crop lies on the image, at 0.6 the image in the crop."""
    torch.manual_seed(0)
    plan = Geometry(ScaleJitter((scale, scale), 0.0), (130, 130)).plan((200, 260))
    y, x, h, w = plan.window
    shown = F.resize(tensor(photo()[y : y + h, x : x + w]), list(plan.resized), antialias=True)
    room = [130] * 4
    padded = F.pad(shown, room, fill=0)
    expected = F.crop(padded, plan.top + 130, plan.left + 130, 130, 130)
    assert torch.equal(plan.image(photo()), expected)
    part = labels()[y : y + h, x : x + w]
    height, width = plan.resized
    near = PIL.Image.fromarray(part.astype(np.int32)).resize((width, height), 0)
    mask = F.pad(torch.from_numpy(np.array(near))[None], room, fill=999)
    mask = F.crop(mask, plan.top + 130, plan.left + 130, 130, 130)
    assert np.array_equal(plan.mask(labels(), 999), mask[0].numpy())
    assert (mask == 999).any() == (scale < 2)


@pytest.mark.parametrize("seed", range(4), ids=lambda seed: f"{TORCHVISION}-{seed}")
def test_resized_crops_equal_v2(seed: int) -> None:
    """The same seed draws the same window as v2.RandomResizedCrop, and shows it alike."""
    config = AugmentConfig(framing="resized-crop", area=(0.2, 0.9), stretch=0.2, rotate=0, flip=0)
    geometry = build_augmentation(config, (96, 80), LabelSpace(("a",)), "labels").geometry
    theirs = v2.RandomResizedCrop((96, 80), (0.2, 0.9), (1 / 1.44, 1.44), antialias=True)
    torch.manual_seed(seed)
    plan = geometry.plan((200, 260))
    torch.manual_seed(seed)
    assert torch.equal(plan.image(photo()), theirs(tensor(photo())))


@pytest.mark.parametrize("turn", [0.05, -0.2, 0.5], ids=lambda turn: f"{TORCHVISION}-{turn}")
def test_hues_equal_v2_within_rounding(turn: float) -> None:
    expected = F.adjust_hue(tensor(photo()), turn).int()
    apart = (turn_hue(tensor(photo()), turn).int() - expected).abs().float()
    assert apart.mean() < 0.4
    assert apart.max() <= 8


@pytest.mark.parametrize("seed", range(4), ids=lambda seed: f"{TORCHVISION}-{seed}")
def test_colour_jitter_equals_v2(seed: int) -> None:
    """Same draws, same order of the four changes; the hue is the one that differs a little."""
    image = tv_tensors.Image(tensor(photo()))
    for hue, most in ((0.0, 0.0), (0.06, 0.8)):
        torch.manual_seed(seed)
        ours = ColourJitter(0.3, 0.3, 0.3, hue)(image)
        torch.manual_seed(seed)
        theirs = v2.ColorJitter(0.3, 0.3, 0.3, hue)(image)
        assert (ours.int() - theirs.int()).abs().float().mean() <= most


@pytest.mark.parametrize("index", range(1, 8), ids=lambda index: f"{TORCHVISION}-{index}")
def test_boxes_equal_masks_to_boxes(index: int) -> None:
    """Theirs ends on the last pixel, ours after it."""
    source = DrawnObjects()
    config = AugmentConfig(copy_paste=0.8, mosaic=0.3, rotate=45)
    shown = TrainingSet(source, build_augmentation(config, 90, source.space, "instances"))
    for epoch in range(4):
        example = shown[(epoch, index)]
        expected = masks_to_boxes(example.masks) + torch.tensor([0, 0, 1, 1])
        assert torch.equal(example.boxes, expected)
