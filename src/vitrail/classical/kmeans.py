"""k-means: the k colours that an image is best told in.

8-bit images are clustered through their distinct colours, weighted by the pixels of each, which is
exact and does not grow with the image. The attempts run on colours joined to 4 bits per channel
(or more, where that leaves too few); the best is carried on with 5 and 6 bits, and then to
convergence on all colours. For a large image in few clusters of RGB even to list its colours would
take longest, so a sample is clustered that way, and then all pixels to convergence. With a weight
on position, and for images of other depths or bands, the levels are samples of the pixels.

The iteration itself is in `vitrail.classical.lloyd`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from vitrail.classical.colors import (
    ColorSpace,
    ColorTable,
    color_table,
    from_space,
    grouped,
    label_sums,
    nearest_color,
    paint,
    to_space,
)
from vitrail.classical.lloyd import BLOCK, Blocks, Limits, assign, descend, in_blocks
from vitrail.classical.method import Method
from vitrail.errors import ParameterError
from vitrail.image import LUMA, Image
from vitrail.result import RegionResult

_SAMPLE = 1 << 18  # pixels that stand for a large image until its centres hardly move


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """What k-means found, clusters ordered from dark to bright (Rec. 709 luma of their colour).

    Attributes
    ----------
    labels
        (H, W) int32, for each pixel the nearest centre, exactly.
    centers
        (K, 3), in the colour space: rgb 0 to 255; lab; or hsv in degrees, 0 to 1, 0 to 1. For
        images that are not 8-bit RGB or grey, (K, C) in the image's own unit. float32.
        K is less than asked where the image has fewer distinct colours.
    colors
        (K, 3) float32, the mean RGB of each cluster's pixels, 0 to 255.
    counts
        (K,) int64, pixels of each cluster.
    inertia
        the sum over all pixels of the squared distance to their centre. Distances are those of
        `vitrail.classical.colors.to_space`, with position as `kmeans` scales it.
    positions
        (K, 2) float32, mean x and y in pixels, when position had a weight; else None.
    """

    labels: np.ndarray
    centers: np.ndarray
    colors: np.ndarray
    counts: np.ndarray
    inertia: float
    positions: np.ndarray | None


def kmeans(
    pixels: np.ndarray,
    k: int = 3,
    *,
    attempts: int = 10,
    max_iter: int = 100,
    epsilon: float = 0.1,
    color: ColorSpace = "rgb",
    position: float = 0.0,
    seed: int = 0,
) -> Clusters:
    """Part an image into the k clusters of colour with the least inertia that was found.

    Parameters
    ----------
    pixels
        (H, W), (H, W, 1) or (H, W, 3), or with ``color="rgb"`` (H, W, C) of any number of bands;
        uint8, uint16 or float. RGB order. uint16 is scaled from 65535 to 255; floats from 1 to 255
        if they lie in [0, 1], else from their minimum and maximum to 0 and 255.
    k
        clusters, 2 to 256.
    attempts
        starts, of which the one with the least inertia is carried on.
    max_iter
        iterations at most, per attempt and then at each finer level.
    epsilon
        stop when no centre moves further than this, in units of the space (rgb, hsv: 0 to 255;
        lab: 0 to 100).
    color
        the space in which distances are taken; see `vitrail.classical.colors.to_space`.
    position
        weight of a pixel's place. At 1, the longer side of the image is as far as black from
        white; at 0, place does not count.
    seed
        of the random starts (and samples): the same seed gives the same labels.

    Raises
    ------
    ParameterError
        when `pixels` has another shape or type, or a parameter is out of range.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    fault = _fault(pixels, k, attempts, max_iter, color)
    if fault:
        raise ParameterError(fault)
    rng = np.random.default_rng(seed)
    limits = Limits(k, attempts, max_iter, epsilon)
    if pixels.dtype == np.uint8 and pixels.shape[2] in (1, 3) and position == 0:
        # Beyond some clusters, most cells of colours lie on a border between two.
        large = pixels.shape[0] * pixels.shape[1] > 4 * _SAMPLE
        if large and color == "rgb" and k <= 16:
            found = _by_cells(pixels, limits, rng)
            if found is not None:
                return found
        return _by_colors(pixels, limits, color, rng)
    return _by_pixels(pixels, limits, color, position, rng)


def _fault(pixels: np.ndarray, k: int, attempts: int, max_iter: int, color: str) -> str | None:
    if (
        pixels.ndim != 3
        or not pixels.size
        or not (pixels.dtype in (np.uint8, np.uint16) or pixels.dtype.kind == "f")
    ):
        return (
            "expected an image (H, W) or (H, W, C) of uint8, uint16 or float, "
            f"got {pixels.dtype} of shape {pixels.shape}"
        )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels.sum(dtype=np.float64)):
        return "the image holds NaN or infinity; replace them first"
    if color != "rgb" and pixels.shape[2] not in (1, 3):
        return (
            f"color={color} needs grey or RGB, got {pixels.shape[2]} bands; use color=rgb for bands"
        )
    if not 2 <= k <= 256:
        return f"k must be 2 to 256 clusters, got {k}"
    if attempts < 1 or max_iter < 1:
        return f"attempts and max_iter must be at least 1, got {attempts} and {max_iter}"
    return None


