"""Greatest one-to-one matching of boundary pixels at every threshold, updated from one to the next.

Matching anew at each of 99 thresholds repeats nearly all of its work, as few pixels come or go
between two. So pixels enter and leave a matching that stays greatest throughout, by augmenting
paths (Berge 1957): a pixel that enters searches one path, and those that failed are remembered,
so that their part of the graph is not searched again.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np


def matched_levels(
    pixels: np.ndarray, on: np.ndarray, truth: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Match the predicted boundary at each threshold with one annotator's.

    Parameters
    ----------
    pixels : (P,) flat indices into the image
    on : (T, P) bool, which of them are on; thresholds rising
    truth : (H, W) bool, the annotator's boundary
    radius : greatest distance of a pair, in pixels (Euclidean, inclusive)

    Returns
    -------
    found : (T,) int64, pairs at each threshold: the most that are possible
    used : (T, P) bool, the predicted pixels that are in a pair
    """
    levels = len(on)
    used = np.zeros(on.shape, bool)
    found = np.zeros(levels, np.int64)
    reach = _neighbours(pixels, truth, radius)
    near = np.flatnonzero((reach >= 0).any(axis=1))
    if not near.size:
        return found, used
    reach = reach[near]
    falling = on[::-1, near]
    # +1 where a pixel comes on, -1 where it goes off, threshold by threshold downwards.
    change = np.diff(falling.astype(np.int8), axis=0, prepend=0)
    flow = _Matching(reach, int(np.count_nonzero(truth)))
    balance = np.zeros((levels + 1, len(near)), np.int8)
    for level in range(levels):
        flow.events.clear()
        flow.leave(np.flatnonzero(change[level] < 0).tolist())
        for pixel in np.flatnonzero(change[level] > 0).tolist():
            flow.enter(pixel)
        found[levels - 1 - level] = flow.pairs
        if flow.events:
            pixel, step = np.array(flow.events).T
            np.add.at(balance[level], pixel, step.astype(np.int8))
    used[:, near] = np.cumsum(balance[:levels], axis=0, dtype=np.int8)[::-1] > 0
    return found, used


def _neighbours(pixels: np.ndarray, truth: np.ndarray, radius: float) -> np.ndarray:
    """For each pixel the true pixels in reach, nearest first, (P, K); -1 where there is none."""
    whole = math.floor(radius)
    span = np.arange(-whole, whole + 1)
    rows, columns = (grid.ravel() for grid in np.meshgrid(span, span, indexing="ij"))
    squared = rows**2 + columns**2
    order = np.argsort(squared, kind="stable")
    order = order[squared[order] <= radius**2]
    number = np.full(truth.shape, -1, np.int32)
    number[truth] = np.arange(np.count_nonzero(truth))
    number = np.pad(number, whole, constant_values=-1)
    y, x = np.divmod(pixels, truth.shape[1])
    return number[y[:, None] + whole + rows[order], x[:, None] + whole + columns[order]]


class _Matching:
    """A matching of "left" with "right" nodes that is greatest after every ``leave`` or ``enter``.

    ``closed`` right nodes are all matched, and their partners lead only to closed nodes: no path
    from an unmatched left node gets out of them, so later searches stop there. Every unmatched
    left node that is on leads to closed nodes only.
    """

    def __init__(self, reach: np.ndarray, rights: int) -> None:
        kept = reach >= 0
        flat = reach[kept]
        ends = np.concatenate(([0], np.cumsum(kept.sum(axis=1)))).tolist()
        values = flat.tolist()
        self.right_of = [values[a:b] for a, b in pairwise(ends)]
        lefts = np.nonzero(kept)[0]
        order = np.argsort(flat, kind="stable")
        bounds = np.searchsorted(flat[order], np.arange(rights + 1)).tolist()
        values = lefts[order].tolist()
        self.left_of = [values[a:b] for a, b in pairwise(bounds)]
        self.left_mate = [-1] * len(reach)
        self.right_mate = [-1] * rights
        self.on = bytearray(len(reach))
        self.closed = bytearray(rights)
        self.pairs = 0
        self.events: list[tuple[int, int]] = []
        """(left node, +1 or -1): it got a partner, or lost the last one."""

    def enter(self, left: int) -> None:
        """Turn a left node on, and match one more if that is possible."""
        self.on[left] = 1
        right_mate, closed, right_of = self.right_mate, self.closed, self.right_of
        for right in right_of[left]:
            if right_mate[right] < 0:
                self.left_mate[left], right_mate[right] = right, left
                self._count(left)
                return
        came_from: dict[int, int] = {}
        queue = [left]
        for node in queue:
            for right in right_of[node]:
                if closed[right] or right in came_from:
                    continue
                came_from[right] = node
                if right_mate[right] < 0:
                    self._swap(right, came_from)
                    self._count(left)
                    return
                queue.append(right_mate[right])
        for right in came_from:
            closed[right] = 1

    def leave(self, lefts: list[int]) -> None:
        """Turn left nodes off; others may take their partners."""
        freed: list[int] = []
        for left in lefts:
            self.on[left] = 0
            right = self.left_mate[left]
            if right >= 0:
                self.left_mate[left] = self.right_mate[right] = -1
                self.pairs -= 1
                self.events.append((left, -1))
                if self.closed[right]:
                    freed.append(right)
        for right in freed:
            self._refill(right)

    def _refill(self, right: int) -> None:
        """Find an unmatched left node with a path to a freed right node, among the closed.

        Those that lead to it without one are closed no more.
        """
        towards: dict[int, int] = {}
        queue = [right]
        for node in queue:
            for left in self.left_of[node]:
                if not self.on[left] or left in towards:
                    continue
                mate = self.left_mate[left]
                if mate < 0:
                    self._count(left)
                    towards[left] = node
                    self._shift(left, towards)
                    return
                if self.closed[mate]:
                    towards[left] = node
                    queue.append(mate)
        for node in queue:
            self.closed[node] = 0

    def _swap(self, right: int, came_from: dict[int, int]) -> None:
        """Flip the path that ends at a free right node."""
        while right >= 0:
            left = came_from[right]
            following = self.left_mate[left]
            self.left_mate[left], self.right_mate[right] = right, left
            right = following

    def _shift(self, left: int, towards: dict[int, int]) -> None:
        """Flip the path that begins at an unmatched left node."""
        while left >= 0:
            right = towards[left]
            following = self.right_mate[right]
            self.left_mate[left], self.right_mate[right] = right, left
            left = following

    def _count(self, left: int) -> None:
        self.pairs += 1
        self.events.append((left, 1))
