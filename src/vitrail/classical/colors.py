"""The distinct colours of an image, and how often each occurs.

A photo of 12 megapixels has some hundred thousand colours. What depends on colour alone (clusters,
mixtures) is worked out on those, weighted by their pixels, and then looked up for every pixel:
the same answer, without visiting each pixel again and again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import cv2
import numpy as np

from vitrail.errors import ParameterError

ColorSpace = Literal["rgb", "hsv", "lab"]

# Pixels worked on at once, so that memory does not grow with the image. Counting makes 2^24 bins
# each time, so it takes larger portions.
_COUNT_STRIP = 1 << 24
_PAINT_STRIP = 1 << 20


class ColorTable(NamedTuple):
    """Colours that occur, in ascending order of red, green, blue.

    ``colors`` (U, 3) uint8 RGB; ``counts`` (U,) int64, the pixels of each.
    """

    colors: np.ndarray
    counts: np.ndarray


def color_table(rgb: np.ndarray) -> ColorTable:
    """The distinct colours of an (H, W, 3) uint8 image.

    Raises
    ------
    ParameterError
        when `rgb` is not a non-empty (H, W, 3) uint8 array.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise ParameterError(
            f"expected an RGB image (H, W, 3) of uint8, got {rgb.dtype} of shape {rgb.shape}; "
            "Image.rgb() makes one"
        )
    if rgb.size < 3 << 20:  # counting in 2^24 bins would cost more than sorting
        keys, counts = np.unique(_keys(rgb), return_counts=True)
    else:
        bins: np.ndarray | int = 0
        for _, strip in _strips(rgb, _COUNT_STRIP):
            bins = bins + np.bincount(_keys(strip), minlength=1 << 24)
        bins = np.asarray(bins)
        keys = np.flatnonzero(bins)
        counts = bins[keys]
    colors = np.stack([keys >> 16, keys >> 8 & 255, keys & 255], axis=1).astype(np.uint8)
    return ColorTable(colors, counts)


