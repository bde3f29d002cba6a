"""Objects found one to one at every score threshold at once: DSB 2018's and StarDist's scores.

The scores are those of :mod:`vitrail.metrics.objects`, of objects that a detector is sure of to
different degrees. Which objects are told is decided by a score threshold, and unlike COCO's average
precision these scores depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from vitrail.errors import DataError, ParameterError
from vitrail.metrics.base import Empty, Rows, State, check_same, mean_known, policy, ratio
from vitrail.metrics.coco_match import CocoObjects
from vitrail.metrics.contingency import Contingency
from vitrail.metrics.objects import DSB_THRESHOLDS, match_objects
from vitrail.result.masks import Masks

SCORE_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(20))
"""0, 0.05 to 0.95."""


class ObjectSweep:
    """Counts of objects found at each IoU threshold, at each score threshold, per image.

    Objects are paired with objects of their class. Where detections of a class overlap, the surer
    one has the pixels, as in a label map (the Data Science Bowl accepts no others); a detection
    that has none left is none. True objects keep the pixels that they were annotated with, and one
    without any is none. A crowd is neither found nor missed, and what lies in it, by a share of
    its own pixels that reaches the IoU threshold, is not wrong.

    Parameters
    ----------
    score_thresholds : rising; a score of exactly the threshold counts
    thresholds : of IoU in (0, 1]; default those of DSB 2018, of which an IoU of exactly the
        threshold counts
    empty : the score of an image with neither objects nor detections
    """

    def __init__(
        self,
        *,
        score_thresholds: Sequence[float] = SCORE_THRESHOLDS,
        thresholds: Sequence[float] = DSB_THRESHOLDS,
        empty: Empty | str = Empty.SKIP,
    ) -> None:
        self.thresholds = tuple(float(value) for value in thresholds)
        self.score_thresholds = tuple(float(value) for value in score_thresholds)
        if not self.thresholds or not all(0 < value <= 1 for value in self.thresholds):
            raise ParameterError(f"thresholds is {self.thresholds}, expected numbers in (0, 1]")
        rising = sorted(set(self.score_thresholds))
        if not rising or rising != list(self.score_thresholds):
            raise ParameterError(
                f"score_thresholds is {self.score_thresholds}, expected rising numbers"
            )
        self.empty = policy(empty)
        shape = (len(self.score_thresholds), len(self.thresholds), 3)
        self._rows = Rows(counts=(np.int32, shape))

    def update(self, truth: CocoObjects, found: CocoObjects) -> None:
        """Add one image.

        Parameters
        ----------
        truth, found : with masks; ``found`` with scores

        Raises
        ------
        DataError
            masks or scores are missing, or masks are of different sizes.
        """
        if truth.masks is None or found.masks is None:
            raise DataError("masks are compared, but the truth or the detections have none")
        if found.scores is None:
            raise DataError("the detections have no scores")
        if truth.masks.size != found.masks.size:
            raise DataError(
                f"detected masks are for {found.masks.size} pixels, the truth for"
                f" {truth.masks.size}"
            )
        counts = np.zeros((len(self.score_thresholds), len(self.thresholds), 3), np.int64)
        order = np.argsort(-found.scores, kind="stable")
        # In float32, as networks compare them: 0.7 there is less than 0.7 here.
        scores = found.scores[order].astype(np.float32)
        limits = np.array(self.score_thresholds, np.float32)
        crowd = truth.is_crowd()
        for class_id in np.union1d(truth.class_ids, found.class_ids).tolist():
            own = found.class_ids[order] == class_id
            theirs = truth.class_ids == class_id
            detected = found.masks[order[own]]
            labels = _painted(detected)
            objects = _overlaps(labels, len(detected), truth.masks[theirs & ~crowd])
            inside = _shares_inside(labels, len(detected), truth.masks[theirs & crowd])
            told = np.searchsorted(-scores[own], -limits, side="right")
            counts += self._counted(objects, inside, told.tolist())
        self._rows.add(counts=counts[None])

    def _counted(self, objects: Contingency, inside: np.ndarray, told: Sequence[int]) -> np.ndarray:
        """``(S, T, 3)`` right, wrong, missed, if the first ``told[s]`` detections are told."""
        counts: dict[int, np.ndarray] = {}
        for number in set(told):
            rows = counts[number] = np.zeros((len(self.thresholds), 3), np.int64)
            table = _first(objects, number)
            exists = table.predicted_areas > 0
            for i, threshold in enumerate(self.thresholds):
                _, columns = match_objects(table, threshold)
                wrong = exists & (inside[:number] < threshold)
                wrong[columns] = False
                right = len(columns)
                rows[i] = right, np.count_nonzero(wrong), len(table.truth_ids) - right
        return np.stack([counts[number] for number in told])

    def merge(self, other: Self) -> None:
        """Add the images of another."""
        check_same(self, other, ("thresholds", "score_thresholds", "empty"))
        self._rows.merge(other._rows)

    def reset(self) -> None:
        """Forget all images."""
        self._rows.reset()

    def state(self) -> State:
        """``counts`` (N, S, T, 3): right, wrong and missed at each score and IoU threshold."""
        return self._rows.state()

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace all images by those that :meth:`state` gave."""
        self._rows.load(state)

    def images(self) -> np.ndarray:
        """``TP / (TP + FP + FN)`` of each image, score and IoU threshold, ``(N, S, T)``."""
        counts = self._rows["counts"].astype(np.int64)
        return ratio(counts[..., 0], counts.sum(axis=-1), self.empty)

    def pooled(self) -> np.ndarray:
        """The same of all images' objects together, ``(S, T)``: StarDist's accuracy."""
        counts = self._rows["counts"].sum(axis=0, dtype=np.int64)
        return ratio(counts[..., 0], counts.sum(axis=-1), self.empty)

    def numbers(self) -> list[dict[str, float]]:
        """For each score threshold: ``dsb_ap``, averaged over IoU thresholds, then images, and
        ``dsb_ap@t`` at the lowest of them, averaged over images; ``pooled_ap`` of all objects
        together, averaged over IoU thresholds, and ``pooled_ap@t`` at the lowest."""
        images, pooled = self.images(), self.pooled()
        lowest = f"{self.thresholds[0]:g}"
        return [
            {
                "dsb_ap": mean_known(np.array([mean_known(row) for row in images[:, s]])),
                f"dsb_ap@{lowest}": mean_known(images[:, s, 0]),
                "pooled_ap": mean_known(pooled[s]),
                f"pooled_ap@{lowest}": float(pooled[s, 0]),
            }
            for s in range(len(self.score_thresholds))
        ]

    def compute(self) -> dict[str, float]:
        """The :meth:`numbers` at the lowest score threshold: of everything that was found."""
        return self.numbers()[0]


