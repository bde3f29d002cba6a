"""Measures of all outlines of an image at once: one pass of NumPy instead of one for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vitrail.data.sample import Box

_PAIRS = 1 << 20
"""Pairs of edges that are compared at a time: some tens of megabytes."""
_NOWHERE = (0.0, 0.0, 0.0, 0.0)
Loop = tuple[float, float, float, float]
"""A crossing's x and y, px; the area of its smaller loop, px²; that as a share of both."""


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """What is to be known of one ring."""

    points: np.ndarray
    """``(K, 2)`` x, y in px."""
    finite: bool
    area: float
    """px², by the shoelace formula, without sign."""
    box: Box
    crosses: bool
    """Whether two of its edges cut through each other; touching does not count."""


def measure(rings: Sequence[np.ndarray]) -> list[Outline]:
    """Measure ``(K, 2)`` rings, closed implicitly; an empty one has a box of zeros."""
    filled = [ring for ring in rings if len(ring)]
    if not filled:
        return [Outline(ring, True, 0.0, _NOWHERE, False) for ring in rings]
    lengths = np.array([len(ring) for ring in filled])
    starts = np.cumsum(lengths) - lengths
    points = np.concatenate(filled)
    whole = np.isfinite(points[:, 0]) & np.isfinite(points[:, 1])
    finite = np.logical_and.reduceat(whole, starts)
    if not whole.all():
        points = np.where(whole[:, None], points, 0.0)
    low = np.minimum.reduceat(points, starts, axis=0)
    high = np.maximum.reduceat(points, starts, axis=0)
    owner = np.repeat(np.arange(len(filled)), lengths)
    local = points - low[owner]  # near the origin, so that far outlines lose no digits
    after = np.arange(1, len(points) + 1)
    after[starts + lengths - 1] = starts
    areas = np.abs(np.add.reduceat(_cross(local, local[after]), starts)) / 2
    crosses = np.zeros(len(filled), bool)
    for first, second in _cutting(local, after, owner, high - low, lengths):
        crosses[owner[first]] = True
        crosses[owner[second]] = True
    found = iter(
        Outline(ring, bool(good), float(area), (x1, y1, x2, y2), bool(cuts))
        for ring, good, area, (x1, y1), (x2, y2), cuts in zip(
            filled, finite, areas, low.tolist(), high.tolist(), crosses, strict=True
        )
    )
    return [
        next(found) if len(ring) else Outline(ring, True, 0.0, _NOWHERE, False) for ring in rings
    ]


def worst_loop(outline: Outline) -> Loop | None:
    """Where an outline crosses itself and what the smaller loop encloses; None if nowhere.

    Of several crossings, the one whose smaller loop is largest. Crossings whose loops stay below
    1 px² are passed over.
    """
    if not outline.crosses:
        return None
    ring = outline.points
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    origin = ring.min(axis=0)
    start = ring - origin
    along = np.roll(start, -1, axis=0) - start
    # Twice the area between the origin and the path from the first vertex to the i-th.
    swept = np.concatenate([[0.0], np.cumsum(_cross(start, start + along))])
    worst, found = 1.0, None
    for i in range(len(ring) - 2):
        later = slice(i + 2, len(ring) - (i == 0))
        span = start[later] - start[i]
        turn = _cross(along[i], along[later])
        with np.errstate(divide="ignore", invalid="ignore"):
            here = _cross(span, along[later]) / turn
            there = _cross(span, along[i]) / turn
        hits = np.flatnonzero((here > 0) & (here < 1) & (there > 0) & (there < 1))
        if not len(hits):
            continue
        j = hits + i + 2
        point = start[i] + here[hits, None] * along[i]
        loop = _cross(point, start[i + 1]) + swept[j] - swept[i + 1] + _cross(start[j], point)
        rest = swept[-1] - loop
        smaller = np.minimum(np.abs(loop), np.abs(rest)) / 2
        best = int(smaller.argmax())
        if smaller[best] >= worst:
            worst = float(smaller[best])
            total = (abs(float(loop[best])) + abs(float(rest[best]))) / 2
            x, y = point[best] + origin
            found = float(x), float(y), worst, worst / total
    return found


def _cutting(
    points: np.ndarray,
    after: np.ndarray,
    owner: np.ndarray,
    extent: np.ndarray,
    lengths: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of pairs of edges of one ring that cut through each other.

    Rings are laid side by side along x, so that edges of two rings never overlap; then edges are
    sorted by their left ends and compared only where they overlap along both axes.
    """
    offset = np.cumsum(extent[:, 0] + 1) - extent[:, 0]
    x = points[:, 0] + offset[owner]
    left, right = np.minimum(x, x[after]), np.maximum(x, x[after])
    order = np.argsort(left, kind="stable")
    counts = np.searchsorted(left[order], right[order], side="right") - np.arange(1, len(x) + 1)
    total = np.cumsum(counts)
    y = points[:, 1]
    top, bottom = np.minimum(y, y[after]), np.maximum(y, y[after])
    begin = 0
    while begin < len(x):
        before = int(total[begin - 1]) if begin else 0
        finish = max(int(np.searchsorted(total, before + _PAIRS, side="right")), begin + 1)
        block = counts[begin:finish]
        first = np.repeat(np.arange(begin, finish), block)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(block) - block, block)
        first, second = order[first], order[second]
        gap = np.abs(first - second)
        near = (gap > 1) & (gap != lengths[owner[first]] - 1)
        near &= (top[first] <= bottom[second]) & (top[second] <= bottom[first])
        first, second = first[near], second[near]
        a, b, c, d = points[first], points[after[first]], points[second], points[after[second]]
        # Closer to an edge than this counts as on it: decimal coordinates are rounded.
        tiny = 1e-12 * (extent[owner[first]].max(axis=1, initial=1) ** 2)
        cut = _apart(a, b, c, d, tiny) & _apart(c, d, a, b, tiny)
        yield first[cut], second[cut]
        begin = finish


def _apart(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, tiny: np.ndarray
) -> np.ndarray:
    """Whether c and d lie on two sides of the line through a and b, neither of them on it."""
    one, other = _cross(b - a, c - a), _cross(b - a, d - a)
    return (np.sign(one) * np.sign(other) < 0) & (np.abs(one) > tiny) & (np.abs(other) > tiny)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
