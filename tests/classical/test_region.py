"""Watershed, SLIC and Felzenszwalb: parity with scikit-image, and what the methods promise."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pytest
from skimage import data, filters, segmentation

from vitrail.classical.region import (
    SLIC,
    Felzenszwalb,
    Watershed,
    blob_markers,
    felzenszwalb,
    gradient_magnitude,
    minima_markers,
    slic,
    watershed,
)
from vitrail.errors import ImageError, ParameterError
from vitrail.image import Image, read_image

SKIMAGE = f"scikit-image {version('scikit-image')}"


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return data.astronaut()[:200, 100:300]


def discs() -> np.ndarray:
    """Two bright discs that touch, and one apart, on black; (H, W) uint8."""
    y, x = np.mgrid[:90, :160]
    centres = ((40, 40, 25), (40, 82, 25), (60, 135, 15))
    hit = [(y - cy) ** 2 + (x - cx) ** 2 < r * r for cy, cx, r in centres]
    return (np.any(hit, axis=0) * 200 + 20).astype(np.uint8)


@pytest.mark.parametrize("compactness", [0.0, 0.01])
@pytest.mark.parametrize("connectivity", [4, 8])
def test_watershed_equals_scikit_image(compactness, connectivity):
    relief = filters.sobel(data.coins())
    markers = np.zeros(relief.shape, np.int32)
    markers[data.coins() < 30], markers[data.coins() > 150] = 1, 2
    markers[10, 10] = 77
    ours = watershed(relief, markers, compactness=compactness, connectivity=connectivity)
    theirs = segmentation.watershed(
        relief, markers, compactness=compactness, connectivity=connectivity // 4
    )
    np.testing.assert_array_equal(ours, theirs, SKIMAGE)
    assert ours.dtype == np.int32


def test_watershed_refuses_what_does_not_fit():
    relief = np.zeros((4, 5))
    with pytest.raises(ParameterError, match=r"\(4, 5\).*\(5, 4\)"):
        watershed(relief, np.ones((5, 4), np.int32))
    with pytest.raises(ParameterError, match="no marker"):
        watershed(relief, np.zeros((4, 5), np.int32))


def test_gradient_of_a_ramp_is_its_slope():
    ramp = np.arange(20, dtype=np.float32) * 3 + np.zeros((15, 1), np.float32)
    for sigma in (0.0, 1.0):
        np.testing.assert_allclose(gradient_magnitude(ramp, sigma)[:, 6:-6], 3, rtol=1e-5)


def test_minima_are_apart_and_lowest():
    relief = np.full((40, 60), 9, np.float32)
    relief[10, 10], relief[10, 14], relief[30, 50] = 1, 2, 3
    markers = minima_markers(relief, 12)
    assert markers[10, 10] and markers[30, 50] and markers[10, 10] != markers[30, 50]
    assert not markers[10, 14], "a lower minimum lies within 12 px"
    assert minima_markers(relief, 2)[10, 14]


def test_touching_discs_come_apart():
    labels = Watershed(relief="distance", sigma=0)(read_image(discs())).labels
    truth = discs() > 100
    np.testing.assert_array_equal(labels > 0, truth)
    assert np.unique(labels).tolist() == [0, 1, 2, 3]
    assert len({labels[40, 40], labels[40, 82], labels[60, 135]}) == 3
    # the cut runs down the neck, half way between the two centres
    assert (labels[truth[:, :]] > 0).all()
    assert set(labels[:, :58][truth[:, :58]]) == {labels[40, 40]}
    assert set(labels[:, 65:110][truth[:, 65:110]]) == {labels[40, 82]}


def test_distance_names_its_regions_and_takes_dark_objects():
    result = Watershed(relief="distance", sigma=0, dark=True)(read_image(255 - discs()))
    assert result.classes == ("background", "object 1", "object 2", "object 3")
    assert (result.labels[discs() > 100] > 0).all()


def test_blob_markers_of_a_full_and_an_empty_mask():
    relief, markers = blob_markers(np.ones((5, 9), bool))
    assert np.isfinite(relief).all() and markers.max() == 1
    assert not blob_markers(np.zeros((5, 9), bool))[1].any()


def test_watershed_method_gives_every_pixel_a_region(astronaut):
    few = Watershed(min_distance=25)(read_image(astronaut))
    many = Watershed(min_distance=5)(read_image(astronaut))
    for result in (few, many):
        found = np.unique(result.labels)
        np.testing.assert_array_equal(found, np.arange(len(found)))
    assert 5 < len(few) < len(many)


def test_watershed_method_keeps_the_numbers_of_given_markers(astronaut, tmp_path):
    from PIL import Image as Pillow

    markers = np.zeros((200, 200), np.uint8)
    markers[50, 120], markers[180, 10] = 7, 3
    path = tmp_path / "markers.png"
    Pillow.fromarray(markers).save(path)
    relief = gradient_magnitude(read_image(astronaut).gray(), 1.0)
    expected = segmentation.watershed(relief, markers.astype(np.int32))
    for given in (markers, str(path)):
        labels = Watershed(markers=given, sigma=1.0)(read_image(astronaut)).labels
        np.testing.assert_array_equal(labels, expected, SKIMAGE)
    assert set(np.unique(expected)) == {3, 7}


@pytest.mark.parametrize(
    "options",
    [
        {"n_segments": 60, "compactness": 10.0},
        {"n_segments": 100, "compactness": 0.3, "sigma": 1.5},
        {"n_segments": 60, "zero": True},
    ],
)
def test_slic_equals_scikit_image(astronaut, options):
    theirs = dict(options)
    theirs["slic_zero"] = theirs.pop("zero", False)
    expected = segmentation.slic(astronaut, start_label=0, **theirs)
    np.testing.assert_array_equal(slic(astronaut, **options), expected, SKIMAGE)
    result = SLIC(**options)(read_image(astronaut))
    np.testing.assert_array_equal(result.labels, expected)


def test_slic_of_grey_and_of_bands():
    coins = data.coins()[:100, :120]
    expected = segmentation.slic(coins, 40, compactness=0.1, start_label=0, channel_axis=None)
    np.testing.assert_array_equal(slic(coins, n_segments=40, compactness=0.1), expected, SKIMAGE)
    bands = np.dstack([coins, coins[::-1], coins[:, ::-1], coins, 255 - coins])
    expected = segmentation.slic(bands, 40, compactness=0.1, start_label=0)
    np.testing.assert_array_equal(slic(bands, n_segments=40, compactness=0.1), expected, SKIMAGE)


@pytest.mark.parametrize("options", [{}, {"scale": 300.0, "sigma": 0.5, "min_size": 20}])
def test_felzenszwalb_equals_scikit_image(astronaut, options):
    full = {"scale": 100.0, "sigma": 0.8, "min_size": 50} | options
    expected = segmentation.felzenszwalb(astronaut, **full)
    np.testing.assert_array_equal(felzenszwalb(astronaut, **options), expected, SKIMAGE)
    result = Felzenszwalb(**options)(read_image(astronaut))
    np.testing.assert_array_equal(result.labels, expected)
    coins = data.coins()[:100, :120]
    expected = segmentation.felzenszwalb(coins, channel_axis=None, **full)
    np.testing.assert_array_equal(felzenszwalb(coins, **options), expected, SKIMAGE)


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_felzenszwalb_of_a_large_image_works_at_a_smaller_size(bands):
    quarters = np.zeros((120, 160, bands), np.uint8)
    quarters[:60, 80:], quarters[60:, :80], quarters[60:, 80:] = 80, 160, 240
    exact = Felzenszwalb(sigma=0, max_pixels=0)(Image(quarters)).labels
    reduced = Felzenszwalb(sigma=0, max_pixels=120 * 160 // 4)(Image(quarters)).labels
    assert reduced.shape == (120, 160)
    np.testing.assert_array_equal(np.unique(reduced), [0, 1, 2, 3])
    assert (exact == reduced).mean() > 0.97


@pytest.mark.parametrize("function", [slic, felzenszwalb])
def test_pixels_that_are_not_finite_are_refused(function):
    pixels = np.zeros((8, 9, 3), np.float32)
    pixels[3, 4] = np.nan
    with pytest.raises(ImageError, match="NaN"):
        function(pixels)


@pytest.mark.parametrize(
    "method", [Watershed(), Watershed(relief="distance"), SLIC(), Felzenszwalb()]
)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (300, 1, 1), (2, 2, 1), (31, 17, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_odd_sizes_depths_and_bands(method, shape, dtype):
    rng = np.random.default_rng(1)
    pixels = rng.random(shape, np.float32)
    if dtype != np.float32:
        pixels = (pixels * np.iinfo(dtype).max).astype(dtype)
    for filling in (pixels, np.full_like(pixels, pixels.flat[0])):
        result = method(Image(np.ascontiguousarray(filling)))
        assert result.size == shape[:2]
        assert result.labels.min() >= 0


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        (Watershed, {"min_distance": 0}, "min_distance=0"),
        (Watershed, {"connectivity": 6}, "connectivity=6"),
        (Watershed, {"relief": "hight"}, "relief='hight'"),
        (SLIC, {"segments": 9}, "n_segments"),
        (SLIC, {"compactness": 0}, "compactness=0"),
        (Felzenszwalb, {"scale": -1}, "scale=-1"),
    ],
)
def test_bad_parameters_are_named(method, params, message):
    with pytest.raises(ParameterError, match=message):
        method.from_params(params)


def test_markers_of_another_size_are_refused(astronaut):
    method = Watershed(markers=np.ones((20, 30), np.uint8))
    with pytest.raises(ParameterError, match="30 x 20, the image 200 x 200"):
        method(read_image(astronaut))
