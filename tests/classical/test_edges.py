"""Edges against SciPy, scikit-image and OpenCV (versions in the test ids)."""

from __future__ import annotations

from importlib.metadata import version
from typing import get_args

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage import color, data, feature, filters

from vitrail.classical.edges import (
    KERNELS,
    STEP,
    Edges,
    Operator,
    canny,
    gradient,
    laplacian_of_gaussian,
    prewitt,
    roberts,
    scharr,
    sobel,
    zero_crossings,
)
from vitrail.errors import ParameterError
from vitrail.image import read_image
from vitrail.result import EdgeResult

SCIPY = f"SciPy {version('scipy')}"
SKIMAGE = f"scikit-image {version('scikit-image')}"
OPENCV = f"OpenCV {cv2.__version__}"
OPERATORS = get_args(Operator)
ODD = np.random.default_rng(0).random((57, 43))


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda name: f"{name} = {SCIPY}")
@pytest.mark.parametrize("shape", [(57, 43), (1, 1), (1, 30), (30, 1), (2, 3)], ids=str)
def test_responses_are_those_of_convolve(operator, shape):
    gray = ODD[: shape[0], : shape[1]]
    found = gradient(gray, operator)
    for response, kernel in zip(found[1:], KERNELS[operator], strict=True):
        expected = ndimage.convolve(gray, kernel.astype(np.float64), mode="reflect")
        np.testing.assert_allclose(response, expected, atol=1e-5)
        assert response.dtype == np.float32
    np.testing.assert_allclose(found.strength, np.hypot(*found[1:]), rtol=1e-6, atol=1e-6)


