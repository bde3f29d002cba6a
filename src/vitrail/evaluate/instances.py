"""Objects against objects: COCO's twelve numbers for masks and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vitrail.data.sample import Instance, Sample
from vitrail.errors import DataError
from vitrail.evaluate.classes import Matching
from vitrail.metrics import CocoAP, CocoObjects
from vitrail.result import InstanceResult, Masks


@dataclass(eq=False)
class InstanceScores:
    """What objects scored, by pycocotools' rules; fill with :meth:`add`."""

    matching: Matching
    ids: list[str] = field(default_factory=list)
    """The images, in the order they came."""
    unmasked: int = 0
    """Annotated objects of which only the box is known; masks are not compared in such a set."""

    def __post_init__(self) -> None:
        self.boxes = CocoAP(len(self.matching.classes), kind="box")
        self.masks = CocoAP(len(self.matching.classes), kind="mask")
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
        known = coco_truth(truth, sample.size)
        boxes = found.boxes.astype(np.float64)
        predicted = CocoObjects(class_ids, boxes, found.masks, found.scores)
        self.boxes.update(number, known, predicted)
        self.unmasked += sum(one.mask is None for _, one in truth)
        if not self.unmasked:
            self.masks.update(number, known, predicted)
        self.objects += int((~known.is_crowd()).sum())
        self.ids.append(sample.id)

    @property
    def images(self) -> int:
        """Images counted."""
        return len(self.ids)

    def totals(self) -> dict[str, dict[str, float]]:
        """The twelve numbers of ``mask`` and ``box``; no masks where an object has a box only."""
        numbers = {} if self.unmasked else {"mask": self.masks.compute()}
        return numbers | {"box": self.boxes.compute()}

    def by_class(self) -> dict[str, np.ndarray]:
        """AP of each class, (C,), of ``mask`` and ``box``."""
        numbers = {} if self.unmasked else {"mask": self.masks.per_class()}
        return numbers | {"box": self.boxes.per_class()}


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
