"""Partitions that need no training and no prompt: watershed, SLIC superpixels, Felzenszwalb graphs.

Each pixel of the image ends up in exactly one region. The array functions take pixels as
``Image.pixels`` holds them, (H, W, C), or (H, W) for grey, and return (H, W) int32 labels.

Time and memory on two cores, for the whole call: see each function's notes.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field

from vitrail.classical.method import Method
from vitrail.classical.prompts import read_markers
from vitrail.errors import ImageError, ParameterError
from vitrail.image import Image
from vitrail.result import RegionResult

Connectivity = Literal[4, 8]


def gradient_magnitude(gray: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """How steep the smoothed picture is at each pixel: the relief that a watershed floods.

    Parameters
    ----------
    gray : (H, W) array
    sigma : float
        standard deviation in pixels of the Gaussian that smooths first; 0 smooths nothing.

    Returns
    -------
    (H, W) float32, >= 0
        the length of the Sobel gradient, in units of ``gray`` per pixel.
    """
    smooth = np.ascontiguousarray(gray, dtype=np.float32)
    if sigma > 0:
        smooth = cv2.GaussianBlur(smooth, (0, 0), sigma)
    # 1/8 makes a ramp of one unit per pixel measure 1
    dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    return cv2.magnitude(dx, dy)


def minima_markers(relief: np.ndarray, min_distance: int = 10) -> np.ndarray:
    """One marker for each place of the relief that nothing within ``min_distance`` undercuts.

    Parameters
    ----------
    relief : (H, W) float32
    min_distance : int
        in pixels, measured along the axes (a square window), at least 1. Minima closer together
        than this are one only where they touch: equal minima that do not touch both count.

    Returns
    -------
    (H, W) int32
        0 where there is no marker, else 1 and up; at least one marker.
    """
    side = 2 * min_distance + 1
    lowest = relief <= cv2.erode(relief, np.ones((side, side), np.uint8))
    return cv2.connectedComponents(lowest.astype(np.uint8), connectivity=8)[1]


def blob_markers(mask: np.ndarray, min_distance: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """The relief and the markers that cut touching blobs apart at their necks.

    Parameters
    ----------
    mask : (H, W) bool
        True on the blobs.
    min_distance : int
        centres nearer to one another than this, in pixels, belong to one blob.

    Returns
    -------
    relief : (H, W) float32
        minus the exact Euclidean distance in pixels to the nearest pixel outside.
    markers : (H, W) int32
        0 where there is no marker, else 1 and up; none where the mask is empty.
    """
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # where the mask fills the frame there is no outside, and OpenCV's "infinity" must not remain
    distance = np.minimum(distance, np.float32(max(mask.shape)))
    side = 2 * min_distance + 1
    highest = (distance >= cv2.dilate(distance, np.ones((side, side), np.uint8))) & mask
    return -distance, cv2.connectedComponents(highest.astype(np.uint8), connectivity=8)[1]


def watershed(
    relief: np.ndarray,
    markers: np.ndarray,
    *,
    compactness: float = 0.0,
    connectivity: Connectivity = 4,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Flood a relief from markers; floods that meet become the border of two regions.

    Equal to ``skimage.segmentation.watershed`` (Soille & Ansoult's ordered queue, 1990; compact
    form of Neubert & Protzel, 2014). No line of unlabelled pixels is left between regions, unlike
    ``cv2.watershed``, which also floods colour differences rather than a relief.

    Parameters
    ----------
    relief : (H, W) array
        finite; low places flood first.
    markers : (H, W) array of int
        0 where unknown, positive where a region starts; every value is one region.
    compactness : float
        0 follows the relief alone; more makes regions rounder.
    connectivity : 4 or 8
        which neighbours water reaches.
    mask : (H, W) bool, optional
        flood only where True; elsewhere the label stays 0.

    Returns
    -------
    (H, W) int32
        the marker value that reached each pixel.

    Raises
    ------
    ParameterError
        shapes differ, or there is no marker.

    Notes
    -----
    About 0.7 s and 70 MB for each megapixel.
    """
    from skimage import segmentation

    if markers.shape != relief.shape or (mask is not None and mask.shape != relief.shape):
        others = f"markers of {markers.shape}" + (
            "" if mask is None else f", a mask of {mask.shape}"
        )
        raise ParameterError(
            f"watershed got a relief of shape {relief.shape}, {others}; expected the same (H, W)"
        )
    if not (markers > 0).any():
        raise ParameterError("watershed got no marker; expected a positive value in the markers")
    return segmentation.watershed(
        relief,
        np.ascontiguousarray(markers, dtype=np.int32),
        compactness=compactness,  # pyright: ignore[reportArgumentType]  (inferred from its default, 0)
        connectivity=1 if connectivity == 4 else 2,
        mask=mask,
    )


