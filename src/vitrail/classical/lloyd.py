"""Lloyd's iteration on weighted points, and the starts and levels that make it quick and good.

Points come in blocks, so that they may be an array, or computed from an image as they are needed.

Lloyd, "Least squares quantization in PCM", IEEE Trans. Information Theory 28 (1982); the starts
are those of Arthur and Vassilvitskii, "k-means++", SODA 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from vitrail.classical.colors import squared_scores

Blocks = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
"""Points (n, D) and weights (n,), a manageable number at a time, each time it is called."""

BLOCK = 1 << 16  # points worked on at once: their distances to three centres fit into the cache


@dataclass(frozen=True, slots=True)
class Limits:
    """How many clusters, and when to stop; as `vitrail.classical.kmeans.kmeans` has them."""

    k: int
    attempts: int
    max_iter: int
    epsilon: float


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
            nearest = np.argmin(squared_scores(points, centers, np.float32), axis=1)
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


def descend(
    levels: list[Blocks],
    coarsest: tuple[np.ndarray, np.ndarray],
    limits: Limits,
    rng: np.random.Generator,
) -> np.ndarray:
    """The best of several starts on the coarsest level, carried on through the finer ones."""
    blocks = in_blocks(*coarsest)
    best: tuple[float, np.ndarray] | None = None
    for _ in range(limits.attempts):
        starts = spread_starts(*coarsest, limits.k, rng)
        centers = lloyd(blocks, starts, limits.max_iter, limits.epsilon)
        inertia = assign(blocks, centers)[1]
        if best is None or inertia < best[0]:
            best = inertia, centers
    assert best is not None
    centers = best[1]
    for level in reversed(levels):
        centers = lloyd(level, centers, limits.max_iter, limits.epsilon)
    return centers


def in_blocks(points: np.ndarray, weights: np.ndarray) -> Blocks:
    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(points), BLOCK):
            yield points[start : start + BLOCK], weights[start : start + BLOCK]

    return blocks


def assign(blocks: Blocks, centers: np.ndarray) -> tuple[np.ndarray, float]:
    """The nearest centre of each point, the lower of two as near, and the inertia."""
    labels, inertia = [], 0.0
    centers = centers.astype(np.float64)
    for points, weights in blocks():
        scores = squared_scores(points, centers)
        nearest = np.argmin(scores, axis=1)
        own = np.einsum("nd,nd->n", points, points, dtype=np.float64)
        own += scores[np.arange(len(nearest)), nearest]
        inertia += float(weights @ np.maximum(own, 0))
        labels.append(nearest)
    return np.concatenate(labels), inertia


def _furthest(blocks: Blocks, centers: np.ndarray) -> np.ndarray:
    best, found = -1.0, centers[0]
    for points, _ in blocks():
        distance = squared_scores(points, centers).min(axis=1) + (
            points.astype(np.float64) ** 2
        ).sum(1)
        index = int(np.argmax(distance))
        if distance[index] > best:
            best, found = float(distance[index]), points[index].astype(np.float64)
    return found
