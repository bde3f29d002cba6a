"""Gaussian filtering of scattered points in a few dimensions, on the permutohedral lattice.

Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice",
Eurographics 2010. Written from the paper; no code was taken over. Values are spread over the
corners of the simplex that each point lies in, the lattice is blurred along its d + 1 directions,
and the points read their corners back: linear in the number of points, quadratic in d.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn import functional as F

from vitrail.errors import ParameterError


class _Bags(NamedTuple):
    """A sparse matrix by rows: what ``F.embedding_bag`` multiplies with, on any device."""

    columns: Tensor
    """int32 (entries,)"""
    starts: Tensor
    """int32 (rows + 1,)"""
    weights: Tensor
    """float32 (entries,)"""

    def __matmul__(self, values: Tensor) -> Tensor:
        # Several times faster than torch.sparse, which moreover needs MKL on the CPU.
        return F.embedding_bag(
            self.columns,
            values,
            self.starts,
            mode="sum",
            per_sample_weights=self.weights,
            include_last_offset=True,
        )


class PermutohedralLattice:
    """The lattice under a set of points; filters as many columns of values as one likes.

    The kernel is close to ``exp(-|f_i - f_j|² / 2)`` times a constant. Vertices that no point
    touches do not exist, so weight that would travel through them is lost: where points lie
    sparsely the filter is narrower than the Gaussian.

    Parameters
    ----------
    features:
        ``(N, d)`` float32, finite, in units of the Gaussian's standard deviation.

    Attributes
    ----------
    vertices:
        How many vertices the points touch, at most ``(d + 1) N``.

    Raises
    ------
    ParameterError
        the points spread over so many standard deviations that vertices cannot be numbered.
    """

    def __init__(self, features: Tensor) -> None:
        corners, weights, keys, steps = _locate(features)
        self.vertices = len(keys)
        points, count = corners.shape
        starts = torch.arange(0, points * count + 1, count, dtype=torch.int32)
        starts = starts.to(features.device)
        self._slice = _Bags(corners.flatten(), starts, weights.flatten())
        self._splat = _transposed(self._slice, self.vertices)
        self._blurs = [_blur(keys, step) for step in steps]

    def scale(self, points: Tensor, outer: float = 1.0) -> None:
        """Filter ``outer * points * filter(points * values)`` from now on.

        Costs nothing later: the factors go into the weights.
        """
        count = len(self._slice.columns) // len(points)
        sliced = self._slice.weights * points.repeat_interleave(count) * outer
        splat = self._splat.weights * points[self._splat.columns.long()]
        self._slice = self._slice._replace(weights=sliced)
        self._splat = self._splat._replace(weights=splat)

    def filter(self, values: Tensor) -> Tensor:
        """``(N, C)`` float32, contiguous, to its weighted sums, of the same shape."""
        lattice = self._splat @ values
        for blur in self._blurs:
            lattice = blur @ lattice
        return self._slice @ lattice


def _locate(features: Tensor) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """The corners of each point's simplex.

    Returns
    -------
    Vertices ``(N, d + 1)`` int32 and their barycentric weights ``(N, d + 1)`` float32; the keys of
    the vertices, int64, ascending; and by how much a key changes along each direction.
    """
    points, d = features.shape
    elevated = _elevate(features)
    # The nearest remainder-0 point: round every coordinate to a multiple of d + 1, then mend those
    # with the largest error until the coordinates sum to 0 (section 3.1).
    base = torch.round(elevated / (d + 1)).to(torch.int64)
    error = elevated - base * (d + 1)
    rank = base.sum(0).expand_as(base).clone()
    for i, j in combinations(range(d + 1), 2):
        below = error[i] < error[j]
        rank[i] += below
        rank[j] += ~below
    low, high = rank < 0, rank > d
    rank += (d + 1) * (low.long() - high.long())
    base = (base + low.long() - high.long()) * (d + 1)

    # The error in order of its rank; weights are the differences between neighbours (eq. 5).
    error = torch.empty_like(elevated).scatter_(0, rank, (elevated - base) / (d + 1))
    weights = torch.empty_like(error)
    weights[1:] = (error[:-1] - error[1:]).flip(0)
    weights[0] = 1 + error[d] - error[0]

    # A vertex is known by d of its coordinates, packed into one whole number; corner k of a
    # simplex lies k up from its base along all but the coordinates of the k highest ranks, which
    # go d + 1 down.
    least = base[:d].amin(1) - 2 * (d + 1)
    spans = (base[:d].amax(1) + 2 * (d + 1) - least + 1).tolist()
    if math.prod(spans) * (d + 1) ** (d + 1) >= 1 << 62:
        raise ParameterError(
            "the Gaussian is too narrow for points this far apart; use wider standard deviations"
            " or a smaller image"
        )
    places = [math.prod(spans[i + 1 :]) for i in range(d)]
    key = torch.zeros(points, dtype=torch.int64, device=features.device)
    order = torch.zeros_like(key)
    for i, place in enumerate(places):
        key += (base[i] - least[i]) * place
        order = order * (d + 1) + rank[i]
    # Simplices are far fewer than points: sorting them first spares sorting all corners.
    simplices, member = torch.unique(key * (d + 1) ** d + order, return_inverse=True)
    key, order = simplices // (d + 1) ** d, simplices % (d + 1) ** d
    corners = key.expand(d + 1, -1).clone()
    rise = torch.arange(d + 1, device=features.device)[:, None]
    for place in reversed(places):
        fall = order % (d + 1) > d - rise
        corners += place * (rise - (d + 1) * fall)
        order = order // (d + 1)
    keys, numbers = torch.unique(corners, return_inverse=True)
    steps = [(d + 1) * place - sum(places) for place in places] + [-sum(places)]
    vertices = numbers.to(torch.int32).t().contiguous()[member]
    return vertices, weights.t().contiguous(), keys, steps


def _elevate(features: Tensor) -> Tensor:
    """Points ``(N, d)`` on the plane of the lattice, ``(d + 1, N)``, scaled so that splatting,
    blurring and slicing together have the variance 1 in the units of the features."""
    d = features.shape[1]
    deviation = (d + 1) * math.sqrt(2 / 3)
    elevated = features.new_zeros(d + 1, len(features))
    total = elevated[0]
    for i in range(d, 0, -1):
        coordinate = features[:, i - 1] * (deviation / math.sqrt(i * (i + 1)))
        elevated[i] = total - i * coordinate
        total += coordinate
    return elevated


def _transposed(matrix: _Bags, columns: int) -> _Bags:
    """The same matrix by columns."""
    rows = len(matrix.starts) - 1
    if matrix.columns.device.type == "cpu":  # a counting sort, far faster than torch's
        parts = (matrix.weights.numpy(), matrix.columns.numpy(), matrix.starts.numpy())
        by_column = csr_matrix(parts, shape=(rows, columns)).T.tocsr()
        return _Bags(
            torch.from_numpy(by_column.indices),
            torch.from_numpy(by_column.indptr),
            torch.from_numpy(by_column.data),
        )
    order = torch.argsort(matrix.columns, stable=True)
    counts = torch.bincount(matrix.columns, minlength=columns)
    starts = F.pad(counts.cumsum(0), (1, 0)).to(torch.int32)
    per_row = len(matrix.columns) // rows
    return _Bags((order // per_row).to(torch.int32), starts, matrix.weights[order])


def _blur(keys: Tensor, step: int) -> _Bags:
    """``[1 2 1] / 4`` along one direction; neighbours that do not exist count as 0."""
    count = len(keys)
    own = torch.arange(count, device=keys.device)
    after = torch.searchsorted(keys, keys + step).clamp_(max=count - 1)
    exists = keys[after] == keys + step
    before = own.clone()
    before[after[exists]] = own[exists]
    columns = torch.stack([own, torch.where(exists, after, own), before], 1)
    weights = torch.stack([own >= 0, exists, before != own], 1) * keys.new_tensor([2, 1, 1]) / 4
    starts = torch.arange(0, 3 * count + 1, 3, dtype=torch.int32, device=keys.device)
    return _Bags(columns.flatten().to(torch.int32), starts, weights.flatten())