def slic(
    pixels: np.ndarray,
    *,
    n_segments: int = 250,
    compactness: float = 10.0,
    sigma: float = 0.0,
    zero: bool = False,
    max_iter: int = 10,
) -> np.ndarray:
    """Superpixels: k-means on colour and position (Achanta et al., 2012, SLIC).

    Equal to ``skimage.segmentation.slic`` with labels from 0. RGB is clustered in CIELAB, any
    other number of channels as it is; values are first scaled to [0, 1].

    Parameters
    ----------
    pixels : (H, W, C) or (H, W) array
        uint8, uint16 or finite float32.
    n_segments : int
        about how many regions to make.
    compactness : float
        weight of position against colour; more makes regions squarer.
    sigma : float
        Gaussian smoothing beforehand, in pixels.
    zero : bool
        SLICO: the compactness adapts to each region, ``compactness`` is only where it starts.
    max_iter : int
        rounds of k-means.

    Returns
    -------
    (H, W) int32
        0 and up; each region is connected.

    Raises
    ------
    ImageError
        the pixels hold NaN or infinity.

    Notes
    -----
    About 1.2 s and 75 MB for each megapixel.
    """
    from skimage import segmentation

    pixels = _finite(pixels, "slic")
    labels = segmentation.slic(
        pixels,
        n_segments=n_segments,
        compactness=compactness,
        sigma=sigma,
        slic_zero=zero,
        max_num_iter=max_iter,
        start_label=0,
        channel_axis=-1,
    )
    return labels.astype(np.int32)


def felzenszwalb(
    pixels: np.ndarray, *, scale: float = 100.0, sigma: float = 0.8, min_size: int = 50
) -> np.ndarray:
    """Regions whose inner contrast is small beside that of their borders (2004).

    Felzenszwalb and Huttenlocher's merging of the pixel graph, equal to
    ``skimage.segmentation.felzenszwalb``.

    Parameters
    ----------
    pixels : (H, W, C) or (H, W) array
        uint8, uint16 or finite float32; integers are taken as fractions of their type's maximum.
    scale : float
        how much contrast a border needs; more makes fewer, larger regions.
    sigma : float
        Gaussian smoothing beforehand, in pixels.
    min_size : int
        regions smaller than this, in pixels, join a neighbour.

    Returns
    -------
    (H, W) int32
        0 and up.

    Raises
    ------
    ImageError
        the pixels hold NaN or infinity.

    Notes
    -----
    scikit-image's forest grows deep, so that the time rises faster than the image: 3 s for 0.75
    megapixels, 17 s and 1.1 GB for 3, more than 8 minutes for 12.
    """
    from skimage import segmentation

    pixels = _finite(pixels, "felzenszwalb")
    with warnings.catch_warnings():
        # it warns of every picture that has neither one band nor three
        warnings.filterwarnings("ignore", "Got image with third dimension", RuntimeWarning)
        labels = segmentation.felzenszwalb(
            pixels, scale=scale, sigma=sigma, min_size=min_size, channel_axis=-1
        )
    return labels.astype(np.int32)