def _painted(masks: Masks) -> np.ndarray:
    """``(H, W)`` int32: 0, or 1 + the number of the first mask that has the pixel."""
    labels = np.zeros(masks.size, np.int32)
    for number in range(len(masks) - 1, -1, -1):
        y, x, crop = masks.crop(number)
        labels[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = number + 1
    return labels


def _pixels(labels: np.ndarray, count: int, masks: Masks) -> np.ndarray:
    """``(M, count)`` pixels that each mask shares with each label but 0."""
    shared = np.zeros((len(masks), count), np.int64)
    for number in range(len(masks)):
        y, x, crop = masks.crop(number)
        under = labels[y : y + crop.shape[0], x : x + crop.shape[1]][crop]
        shared[number] = np.bincount(under, minlength=count + 1)[1:]
    return shared


def _overlaps(labels: np.ndarray, count: int, masks: Masks) -> Contingency:
    """True objects in rows, ``count`` detections by their labels in columns."""
    areas = masks.areas()
    masks = masks[areas > 0]
    shared = _pixels(labels, count, masks)
    rows, columns = np.nonzero(shared)
    return Contingency(
        np.arange(len(masks)),
        np.arange(count),
        masks.areas(),
        np.bincount(labels.ravel(), minlength=count + 1)[1:],
        rows,
        columns,
        shared[rows, columns],
    )


def _shares_inside(labels: np.ndarray, count: int, crowds: Masks) -> np.ndarray:
    """``(count,)`` of each detection's pixels the share inside the crowd that has most of it."""
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    most = _pixels(labels, count, crowds).max(axis=0, initial=0)
    return most / np.maximum(areas, 1)


def _first(table: Contingency, number: int) -> Contingency:
    """Of the detections only the first ones."""
    kept = table.columns < number
    return Contingency(
        table.truth_ids,
        table.predicted_ids[:number],
        table.truth_areas,
        table.predicted_areas[:number],
        table.rows[kept],
        table.columns[kept],
        table.pixels[kept],
    )
