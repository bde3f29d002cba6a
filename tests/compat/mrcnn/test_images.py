"""``utils``: images and masks at other sizes."""

import random

import numpy as np
import pytest

from vitrail.compat.mrcnn import utils
from vitrail.errors import DataError, ParameterError


def ramp(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height * width)
    return rng.integers(1, 256, (height, width, 3)).astype(np.uint8)


def test_square_enlarges_to_the_short_side_and_pads_around() -> None:
    image, window, scale, padding, crop = utils.resize_image(
        ramp(50, 60), min_dim=100, max_dim=128, mode="square"
    )
    assert image.shape == (128, 128, 3)
    assert image.dtype == np.uint8
    assert scale == 2
    assert tuple(window) == (14, 4, 114, 124)
    assert [tuple(pair) for pair in padding] == [(14, 14), (4, 4), (0, 0)]
    assert crop is None
    assert not image[:14].any() and not image[:, :4].any()
    assert image[14:114, 4:124].any()


def test_square_keeps_the_long_side_within_the_square() -> None:
    image, window, scale, _, _ = utils.resize_image(
        ramp(100, 300), min_dim=100, max_dim=128, mode="square"
    )
    assert image.shape == (128, 128, 3)
    assert scale == pytest.approx(128 / 300)
    assert tuple(window) == (42, 0, 85, 128)


def test_pad64_pads_to_multiples() -> None:
    image, window, scale, _, _ = utils.resize_image(ramp(70, 130), min_dim=64, mode="pad64")
    assert image.shape == (128, 192, 3)
    assert scale == 1
    assert tuple(window) == (29, 31, 99, 161)


def test_none_is_the_image_as_it_is() -> None:
    given = ramp(30, 40)
    image, window, scale, padding, crop = utils.resize_image(given, mode="none")
    assert np.array_equal(image, given)
    assert (tuple(window), scale, crop) == ((0, 0, 30, 40), 1, None)
    assert [tuple(pair) for pair in padding] == [(0, 0)] * 3


def test_crop_is_a_part_of_the_enlarged_image_and_of_its_masks() -> None:
    random.seed(3)
    given = ramp(40, 60)
    image, window, scale, padding, crop = utils.resize_image(given, min_dim=64, mode="crop")
    assert image.shape == (64, 64, 3)
    assert scale == 1.6
    assert tuple(window) == (0, 0, 64, 64)
    assert crop is not None
    y, x, height, width = crop
    assert (y, height, width) == (0, 64, 64) and 0 <= x <= 32
    mask = utils.resize_mask(given[..., :1] > 128, scale, padding, crop)
    assert mask.shape == (64, 64, 1)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mode": "stretch"}, "'stretch'"),
        ({"mode": "square"}, "max_dim"),
        ({"mode": "pad64", "min_dim": 100}, "64"),
        ({"mode": "crop"}, "min_dim"),
    ],
)
def test_sizes_that_cannot_be_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        utils.resize_image(ramp(10, 10), **settings)


def test_masks_follow_their_image() -> None:
    given = np.zeros((20, 30, 2), bool)
    given[5:15, 10:20, 0] = True
    _, _, scale, padding, crop = utils.resize_image(
        np.zeros((20, 30, 3), np.uint8), min_dim=40, max_dim=64, mode="square"
    )
    mask = utils.resize_mask(given, scale, padding, crop)
    assert mask.shape == (64, 64, 2)
    assert mask.dtype == bool
    (y1, x1, y2, x2), empty = utils.extract_bboxes(mask).tolist()
    assert empty == [0, 0, 0, 0]
    # Twice the size, below 12 rows and beside 2 columns of padding.
    assert np.abs(np.array([y1, x1, y2, x2]) - [22, 22, 42, 42]).max() <= 1


def test_small_masks_go_back_to_their_boxes() -> None:
    mask = np.zeros((64, 64, 2), bool)
    mask[8:40, 8:56, 0] = True
    mask[20:36, 30:46, 1] = True
    boxes = utils.extract_bboxes(mask)
    mini = utils.minimize_mask(boxes, mask, (14, 14))
    assert mini.shape == (14, 14, 2) and mini.dtype == bool
    back = utils.expand_mask(boxes, mini, (64, 64, 3))
    assert back.shape == mask.shape and back.dtype == bool
    assert utils.compute_overlaps_masks(mask, back).diagonal().min() > 0.8
    assert not (back & ~mask).any()


def test_a_box_without_area_cannot_be_minimised() -> None:
    with pytest.raises(DataError, match="object 0"):
        utils.minimize_mask(np.zeros((1, 4), int), np.zeros((8, 8, 1), bool), (4, 4))


def test_unmold_puts_a_mask_into_its_box() -> None:
    small = np.zeros((28, 28), np.float32)
    small[:, 14:] = 1
    full = utils.unmold_mask(small, np.array([10, 20, 38, 76]), (50, 90, 3))
    assert full.dtype == bool
    assert full.shape == (50, 90)
    assert full[12:36, 50:74].all()
    assert not full[:, :47].any()


def test_resize_has_the_original_s_defaults() -> None:
    image = np.full((4, 4), 100, np.uint8)
    assert utils.resize(image, (8, 8)).max() <= 1  # as a share of the type's range
    kept = utils.resize(image, (8, 8), preserve_range=True)
    assert kept[4, 4] == 100
