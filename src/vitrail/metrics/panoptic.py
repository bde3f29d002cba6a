"""Panoptic quality (Kirillov et al., arXiv:1801.00868): PQ = SQ x RQ.

A predicted segment finds a true one of its class where their IoU is above 0.5. Then, by class,
``SQ`` is the mean IoU of the pairs, ``RQ = TP / (TP + FP / 2 + FN / 2)``, ``PQ`` their product.
Void and crowd rules are those of https://github.com/cocodataset/panopticapi.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from vitrail.errors import DataError, ParameterError
from vitrail.metrics.base import (
    Empty,
    Rows,
    State,
    check_array,
    check_same,
    mean_known,
    policy,
    ratio,
)
from vitrail.metrics.contingency import Contingency, contingency


@dataclass(frozen=True, eq=False)
class PanopticMap:
    """One image's segments.

    Parameters
    ----------
    segments : (H, W) integer segment ids
    classes : class id of each segment id; pixels of an id that is not in it are void
    crowd : ids of segments that are a group of objects (truth only): they count nowhere, and
        predicted segments of their class that lie mostly inside are forgiven
    """

    segments: np.ndarray
    classes: Mapping[int, int]
    crowd: Collection[int] = ()

    @classmethod
    def from_labels(
        cls,
        labels: np.ndarray,
        instances: np.ndarray | None = None,
        *,
        things: Collection[int] = (),
        void: int | None = None,
    ) -> PanopticMap:
        """From class ids and object numbers (H, W): a segment is a class, or one of its objects.

        Parameters
        ----------
        labels : (H, W) class ids >= 0
        instances : (H, W) object numbers; they tell apart objects of ``things`` only
        things : classes with objects
        void : the class id that is none
        """
        labels = np.asarray(labels).astype(np.int64)
        numbers = np.zeros_like(labels) if instances is None else np.asarray(instances, np.int64)
        numbers = np.where(np.isin(labels, list(things)), numbers, 0)
        pairs, segments = np.unique(
            np.stack((labels.ravel(), numbers.ravel())), axis=1, return_inverse=True
        )
        names = {i: int(name) for i, name in enumerate(pairs[0]) if name != void}
        return cls(segments.reshape(labels.shape), names)


class PanopticQuality:
    """PQ, SQ and RQ of each class, pooled over images.

    Parameters
    ----------
    classes : number of classes
    things : ids of classes with objects, for the means over things and over stuff; the rest is
        stuff
    empty : the value of a class with segments in neither truth nor prediction; panopticapi's and
        torchmetrics' is ``skip``. SQ of a class that has segments, but no pair, is 0.
    """

    def __init__(
        self, classes: int, *, things: Collection[int] = (), empty: Empty | str = Empty.SKIP
    ) -> None:
        self.classes = classes
        self.things = tuple(sorted(set(things)))
        if classes < 1 or any(not 0 <= one < classes for one in self.things):
            raise ParameterError(
                f"classes is {classes} and things is {self.things}, expected ids in 0..classes-1"
            )
        self.empty = policy(empty)
        self._pairs = Rows(
            class_id=(np.int64, ()), intersection=(np.int64, ()), union=(np.int64, ())
        )
        self._errors = np.zeros((classes, 2), np.int64)

    def update(self, truth: PanopticMap, predicted: PanopticMap) -> None:
        """Add one image.

        Raises
        ------
        DataError
            the two differ in size, or a class id has no class.
        """
        # Void is one label in both tables, whatever ids its pixels have.
        table = contingency(_without_void(truth), _without_void(predicted))
        names = [
            self._names(ids, one, side)
            for ids, one, side in (
                (table.truth_ids, truth, "truth"),
                (table.predicted_ids, predicted, "prediction"),
            )
        ]
        crowd = np.isin(table.truth_ids, list(truth.crowd))
        self._count(table, names[0], names[1], crowd)

    def _count(
        self, table: Contingency, truth: np.ndarray, predicted: np.ndarray, crowd: np.ndarray
    ) -> None:
        """Pairs and errors of one image; class -1 is void."""
        rows, columns, pixels = table.rows, table.columns, table.pixels
        void = truth[rows] < 0
        in_void = np.zeros(len(predicted), np.int64)
        np.add.at(in_void, columns[void], pixels[void])
        # Void pixels of the truth say nothing about the prediction: they are not in the union.
        union = table.truth_areas[rows] + table.predicted_areas[columns] - pixels - in_void[columns]
        same = ~void & (truth[rows] == predicted[columns]) & ~crowd[rows]
        paired = same & (2 * pixels > union)
        self._pairs.add(
            class_id=truth[rows][paired], intersection=pixels[paired], union=union[paired]
        )
        missed = (truth >= 0) & ~crowd
        missed[rows[paired]] = False
        wrong = predicted >= 0
        wrong[columns[paired]] = False
        # Forgiven: mostly on void, or on a crowd of its own class.
        excused = in_void.copy()
        inside = ~void & crowd[rows] & (truth[rows] == predicted[columns])
        np.add.at(excused, columns[inside], pixels[inside])
        wrong &= 2 * excused <= table.predicted_areas
        self._errors[:, 0] += np.bincount(predicted[wrong], minlength=self.classes)
        self._errors[:, 1] += np.bincount(truth[missed], minlength=self.classes)

    def merge(self, other: Self) -> None:
        """Add the images of another."""
        check_same(self, other, ("classes", "things", "empty"))
        self._pairs.merge(other._pairs)
        self._errors += other._errors

    def reset(self) -> None:
        """Forget all images."""
        self._pairs.reset()
        self._errors[:] = 0

    def state(self) -> State:
        """``class_id``, ``intersection``, ``union`` of each pair, (N,); ``errors`` (C, 2): false
        positives, false negatives.
        """
        return self._pairs.state() | {"errors": self._errors.copy()}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace everything by what :meth:`state` gave."""
        errors = check_array(state, "errors", self._errors, rows=False)
        self._pairs.load(state)
        self._errors = errors

    def per_class(self) -> dict[str, np.ndarray]:
        """``pq``, ``sq``, ``rq``, ``(C,)`` each."""
        names = self._pairs["class_id"]
        iou = self._pairs["intersection"] / self._pairs["union"]
        right = np.bincount(names, minlength=self.classes)
        sums = np.array([math.fsum(iou[names == c].tolist()) for c in range(self.classes)])
        all_segments = 2 * right + self._errors.sum(axis=1)
        quality = np.where(all_segments > 0, ratio(sums, right, Empty.WORST), self.empty.score)
        return {
            "pq": ratio(2 * sums, all_segments, self.empty),
            "sq": quality,
            "rq": ratio(2 * right, all_segments, self.empty),
        }

    def compute(self) -> dict[str, float]:
        """``pq``, ``sq``, ``rq`` averaged over classes, and with ``_things`` and ``_stuff`` over
        those, in [0, 1]; NaN where there are none.
        """
        scores = self.per_class()
        is_thing = np.isin(np.arange(self.classes), self.things)
        groups = {"": np.ones(self.classes, bool), "_things": is_thing, "_stuff": ~is_thing}
        return {
            f"{name}{suffix}": mean_known(values[chosen])
            for suffix, chosen in groups.items()
            for name, values in scores.items()
        }

    def _names(self, ids: np.ndarray, one: PanopticMap, side: str) -> np.ndarray:
        names = np.array([one.classes.get(i, -1) for i in ids.tolist()], np.int64)
        given = [name for name in one.classes.values() if not 0 <= name < self.classes]
        if given:
            raise DataError(f"the {side} has class id {given[0]}, expected 0..{self.classes - 1}")
        return names


def _without_void(one: PanopticMap) -> np.ndarray:
    """Segment ids, the void ones -1."""
    segments = np.asarray(one.segments)
    if segments.dtype.kind not in "uib":
        raise DataError(f"segments are {segments.dtype}, expected integer ids")
    if any(name < 0 for name in one.classes):
        raise DataError("segment ids with a class must be 0 or more")
    known = np.isin(segments, list(one.classes))
    return np.where(known, segments.astype(np.int64), -1)
