"""matterport's molding: sizes and corners by hand, pixels against scikit-image's own resizing."""

import numpy as np
import pytest
import skimage.transform
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrail.errors import ParameterError
from vitrail.predict.matterport import fit, frame, image_meta, mold, resize

SIDE = st.integers(1, 40)


def by_skimage(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What ``utils.resize`` of matterport's calls, and the cut to whole numbers after it."""
    fitted = skimage.transform.resize(
        values, size, order=1, mode="constant", clip=True, preserve_range=True, anti_aliasing=False
    )
    return fitted.astype(values.dtype)


@settings(max_examples=60, deadline=None)
@given(SIDE, SIDE, SIDE, SIDE, st.integers(0, 2**32 - 1), st.sampled_from([(), (1,), (3,), (5,)]))
def test_pictures_and_masks_are_resized_to_the_last_bit_as_scikit_image_does(
    height: int, width: int, h: int, w: int, seed: int, bands: tuple[int, ...]
) -> None:
    dice = np.random.default_rng(seed)
    low, high = sorted(dice.integers(0, 256, 2))
    picture = dice.integers(low, high + 1, (height, width, *bands)).astype(np.uint8)
    np.testing.assert_array_equal(resize(picture, (h, w)), by_skimage(picture, (h, w)))
    mask = dice.uniform(0.2, 0.9, (height, width, *bands)).astype(np.float32)
    found = resize(mask, (h, w))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, by_skimage(mask, (h, w)))


def test_edges_darken_and_fractions_are_cut_off() -> None:
    picture = np.array([[10, 201]], np.uint8)
    # Twice as wide, centres at -0.25 0.25 0.75 1.25: 7.5 (raised to the darkest value there is),
    # 57.75, 153.25, 150.75.
    assert resize(picture, (1, 4)).tolist() == [[10, 57, 153, 150]]


@pytest.mark.parametrize(
    "size, options, scale, resized, corner, canvas",
    [
        ((480, 640), {}, 1.6, (768, 1024), (128, 0), (1024, 1024)),
        ((640, 480), {}, 1.6, (1024, 768), (0, 128), (1024, 1024)),
        ((2000, 1000), {}, 0.512, (1024, 512), (0, 256), (1024, 1024)),
        ((900, 1000), {}, 1.0, (900, 1000), (62, 12), (1024, 1024)),
        ((5, 3), {"least": 0, "most": 16}, 1.0, (5, 3), (5, 6), (16, 16)),
        ((5, 3), {"least": 0, "most": 16, "least_scale": 2.5}, 2.5, (12, 8), (2, 4), (16, 16)),
        ((1, 5000), {}, 0.2048, (1, 1024), (511, 0), (1024, 1024)),
        ((90, 133), {"least": 128, "mode": "pad64"}, 128 / 90, (128, 189), (0, 1), (128, 192)),
        ((200, 300), {"least": 64, "mode": "pad64"}, 1.0, (200, 300), (28, 10), (256, 320)),
        ((7, 9), {"mode": "none"}, 1.0, (7, 9), (0, 0), (7, 9)),
    ],
)
def test_sizes(
    size: tuple[int, int],
    options: dict,
    scale: float,
    resized: tuple[int, int],
    corner: tuple[int, int],
    canvas: tuple[int, int],
) -> None:
    fitted = fit(size, **options)
    assert fitted == (scale, resized, corner, canvas)
    (y, x), (h, w) = corner, resized
    assert fitted.window == (y, x, y + h, x + w)
    assert frame(size, fitted) == (size, resized, corner)


def test_halves_round_to_even_as_pythons_do() -> None:
    assert fit((25, 10), least=0, most=5).resized == (5, 2)  # 2.0
    assert fit((50, 25), least=0, most=5).resized == (5, 2)  # 2.5 becomes 2
    assert fit((50, 35), least=0, most=5).resized == (5, 4)  # 3.5 becomes 4


def test_a_molded_picture_lies_in_zeros() -> None:
    picture = np.full((10, 20, 3), 255, np.uint8)
    fitted = fit((10, 20), least=0, most=64)
    canvas = mold(picture, fitted)
    assert canvas.shape == (64, 64, 3) and canvas.dtype == np.uint8
    y1, x1, y2, x2 = fitted.window
    assert (canvas[y1:y2, x1:x2] == 255).all() and canvas.sum() == picture.sum()


def test_the_vector_of_an_image() -> None:
    meta = image_meta((10, 20), fit((10, 20), least=32, most=64), [1, 1, 0], image_id=7)
    assert meta.tolist() == [7, 10, 20, 3, 64, 64, 3, 16, 0, 48, 64, 3.2, 1, 1, 0]


def test_pad64_wants_a_multiple_of_64() -> None:
    with pytest.raises(ParameterError, match="least=100"):
        fit((10, 20), least=100, mode="pad64")