def _by_colors(
    pixels: np.ndarray, limits: Limits, color: ColorSpace, rng: np.random.Generator
) -> Clusters:
    """k-means over the distinct colours of an 8-bit image."""
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    table = color_table(rgb)
    points = to_space(table.colors, color)
    weights = table.counts.astype(np.float64)
    levels = _levels(table, points, limits.k)
    centers = descend([in_blocks(*level) for level in levels], levels[-1], limits, rng)
    centers = centers.astype(np.float32)  # what is returned is what the labels are nearest to
    nearest, inertia = assign(in_blocks(points, weights), centers)
    order, nearest = _ordered(nearest, table)
    means, counts = _means(nearest, len(order), table)
    labels = paint(rgb, table.colors, nearest)
    return Clusters(labels, from_space(centers[order], color), means, counts, inertia, None)


def _by_cells(pixels: np.ndarray, limits: Limits, rng: np.random.Generator) -> Clusters | None:
    """k-means of a large 8-bit image in RGB, for few clusters: all pixels, but seldom.

    A sample brings the centres so near that a pass or two over all pixels settle them. None where
    a sample does not do: it has fewer than k colours, or a cluster ends without pixels.
    """
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    chosen = rng.integers(0, rgb.shape[0] * rgb.shape[1], _SAMPLE)
    sample = ColorTable(rgb.reshape(-1, 3)[chosen], np.ones(_SAMPLE, np.int64))
    levels = _levels(sample, to_space(sample.colors, "rgb"), limits.k)
    centers = descend([in_blocks(*level) for level in levels], levels[-1], limits, rng)
    if len(centers) < limits.k:
        return None
    for _ in range(limits.max_iter):
        # What is returned is what the labels are nearest to.
        centers = np.ascontiguousarray(centers[_dark_first(centers)], np.float32)
        labels = nearest_color(rgb, centers)
        counts, sums, squares = label_sums(rgb, labels, len(centers))
        if not counts.all():
            return None
        means = sums / counts[:, None]
        if ((means - centers) ** 2).sum(axis=1).max() <= limits.epsilon**2:
            break
        last, centers = centers, means
    else:
        centers = last
    exact = centers.astype(np.float64)
    inertia = squares - 2 * (exact * sums).sum() + (counts * (exact**2).sum(axis=1)).sum()
    return Clusters(
        labels.astype(np.int32),
        centers,
        means.astype(np.float32),
        counts.astype(np.int64),
        max(0.0, float(inertia)),
        None,
    )