def test_sobel_kernels_are_the_named_ones():
    horizontal, vertical = KERNELS["sobel"]
    np.testing.assert_array_equal(horizontal, [[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
    np.testing.assert_array_equal(vertical, horizontal.T)


@pytest.mark.parametrize(
    ("operator", "names"),
    [
        (sobel, ("sobel_h", "sobel_v")),
        (prewitt, ("prewitt_h", "prewitt_v")),
        (scharr, ("scharr_h", "scharr_v")),
    ],
    ids=[f"{name} {SKIMAGE}" for name in ("sobel", "prewitt", "scharr")],
)
def test_gradients_are_scikit_images_unnormalised(operator, names):
    found = operator(ODD)
    for response, name in zip(found[1:], names, strict=True):
        expected = getattr(filters, name)(ODD) * STEP[operator.__name__]
        np.testing.assert_allclose(np.abs(response), np.abs(expected), atol=1e-5)


@pytest.mark.parametrize("reference", [filters], ids=[SKIMAGE])
def test_roberts_diagonals(reference):
    found = roberts(ODD)
    np.testing.assert_allclose(found.horizontal, reference.roberts_pos_diag(ODD), atol=1e-6)
    np.testing.assert_allclose(found.vertical, reference.roberts_neg_diag(ODD), atol=1e-6)


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_step_has_the_documented_strength_and_sign(operator):
    down = np.zeros((10, 12))
    down[5:] = 1
    below, beside = gradient(down, operator), gradient(down.T, operator)
    assert below.strength.max() == pytest.approx(STEP[operator])
    assert beside.strength.max() == pytest.approx(STEP[operator])
    if operator != "roberts":
        assert below.horizontal.max() == STEP[operator] and not below.vertical.any()
        assert beside.vertical.max() == STEP[operator] and not beside.horizontal.any()


@pytest.mark.parametrize("photo", ["camera", "coins", "brick", "page"], ids=f"{{}} {OPENCV}".format)
def test_canny_without_smoothing_equals_opencv(photo):
    gray = getattr(data, photo)()
    expected = cv2.Canny(gray, 100, 200, L2gradient=True) > 0
    found = canny(gray, 0, 100 / 255, 200 / 255).strength
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("photo", ["camera", "coins", "brick"], ids=f"{{}} {SKIMAGE}".format)
def test_canny_lies_where_scikit_image_has_it(photo):
    gray = getattr(data, photo)() / 255
    ours = canny(gray, 2.0, 0.1, 0.2).strength > 0
    theirs = np.asarray(feature.canny(gray, 2.0, 0.1, 0.2, mode="reflect"))
    near = np.ones((3, 3))
    assert ndimage.binary_dilation(theirs, near)[ours].mean() > 0.97
    assert ndimage.binary_dilation(ours, near)[theirs].mean() > 0.97


def test_canny_finds_the_outline_by_itself():
    square = np.full((64, 64), 0.2)
    square[16:48, 16:48] = 0.7
    square += np.random.default_rng(0).normal(0, 0.02, square.shape)
    strength = canny(square).strength
    assert set(np.unique(strength)) == {0, 1}
    outline = ndimage.morphological_gradient((square > 0.45).astype(int), (3, 3))
    assert (strength[outline == 0] == 0).mean() > 0.999
    assert strength[30, 14:18].sum() == strength[14:18, 30].sum() == 1


def test_canny_limits():
    assert not canny(np.full((9, 9), 0.3)).strength.any()
    gray = data.camera()
    weak, strong = canny(gray, high=0.3), canny(gray, high=1.5)
    assert weak.strength.sum() > strong.strength.sum() > 0
    linked, bare = canny(gray, low=0.1, high=1.0), canny(gray, low=1.0, high=1.0)
    assert linked.strength.sum() > bare.strength.sum()
    with pytest.raises(ParameterError, match=r"low=0.5 is above high=0.2"):
        canny(gray, low=0.5, high=0.2)


@pytest.mark.parametrize("sigma", [0.7, 2, 5], ids=f"{{}} {SCIPY}".format)
def test_laplacian_of_gaussian_equals(sigma):
    for gray in (data.camera() / 255.0, ODD[:1, :1], ODD[:3, :30]):
        expected = ndimage.gaussian_laplace(gray, sigma)
        np.testing.assert_allclose(laplacian_of_gaussian(gray, sigma), expected, atol=2e-6)


def test_zero_crossings_by_hand():
    response = np.array([[3.0, 1.0, -2.0, -5.0], [3.0, 2.0, 0.5, 0.25]])
    # Row 0 crosses from 1 to -2, carried by the 1; columns 2 and 3 cross downwards, carried by
    # the values nearer to zero below.
    expected = [[0, 3.0, 0, 0], [0, 0, 2.5, 5.25]]
    np.testing.assert_allclose(zero_crossings(response), expected)
    assert not zero_crossings(response * 1e-8).any()


def test_method_gives_the_responses_of_the_grey_image():
    photo = data.coffee()
    gray = color.rgb2gray(photo)
    result = Edges.from_params({})(read_image(photo))
    assert isinstance(result, EdgeResult) and result.size == photo.shape[:2]
    assert result.horizontal is not None and result.vertical is not None
    kernel = KERNELS["sobel"][0].astype(np.float64)
    expected = ndimage.convolve(gray, kernel, mode="reflect")
    np.testing.assert_allclose(result.horizontal, expected, atol=2e-6)
    expected = ndimage.convolve(gray, kernel.T, mode="reflect")
    np.testing.assert_allclose(result.vertical, expected, atol=2e-6)
    np.testing.assert_allclose(
        result.strength, np.hypot(result.horizontal, result.vertical), atol=1e-6
    )


@pytest.mark.parametrize("method", [*OPERATORS, "canny", "log"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (40, 30)])
def test_every_method_answers_in_one_type(method, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    result = Edges.from_params({"method": method})(read_image(image))
    assert isinstance(result, EdgeResult) and result.size == shape
    assert (result.horizontal is None) == (method == "log")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "sobol"}, "method"),
        ({"sigma": 2}, "belongs to method=canny or log"),
        ({"method": "log", "high": 1}, "belongs to method=canny"),
        ({"method": "log", "sigma": 0}, "at least 0.3"),
        ({"method": "canny", "low": 2, "high": 1}, "above high"),
        ({"method": "canny", "sigma": -1}, "greater than or equal to 0"),
    ],
)
def test_wrong_parameters_are_named(params, message):
    with pytest.raises(ParameterError, match=message) as caught:
        Edges.from_params(params)
    assert "\n" not in str(caught.value)


def test_what_is_no_grey_image_is_refused():
    for function in (sobel, canny, laplacian_of_gaussian):
        with pytest.raises(ParameterError, match="shape"):
            function(np.zeros((4, 4, 3)))
    with pytest.raises(ParameterError, match="sigma"):
        laplacian_of_gaussian(ODD, 0)
