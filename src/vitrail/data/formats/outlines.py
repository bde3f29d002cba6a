"""Objects as outlines, for formats that write them: exactly, in one closed line, in fractions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vitrail.data.polygon import rasterise
from vitrail.data.sample import Instance
from vitrail.result.masks import Masks

if TYPE_CHECKING:
    from scipy.spatial import KDTree

_DECIMALS = 10
"""Of a pixel, that are kept of coordinates read from fractions."""


def drawable(instance: Instance) -> list[np.ndarray] | None:
    """The annotated outlines that enclose anything, where they are what the object is.

    None where the object has no outlines, or has a mask that differs from them.
    """
    if instance.polygons is None:
        return None
    rings = [ring for ring in instance.polygons if len(ring) > 2]
    if instance.stored is not None and rasterise(rings, instance.size) != instance.stored:
        return None
    return rings


def single_ring(instance: Instance) -> np.ndarray | None:
    """An object as one closed line ``(K, 2)``, px; None where it has no pixel and no outline.

    An outline annotated as one is returned as it is. Several outlines, and outlines with holes,
    are joined by :func:`bridge`; filled by the even-odd rule as ``rasterise`` does, the line
    encloses exactly the object's mask.
    """
    rings = drawable(instance)
    if rings is not None and len(rings) < 2:
        return rings[0] if rings else None
    if rings:
        joined = bridge(rings)
        # Where outlines overlap, the even-odd rule would cut out what both enclose.
        if rasterise([joined], instance.size) == instance.mask:
            return joined
    if instance.mask is None:
        return None
    rings = exact_rings(instance.mask)
    return bridge(rings) if rings else None


def exact_rings(mask: Masks) -> list[np.ndarray]:
    """Outlines of one mask and of its holes, each ``(K, 2)`` int32 of x, y along pixel edges.

    A pixel is in the mask where an odd number of them encloses it.
    """
    rings: list[np.ndarray] = []
    while True:
        outlines = mask.polygons(0)
        rings += outlines.rings
        if not outlines.holes:
            return rings
        y, x, crop = mask.crop(0)
        # Enclosed and not in the mask: holes, whose own holes are islands of the mask.
        holes = rasterise(outlines.rings, mask.size).crop(0)[2] & ~crop
        mask = Masks.from_crops([(y, x, holes)], mask.size)


def bridge(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Join rings into one by seams without width, each walked there and back.

    It is how Ultralytics' ``merge_multi_segment`` joins the parts of an object. Each ring is tied
    to the nearest vertex of those before it.

    Parameters
    ----------
    rings:
        At least one ``(K, 2)``.

    Returns
    -------
    ``(K, 2)`` float64, closed implicitly, with two more vertices a seam.
    """
    if len(rings) == 1:
        return np.asarray(rings[0], np.float64)
    from scipy.spatial import KDTree

    vertices = [np.asarray(ring, np.float64) for ring in rings]
    stops = np.cumsum([len(ring) for ring in vertices])
    total = int(stops[-1])
    # The line is a linked list of vertices; those walked a second time get numbers after the rest.
    vertex = list(range(total))
    following = list(range(1, total + 1))
    trees: list[_Tree] = []
    for ring, stop in zip(vertices, stops.tolist(), strict=True):
        start = stop - len(ring)
        following[stop - 1] = start
        if trees:
            place, theirs = _nearest(ring, trees)
            ours = start + place
            before = ours - 1 if place else stop - 1
            again = len(vertex)
            vertex += [ours, theirs]
            following += [again + 1, following[theirs]]
            following[before], following[theirs] = again, ours
        numbers = np.arange(start, stop)
        # Trees are merged like the digits of a binary counter: each vertex is sorted in few times.
        while trees and len(trees[-1][1]) <= len(ring):
            _, other, others = trees.pop()
            ring, numbers = np.concatenate([other, ring]), np.concatenate([others, numbers])
        trees.append((KDTree(ring), ring, numbers))
    walk = [0]
    while (here := following[walk[-1]]) != 0:
        walk.append(here)
    return np.concatenate(vertices)[np.array(vertex)[walk]]


_Tree = tuple["KDTree", np.ndarray, np.ndarray]
"""Vertices in a search tree, themselves, and their numbers."""


def _nearest(ring: np.ndarray, trees: Sequence[_Tree]) -> tuple[int, int]:
    """Which vertex of a ring is nearest to one in the trees, and the number of that one."""
    best = (np.inf, 0, 0)
    for tree, _, numbers in trees:
        distances, indices = map(np.asarray, tree.query(ring))
        place = int(distances.argmin())
        best = min(best, (float(distances[place]), place, int(numbers[indices[place]])))
    return best[1:]


def from_fractions(fractions: np.ndarray, extent: float | np.ndarray) -> np.ndarray:
    """Fractions of an image's extent as px, rounded to 1e-10 px.

    Multiplying does not undo a division exactly in floating point. The rounding does: what had up
    to ten decimals when it was written comes back as it was.
    """
    return np.round(fractions * extent, _DECIMALS)


def to_fractions(values: np.ndarray, extent: float | np.ndarray) -> np.ndarray:
    """The shortest decimal fractions that :func:`from_fractions` turns back into these px."""
    return shortest(values / extent, lambda tried: from_fractions(tried, extent), values)


def shortest(
    exact: np.ndarray, read: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray
) -> np.ndarray:
    """Numbers of as few decimals as ``read`` still turns into these px, to 1e-10 px."""
    wanted = np.round(pixels, _DECIMALS)
    for digits in range(3, 17):
        tried = np.round(exact, digits)
        if np.array_equal(read(tried), wanted):
            return tried
    return exact