def _finite(pixels: np.ndarray, who: str) -> np.ndarray:
    """(H, W, C) pixels; refuses NaN and infinity, which would silently spoil every region."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ImageError(
            f"{who} got pixels that are NaN or infinite; replace them first, "
            "for example with numpy.nan_to_num"
        )
    if pixels.dtype == np.float32 and float(pixels.max()) - float(pixels.min()) > 1e38:
        return pixels.astype(np.float64)  # scikit-image scales by the range, which overflows
    return pixels


class Watershed(Method):
    """Regions by flooding: of the picture's gradient, of touching blobs, or from given markers."""

    name: ClassVar[str] = "watershed"
    summary: ClassVar[str] = "flood the gradient, or cut touching blobs apart; no prompt needed"

    relief: Literal["gradient", "distance"] = Field(
        default="gradient",
        description="gradient: regions end where the image is steepest; "
        "distance: objects by Otsu's threshold, touching ones cut at their necks",
    )
    markers: Any = Field(
        default=None,
        description="where regions start: picture file or array of the image's size, 0 unknown, "
        "else the region's number; default: found by themselves",
    )
    min_distance: int = Field(
        default=10, ge=1, le=10_000, description="pixels between found markers; more: fewer regions"
    )
    sigma: float = Field(
        default=2.0, ge=0, le=100, description="Gaussian smoothing beforehand, pixels"
    )
    compactness: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="0 follows the relief alone; more: rounder regions (gradient: try 0.001)",
    )
    connectivity: Connectivity = Field(
        default=4, description="neighbours that water reaches, 4 or 8"
    )
    dark: bool = Field(
        default=False, description="distance: objects are darker than the background"
    )

    def __call__(self, image: Image) -> RegionResult:
        """RegionResult; with ``distance`` and no markers, region 0 is the background."""
        gray = image.gray()
        markers = None
        if self.markers is not None:
            markers = read_markers(self.markers, image.size, "markers")
        if self.relief == "distance":
            return self._blobs(image, gray, markers)
        relief = gradient_magnitude(gray, self.sigma)
        # found markers are numbered from 1, regions from 0; given ones keep their numbers
        shift = 1 if markers is None else 0
        if markers is None:
            markers = minima_markers(relief, self.min_distance)
        return RegionResult(self._flood(relief, markers) - shift, image=image)

    def _blobs(self, image: Image, gray: np.ndarray, markers: np.ndarray | None) -> RegionResult:
        from skimage.filters import threshold_otsu

        if self.sigma > 0:
            gray = cv2.GaussianBlur(gray, (0, 0), self.sigma)
        if np.ptp(gray) < 1e-4:  # what smoothing leaves of a flat picture is rounding, not objects
            mask = np.zeros(gray.shape, bool)
        else:
            level = threshold_otsu(gray)
            mask = gray <= level if self.dark else gray > level
        relief, found = blob_markers(mask, self.min_distance)
        if markers is None:
            markers = found
        else:  # a marker names an object even where the threshold did not see it
            mask = mask | (markers > 0)
        labels = np.zeros(mask.shape, np.int32)
        if markers.any():
            labels = self._flood(relief, markers, mask)
        names = ("background", *(f"object {number}" for number in range(1, labels.max() + 1)))
        return RegionResult(labels, classes=names, image=image)

    def _flood(
        self, relief: np.ndarray, markers: np.ndarray, mask: np.ndarray | None = None
    ) -> np.ndarray:
        return watershed(
            relief,
            markers,
            compactness=self.compactness,
            connectivity=self.connectivity,
            mask=mask,
        )


class SLIC(Method):
    """SLIC superpixels: small compact regions of similar colour."""

    name: ClassVar[str] = "slic"
    summary: ClassVar[str] = "superpixels: compact regions of similar colour, of about equal size"

    n_segments: int = Field(default=250, ge=1, le=1_000_000, description="about how many regions")
    compactness: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="weight of position against colour; try 0.1, 1, 10, 100",
    )
    sigma: float = Field(
        default=0.0, ge=0, le=100, description="Gaussian smoothing beforehand, pixels"
    )
    zero: bool = Field(
        default=False, description="SLICO: compactness adapts to each region's contrast"
    )
    max_iter: int = Field(default=10, ge=1, le=1000, description="rounds of k-means")

    def __call__(self, image: Image) -> RegionResult:
        """RegionResult of about ``n_segments`` regions."""
        labels = slic(
            image.pixels,
            n_segments=self.n_segments,
            compactness=self.compactness,
            sigma=self.sigma,
            zero=self.zero,
            max_iter=self.max_iter,
        )
        return RegionResult(labels, image=image)


class Felzenszwalb(Method):
    """Graph regions of Felzenszwalb and Huttenlocher: their size follows the picture's contrast.

    An image of more than ``max_pixels`` is segmented at that size, the parameters scaled along,
    and its regions are enlarged again: :func:`felzenszwalb` would take many minutes.
    """

    name: ClassVar[str] = "felzenszwalb"
    summary: ClassVar[str] = "graph-based regions whose size follows the contrast"

    scale: float = Field(
        default=100.0, gt=0, allow_inf_nan=False, description="more: fewer, larger regions"
    )
    sigma: float = Field(
        default=0.8, ge=0, le=100, description="Gaussian smoothing beforehand, pixels"
    )
    min_size: int = Field(default=50, ge=1, description="smallest region, pixels")
    max_pixels: int = Field(
        default=3_000_000,
        ge=0,
        description="larger images are segmented at this size, to end in seconds; 0: never",
    )

    def __call__(self, image: Image) -> RegionResult:
        """RegionResult; how many regions depends on the picture."""
        height, width = image.size
        pixels, share = image.pixels, 1.0
        if 0 < self.max_pixels < height * width:
            share = self.max_pixels / (height * width)
            side = share**0.5
            small = max(1, round(width * side)), max(1, round(height * side))
            pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
        labels = felzenszwalb(
            pixels,
            scale=self.scale * share,  # it weighs against areas, in pixels
            sigma=self.sigma * share**0.5,
            min_size=max(1, round(self.min_size * share)),
        )
        if labels.shape != image.size:
            labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
        return RegionResult(labels, image=image)
