"""What every metric does, and the two things they share: an empty-class policy and row storage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol, Self

import numpy as np

from vitrail.errors import DataError, ParameterError

State = dict[str, np.ndarray]
"""All that a metric remembers, as plain arrays; ``np.savez(file, **state)`` keeps it."""


class Metric(Protocol):
    """``update`` with an image or a batch, ``compute`` the numbers, ``reset`` to begin anew.

    Parts of one data set may be counted by several processes: ``merge`` adds another metric with
    the same settings, and ``load`` takes what ``state`` gave. Merging in any order gives the very
    same numbers as counting everything in one process, bit for bit.
    """

    def compute(self) -> dict[str, float]:
        """The headline numbers, by name."""
        ...

    def merge(self, other: Self) -> None:
        """Add what another metric of the same settings has counted."""
        ...

    def reset(self) -> None:
        """Forget everything counted."""
        ...

    def state(self) -> State:
        """A copy of everything counted."""
        ...

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace everything counted by what :meth:`state` gave."""
        ...


class Empty(StrEnum):
    """What a score is where there is nothing to score: 0 / 0.

    For example the IoU of a class that occurs neither in the truth nor in the prediction, the
    precision of a class never predicted, or the distance between two empty masks.
    """

    SKIP = "skip"
    """NaN, left out of every mean."""
    PERFECT = "perfect"
    """The best value: 1 for a score, 0 for a distance."""
    WORST = "worst"
    """The worst value: 0 for a score, infinity for a distance."""

    @property
    def score(self) -> float:
        """The value of a score in [0, 1]."""
        return {Empty.SKIP: math.nan, Empty.PERFECT: 1.0, Empty.WORST: 0.0}[self]

    @property
    def distance(self) -> float:
        """The value of a distance."""
        return {Empty.SKIP: math.nan, Empty.PERFECT: 0.0, Empty.WORST: math.inf}[self]


def policy(value: Empty | str) -> Empty:
    """``value`` as an :class:`Empty`; :class:`ParameterError` where it is none."""
    try:
        return Empty(value)
    except ValueError:
        known = ", ".join(repr(one.value) for one in Empty)
        raise ParameterError(f"empty is {value!r}, expected one of {known}") from None


def ratio(numerator: np.ndarray, denominator: np.ndarray, empty: Empty) -> np.ndarray:
    """Element-wise quotient in float64; 0 / 0 is what the policy says."""
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    out = np.full(np.broadcast_shapes(top.shape, bottom.shape), empty.score)
    return np.divide(top, bottom, out=out, where=bottom > 0)


def mean_known(values: np.ndarray) -> float:
    """Mean of the values that are not NaN, the same in any order; NaN where there are none."""
    flat = np.asarray(values, np.float64).ravel()
    known = flat[~np.isnan(flat)]
    if not known.size:
        return math.nan
    # Summed exactly and rounded once, so that no order of images can change a digit.
    return math.fsum(known.tolist()) / known.size


def mean_known_by(values: np.ndarray) -> np.ndarray:
    """:func:`mean_known` down the first axis: ``(N, ...)`` to ``(...)``."""
    columns = values.reshape(len(values), -1).T if values.size else values.reshape(0, 0)
    shape = values.shape[1:]
    if not values.size:
        return np.full(shape, np.nan)
    return np.array([mean_known(column) for column in columns]).reshape(shape)


def check_same(one: object, other: object, names: Sequence[str]) -> None:
    """Refuse to merge two metrics whose settings differ."""
    for name in names:
        mine, theirs = getattr(one, name), getattr(other, name)
        if not np.array_equal(np.asarray(mine), np.asarray(theirs)):
            raise ParameterError(
                f"cannot merge metrics with different settings: {name} is {mine!r} here and"
                f" {theirs!r} there"
            )


def check_pair(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two label maps as integer arrays of one shape; :class:`DataError` where they are not."""
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        raise DataError(f"truth is {truth.shape}, prediction {predicted.shape}")
    for name, ids in (("truth", truth), ("prediction", predicted)):
        if ids.dtype.kind not in "uib":
            raise DataError(f"the {name} is {ids.dtype}, expected integer class ids or bool")
    return truth, predicted


def check_array(
    state: Mapping[str, np.ndarray], name: str, like: np.ndarray, *, rows: bool
) -> np.ndarray:
    """One array of a state, checked against the one it replaces (its first axis is free)."""
    if name not in state:
        raise DataError(f"the state holds {', '.join(state) or 'nothing'}, expected {name!r}")
    array = np.asarray(state[name])
    wanted = like.shape[1:] if rows else like.shape
    found = array.shape[1:] if rows else array.shape
    if array.dtype != like.dtype or found != wanted or array.ndim != like.ndim:
        shape = f"({'N, ' if rows else ''}{', '.join(map(str, wanted))})"
        raise DataError(
            f"the state's {name!r} is {array.dtype} of shape {array.shape}, expected"
            f" {like.dtype} of shape {shape}; it was written with other settings"
        )
    return array.copy()


class Rows:
    """Columns of equal length that grow by chunks: what a metric keeps of each image or object.

    Parameters
    ----------
    columns : for each name, the dtype and the shape of one row's entry
    """

    def __init__(self, **columns: tuple[Any, tuple[int, ...]]) -> None:
        self._empty = {name: np.zeros((0, *shape), kind) for name, (kind, shape) in columns.items()}
        self._chunks: dict[str, list[np.ndarray]] = {name: [] for name in columns}

    def __len__(self) -> int:
        return sum(len(chunk) for chunk in next(iter(self._chunks.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        """A whole column, ``(N, ...)``."""
        chunks = self._chunks[name]
        if len(chunks) != 1:
            chunks[:] = [np.concatenate(chunks) if chunks else self._empty[name]]
        return chunks[0]

    def add(self, **arrays: Any) -> None:
        """Append ``(n, ...)`` rows to every column."""
        for name, like in self._empty.items():
            self._chunks[name].append(np.asarray(arrays[name], like.dtype))

    def merge(self, other: Rows) -> None:
        """Append the rows of another."""
        self.add(**{name: other[name] for name in self._empty})

    def reset(self) -> None:
        """Drop all rows."""
        for chunks in self._chunks.values():
            chunks.clear()

    def state(self) -> State:
        """A copy of each column."""
        return {name: self[name].copy() for name in self._empty}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace all rows."""
        loaded = {
            name: check_array(state, name, like, rows=True) for name, like in self._empty.items()
        }
        lengths = {len(column) for column in loaded.values()}
        if len(lengths) > 1:
            raise DataError(f"the state's columns have {sorted(lengths)} rows, expected one length")
        for name, column in loaded.items():
            self._chunks[name] = [column]
