"""Clusters of colour: mean shift here; k-means and Gaussian mixtures from their own files."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import cv2
import numpy as np
from pydantic import Field

from vitrail.classical.gmm import GaussianMixture, gmm
from vitrail.classical.kmeans import KMeans, kmeans
from vitrail.classical.method import Method
from vitrail.errors import ParameterError
from vitrail.image import Image
from vitrail.result import RegionResult

__all__ = ["GaussianMixture", "KMeans", "MeanShift", "Modes", "gmm", "kmeans", "mean_shift"]


class Modes(NamedTuple):
    """What mean shift found.

    ``labels`` (H, W) int32, connected regions in the order of their first pixel;
    ``colors`` (R, 3) float32, the mean RGB of each region's pixels; ``counts`` (R,) int64;
    ``filtered`` (H, W, 3) uint8, the image after filtering.
    """

    labels: np.ndarray
    colors: np.ndarray
    counts: np.ndarray
    filtered: np.ndarray


def mean_shift(
    rgb: np.ndarray,
    spatial_radius: float = 8.0,
    color_radius: float = 20.0,
    *,
    levels: int = 1,
    min_size: int = 50,
) -> Modes:
    """Regions whose pixels drift to one colour, by mean shift over colour and place together.

    The image is filtered by ``cv2.pyrMeanShiftFiltering``, the reference. Neighbours (4-connected)
    whose filtered colours differ by at most half the colour radius in every channel then belong
    to one region, and regions too small join the neighbour whose mean colour is nearest.
    Comaniciu and Meer, "Mean shift: a robust approach toward feature space analysis", IEEE PAMI
    24 (2002).

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    spatial_radius
        of the window, in pixels, >= 1.
    color_radius
        of the window, in levels of 255, >= 1.
    levels
        of the pyramid, >= 0: large areas are filtered on an image halved that many times, which
        is faster.
    min_size
        pixels below which a region joins a neighbour; 1 joins none.

    Raises
    ------
    ParameterError
        when `rgb` is not (H, W, 3) uint8.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise ParameterError(
            f"expected an RGB image (H, W, 3) of uint8, got {rgb.dtype} of shape {rgb.shape}; "
            "Image.rgb() makes one"
        )
    # A pyramid needs something to halve.
    levels = min(levels, max(0, min(rgb.shape[:2]).bit_length() - 3))
    filtered = cv2.pyrMeanShiftFiltering(
        np.ascontiguousarray(rgb), spatial_radius, color_radius, maxLevel=levels
    )
    labels = _joined(filtered, color_radius / 2)
    labels = _merge_small(labels, rgb, min_size)
    colors, counts = _region_colors(labels, rgb)
    return Modes(labels, colors.astype(np.float32), counts, filtered)


def _joined(image: np.ndarray, tolerance: float) -> np.ndarray:
    """Connected regions of neighbours within `tolerance` of each other, (H, W) int32 from 0."""
    height, width = image.shape[:2]
    # Pixels stand on the even places of a grid twice as fine; between two that belong together
    # stands a link. Connected components of that grid are the regions.
    grid = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    grid[::2, ::2] = 1
    limit = int(tolerance)
    if width > 1:
        grid[::2, 1::2] = cv2.absdiff(image[:, :-1], image[:, 1:]).max(axis=2) <= limit
    if height > 1:
        grid[1::2, ::2] = cv2.absdiff(image[:-1], image[1:]).max(axis=2) <= limit
    _, labels = cv2.connectedComponents(grid, connectivity=4)
    return _renumbered(labels[::2, ::2])


def _renumbered(labels: np.ndarray) -> np.ndarray:
    """Numbers 0, 1, ... in the order in which regions are first met, row by row."""
    flat = labels.ravel()
    first = np.full(int(flat.max()) + 1, flat.size, np.int64)
    first[flat[::-1]] = np.arange(flat.size - 1, -1, -1)  # the last written is the first met
    order = np.argsort(first, kind="stable")
    order = order[first[order] < flat.size]
    number = np.zeros(len(first), np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    return number[labels]


def _region_colors(labels: np.ndarray, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat, channels = labels.ravel(), rgb.reshape(-1, 3).T
    counts = np.bincount(flat)
    sums = np.stack([np.bincount(flat, channel) for channel in channels], axis=1)
    return sums / counts[:, None], counts


def _merge_small(labels: np.ndarray, rgb: np.ndarray, min_size: int) -> np.ndarray:
    """Join regions of fewer than `min_size` pixels to the neighbour nearest in mean colour."""
    while True:
        colors, counts = _region_colors(labels, rgb)
        small = counts < min_size
        if not small.any() or len(counts) == 1:
            return labels
        pairs = np.concatenate(
            [
                np.stack([first[first != second], second[first != second]], axis=1)
                for first, second in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:]))
            ]
        )
        pairs = np.concatenate([pairs, pairs[:, ::-1]])
        pairs = pairs[small[pairs[:, 0]]].astype(np.int64)
        distance = ((colors[pairs[:, 0]] - colors[pairs[:, 1]]) ** 2).sum(axis=1)
        order = np.lexsort((pairs[:, 1], distance, pairs[:, 0]))
        _, nearest = np.unique(pairs[order, 0], return_index=True)
        source, target = pairs[order[nearest]].T
        labels = _renumbered(_merged(source, target, len(counts))[labels])


def _merged(source: np.ndarray, target: np.ndarray, count: int) -> np.ndarray:
    """Numbers (count,) after joining each source to its target, and those joined to theirs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(source), np.int8), (source, target)), shape=(count, count))
    return connected_components(links, directed=False)[1]


class MeanShift(Method):
    """Connected regions of like colour, as many as the image has; see `mean_shift`.

    `values` has `colors` (R, 3), the mean RGB of each region.
    """

    name: ClassVar[str] = "meanshift"
    summary: ClassVar[str] = "connected regions of like colour, by mean shift over colour and place"

    spatial_radius: float = Field(8.0, ge=1, le=200, description="of the window, in pixels")
    color_radius: float = Field(20.0, ge=1, le=255, description="of the window, in levels of 255")
    levels: int = Field(1, ge=0, le=8, description="of the pyramid; more is faster and coarser")
    min_size: int = Field(50, ge=1, description="smaller regions join a neighbour, in pixels")

    def __call__(self, image: Image) -> RegionResult:
        found = mean_shift(
            image.rgb(),
            self.spatial_radius,
            self.color_radius,
            levels=self.levels,
            min_size=self.min_size,
        )
        return RegionResult(found.labels, values={"colors": found.colors}, image=image)
