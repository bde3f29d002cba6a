"""Thresholds against scikit-image and OpenCV (versions in the test ids), and against arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from importlib.metadata import version

import cv2
import numpy as np
import pytest
from skimage import color, data, filters, util

from vitrail.classical.threshold import (
    AUTOMATIC,
    Threshold,
    apply_threshold,
    histogram,
    local_threshold,
    mean_threshold,
    multi_otsu_thresholds,
    otsu_threshold,
)
from vitrail.errors import ParameterError
from vitrail.image import read_image
from vitrail.result import SemanticResult

SKIMAGE = f"scikit-image {version('scikit-image')}"
OPENCV = f"OpenCV {cv2.__version__}"


def _gray(name: str) -> np.ndarray:
    image = getattr(data, name)()
    return util.img_as_ubyte(color.rgb2gray(image)) if image.ndim == 3 else image


PHOTOS = {name: _gray(name) for name in ("camera", "coins", "page", "moon", "chelsea", "astronaut")}


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("method", AUTOMATIC, ids=lambda name: f"{name} = {SKIMAGE}")
def test_automatic_thresholds_of_integers_equal(method, photo):
    gray = PHOTOS[photo]
    reference = getattr(filters, f"threshold_{method}")
    for image in (gray, gray.astype(np.uint16) * 37 + 500):
        assert AUTOMATIC[method](image) == reference(image.copy())


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("method", AUTOMATIC, ids=lambda name: f"{name} = {SKIMAGE}")
def test_automatic_thresholds_of_floats_agree(method, photo):
    gray = (PHOTOS[photo] / 255).astype(np.float32)
    extra = {"tolerance": 1e-6} if method == "li" else {}
    expected = getattr(filters, f"threshold_{method}")(gray.astype(np.float64), **extra)
    assert AUTOMATIC[method](gray) == pytest.approx(expected, abs=2e-6)


def test_float_histogram_is_numpys():
    values = np.random.default_rng(0).normal(size=(300, 400))
    counts, edges = np.histogram(values, 256)
    found = histogram(values)
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_allclose(found.centers, (edges[1:] + edges[:-1]) / 2)


@pytest.mark.parametrize("photo", ["camera", "coins", "moon"], ids=lambda name: f"{name}, {OPENCV}")
def test_otsu_equals_opencv(photo):
    gray = PHOTOS[photo]
    assert otsu_threshold(gray) == cv2.threshold(gray, 0, 1, cv2.THRESH_OTSU)[0]


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize(
    "photo", ["camera", "coins", "page", "chelsea"], ids=f"{{}} {SKIMAGE}".format
)
def test_multi_otsu_equals(photo, classes):
    gray = PHOTOS[photo]
    expected = filters.threshold_multiotsu(gray, classes)
    np.testing.assert_array_equal(multi_otsu_thresholds(gray, classes), expected)


def _between(gray: np.ndarray, thresholds: Sequence[float] | np.ndarray) -> float:
    """Variance between the classes that thresholds make, by its definition."""
    labels = np.digitize(gray, np.asarray(thresholds), right=True)
    parts = [gray[labels == label].astype(np.float64) for label in np.unique(labels)]
    return sum(part.size * (part.mean() - gray.mean()) ** 2 for part in parts) / gray.size


def test_multi_otsu_explains_more_where_black_is_common():
    # scikit-image counts the lowest bin one level too light, and astronaut has much black.
    gray = PHOTOS["astronaut"]
    ours, theirs = multi_otsu_thresholds(gray, 4), filters.threshold_multiotsu(gray, 4)
    assert np.abs(ours - theirs).max() <= 1
    assert _between(gray, ours) >= _between(gray, theirs)


def test_multi_otsu_is_the_best_of_all_choices():
    rng = np.random.default_rng(1)
    for classes in (2, 3, 4):
        gray = rng.choice([0, 3, 4, 9, 17, 18, 40], size=(9, 11), p=[0.3, 0.2] + [0.1] * 5)
        gray = gray.astype(np.uint8)
        levels = np.unique(gray)[:-1]
        best = max(_between(gray, t) for t in itertools.combinations(levels, classes - 1))
        found = multi_otsu_thresholds(gray, classes)
        assert len(found) == classes - 1 and (np.diff(found) > 0).all()
        assert _between(gray, found) == pytest.approx(best)


def test_multi_otsu_wants_as_many_levels_as_classes():
    two = np.array([[3, 9], [9, 9]], np.uint8)
    np.testing.assert_array_equal(multi_otsu_thresholds(two, 2), [3])
    with pytest.raises(ParameterError, match=r"3 classes .* 2 grey level"):
        multi_otsu_thresholds(two, 3)
    with pytest.raises(ParameterError, match="one grey level"):
        multi_otsu_thresholds(np.zeros((4, 4), np.uint8), 2)


@pytest.mark.parametrize("weighting", ["gaussian", "mean"], ids=lambda name: f"{name} {SKIMAGE}")
@pytest.mark.parametrize("block_size", [3, 35, 101])
def test_local_threshold_equals(block_size, weighting):
    for gray in (PHOTOS["page"] / 255.0, np.random.default_rng(0).random((5, 3))):
        expected = filters.threshold_local(gray, block_size, weighting)
        np.testing.assert_allclose(
            local_threshold(gray, block_size, weighting), expected, atol=1e-6
        )


def test_local_threshold_wants_an_odd_block():
    with pytest.raises(ParameterError, match="odd"):
        local_threshold(PHOTOS["page"], 10)


@pytest.mark.parametrize("level", [0, 1, 77, 125, 254, 255])
@pytest.mark.parametrize("method", AUTOMATIC)
def test_one_level_is_its_own_threshold(method, level):
    for gray in (np.full((37, 41), level, np.uint8), np.full((37, 41), level / 255, np.float32)):
        threshold = AUTOMATIC[method](gray)
        assert threshold == pytest.approx(gray[0, 0], rel=1e-9)
        assert apply_threshold(gray, threshold).all()  # all of it is at the threshold: object


def test_mean_object_is_at_or_below_the_mean_pixel_by_pixel():
    gray = PHOTOS["coins"][:60, :80]
    mean = sum(int(value) for value in gray.flat) / gray.size
    expected = np.array([[1 if value <= mean else 0 for value in row] for row in gray])
    assert mean_threshold(gray) == mean
    np.testing.assert_array_equal(apply_threshold(gray, mean), expected)
    np.testing.assert_array_equal(apply_threshold(gray, mean, "bright"), 1 - expected)


@pytest.mark.parametrize("threshold", [-0.5, 0, 99.0, 99.7, 254.9, 255, 300])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_compare_as_real_numbers_do(threshold, dtype):
    gray = np.arange(256, dtype=dtype).reshape(16, 16)
    np.testing.assert_array_equal(apply_threshold(gray, threshold), gray <= float(threshold))
    np.testing.assert_array_equal(
        apply_threshold(gray, threshold, "bright"), gray > float(threshold)
    )


@pytest.mark.parametrize(
    ("gray", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (np.zeros((4, 4), np.int32), "int32"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.array([[0.0, np.inf]]), "infinity"),
    ],
)
def test_what_is_no_grey_image_is_refused(gray, message):
    for method in AUTOMATIC.values():
        with pytest.raises(ParameterError, match=message):
            method(gray)


def test_method_on_a_photo_is_the_definition():
    photo = data.chelsea()
    result = Threshold.from_params({})(read_image(photo))
    gray = color.rgb2gray(photo)
    assert isinstance(result, SemanticResult)
    assert result.classes == ("background", "object") and result.background == 0
    assert result.labels.dtype == np.uint8
    clear = np.abs(gray - gray.mean()) > 1e-6  # float32 against float64
    np.testing.assert_array_equal(result.labels[clear], (gray <= gray.mean())[clear])
    assert clear.mean() > 0.999


@pytest.mark.parametrize("method", ["fixed", "local", *AUTOMATIC])
def test_bright_and_dark_are_complements(method):
    params: dict[str, object] = {"method": method}
    if method == "fixed":
        params["value"] = 0.4
    if method == "local":
        params["offset"] = 0
    image = read_image(PHOTOS["page"])
    dark = Threshold.from_params(params)(image).labels
    bright = Threshold.from_params({**params, "object": "bright"})(image).labels
    np.testing.assert_array_equal(dark + bright, 1)
    assert 0 < dark.mean() < 1


def test_fixed_value_means_the_same_at_every_depth():
    gray = PHOTOS["camera"]
    expected = gray <= 102  # 0.4 * 255
    for image in (gray, gray.astype(np.uint16) * 257, np.dstack([gray] * 3)):
        result = Threshold.from_params({"method": "fixed", "value": 0.4001})(read_image(image))
        np.testing.assert_array_equal(result.labels, expected)


def test_local_offset_keeps_flat_paper_out():
    paper = np.full((80, 80), 200, np.uint8)
    paper[30:50, 38:42] = 90
    labels = Threshold.from_params({"method": "local", "block_size": 21})(read_image(paper)).labels
    np.testing.assert_array_equal(labels, paper == 90)
    light = Threshold.from_params({"method": "local", "block_size": 21, "object": "bright"})
    np.testing.assert_array_equal(light(read_image(255 - paper)).labels, paper == 90)


def test_multi_otsu_levels_run_from_dark_to_bright():
    steps = np.repeat([10, 90, 160, 250], 25).astype(np.uint8).reshape(10, 10)
    result = Threshold.from_params({"method": "multi-otsu", "classes": 4})(read_image(steps))
    assert result.classes == ("level 0", "level 1", "level 2", "level 3")
    assert result.background is None
    np.testing.assert_array_equal(result.labels, np.searchsorted([10, 90, 160, 250], steps))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "otsus"}, "method"),
        ({"method": "fixed"}, "needs value"),
        ({"method": "fixed", "value": 128}, "less than or equal to 1"),
        ({"value": 0.5}, "belongs to method=fixed"),
        ({"method": "otsu", "block_size": 11}, "belongs to method=local"),
        ({"method": "local", "block_size": 10}, "odd"),
        ({"method": "multi-otsu", "classes": 1}, "greater than or equal to 2"),
        ({"method": "multi-otsu", "object": "bright"}, "no object"),
        ({"object": "white"}, "object"),
        ({"treshold": 1}, "no parameter"),
    ],
)
def test_wrong_parameters_are_named(params, message):
    with pytest.raises(ParameterError, match=message) as caught:
        Threshold.from_params(params)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (2000, 1)])
@pytest.mark.parametrize("method", ["local", *AUTOMATIC])
def test_thinnest_images(method, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    result = Threshold.from_params({"method": method})(read_image(image))
    assert result.size == shape