def _levels(table: ColorTable, points: np.ndarray, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Points and weights from fine to coarse: as they are, and joined to ever fewer bits."""
    levels = [(points, table.counts.astype(np.float64))]
    for bits in (6, 5, 4):
        coarse = grouped(table, points, bits)
        # Only worth it where it saves work, and leaves the starts enough to choose from.
        if max(1024, 64 * k) < len(coarse[1]) < 0.7 * len(levels[-1][1]):
            levels.append(coarse)
    return levels


def _dark_first(colors: np.ndarray) -> np.ndarray:
    """The order of colours (K, 3) by luma, and by red, green, blue where that is the same."""
    return np.lexsort((*colors.T[::-1], colors @ LUMA))


def _by_pixels(
    pixels: np.ndarray,
    limits: Limits,
    color: ColorSpace,
    position: float,
    rng: np.random.Generator,
) -> Clusters:
    """k-means over all pixels, started on samples of them."""
    height, width, bands = pixels.shape
    low, scale = _scaling(pixels)
    span = position * (100 if color == "lab" else 255) / max(height, width)
    flat = pixels.reshape(-1, bands)

    def colors_of(part: np.ndarray) -> np.ndarray:
        return (part.astype(np.float32) - np.float32(low)) * np.float32(scale)

    def features(part: np.ndarray, index: np.ndarray) -> np.ndarray:
        scaled = colors_of(part)
        if color != "rgb":
            scaled = to_space(np.repeat(scaled, 3 // bands, axis=1), color)
        if not span:
            return scaled
        y, x = np.divmod(index, width)
        place = np.stack([x, y], axis=1) * np.float32(span)
        return np.concatenate([scaled, place.astype(np.float32)], axis=1)

    def everything() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(flat), BLOCK):
            part = flat[start : start + BLOCK]
            yield features(part, np.arange(start, start + len(part))), np.ones(len(part))

    levels: list[Blocks] = [everything]
    finest = None
    for size in (1 << 20, 1 << 16):
        if len(flat) > 2 * size or (finest is None and size == 1 << 16):
            chosen = np.sort(rng.choice(len(flat), min(size, len(flat)), replace=False))
            finest = features(flat[chosen], chosen), np.ones(len(chosen))
            if len(chosen) < len(flat):
                levels.append(in_blocks(*finest))
    assert finest is not None
    centers = descend(levels, finest, limits, rng).astype(np.float32)

    labels = np.empty(len(flat), np.int32)
    sums, counts, inertia = np.zeros((len(centers), bands)), np.zeros(len(centers), np.int64), 0.0
    for start, (points, weights) in zip(range(0, len(flat), BLOCK), everything(), strict=True):
        block = slice(start, start + len(points))
        nearest, cost = assign(lambda p=points, w=weights: [(p, w)], centers)
        labels[block], inertia = nearest, inertia + cost
        counts += np.bincount(nearest, minlength=len(centers))
        for band, column in enumerate(colors_of(flat[block]).T):
            sums[:, band] += np.bincount(nearest, column, len(centers))
    used = np.flatnonzero(counts)
    means = sums[used] / counts[used, None]
    shown = means[:, :3] if bands > 2 else np.repeat(means[:, :1], 3, axis=1)
    by_luma = _dark_first(shown)
    order = used[by_luma]
    rank = np.zeros(len(centers), np.int32)
    rank[order] = np.arange(len(order))
    native = color == "rgb" and (pixels.dtype != np.uint8 or bands not in (1, 3))
    points = centers[order, : 3 if color != "rgb" else bands].astype(np.float64)
    if native:
        points = points / scale + low
    elif points.shape[1] == 1:
        points = np.repeat(points, 3, axis=1)
    return Clusters(
        rank[labels].reshape(height, width),
        from_space(points, color),
        shown[by_luma].astype(np.float32),
        counts[order],
        inertia,
        (centers[order, -2:] / span).astype(np.float32) if span else None,
    )


def _scaling(pixels: np.ndarray) -> tuple[float, float]:
    """What to subtract and multiply by, so that the image spans 0 to 255."""
    if pixels.dtype.kind == "u":
        return 0.0, 255.0 / np.iinfo(pixels.dtype).max
    low, high = float(pixels.min()), float(pixels.max())
    if low >= 0 and high <= 1:
        return 0.0, 255.0
    return low, 255.0 / (high - low if high > low else 1.0)


def _ordered(nearest: np.ndarray, table: ColorTable) -> tuple[np.ndarray, np.ndarray]:
    """Which clusters have pixels, from dark to bright, and the labels renumbered so."""
    means, counts = _means(nearest, int(nearest.max()) + 1, table)
    used = np.flatnonzero(counts)
    order = used[_dark_first(means[used])]
    rank = np.zeros(len(counts), np.int64)
    rank[order] = np.arange(len(order))
    return order, rank[nearest]


def _means(nearest: np.ndarray, k: int, table: ColorTable) -> tuple[np.ndarray, np.ndarray]:
    """Mean RGB (k, 3) float32 and pixels (k,) int64 of each cluster."""
    counts = np.bincount(nearest, table.counts, k)
    sums = [np.bincount(nearest, table.counts * channel, k) for channel in table.colors.T]
    means = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
    return means.astype(np.float32), counts.astype(np.int64)


class KMeans(Method):
    """Part an image into k clusters of colour; see `kmeans`.

    The regions run from dark to bright; `values` has `centers`, `colors`, `counts` and `inertia`
    (and `positions`), as `Clusters` describes them. 8-bit images are clustered as ``Image.rgb()``;
    others with ``color="rgb"`` by their own values in all their bands.
    """

    name: ClassVar[str] = "kmeans"
    summary: ClassVar[str] = "k clusters of colour, in RGB, HSV or Lab, with a weight on position"

    k: int = Field(3, ge=2, le=256, description="clusters, 2 to 256")
    attempts: int = Field(10, ge=1, le=1000, description="random starts; the best is kept")
    max_iter: int = Field(100, ge=1, le=10_000, description="iterations per attempt, at most")
    epsilon: float = Field(
        0.1,
        ge=0,
        le=255,
        description="stop when centres move less, in units of the colour space (rgb, hsv: of 255; "
        "lab: of 100)",
    )
    color: ColorSpace = Field("rgb", description="space in which distances are taken")
    position: float = Field(
        0.0,
        ge=0,
        le=100,
        description="weight of a pixel's place; at 1 the longer side counts as black to white",
    )
    seed: int = Field(0, ge=0, description="of the random starts")

    def __call__(self, image: Image) -> RegionResult:
        own = image.pixels.dtype != np.uint8 or image.pixels.shape[2] not in (1, 3)
        pixels = (
            image.pixels if own and self.color == "rgb" and image.alpha is None else image.rgb()
        )
        found = kmeans(
            pixels,
            self.k,
            attempts=self.attempts,
            max_iter=self.max_iter,
            epsilon=self.epsilon,
            color=self.color,
            position=self.position,
            seed=self.seed,
        )
        values: dict[str, object] = {
            "centers": found.centers,
            "colors": found.colors,
            "counts": found.counts,
            "inertia": found.inertia,
        }
        if found.positions is not None:
            values["positions"] = found.positions
        return RegionResult(
            found.labels,
            classes=tuple(f"cluster {i}" for i in range(len(found.counts))),
            values=values,
            image=image,
        )
