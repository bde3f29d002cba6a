"""Outlines: filling them as COCO does, their area, and whether they cross themselves.

COCO's own filling rule (``rleFrPoly`` in https://github.com/cocodataset/cocoapi, ``maskApi.c``,
simplified BSD licence) decides which pixels an annotated polygon stands for, so a data set means
the same here as in its reference API. In words: vertices are rounded to a grid five times finer
than the pixels; each edge is walked on that grid, one step a grid column or row, whichever it has
more of; where the walk passes the grid line through the middle of a pixel column, that column
turns on or off at the walk's height. Here the walk is not made: each edge is asked only for its
height at the lines it passes, all edges at once, so that the work grows with the columns that an
outline crosses and not with its length, and what lies outside the frame costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from vitrail.errors import DataError
from vitrail.result.masks import Masks, check_size

_FINE = 5
"""Grid cells a pixel, along each axis."""
_FURTHEST = 4e8
"""px; further out, the reference's 32-bit grid coordinates overflow."""
_PAIRS = 1 << 20
"""Pairs of edges that are compared at a time: some tens of megabytes."""


def rasterise(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> Masks:
    """Fill outlines: the one mask of an object, pixel for pixel as pycocotools fills it.

    Parameters
    ----------
    polygons:
        Rings of ``(K, 2)`` x, y in px, in the coordinates of pixel edges, closed implicitly. Where
        one ring crosses itself, even-odd counts; different rings are united. They may leave the
        frame. A ring of fewer than three points encloses nothing (``frPyObjects`` would take two
        points for a box, if they come first; ``rleFrPoly``, whose rule this is, does not).
    size:
        ``(H, W)`` of the frame, px.

    Returns
    -------
    One mask, possibly empty.

    Raises
    ------
    DataError
        a coordinate is NaN, infinite or further than 4e8 px from the frame, or a ring is not
        ``(K, 2)``.
    """
    height, width = check_size(size)
    rings = [_as_ring(ring) for ring in polygons]
    rings = [ring for ring in rings if len(ring) > 2]
    if not rings or not height or not width:
        return Masks.from_crops([(0, 0, np.zeros((0, 0), bool))], (height, width))
    columns, rows, owners = _crossings(rings, width)
    # Each ring passes a column an even number of times, so that in this order each two neighbours
    # are a filled stretch of one column of one ring.
    places = (owners * width + columns) * (height + 1) + np.clip(rows, 0, height)
    places.sort()
    columns, rows = np.divmod(places, height + 1)
    columns = columns[::2] % width
    tops, ends = rows[::2], rows[1::2]
    filled = ends > tops
    if not filled.any():
        return Masks.from_crops([(0, 0, np.zeros((0, 0), bool))], (height, width))
    columns, tops, ends = columns[filled], tops[filled], ends[filled]
    return Masks.from_crops([_fill(columns, tops, ends)], (height, width))


def ring_area(ring: np.ndarray) -> float:
    """Area enclosed by a ``(K, 2)`` ring, px², by the shoelace formula, with a sign.

    Positive where the vertices run clockwise as seen on the screen (y points down), negative where
    they run the other way. Stretches that a ring winds round twice count twice, opposite windings
    cancel.
    """
    ring = np.asarray(ring, np.float64).reshape(-1, 2)
    if len(ring) < 3:
        return 0.0
    x, y = (ring - ring[0]).T  # near the origin, so that far outlines lose no digits
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def ring_is_simple(ring: np.ndarray, *, touching: bool = True) -> bool:
    """Whether an outline does not cross itself.

    Edges are sorted by their left ends and compared only where they overlap along x: O(n log n)
    for outlines of short edges, and at worst n² comparisons in blocks of bounded memory. Points
    closer to an edge than about 1e-12 of the ring's extent count as lying on it.

    Parameters
    ----------
    ring:
        ``(K, 2)`` of x, y, closed implicitly; repeated points in a row count once.
    touching:
        With True, only edges that cut through each other count, as outlines traced from masks
        often touch themselves in a corner or run back over themselves; where two stretches pass
        through each other in a vertex of both, that is not seen. With False, any point
        shared by edges that are not neighbours counts, and so does an edge that runs back along
        the one before it: the definition of OGC Simple Features.
    """
    ring = np.asarray(ring, np.float64).reshape(-1, 2)
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    if len(ring) < 3:
        return touching
    ring = ring - ring.min(axis=0)
    ring = ring / ring.max()
    order = np.argsort(np.minimum(ring[:, 0], np.roll(ring[:, 0], -1)), kind="stable")
    start, end = ring[order], np.roll(ring, -1, axis=0)[order]
    for first, second in _overlapping(start, end):
        gap = np.abs(order[first] - order[second])
        neighbours = (gap == 1) | (gap == len(ring) - 1)
        a, b, c, d = start[first], end[first], start[second], end[second]
        side = [_side(a, b, c), _side(a, b, d), _side(c, d, a), _side(c, d, b)]
        if (~neighbours & (side[0] * side[1] < 0) & (side[2] * side[3] < 0)).any():
            return False
        if not touching and _touches(a, b, c, d, side, neighbours):
            return False
    return True


def _as_ring(ring: np.ndarray) -> np.ndarray:
    """A ring as ``(K, 2)`` float64, checked."""
    ring = np.asarray(ring, np.float64)
    if ring.ndim != 2 or ring.shape[1] != 2:
        raise DataError(f"an outline has the shape {ring.shape}, expected (K, 2) of x, y")
    # max() hands NaN on, and a comparison with NaN is False.
    if ring.size and not max(ring.max(), -ring.min()) < _FURTHEST:
        wrong = ring[~(np.abs(ring) < _FURTHEST)][0]
        raise DataError(
            f"an outline holds the coordinate {wrong}, expected a finite number of pixels near the "
            "image; correct or remove this object"
        )
    return ring


def _crossings(rings: list[np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where rings pass the middles of pixel columns: columns, first rows below, ring numbers.

    Rows are not yet clipped to the frame.
    """
    points = rings[0] if len(rings) == 1 else np.concatenate(rings)
    x, y = (points * _FINE + 0.5).astype(np.int64).T  # truncated towards zero, as C does
    following, owner = np.arange(1, len(x) + 1), np.zeros(len(x), np.int64)
    lengths = np.array([len(ring) for ring in rings])
    stops = np.cumsum(lengths)
    following[stops - 1] = stops - lengths
    if len(rings) > 1:
        owner = np.repeat(np.arange(len(rings)), lengths)
    x2, y2 = x[following], y[following]
    # Line n lies between the grid columns 5n + 2 and 5n + 3.
    first = np.maximum((np.minimum(x, x2) + 2) // _FINE, 0)
    counts = np.minimum((np.maximum(x, x2) - 3) // _FINE, width - 1) - first + 1
    passing = np.flatnonzero(counts > 0)
    x, y, x2, y2, first, counts = (v[passing] for v in (x, y, x2, y2, first, counts))
    edges = np.repeat(np.arange(len(passing)), counts)
    columns = np.arange(len(edges)) + (first - np.cumsum(counts) + counts)[edges]
    rows = _heights(x, y, x2, y2, edges, columns * _FINE + 2)
    return columns, rows, owner[passing][edges]


def _heights(
    x: np.ndarray,
    y: np.ndarray,
    x2: np.ndarray,
    y2: np.ndarray,
    edges: np.ndarray,
    column: np.ndarray,
) -> np.ndarray:
    """First pixel row whose middle is at or below the walk, where it leaves a grid column.

    The walk always goes along its longer axis in the rising sense; its position on the other axis
    is rounded, and of the two grid points beside the line the upper one counts. The order of the
    floating-point operations is the reference's, as ties depend on it.

    Parameters
    ----------
    x, y, x2, y2:
        Ends of the edges, (E,) grid cells.
    edges, column:
        For each crossing its edge and the grid column before the line, (C,).
    """
    dx, dy = x2 - x, y2 - y
    steep = np.abs(dx) < np.abs(dy)
    longer = np.where(steep, dy, dx)
    slope = (np.where(steep, dx, dy) / longer)[edges]
    x = np.where(longer > 0, x, x2)[edges]
    y = np.where(longer > 0, y, y2)[edges]

    step = column - x
    heights = np.minimum(y + slope * step + 0.5, y + slope * (step + 1) + 0.5).astype(np.int64)

    if steep.any():
        chosen = np.flatnonzero(steep[edges])
        x, y, slope, line = x[chosen], y[chosen], slope[chosen], column[chosen] + 1
        rising = slope > 0
        # The last step before the line: estimated, then put right by the walk's own arithmetic.
        step = np.floor((line - 0.5 - x) / slope)
        step -= (x + slope * step + 0.5 < line) != rising
        step += (x + slope * (step + 1) + 0.5 < line) == rising
        heights[chosen] = y + step.astype(np.int64)
    return (heights + 2) // _FINE


def _fill(columns: np.ndarray, tops: np.ndarray, ends: np.ndarray) -> tuple[int, int, np.ndarray]:
    """``(y0, x0, crop)`` of the union of filled stretches of columns."""
    x0, y0 = int(columns.min()), int(tops.min())
    wide, high = int(columns.max()) + 1 - x0, int(ends.max()) - y0
    base = (columns - x0) * high - y0
    starts, stops = base + tops, base + ends
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(stops[order])
    apart = np.flatnonzero(starts[1:] > reach[:-1])
    turns = np.empty(2 * len(apart) + 4, np.int64)
    turns[0], turns[1], turns[-2], turns[-1] = 0, starts[0], reach[-1], wide * high
    turns[2:-2:2], turns[3:-2:2] = reach[apart], starts[apart + 1]
    lengths = np.diff(turns)
    runs = np.repeat((np.arange(len(lengths)) & 1).astype(np.uint8), lengths)
    return y0, x0, cv2.transpose(runs.reshape(wide, high)).view(bool)


def _overlapping(start: np.ndarray, end: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of pairs of edges, sorted by their left ends, whose boxes overlap."""
    left, right = np.minimum(start, end), np.maximum(start, end)
    stops = np.searchsorted(left[:, 0], right[:, 0], side="right")
    counts = stops - np.arange(1, len(start) + 1)
    total = np.cumsum(counts)
    begin = 0
    while begin < len(start):
        before = int(total[begin - 1]) if begin else 0
        finish = max(int(np.searchsorted(total, before + _PAIRS, side="right")), begin + 1)
        block = counts[begin:finish]
        first = np.repeat(np.arange(begin, finish), block)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(block) - block, block)
        near = (left[first, 1] <= right[second, 1]) & (left[second, 1] <= right[first, 1])
        yield first[near], second[near]
        begin = finish


def _side(a: np.ndarray, b: np.ndarray, p: np.ndarray) -> np.ndarray:
    """On which side of the line from a to b the points p lie: -1, 0 (on it) or 1."""
    (abx, aby), (apx, apy) = (b - a).T, (p - a).T
    turn = abx * apy - aby * apx
    return np.where(np.abs(turn) <= 1e-12, 0, np.sign(turn)).astype(np.int8)


def _touches(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    d: np.ndarray,
    side: list[np.ndarray],
    neighbours: np.ndarray,
) -> bool:
    """Whether an end of one edge lies on another that is no neighbour, or neighbours fold back."""

    def between(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        low, high = np.minimum(p, q) - 1e-12, np.maximum(p, q) + 1e-12
        inside = (r >= low) & (r <= high)
        return inside[:, 0] & inside[:, 1]

    on = [
        (side[0] == 0) & between(a, b, c),
        (side[1] == 0) & between(a, b, d),
        (side[2] == 0) & between(c, d, a),
        (side[3] == 0) & between(c, d, b),
    ]
    if (np.logical_or.reduce(on) & ~neighbours).any():
        return True
    # Neighbours share one point, which is an end of both: two hits; a fold-back gives a third.
    return bool((np.sum(on, axis=0)[neighbours] > 2).any())
