"""Arrays, tensors and PIL images in; rgb() and gray() out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from skimage import data
from skimage.color import rgb2gray, rgba2rgb
from skimage.util import img_as_ubyte

from vitrail.errors import ImageError, ParameterError
from vitrail.image import Image, read_image

RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (31, 43, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (31, 43), dtype=np.uint8)


# gray(): parity with scikit-image 0.26.0


@pytest.mark.parametrize(
    "pixels",
    [
        RGB,
        RGB.astype(np.uint16) * 257,
        RNG.integers(0, 4096, RGB.shape, dtype=np.uint16),
        RNG.random(RGB.shape, dtype=np.float32),
        data.astronaut(),
    ],
    ids=["uint8", "uint16", "12-bit", "float", "astronaut"],
)
def test_gray_equals_scikit_image(pixels: np.ndarray) -> None:
    gray = read_image(pixels).gray()
    assert gray.dtype == np.float32
    np.testing.assert_allclose(gray, rgb2gray(pixels), rtol=0, atol=2.5e-7)


def test_gray_with_alpha_equals_scikit_image() -> None:
    expected = rgb2gray(rgba2rgb(np.dstack([RGB, ALPHA])))
    np.testing.assert_allclose(Image(RGB, ALPHA).gray(), expected, rtol=0, atol=2.5e-7)


def test_gray_of_one_band_is_its_values() -> None:
    np.testing.assert_allclose(Image(RGB[:, :, :1]).gray(), RGB[:, :, 0] / 255, rtol=1e-6)


def test_gray_of_bands_takes_the_first_three() -> None:
    bands = np.dstack([RGB, RGB])
    np.testing.assert_array_equal(Image(bands).gray(), Image(RGB).gray())


def test_gray_of_floats_beyond_one_is_scaled() -> None:
    values = np.linspace(-1000, 3000, 60, dtype=np.float32).reshape(6, 10, 1)
    gray = Image(values).gray()
    np.testing.assert_allclose(gray, (values[:, :, 0] + 1000) / 4000, atol=1e-6)
    # No precision is lost to an offset that is large beside the range.
    offset = np.array([[0, 1, 2, 4]], np.float32)[:, :, None] + 1_000_000
    np.testing.assert_allclose(Image(offset).gray(), [[0, 0.25, 0.5, 1]], atol=1e-6)


def test_gray_stays_within_zero_and_one() -> None:
    assert Image(np.full((4, 4, 3), 255, np.uint8)).gray().max() <= 1
    assert Image(np.full((4, 4, 3), 1, np.float32)).gray().max() <= 1


# rgb()


def test_rgb_of_uint8_is_no_copy() -> None:
    assert np.shares_memory(read_image(RGB).rgb(), RGB)
    opaque = Image(RGB, np.full(RGB.shape[:2], 255, np.uint8))
    assert np.shares_memory(opaque.rgb(), RGB)


def test_rgb_replicates_grey() -> None:
    np.testing.assert_array_equal(Image(RGB[:, :, :1]).rgb(), RGB[:, :, [0, 0, 0]])


def test_rgb_of_other_numbers_of_bands() -> None:
    two = Image(np.ascontiguousarray(RGB[:, :, :2])).rgb()
    np.testing.assert_array_equal(two[:, :, :2], RGB[:, :, :2])
    assert not two[:, :, 2].any()
    many = Image(np.dstack([RGB, ALPHA, ALPHA])).rgb()
    np.testing.assert_array_equal(many, RGB)
    assert many.flags.c_contiguous


def test_rgb_over_white() -> None:
    share = ALPHA[:, :, None] / 255
    expected = np.rint(RGB * share + 255 * (1 - share))
    np.testing.assert_array_equal(Image(RGB, ALPHA).rgb(), expected)
    grey = Image(RGB[:, :, :1], np.zeros_like(ALPHA))
    assert (grey.rgb() == 255).all()


def test_rgb_of_floats_equals_scikit_image() -> None:
    floats = RNG.random(RGB.shape, dtype=np.float32)
    np.testing.assert_array_equal(Image(floats).rgb(), img_as_ubyte(floats))


def test_rgb_of_floats_beyond_one_is_stretched() -> None:
    ramp = np.linspace(-50, 205, 256, dtype=np.float32).reshape(16, 16, 1)
    np.testing.assert_array_equal(Image(ramp).rgb()[:, :, 0].ravel(), np.arange(256))
    assert not Image(np.full((4, 4, 1), 7, np.float32)).rgb().any()


def test_rgb_of_a_full_16_bit_picture_is_divided_by_257() -> None:
    deep = RGB.astype(np.uint16) * 257
    np.testing.assert_array_equal(Image(deep).rgb(), RGB)


def test_rgb_makes_a_dark_12_bit_picture_visible() -> None:
    """100 to 600 counts of 65535 would be black; and one hot pixel must not make them so."""
    dark = np.linspace(100, 600, 10_000).reshape(100, 100, 1).astype(np.uint16)
    dark[50, 50] = 65535
    shown = Image(dark).rgb()
    assert shown.min() == 0
    assert shown.max() == 255
    assert 100 < np.median(shown) < 155
    low, high = np.percentile(dark, [0.1, 99.9])
    expected = np.rint(np.clip((dark - low) / (high - low), 0, 1) * 255)
    assert np.abs(shown[:, :, :1] - expected).max() <= 1


def test_rgb_of_16_bit_with_little_in_it() -> None:
    spot = np.zeros((100, 100, 1), np.uint16)
    spot[3, 4] = 300  # less than the 0.1 % that is cut off
    assert Image(spot).rgb()[3, 4].tolist() == [255, 255, 255]
    assert Image(spot).rgb().sum() == 3 * 255
    assert not Image(np.zeros((5, 5, 1), np.uint16)).rgb().any()
    assert (Image(np.full((5, 5, 1), 65535, np.uint16)).rgb() == 255).all()
    assert (Image(np.full((5, 5, 1), 514, np.uint16)).rgb() == 2).all()


def test_one_scale_for_all_channels_keeps_hues() -> None:
    deep = np.zeros((64, 64, 3), np.uint16)
    deep[:, :, 0] = np.linspace(0, 4000, 64)
    deep[:, :, 1] = deep[:, :, 0] // 2
    shown = Image(deep).rgb().astype(int)
    assert np.abs(shown[:, :60, 0] - 2 * shown[:, :60, 1]).max() <= 2


# arrays


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 9), (1, 1)])
def test_arrays_are_kept_as_they_are(dtype: type, shape: tuple[int, ...]) -> None:
    array = RNG.integers(0, 200, shape).astype(dtype)
    image = read_image(array)
    assert image.pixels.dtype == dtype
    assert image.size == shape[:2]
    np.testing.assert_array_equal(image.pixels.reshape(shape), array)
    assert np.shares_memory(image.pixels, array)


def test_four_bands_are_rgb_and_alpha() -> None:
    image = read_image(np.dstack([RGB, ALPHA]))
    np.testing.assert_array_equal(image.pixels, RGB)
    np.testing.assert_array_equal(image.alpha, ALPHA)
    assert Image(np.dstack([RGB, ALPHA])).pixels.shape[2] == 4  # four bands that mean bands
    floats = read_image(np.dstack([RGB, ALPHA]) / np.float32(255))
    np.testing.assert_array_equal(floats.alpha, ALPHA)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[True, False]]), np.array([[255, 0]], np.uint8)),
        (np.array([[0, 255]], np.int64), np.array([[0, 255]], np.uint8)),
        (np.array([[0, 256]], np.int32), np.array([[0, 256]], np.uint16)),
        (np.array([[-1, 256]], np.int16), np.array([[-1, 256]], np.float32)),
        (np.array([[0, 65536]], np.uint32), np.array([[0, 65536]], np.float32)),
        (np.array([[0, 0.5]], np.float64), np.array([[0, 0.5]], np.float32)),
        (np.array([[0, 0.5]], np.float16), np.array([[0, 0.5]], np.float32)),
        (np.array([[1, 258]], ">u2"), np.array([[1, 258]], np.uint16)),
    ],
)
def test_other_types_are_converted(array: np.ndarray, expected: np.ndarray) -> None:
    pixels = read_image(array).pixels[:, :, 0]
    assert pixels.dtype == expected.dtype
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5), r"got shape \(5,\)"),
        (np.zeros((2, 5, 7, 3)), r"got shape \(2, 5, 7, 3\); give the images of a batch"),
        (np.zeros((3, 50, 70)), r"looks like \(C, H, W\).*transpose\(1, 2, 0\)"),
        (np.zeros((0, 7, 3)), "nothing in an array"),
        (np.zeros((5, 7), complex), "complex128"),
        (np.full((5, 7), None), "object"),
        (np.full((5, 7), np.nan), "35 of 35 values are NaN or infinite.*nan_to_num"),
        (np.array([[1.0, np.inf]]), "1 of 2 values"),
        (np.array([[1.0, 1e300]]), "1 of 2 values"),
    ],
)
def test_arrays_that_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(array)


def test_sources_of_no_kind_are_refused() -> None:
    for source in (None, 3, [[1, 2]], object()):
        with pytest.raises(ImageError, match=f"from a {type(source).__name__}; give a path"):
            read_image(source)  # pyright: ignore[reportArgumentType]


# tensors


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.bfloat16])
def test_tensors(dtype: torch.dtype) -> None:
    tensor = torch.from_numpy(RGB).permute(2, 0, 1).to(dtype)
    image = read_image(tensor)
    assert image.pixels.dtype == (np.uint8 if dtype == torch.uint8 else np.float32)
    assert image.pixels.flags.c_contiguous
    np.testing.assert_array_equal(image.pixels, RGB)
    np.testing.assert_array_equal(read_image(tensor[0]).pixels[:, :, 0], RGB[:, :, 0])


def test_tensor_that_needs_gradients() -> None:
    assert read_image(torch.zeros(1, 4, 5, requires_grad=True)).pixels.shape == (4, 5, 1)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 50, 70), "give the images of a batch"),
        ((50, 70, 3), r"looks like \(H, W, C\).*permute\(2, 0, 1\)"),
        ((5,), "got shape"),
    ],
)
def test_tensors_that_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(torch.zeros(shape))


def test_torch_is_not_imported_to_read_an_image(tmp_path: Path) -> None:
    PIL.Image.fromarray(RGB).save(tmp_path / "a.png")
    code = (
        "import sys, vitrail.image as v; v.read_image(sys.argv[1]).gray();"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], check=True)


# PIL images


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_pil_modes(mode: str) -> None:
    source = PIL.Image.fromarray(RGB).convert(mode)
    image = read_image(source)
    assert image.alpha is None
    assert image.stem == "image"
    np.testing.assert_array_equal(image.rgb(), np.asarray(source.convert("RGB")))


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA"])
def test_pil_modes_with_alpha(mode: str) -> None:
    source = PIL.Image.fromarray(np.dstack([RGB, ALPHA])).convert(mode)
    np.testing.assert_array_equal(read_image(source).alpha, source.getchannel("A"))


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_pil_modes_with_premultiplied_alpha(mode: str) -> None:
    source = PIL.Image.fromarray(np.dstack([RGB, ALPHA])).convert("LA" if mode == "La" else "RGBA")
    np.testing.assert_array_equal(read_image(source.convert(mode)).alpha, ALPHA)


def test_pil_depths() -> None:
    deep = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
    np.testing.assert_array_equal(read_image(PIL.Image.fromarray(deep)).pixels[:, :, 0], deep)
    big_endian = PIL.Image.frombytes("I;16B", (7, 5), deep.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(big_endian).pixels[:, :, 0], deep)
    wide = read_image(PIL.Image.fromarray(deep.astype(np.int32)))
    assert wide.pixels.dtype == np.uint16
    np.testing.assert_array_equal(wide.pixels[:, :, 0], deep)
    floats = RNG.normal(size=(5, 7)).astype(np.float32)
    np.testing.assert_array_equal(read_image(PIL.Image.fromarray(floats)).pixels[:, :, 0], floats)


def test_pil_image_keeps_its_file_name(tmp_path: Path) -> None:
    PIL.Image.fromarray(RGB).save(tmp_path / "cat.png")
    with PIL.Image.open(tmp_path / "cat.png") as source:
        assert read_image(source).stem == "cat"


# Image itself


def test_image_passes_through() -> None:
    image = Image(RGB)
    assert read_image(image) is image


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        (None, "image"),
        ("a/photo.v2.jpg", "photo.v2"),
        ("https://example.org/a/b/cat%20one.jpeg?size=3#top", "cat one"),
        ("https://example.org/", "image"),
        ("https://example.org/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("https://example.org/a%3Ab%7Cc.png", "a_b_c"),
    ],
)
def test_stem(source: str | None, stem: str) -> None:
    assert Image(RGB, source=source).stem == stem


def test_repr_is_short() -> None:
    assert repr(Image(RGB, ALPHA, "a.png")) == "Image(31 x 43 x 3 + alpha, uint8, 'a.png')"


@pytest.mark.parametrize(
    ("pixels", "alpha", "message"),
    [
        (RGB[:, :, 0], None, r"\(H, W, C\) array, got \(31, 43\)"),
        (RGB[:0], None, r"got \(0, 43, 3\)"),
        (RGB.astype(float), None, "got float64"),
        (RGB.tolist(), None, "got list"),
        (RGB, ALPHA[1:], r"alpha must be uint8 of shape \(31, 43\), got uint8 of shape \(30, 43\)"),
        (RGB, ALPHA / 255, "got float64"),
    ],
)
def test_image_checks_its_arrays(pixels: np.ndarray, alpha: np.ndarray, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Image(pixels, alpha)


def test_image_makes_its_arrays_contiguous() -> None:
    image = Image(RGB[:, ::-1], ALPHA[:, ::-1])
    assert image.pixels.flags.c_contiguous
    assert image.alpha is not None
    assert image.alpha.flags.c_contiguous
