"""Objects against objects: COCO's numbers for masks and boxes, and objects found one to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vitrail.data.sample import Instance, Sample
from vitrail.data.transforms import crop_of
from vitrail.errors import DataError
from vitrail.evaluate.classes import Matching
from vitrail.metrics import CocoAP, CocoObjects
from vitrail.metrics.object_sweep import SCORE_THRESHOLDS, ObjectSweep
from vitrail.models.detection_params import DetectionParams
from vitrail.result import InstanceResult, Masks

COCO_MOST = 100
"""Detections of a class in an image that count in COCO's protocol."""


@dataclass(eq=False)
class InstanceScores:
    """What objects scored; fill with :meth:`add`.

    COCO's numbers by pycocotools' rules, and of masks how many objects were found one to one
    (:class:`~vitrail.metrics.ObjectSweep`).

    Parameters
    ----------
    matching : which class is which
    detection : the detector's thresholds in force; None for a method without any. Where it tells
        more than 100 objects of an image, so many count, too (pycocotools' ``maxDets``).
    explain : keep what the other protocols need
    """

    matching: Matching
    detection: DetectionParams | None = None
    explain: bool = False
    ids: list[str] = field(default_factory=list)
    """The images, in the order they came."""
    unmasked: int = 0
    """Annotated objects of which only the box is known: as masks they are neither right, wrong
    nor missed."""
    outlined: bool = True
    """Whether the model finds masks, not only boxes."""
    capped: int = 0
    """Images of which the model left out objects because there were too many."""

    def __post_init__(self) -> None:
        classes = len(self.matching.classes)
        told = self.detection.max_detections if self.detection else 0
        self.most = max(COCO_MOST, told)
        """Detections of a class in an image that count."""
        limits = (1, 10, self.most)
        self.boxes = CocoAP(classes, kind="box", max_detections=limits)
        self.masks = CocoAP(classes, kind="mask", max_detections=limits)
        self.first_masks = (
            CocoAP(classes, kind="mask") if self.explain and self.most > COCO_MOST else None
        )
        """As :attr:`masks`, with COCO's own limit."""
        least = self.detection.score_threshold if self.detection else 0.0
        others = [threshold for threshold in SCORE_THRESHOLDS if threshold > least]
        self.sweep = ObjectSweep(score_thresholds=(least, *others))
        """Its first score threshold is the one in force."""
        self.objects = 0
        """Annotated objects, crowds left out."""

    def add(self, sample: Sample, result: InstanceResult) -> None:
        """One image: its annotated objects, and those that were found.

        Raises
        ------
        DataError
            the sample has no objects, or an outline of it cannot be drawn.
        """
        if sample.instances is None:
            raise DataError(
                f"{sample.id}: the data set has label maps and no objects, and the model finds"
                " objects; convert it first (`vitrail data convert ... --to coco`)"
            )
        truth = [
            (scored, one)
            for one in sample.instances
            if (scored := int(self.matching.truth[one.class_id])) != self.matching.void
        ]
        class_ids = self.matching.predicted[result.class_ids]
        found = result[class_ids != self.matching.void]
        class_ids = class_ids[class_ids != self.matching.void]
        number = len(self.ids)
        known = coco_truths(truth, sample.size)
        boxes = found.boxes.astype(np.float64)
        predicted = CocoObjects(class_ids, boxes, found.masks, found.scores)
        self.boxes.update(number, known["box"], predicted)
        self.outlined &= result.outlined
        if self.outlined:
            self.masks.update(number, known["mask"], predicted)
            if self.first_masks is not None:
                self.first_masks.update(number, known["mask"], predicted)
            self.sweep.update(known["mask"], predicted)
        self.capped += result.capped
        self.unmasked += sum(one.mask is None and not one.crowd for _, one in truth)
        self.objects += int((~known["box"].is_crowd()).sum())
        self.ids.append(sample.id)

    @property
    def images(self) -> int:
        """Images counted."""
        return len(self.ids)

    @property
    def compares_masks(self) -> bool:
        """Whether the model finds masks and at least one object has one."""
        return self.outlined and (self.unmasked < self.objects or not self.objects)

    def totals(self) -> dict[str, dict[str, float]]:
        """COCO's numbers of ``mask`` (where there are masks on both sides) and ``box``."""
        numbers = {"mask": self.masks.compute()} if self.compares_masks else {}
        return numbers | {"box": self.boxes.compute()}

    def by_class(self) -> dict[str, np.ndarray]:
        """AP of each class, (C,), of ``mask`` and ``box``."""
        numbers = {"mask": self.masks.per_class()} if self.compares_masks else {}
        return numbers | {"box": self.boxes.per_class()}

    def one_to_one(self) -> dict[float, dict[str, float]]:
        """By score threshold, from the one in force on, :meth:`ObjectSweep.numbers`; nothing
        where masks are not compared."""
        if not self.compares_masks:
            return {}
        return dict(zip(self.sweep.score_thresholds, self.sweep.numbers(), strict=True))

    def best_threshold(self) -> float | None:
        """The score threshold of the greatest pooled mean, of equal ones the lowest; None where
        nothing is known, or there is nothing to find."""
        if not self.objects:
            return None
        told = {score: numbers["pooled_ap"] for score, numbers in self.one_to_one().items()}
        known = {score: value for score, value in told.items() if not np.isnan(value)}
        return max(known, key=lambda score: (known[score], -score)) if known else None


def coco_truths(
    truth: Sequence[tuple[int, Instance]], size: tuple[int, int]
) -> dict[str, CocoObjects]:
    """Annotated objects, each with the id it is scored by, as ``box`` and as ``mask``.

    Of which only a box is known may be found or not as far as masks are concerned: there it is
    treated as a crowd, all of its box.

    Raises
    ------
    DataError
        an outline cannot be drawn.
    """
    boxes = coco_truth(truth, size)
    if boxes.masks is not None:
        return {"box": boxes, "mask": boxes}
    bare = np.array([one.mask is None for _, one in truth], bool)
    masks = Masks.from_crops((crop_of(one) for _, one in truth), size)
    return {"box": boxes, "mask": replace(boxes, masks=masks, crowd=boxes.is_crowd() | bare)}


def coco_truth(truth: Sequence[tuple[int, Instance]], size: tuple[int, int]) -> CocoObjects:
    """Annotated objects, each with the id it is scored by, of an image of ``(H, W)``.

    With the areas that the annotations state: COCO's sizes are defined by them. Without masks
    where one object has none.

    Raises
    ------
    DataError
        an outline cannot be drawn.
    """
    masks = [one.mask for _, one in truth]
    drawn = [mask for mask in masks if mask is not None]
    whole = len(drawn) == len(masks)
    areas = [_area(one, mask) for (_, one), mask in zip(truth, masks, strict=True)]
    return CocoObjects(
        np.array([class_id for class_id, _ in truth], np.int64),
        np.array([one.box for _, one in truth], np.float64).reshape(-1, 4),
        Masks.from_crops((mask.crop(0) for mask in drawn), size) if whole else None,
        crowd=np.array([one.crowd for _, one in truth], bool),
        areas=np.array(areas, np.float64),
    )


def _area(one: Instance, mask: Masks | None) -> float:
    stated = one.attributes.get("area")
    if isinstance(stated, int | float) and not isinstance(stated, bool) and np.isfinite(stated):
        return float(stated)
    if mask is not None:
        return float(mask.areas()[0])
    x1, y1, x2, y2 = one.box
    return max(0.0, x2 - x1) * max(0.0, y2 - y1)