def paint(rgb: np.ndarray, colors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Give every pixel the label of its colour: (H, W) int32.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    colors, labels
        (U, 3) uint8 with every colour of the image, and (U,) the label of each, >= 0.
    """
    lookup = np.zeros(1 << 24, np.min_scalar_type(int(labels.max())))
    lookup[_keys(colors[None])] = labels
    painted = np.empty(rgb.shape[:2], np.int32)
    for rows, strip in _strips(rgb, _PAINT_STRIP):
        painted[rows] = lookup[_keys(strip)].reshape(painted[rows].shape)
    return painted


def nearest_color(rgb: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """The centre that each pixel's colour is nearest to, exactly: (H, W) uint8.

    The RGB cube is cut into 65,536 cells. The colours nearest to one centre form a convex body, so
    where the eight corners of a cell agree, all of the cell does, and one look-up of 16 bits
    settles the pixel. Only pixels of the cells on a border are measured.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    centers
        (K, 3) with K < 255; of two as near, the lower is taken.
    """
    cells = _cell_labels(centers)
    labels = np.empty(rgb.shape[:2], np.uint8)
    for rows, strip in _strips(rgb, _PAINT_STRIP):
        cell = cv2.cvtColor(np.ascontiguousarray(strip), cv2.COLOR_RGB2BGR565)
        found = np.take(cells, cell.view(np.uint16).ravel())
        open_ = np.flatnonzero(found == _UNDECIDED)
        found[open_] = np.argmin(squared_scores(strip.reshape(-1, 3)[open_], centers), axis=1)
        labels[rows] = found.reshape(strip.shape[:2])
    return labels


_UNDECIDED = 255


def _cell_labels(centers: np.ndarray) -> np.ndarray:
    """(65536,) uint8: of each cell of 8 x 4 x 8 colours, in OpenCV's 5-6-5 packing, its centre."""
    red, green = np.arange(0, 256, 8), np.arange(0, 256, 4)
    edges = [
        np.stack([low, low + step - 1], axis=1) for low, step in ((red, 8), (green, 4), (red, 8))
    ]
    corners = np.stack(np.meshgrid(*(edge.ravel() for edge in edges), indexing="ij"), axis=3)
    scores = squared_scores(corners.reshape(-1, 3), centers)
    nearest = np.argmin(scores, axis=1).reshape(32, 2, 64, 2, 32, 2)
    first, last = nearest.min(axis=(1, 3, 5)), nearest.max(axis=(1, 3, 5))
    return np.where(first == last, first, _UNDECIDED).astype(np.uint8).ravel()


def label_sums(rgb: np.ndarray, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Counts (k,), sums of RGB (k, 3) and the sum of all squared values; exact, float64.

    `labels` is (H, W) uint8, below k.
    """
    tallies = np.zeros((3, k, 256))
    for rows, strip in _strips(rgb, (1 << 24) - 1):  # OpenCV counts in float32
        for channel in range(3):
            tallies[channel] += cv2.calcHist(
                [labels[rows], np.ascontiguousarray(strip)],
                [0, channel + 1],
                None,
                [k, 256],
                [0, k, 0, 256],
            )
    levels = np.arange(256.0)
    return tallies[0].sum(axis=1), (tallies @ levels).T, float((tallies @ levels**2).sum())


def squared_scores(points: np.ndarray, centers: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """(n, K): squared distance less the point's own square, which is the same for all centres.

    In float32 it is a fraction of the work, and off by some 1/100 of a squared level of 255: good
    for moving centres, and not for saying which is the nearest in the end.
    """
    # One product in homogeneous coordinates: adding |c|^2 afterwards would take several times as
    # long as the product of two matrices this narrow.
    columns = points.shape[1]
    extended = np.ones((len(points), columns + 1), dtype)
    extended[:, :columns] = points
    centers = centers.astype(np.float64)
    planes = np.concatenate([-2.0 * centers, (centers**2).sum(axis=1)[:, None]], axis=1)
    return tall_product(extended, planes.astype(dtype).T)


def tall_product(tall: np.ndarray, small: np.ndarray) -> np.ndarray:
    """``tall @ small``, (N, D) by (D, K), in portions that stay on one core.

    OpenBLAS splits a product among its threads from 2^18 multiplications on. For matrices this
    narrow that gains little, and costs milliseconds whenever another core is busy.
    """
    product = np.empty((len(tall), small.shape[1]), np.result_type(tall, small))
    rows = max(1, (1 << 18) // small.size)
    for start in range(0, len(tall), rows):
        part = slice(start, start + rows)
        np.matmul(tall[part], small, out=product[part])
    return product


def grouped(table: ColorTable, points: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Join colours that agree in the top `bits` of each channel.

    Parameters
    ----------
    points
        (U, D) float32, the colours of the table in the space to work in.

    Returns
    -------
    means, weights
        (G, D) float32, the mean point of each group's pixels, and (G,) float64, its pixels.
    """
    top = table.colors.astype(np.int64) >> (8 - bits)
    cells = top[:, 0] << 2 * bits | top[:, 1] << bits | top[:, 2]
    weights = np.bincount(cells, table.counts)
    used = np.flatnonzero(weights)
    sums = [np.bincount(cells, table.counts * axis)[used] for axis in points.T.astype(np.float64)]
    return (np.stack(sums, axis=1) / weights[used, None]).astype(np.float32), weights[used]


def to_space(rgb: np.ndarray, space: ColorSpace) -> np.ndarray:
    """Colours as points whose distances mean something: (N, 3) float32.

    Parameters
    ----------
    rgb
        (N, 3) uint8, or floats from 0 to 255.
    space
        - ``"rgb"``: as they are, 0 to 255.
        - ``"lab"``: CIE L*a*b* under D65, L from 0 to 100.
        - ``"hsv"``: in the HSV cone, ``255 * (s v cos h, s v sin h, v)``, because hue is an angle:
          359 and 1 degree are neighbours, and the hue of a grey or black pixel means nothing.
    """
    values = np.ascontiguousarray(rgb, np.float32)
    if space == "rgb":
        return values
    scaled = (values * np.float32(1 / 255))[None]
    if space == "lab":
        return cv2.cvtColor(scaled, cv2.COLOR_RGB2Lab)[0]
    hue, saturation, value = np.moveaxis(cv2.cvtColor(scaled, cv2.COLOR_RGB2HSV)[0], 1, 0)
    radius, angle = saturation * value * 255, np.deg2rad(hue)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), value * 255], axis=1)


def from_space(points: np.ndarray, space: ColorSpace) -> np.ndarray:
    """Points of `to_space` in the space's own coordinates, (N, 3) float32.

    The same for rgb and lab; for hsv, hue in degrees [0, 360), saturation and value in [0, 1].
    """
    points = np.asarray(points, np.float64)
    if space == "hsv":
        hue = np.rad2deg(np.arctan2(points[:, 1], points[:, 0])) % 360
        value = points[:, 2]
        saturation = np.hypot(points[:, 0], points[:, 1]) / np.maximum(value, 1e-12)
        points = np.stack([hue, np.minimum(saturation, 1), value / 255], axis=1)
    return points.astype(np.float32)


def _keys(rgb: np.ndarray) -> np.ndarray:
    """(n,) int64: red, green and blue of each pixel as one number of 24 bits."""
    # OpenCV fills the fourth byte with 255, and swaps red and blue so that blue is the lowest.
    packed = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGRA).view("<u4").ravel()
    return (packed & 0xFFFFFF).astype(np.int64)


def _strips(rgb: np.ndarray, pixels: int) -> Iterator[tuple[slice, np.ndarray]]:
    height = max(1, pixels // rgb.shape[1])
    for start in range(0, rgb.shape[0], height):
        rows = slice(start, start + height)
        yield rows, rgb[rows]
