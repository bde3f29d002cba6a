"""k-means: the k colours that an image is best told in.

8-bit images are clustered through their distinct colours, weighted by the pixels of each, which is
exact and does not grow with the image. The attempts run on colours joined to 5 bits per channel;
the best is carried on with 6 bits, and then to convergence on all colours. With a weight on
position, and for images of other depths or bands, the levels are samples of the pixels instead.

Lloyd, "Least squares quantization in PCM", IEEE Trans. Information Theory 28 (1982); the starts
are those of Arthur and Vassilvitskii, "k-means++", SODA 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
    paint,
    to_space,
)
from vitrail.classical.method import Method
from vitrail.errors import ParameterError
from vitrail.image import LUMA, Image
from vitrail.result import RegionResult

Blocks = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
"""Points (n, D) and weights (n,), a manageable number at a time, each time it is called."""

_BLOCK = 1 << 16  # points worked on at once: their distances to three centres fit into the cache


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
    limits = _Limits(k, attempts, max_iter, epsilon)
    if pixels.dtype == np.uint8 and pixels.shape[2] in (1, 3) and position == 0:
        return _by_colors(pixels, limits, color, rng)
    return _by_pixels(pixels, limits, color, position, rng)


def lloyd(
    blocks: Blocks, centers: np.ndarray, max_iter: int = 100, epsilon: float = 0.0
) -> np.ndarray:
    """Move centres (K, D) to the weighted means of the points nearest to them, again and again.

    Stops after `max_iter` iterations, or when no centre moves further than `epsilon`. A centre
    that no point is nearest to moves to the point furthest from its own centre.
    """
    centers = np.array(centers, np.float64)
    for _ in range(max_iter):
        sums, totals = np.zeros_like(centers), np.zeros(len(centers))
        for points, weights in blocks():
            nearest = np.argmin(_scores(points, centers, np.float32), axis=1)
            totals += np.bincount(nearest, weights, len(centers))
            for axis, column in enumerate(points.T):
                sums[:, axis] += np.bincount(nearest, weights * column, len(centers))
        moved = np.where(totals[:, None] > 0, sums / np.maximum(totals, 1e-300)[:, None], centers)
        empty = np.flatnonzero(totals == 0)
        if empty.size:
            moved[empty[0]] = _furthest(blocks, centers)
        shift = np.sqrt(((moved - centers) ** 2).sum(axis=1).max())
        centers = moved
        if shift <= epsilon:
            break
    return centers


def spread_starts(
    points: np.ndarray, weights: np.ndarray, k: int, rng: np.random.Generator
) -> np.ndarray:
    """k-means++: k of the points, each drawn with its squared distance from those before it.

    Like scikit-learn, it draws 2 + log(k) candidates and keeps the best. Fewer than k come back
    only where there are fewer distinct points.
    """
    points = points.astype(np.float64)
    chosen = [rng.choice(len(points), p=weights / weights.sum())]
    distance = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < k:
        odds = np.cumsum(weights * distance)
        if odds[-1] <= 0:
            break
        draws = np.searchsorted(odds, rng.random(2 + int(np.log(k))) * odds[-1], side="right")
        options = []
        for draw in np.minimum(draws, len(points) - 1):
            left = np.minimum(distance, ((points - points[draw]) ** 2).sum(axis=1))
            options.append((float(weights @ left), int(draw), left))
        _, draw, distance = min(options, key=lambda option: option[:2])
        chosen.append(draw)
    return points[chosen]


@dataclass(frozen=True, slots=True)
class _Limits:
    k: int
    attempts: int
    max_iter: int
    epsilon: float


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
    pixels: np.ndarray, limits: _Limits, color: ColorSpace, rng: np.random.Generator
) -> Clusters:
    """k-means over the distinct colours of an 8-bit image."""
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    table = color_table(rgb)
    points = to_space(table.colors, color)
    weights = table.counts.astype(np.float64)
    levels = [(points, weights)]
    for bits in (6, 5):
        coarse = grouped(table, points, bits)
        # Only worth it where it saves work, and leaves the starts enough to choose from.
        if max(4096, 32 * limits.k) < len(coarse[1]) < 0.7 * len(levels[-1][1]):
            levels.append(coarse)
    centers = _descend([_in_blocks(*level) for level in levels], levels[-1], limits, rng)
    centers = centers.astype(np.float32)  # what is returned is what the labels are nearest to
    nearest, inertia = _assign(_in_blocks(points, weights), centers)
    order, nearest = _ordered(nearest, table)
    means, counts = _means(nearest, len(order), table)
    return Clusters(
        paint(rgb, table.colors, nearest),
        from_space(centers[order], color),
        means,
        counts,
        inertia,
        None,
    )


def _by_pixels(
    pixels: np.ndarray,
    limits: _Limits,
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
        for start in range(0, len(flat), _BLOCK):
            part = flat[start : start + _BLOCK]
            yield features(part, np.arange(start, start + len(part))), np.ones(len(part))

    levels: list[Blocks] = [everything]
    finest = None
    for size in (1 << 20, 1 << 16):
        if len(flat) > 2 * size or (finest is None and size == 1 << 16):
            chosen = np.sort(rng.choice(len(flat), min(size, len(flat)), replace=False))
            finest = features(flat[chosen], chosen), np.ones(len(chosen))
            if len(chosen) < len(flat):
                levels.append(_in_blocks(*finest))
    assert finest is not None
    centers = _descend(levels, finest, limits, rng).astype(np.float32)

    labels = np.empty(len(flat), np.int32)
    sums, counts, inertia = np.zeros((len(centers), bands)), np.zeros(len(centers), np.int64), 0.0
    for start, (points, weights) in zip(range(0, len(flat), _BLOCK), everything(), strict=True):
        block = slice(start, start + len(points))
        nearest, cost = _assign(lambda p=points, w=weights: [(p, w)], centers)
        labels[block], inertia = nearest, inertia + cost
        counts += np.bincount(nearest, minlength=len(centers))
        for band, column in enumerate(colors_of(flat[block]).T):
            sums[:, band] += np.bincount(nearest, column, len(centers))
    used = np.flatnonzero(counts)
    means = sums[used] / counts[used, None]
    shown = means[:, :3] if bands > 2 else np.repeat(means[:, :1], 3, axis=1)
    by_luma = np.lexsort((*shown.T[::-1], shown @ LUMA))
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


def _descend(
    levels: list[Blocks],
    coarsest: tuple[np.ndarray, np.ndarray],
    limits: _Limits,
    rng: np.random.Generator,
) -> np.ndarray:
    """The best of several starts on the coarsest level, carried on through the finer ones."""
    blocks = _in_blocks(*coarsest)
    best: tuple[float, np.ndarray] | None = None
    for _ in range(limits.attempts):
        starts = spread_starts(*coarsest, limits.k, rng)
        centers = lloyd(blocks, starts, limits.max_iter, limits.epsilon)
        inertia = _assign(blocks, centers)[1]
        if best is None or inertia < best[0]:
            best = inertia, centers
    assert best is not None
    centers = best[1]
    for level in reversed(levels):
        centers = lloyd(level, centers, limits.max_iter, limits.epsilon)
    return centers


def _in_blocks(points: np.ndarray, weights: np.ndarray) -> Blocks:
    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(points), _BLOCK):
            yield points[start : start + _BLOCK], weights[start : start + _BLOCK]

    return blocks


def _scores(points: np.ndarray, centers: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """(n, K): squared distance less the point's own square, which is the same for all centres.

    In float32 it is a fraction of the work, and off by some 1/100 of a squared level of 255: good
    for moving centres, and not for saying which is the nearest in the end.
    """
    # One product in homogeneous coordinates: adding |c|^2 afterwards would take several times as
    # long as the product of two matrices this narrow.
    columns = points.shape[1]
    extended = np.ones((len(points), columns + 1), dtype)
    extended[:, :columns] = points
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


def _assign(blocks: Blocks, centers: np.ndarray) -> tuple[np.ndarray, float]:
    """The nearest centre of each point, the lower of two as near, and the inertia."""
    labels, inertia = [], 0.0
    centers = centers.astype(np.float64)
    for points, weights in blocks():
        scores = _scores(points, centers)
        nearest = np.argmin(scores, axis=1)
        own = np.einsum("nd,nd->n", points, points, dtype=np.float64)
        own += scores[np.arange(len(nearest)), nearest]
        inertia += float(weights @ np.maximum(own, 0))
        labels.append(nearest)
    return np.concatenate(labels), inertia


def _furthest(blocks: Blocks, centers: np.ndarray) -> np.ndarray:
    best, found = -1.0, centers[0]
    for points, _ in blocks():
        distance = _scores(points, centers).min(axis=1) + (points.astype(np.float64) ** 2).sum(1)
        index = int(np.argmax(distance))
        if distance[index] > best:
            best, found = float(distance[index]), points[index].astype(np.float64)
    return found


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
    order = used[np.lexsort((*means[used].T[::-1], means[used] @ LUMA))]
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
