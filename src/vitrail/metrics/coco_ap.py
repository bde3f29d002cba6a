"""COCO average precision and recall of boxes or masks, streaming: pycocotools' twelve numbers.

The protocol is that of https://cocodataset.org/#detection-eval (Lin et al., arXiv:1405.0312).
Images are matched as they come, and of each detection only its score and which thresholds it met
are kept (some 40 bytes), so that neither pictures nor masks of a set are ever held together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Self

import numpy as np

from vitrail.errors import DataError, ParameterError
from vitrail.metrics.base import Rows, State, check_array, check_same
from vitrail.metrics.coco_match import CocoObjects, box_overlaps, mask_overlaps, match

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU thresholds; their exact float64 values are pycocotools'."""
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
"""Size ranges in pixels, both ends included."""


class CocoKind(StrEnum):
    """What is compared."""

    BOX = "box"
    MASK = "mask"


class CocoAP:
    """Average precision and recall over IoU 0.50 to 0.95, by size and by number of detections.

    Parameters
    ----------
    classes : number of classes; ids are 0 to classes - 1
    kind : compare "box" or "mask"
    max_detections : of each class in an image, rising; recall is given for each, precision and
        the sizes at 100 where that is among them, otherwise at the last. ``(1, 10, 100, 1000)``
        adds AR@1000.
    class_agnostic : treat all objects as one class, as for proposals (pycocotools' useCats=0);
        ``max_detections`` then counts all of an image

    A class without any object of a size that counts is left out of the means, and a mean of no
    class is NaN (pycocotools: -1). One difference from pycocotools: an object whose annotation id
    is 0 is never matched there; here ids play no role.
    """

    def __init__(
        self,
        classes: int,
        *,
        kind: CocoKind | str = CocoKind.MASK,
        max_detections: Sequence[int] = (1, 10, 100),
        class_agnostic: bool = False,
    ) -> None:
        if kind not in list(CocoKind):
            raise ParameterError(f"kind is {kind!r}, expected 'box' or 'mask'")
        limits = tuple(int(limit) for limit in max_detections)
        if not limits or limits[0] < 1 or list(limits) != sorted(set(limits)):
            raise ParameterError(f"max_detections is {limits}, expected rising numbers >= 1")
        if classes < 1:
            raise ParameterError(f"classes is {classes}, expected 1 or more")
        self.classes = classes
        self.kind = CocoKind(kind)
        self.max_detections = limits
        self.class_agnostic = class_agnostic
        flags = (len(AREAS) * len(THRESHOLDS) + 7) // 8
        self._objects = np.zeros((1 if class_agnostic else classes, len(AREAS)), np.int64)
        self._images = Rows(image=(np.int64, ()))
        self._seen: set[int] = set()
        self._found = Rows(
            detection_image=(np.int64, ()),
            class_id=(np.int32, ()),
            rank=(np.int32, ()),
            score=(np.float64, ()),
            matched=(np.uint8, (flags,)),
            void=(np.uint8, (flags,)),
        )

    def update(self, image_id: int, truth: CocoObjects, found: CocoObjects) -> None:
        """Add one image.

        Parameters
        ----------
        image_id : its number in the set; of detections with equal scores, those of the smaller
            id come first, as in pycocotools
        truth, found : ``found`` needs scores; both need boxes or masks, by ``kind``

        Raises
        ------
        DataError
            the image was added before, a class id has no class, or something is missing.
        """
        image_id = int(image_id)
        if image_id in self._seen:
            raise DataError(f"image {image_id} was added before; each image counts once")
        if found.scores is None:
            raise DataError(f"the detections of image {image_id} have no scores")
        for name, ids in (("truth", truth.class_ids), ("detections", found.class_ids)):
            if ids.size and (ids.min() < 0 or ids.max() >= self.classes):
                raise DataError(
                    f"the {name} of image {image_id} hold class ids {ids.min()}..{ids.max()},"
                    f" expected 0..{self.classes - 1}"
                )
        names = truth.class_ids * (not self.class_agnostic)
        theirs = found.class_ids * (not self.class_agnostic)
        # Ties without classes: pycocotools goes through the classes in turn, truth and detections.
        order = np.lexsort((found.class_ids, -found.scores, theirs))
        columns = np.argsort(truth.class_ids, kind="stable")
        theirs, names = theirs[order], names[columns]
        rank = np.arange(len(order)) - np.searchsorted(theirs, theirs)
        kept = rank < self.max_detections[-1]
        order, theirs, rank = order[kept], theirs[kept], rank[kept]

        crowd, area = truth.is_crowd()[columns], truth.area()[columns]
        low, high = np.array(list(AREAS.values())).T[:, :, None]
        ignored = crowd | (area < low) | (area > high)
        overlaps = self._overlaps(truth, found, columns, order, theirs[:, None] == names)
        matched, void = match(overlaps, crowd, ignored, THRESHOLDS)
        sizes = found.area(of_boxes=self.kind is CocoKind.BOX)[order]
        outside = ((sizes < low) | (sizes > high)).T[:, :, None]
        void |= ~matched & outside

        np.add.at(self._objects, names, ~ignored.T)
        self._seen.add(image_id)
        self._images.add(image=[image_id])
        self._found.add(
            detection_image=np.full(len(order), image_id),
            class_id=theirs,
            rank=rank,
            score=found.scores[order],
            matched=_pack(matched),
            void=_pack(void),
        )

    def merge(self, other: Self) -> None:
        """Add the images of another; :class:`DataError` where one was added to both."""
        check_same(self, other, ("classes", "kind", "max_detections", "class_agnostic"))
        twice = self._seen & other._seen
        if twice:
            raise DataError(f"{len(twice)} images are in both parts, for example {min(twice)}")
        self._objects += other._objects
        self._seen |= other._seen
        self._images.merge(other._images)
        self._found.merge(other._found)

    def reset(self) -> None:
        """Forget all images."""
        self._objects[:] = 0
        self._seen.clear()
        self._images.reset()
        self._found.reset()

    def state(self) -> State:
        """``objects`` (C, A), ``image`` (N,), and seven columns with a row per detection."""
        objects = {"objects": self._objects.copy()}
        return objects | self._images.state() | self._found.state()

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace all images by those that :meth:`state` gave."""
        objects = check_array(state, "objects", self._objects, rows=False)
        self._images.load(state)
        self._found.load(state)
        self._objects = objects
        self._seen = set(self._images["image"].tolist())

    def compute(self) -> dict[str, float]:
        """``AP``, ``AP50``, ``AP75``, ``AP_small``, ``AP_medium``, ``AP_large``, ``AR@n`` for each
        of ``max_detections``, ``AR_small``, ``AR_medium``, ``AR_large``; in [0, 1] or NaN.

        With the default ``max_detections`` these are pycocotools' twelve, in its order.
        """
        precision, recall = self._curves()
        at = self._main()
        middle = {"AP50": 0, "AP75": 5}
        numbers = {"AP": _mean(precision[:, :, :, 0])}
        numbers |= {name: _mean(precision[t, :, :, 0]) for name, t in middle.items()}
        sizes = list(enumerate(AREAS))[1:]
        numbers |= {f"AP_{name}": _mean(precision[:, :, :, a]) for a, name in sizes}
        limits = enumerate(self.max_detections)
        numbers |= {f"AR@{limit}": _mean(recall[:, :, 0, m]) for m, limit in limits}
        return numbers | {f"AR_{name}": _mean(recall[:, :, a, at]) for a, name in sizes}

    def per_class(self) -> np.ndarray:
        """AP of each class over all sizes, ``(C,)``; NaN for a class without objects."""
        precision = self._curves()[0][:, :, :, 0]
        return np.where(precision[0, 0] < 0, np.nan, precision.mean(axis=(0, 1)))

    def precision_at_recall(self) -> np.ndarray:
        """Interpolated precision of all sizes, ``(10 IoU, 101 recalls, C)``; -1 without objects."""
        return self._curves()[0][:, :, :, 0]

    def _main(self) -> int:
        """Where in ``max_detections`` the precision is taken."""
        limits = self.max_detections
        return limits.index(100) if 100 in limits else len(limits) - 1

    def _overlaps(
        self,
        truth: CocoObjects,
        found: CocoObjects,
        columns: np.ndarray,
        order: np.ndarray,
        same: np.ndarray,
    ) -> np.ndarray:
        crowd = truth.is_crowd()[columns]
        if self.kind is CocoKind.MASK:
            if truth.masks is None or found.masks is None:
                raise DataError("masks are compared, but the truth or the detections have none")
            if not same.any():
                return np.zeros(same.shape)
            return mask_overlaps(
                found.masks[order], truth.masks[columns], crowd, same, THRESHOLDS[0]
            )
        if truth.boxes is None or found.boxes is None:
            raise DataError("boxes are compared, but the truth or the detections have none")
        return np.where(same, box_overlaps(found.boxes[order], truth.boxes[columns], crowd), 0.0)

    def _curves(self) -> tuple[np.ndarray, np.ndarray]:
        """Precision (T, R, C, A) at the main limit and recall (T, C, A, M); -1 without objects."""
        column = self._found
        # By class, then as pycocotools: falling score, then image id, then place in the image.
        keys = (column["rank"], column["detection_image"], -column["score"], column["class_id"])
        order = np.lexsort(keys)
        ranks = column["rank"][order]
        shape = (len(order), len(AREAS), len(THRESHOLDS))
        bits = len(AREAS) * len(THRESHOLDS)
        void = np.unpackbits(column["void"][order], axis=1, count=bits).view(bool).reshape(shape)
        hits = np.unpackbits(column["matched"][order], axis=1, count=bits).view(bool).reshape(shape)
        right, wrong = hits & ~void, ~hits & ~void
        groups = len(self._objects)
        ends = np.searchsorted(column["class_id"][order], np.arange(groups + 1))
        precision = np.full((len(THRESHOLDS), len(RECALLS), groups, len(AREAS)), -1.0)
        recall = np.full((len(THRESHOLDS), groups, len(AREAS), len(self.max_detections)), -1.0)
        for c, a in np.argwhere(self._objects > 0).tolist():
            part = slice(ends[c], ends[c + 1])
            total = self._objects[c, a]
            for m, limit in enumerate(self.max_detections):
                first = ranks[part] < limit
                hit = right[part, a][first]
                recall[:, c, a, m] = np.count_nonzero(hit, axis=0) / total
                if m == self._main():
                    precision[:, :, c, a] = _interpolated(hit, wrong[part, a][first], total)
        return precision, recall


def _pack(flags: np.ndarray) -> np.ndarray:
    """``(D, A, T)`` bool to ``(D, ceil(A * T / 8))`` bytes."""
    return np.packbits(flags.reshape(len(flags), flags.shape[1] * flags.shape[2]), axis=1)


def _interpolated(right: np.ndarray, wrong: np.ndarray, total: int) -> np.ndarray:
    """Precision at the 101 recalls from ``(D, T)`` flags by falling score: ``(T, 101)``."""
    hit = np.cumsum(right.T, axis=1, dtype=np.float64)
    miss = np.cumsum(wrong.T, axis=1, dtype=np.float64)
    precision = hit / (miss + hit + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # A 0 after the last: the precision at a recall that is never reached.
    padded = np.pad(precision, ((0, 0), (0, 1)))
    places = [np.searchsorted(row, RECALLS, side="left") for row in hit / total]
    return np.take_along_axis(padded, np.array(places), axis=1)


def _mean(values: np.ndarray) -> float:
    """Mean over what has objects; NaN where nothing has."""
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")
