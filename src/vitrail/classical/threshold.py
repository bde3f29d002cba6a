"""Thresholds: parting an image by how light its pixels are.

Every function takes a grey image ``(H, W)`` of uint8, uint16 or float, and gives thresholds in the
image's own unit. A pixel *at or below* a threshold belongs to the dark side of it.

Integer images are reduced to a histogram with one bin per level, floats to 256 equal bins from
minimum to maximum; a threshold chosen among bins is the value at the bin's centre. These are the
conventions of scikit-image, whose ``skimage.filters.threshold_*`` give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, Self

import cv2
import numpy as np
from pydantic import Field, model_validator

from vitrail.classical.method import Method
from vitrail.errors import ParameterError
from vitrail.image import Image
from vitrail.result import SemanticResult

Side = Literal["dark", "bright"]
"""Which side of a threshold is the object: at or below it, or above it."""


class Histogram(NamedTuple):
    """How often each grey level occurs, from the lowest level that does to the highest.

    ``counts`` (B,) int64, first and last > 0; ``centers`` (B,) the levels, in the image's unit.
    """

    counts: np.ndarray
    centers: np.ndarray


def histogram(gray: np.ndarray, bins: int = 256) -> Histogram:
    """Histogram of a grey image; `bins` counts for floats only, and ends at minimum and maximum.

    Raises
    ------
    ParameterError
        when `gray` is not a non-empty (H, W) array of uint8, uint16 or finite floats.
    """
    _check(gray)
    if gray.dtype == np.uint8:
        counts = cv2.calcHist([np.ascontiguousarray(gray)], [0], None, [256], [0, 256])
        counts = counts.ravel().astype(np.int64)
        if gray.size >= 1 << 24:  # beyond that, OpenCV's float32 counts may have been rounded
            counts = np.bincount(gray.ravel(), minlength=256)
    elif gray.dtype == np.uint16:
        counts = np.bincount(gray.ravel(), minlength=1 << 16)
    else:
        low, high = float(gray.min()), float(gray.max())
        if low == high:
            return Histogram(np.array([gray.size]), np.array([low]))
        edges = np.linspace(low, high, bins + 1)
        return Histogram(_count_floats(gray, low, high, bins), (edges[1:] + edges[:-1]) / 2)
    used = np.flatnonzero(counts)
    levels = np.arange(used[0], used[-1] + 1)
    return Histogram(counts[levels], levels)


def _count_floats(gray: np.ndarray, low: float, high: float, bins: int) -> np.ndarray:
    """As ``np.histogram``, in strips that stay in the cache: a fifth of its time."""
    counts = np.zeros(bins, np.int64)
    rows = max(1, (1 << 16) // gray.shape[1])
    kind = gray.dtype.type
    for start in range(0, gray.shape[0], rows):
        place = (gray[start : start + rows] - kind(low)) * (bins / kind(high - low))
        index = np.minimum(place.astype(np.intp), bins - 1)  # the maximum is in the last bin
        counts += np.bincount(index.ravel(), minlength=bins)
    return counts


def mean_threshold(gray: np.ndarray) -> float:
    """The mean grey value."""
    _check(gray)
    # A sum of whole numbers divided once is exact; cv2.mean multiplies by 1 / n, and may so land
    # just below the level of an image of that one level.
    return cv2.sumElems(np.ascontiguousarray(gray))[0] / gray.size


def otsu_threshold(gray: np.ndarray) -> float:
    """Otsu's threshold: the one with the greatest variance between the two sides.

    Otsu, "A threshold selection method from gray-level histograms", IEEE SMC 9 (1979).
    """
    counts, centers = histogram(gray)
    if len(centers) == 1:
        return float(centers[0])
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * centers)
    mean_below = total / below
    mean_above = (total[-1] - total[:-1]) / above[:-1]
    between = below[:-1] * above[:-1].astype(np.float64) * (mean_below[:-1] - mean_above) ** 2
    return float(centers[np.argmax(between)])


def isodata_threshold(gray: np.ndarray) -> float:
    """The lowest level midway between the means of the two sides it makes, within one bin.

    Ridler and Calvard, "Picture thresholding using an iterative selection method", IEEE SMC 8
    (1978).
    """
    counts, centers = histogram(gray)
    if len(centers) == 1:
        return float(centers[0])
    below = np.cumsum(counts)
    total = np.cumsum(counts * centers)
    mean_below = total[:-1] / below[:-1]
    mean_above = (total[-1] - total[:-1]) / (below[-1] - below[:-1])
    # The distance starts positive, ends under half a bin, and falls by at most a bin per level:
    # the first level with less than a bin to go is the answer, and there always is one.
    distance = (mean_below + mean_above) / 2 - centers[:-1]
    return float(centers[np.argmax(distance < centers[1] - centers[0])])


def yen_threshold(gray: np.ndarray) -> float:
    """The threshold of greatest entropic correlation.

    Yen, Chang and Chang, "A new criterion for automatic multilevel thresholding", IEEE Trans.
    Image Processing 4 (1995).
    """
    counts, centers = histogram(gray)
    if len(centers) == 1:
        return float(centers[0])
    # In single precision, as scikit-image has it, so that nearly equal levels fall out alike.
    share = counts.astype(np.float32) / counts.astype(np.float32).sum()
    below = np.cumsum(share)[:-1]
    below_squares = np.cumsum(share**2)[:-1]
    above_squares = np.cumsum(share[::-1] ** 2)[::-1][1:]
    with np.errstate(divide="ignore"):
        criterion = np.log((below_squares * above_squares) ** -1 * (below * (1 - below)) ** 2)
    return float(centers[np.argmax(criterion)])


def triangle_threshold(gray: np.ndarray) -> float:
    """The level farthest below the line from the histogram's peak to the end of its longer tail.

    Zack, Rogers and Latt, "Automatic measurement of sister chromatid exchange frequency",
    J. Histochem. Cytochem. 25 (1977).
    """
    counts, centers = histogram(gray)
    if len(centers) == 1:
        return float(centers[0])
    peak = int(np.argmax(counts))
    flip = peak < len(counts) - 1 - peak
    if flip:
        counts, peak = counts[::-1], len(counts) - 1 - peak
    height, width = counts[peak], peak
    norm = np.sqrt(float(height) ** 2 + float(width) ** 2)
    distance = height / norm * np.arange(width) - width / norm * counts[:width]
    level = int(np.argmax(distance))
    return float(centers[len(counts) - 1 - level if flip else level])


def li_threshold(gray: np.ndarray) -> float:
    """The threshold of least cross entropy between the image and its two-level version.

    Found by iteration from the mean: to within half a level for integers, and to a millionth of
    the range for floats, whose own values are used instead of a histogram. (scikit-image stops
    earlier, at half the smallest difference between values, unless given a ``tolerance``.)
    Li and Tam, "An iterative algorithm for minimum cross entropy thresholding", Pattern
    Recognition Letters 19 (1998).
    """
    _check(gray)
    if gray.dtype.kind == "f":
        gray = np.ascontiguousarray(gray, np.float32)
    low, high = float(gray.min()), float(gray.max())
    if low == high:
        return low
    if gray.dtype.kind == "u":
        counts, centers = histogram(gray)
        levels = centers - centers[0]  # the logarithm wants values from 0
        tolerance = 0.5

        def means(limit: float) -> tuple[float, float]:
            dark = levels <= limit
            return (
                float(np.average(levels[dark], weights=counts[dark])),
                float(np.average(levels[~dark], weights=counts[~dark])),
            )

        start = float(np.average(levels, weights=counts))
    else:
        tolerance = 1e-6 * (high - low)
        start = mean_threshold(gray) - low

        def means(limit: float) -> tuple[float, float]:
            dark = (gray <= np.float32(limit + low)).view(np.uint8)
            share = cv2.countNonZero(dark) / gray.size
            if share in (0, 1):  # the limit has come within rounding of an end
                return 0.0, 0.0
            mean = cv2.mean(gray, dark)[0] - low
            return mean, (start - share * mean) / (1 - share)

    last, threshold = -2 * tolerance, start
    while abs(threshold - last) > tolerance:
        last = threshold
        dark, bright = means(threshold)
        if dark <= 0:  # one level is left on the dark side: its logarithm does not exist
            break
        threshold = (dark - bright) / (np.log(dark) - np.log(bright))
    return float(threshold + low)


def multi_otsu_thresholds(gray: np.ndarray, classes: int = 3) -> np.ndarray:
    """The ``classes - 1`` thresholds with the greatest variance between classes, ascending.

    The same optimum as Liao, Chen and Chung, "A fast algorithm for multilevel thresholding",
    J. Inf. Sci. Eng. 17 (2001), found by dynamic programming in O(classes * bins^2) instead of
    trying all combinations. Of equal optima, the darkest thresholds are taken. uint16 images of
    more than 256 levels are binned as floats are.

    ``skimage.filters.threshold_multiotsu`` 0.26 counts the lowest bin one bin too light: where many
    pixels are at that level, its thresholds may differ, with less variance between classes.

    Returns
    -------
    (classes - 1,) float64 in the image's unit

    Raises
    ------
    ParameterError
        when the image has fewer grey levels than classes.
    """
    counts, centers = histogram(gray)
    if len(centers) > 256:
        counts, centers = histogram(gray.astype(np.float32))
    found = int(np.count_nonzero(counts))
    if not 2 <= classes <= found:
        raise ParameterError(
            f"{classes} classes were asked of an image with {found} grey level(s); "
            f"ask for 2 to {found}"
            if found > 1
            else "the image has one grey level: nothing to part"
        )
    bins = len(counts)
    weight = np.concatenate([[0.0], np.cumsum(counts)])
    moment = np.concatenate([[0.0], np.cumsum(counts * (centers - centers[0]))])
    # gain[i, j]: what a class of bins i to j - 1 adds to the variance between classes.
    pixels = weight[None, :] - weight[:, None]
    sums = moment[None, :] - moment[:, None]
    gain = np.full(pixels.shape, -np.inf)
    np.divide(sums**2, pixels, out=gain, where=pixels > 0)
    # best[i]: the most that the bins from i on can give in as many classes as are counted so far.
    best, choices = gain[:, bins], []
    for _ in range(classes - 1):
        options = gain + best[None, :]
        choices.append(np.argmax(options, axis=1))
        best = options[np.arange(bins + 1), choices[-1]]
    thresholds, start = [], 0
    for choice in reversed(choices):
        start = int(choice[start])
        thresholds.append(float(centers[start - 1]))
    return np.array(thresholds)


def local_threshold(
    gray: np.ndarray,
    block_size: int = 35,
    weighting: Literal["gaussian", "mean"] = "gaussian",
) -> np.ndarray:
    """The mean of each pixel's neighbourhood, (H, W) float32 in the image's unit.

    Parameters
    ----------
    block_size
        odd side of the neighbourhood in pixels, >= 3.
    weighting
        ``"gaussian"``: sigma = (block_size - 1) / 6, cut at 4 sigma; ``"mean"``: all alike.

    The border is mirrored with its edge pixel repeated. Equals
    ``skimage.filters.threshold_local(gray, block_size, method, mode="reflect")``.
    """
    _check(gray)
    if block_size < 3 or block_size % 2 == 0:
        raise ParameterError(f"block_size must be odd and >= 3 pixels, got {block_size}")
    values = gray.astype(np.float32, copy=False)
    if weighting == "mean":
        return cv2.blur(values, (block_size, block_size), borderType=cv2.BORDER_REFLECT)
    sigma = (block_size - 1) / 6
    kernel = cv2.getGaussianKernel(2 * int(4 * sigma + 0.5) + 1, sigma, cv2.CV_64F)
    return cv2.sepFilter2D(values, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT)


def apply_threshold(
    gray: np.ndarray, threshold: float | np.ndarray, object: Side = "dark"
) -> np.ndarray:
    """Labels (H, W) uint8: 1 where the object is, 0 elsewhere.

    The object is at or below the threshold when it is ``"dark"``, above it when ``"bright"``.
    `threshold` is a number or an (H, W) map, in the image's unit.
    """
    compare = np.less_equal if object == "dark" else np.greater
    if gray.dtype.kind == "u" and not isinstance(threshold, np.ndarray):
        if threshold < 0:
            return np.full(gray.shape, object == "bright", np.uint8)
        # Whole numbers compare with the floor alike, without turning the image into floats.
        limit = min(int(np.floor(threshold)), np.iinfo(gray.dtype).max)
        return compare(gray, gray.dtype.type(limit)).view(np.uint8)
    return compare(gray, np.asarray(threshold, gray.dtype)).view(np.uint8)


_TYPES = (np.uint8, np.uint16, np.float32, np.float64)


def _check(gray: np.ndarray) -> None:
    if gray.ndim != 2 or not gray.size or gray.dtype not in _TYPES:
        raise ParameterError(
            "expected a grey image (H, W) of uint8, uint16, float32 or float64, "
            f"got {gray.dtype} of shape {gray.shape}; Image.gray() makes one"
        )
    if gray.dtype.kind == "f" and not np.isfinite(cv2.sumElems(np.ascontiguousarray(gray))[0]):
        raise ParameterError("the grey image holds NaN or infinity; replace them first")


_Automatic = Literal["mean", "otsu", "triangle", "li", "yen", "isodata"]
AUTOMATIC: dict[_Automatic, Callable[[np.ndarray], float]] = {
    "mean": mean_threshold,
    "otsu": otsu_threshold,
    "triangle": triangle_threshold,
    "li": li_threshold,
    "yen": yen_threshold,
    "isodata": isodata_threshold,
}
"""The thresholds that need no parameter, by name."""

_OWNERS = {
    "value": "fixed",
    "classes": "multi-otsu",
    "block_size": "local",
    "offset": "local",
    "weighting": "local",
}


class Threshold(Method):
    """Part an image by grey level; see the functions above for each method.

    Gives a `SemanticResult` whatever the method: classes ``("background", "object")``, or for
    ``multi-otsu`` ``("level 0", "level 1", ...)`` from dark to bright with no background.
    Grey images keep their 8 or 16 bits; others are compared as ``Image.gray()``, Rec. 709 float32.
    """

    name: ClassVar[str] = "threshold"
    summary: ClassVar[str] = "dark or bright against the mean, Otsu's or another threshold"

    method: _Automatic | Literal["fixed", "multi-otsu", "local"] = Field(
        "mean", description="how the threshold is found"
    )
    object: Side = Field(
        "dark", description="which side is the object: dark (at or below the threshold) or bright"
    )
    value: float | None = Field(
        None, ge=0, le=1, description="the threshold for method=fixed, 0 black to 1 white"
    )
    classes: int = Field(3, ge=2, le=16, description="levels for method=multi-otsu, 2 to 16")
    block_size: int = Field(
        35, ge=3, le=9999, description="side of the neighbourhood for method=local, odd, pixels"
    )
    offset: float = Field(
        0.02,
        ge=-1,
        le=1,
        description="for method=local, how much darker (or brighter) than its neighbourhood the "
        "object must be, -1 to 1 where 1 is black to white",
    )
    weighting: Literal["gaussian", "mean"] = Field(
        "gaussian", description="how method=local weighs the neighbourhood"
    )

    @model_validator(mode="after")
    def _fits_method(self) -> Self:
        for name, owner in _OWNERS.items():
            if name in self.model_fields_set and self.method != owner:
                raise ValueError(f"{name} belongs to method={owner}, not to {self.method}")
        if self.method == "multi-otsu" and "object" in self.model_fields_set:
            raise ValueError("method=multi-otsu numbers its levels and has no object; leave it out")
        if self.method == "fixed" and self.value is None:
            raise ValueError("method=fixed needs value, the threshold from 0 (black) to 1 (white)")
        if self.block_size % 2 == 0:
            raise ValueError(f"block_size must be odd, got {self.block_size}")
        return self

    def __call__(self, image: Image) -> SemanticResult:
        gray, white = _own_gray(image)
        if self.method == "multi-otsu":
            labels = np.zeros(gray.shape, np.uint8)
            for threshold in multi_otsu_thresholds(gray, self.classes):
                labels += apply_threshold(gray, threshold, "bright")
            names = tuple(f"level {i}" for i in range(self.classes))
            return SemanticResult(labels, names, image=image)
        threshold: Any
        if self.method == "local":
            gray = image.gray()
            threshold = local_threshold(gray, self.block_size, self.weighting)
            threshold += np.float32(-self.offset if self.object == "dark" else self.offset)
        elif self.method == "fixed":
            threshold = (self.value or 0.0) * white
        else:
            threshold = AUTOMATIC[self.method](gray)
        labels = apply_threshold(gray, threshold, self.object)
        return SemanticResult(labels, ("background", "object"), background=0, image=image)


def _own_gray(image: Image) -> tuple[np.ndarray, float]:
    """The grey levels to compare, and the level that is white."""
    pixels = image.pixels
    if pixels.shape[2] == 1 and pixels.dtype.kind == "u" and image.alpha is None:
        return pixels[:, :, 0], float(np.iinfo(pixels.dtype).max)
    return image.gray(), 1.0
