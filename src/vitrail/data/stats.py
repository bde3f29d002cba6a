"""What a data set holds: pixels, objects, their sizes, and which classes occur together.

Labels are gone through one sample at a time; images are not decoded. What is kept is counts, and
eight bytes for each object.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitrail.data.sample import Instance, LabelSpace, Sample, SampleSource
from vitrail.errors import DataError
from vitrail.result.table import Table

SMALL, MEDIUM = 32**2, 96**2
"""Area in px below which COCO calls an object small, or medium (https://cocodataset.org/#detection-eval)."""


@dataclass
class ClassStats:
    """One class of one split."""

    name: str
    images: int = 0
    """Images that hold it."""
    pixels: int = 0
    """Of its label maps, or of its objects' masks (counted twice where those overlap)."""
    instances: int = 0
    """Objects, crowds included; 0 where the set has only label maps."""
    crowds: int = 0
    boxes: int = 0
    """Objects without a mask."""
    areas: array[int] = field(default_factory=lambda: array("q"), repr=False)
    """Area of each object's mask, px; of each image's share where there are only label maps."""
    shares: array[float] = field(default_factory=lambda: array("f"), repr=False)
    """The same over the image's area."""

    def add(self, area: int, frame: int) -> None:
        """One more object (or image) with an area, in a frame of so many px."""
        self.areas.append(area)
        self.shares.append(area / frame if frame else 0.0)

    def summary(self) -> dict[str, Any]:
        """Counts and quantiles; None where there is nothing to take them of."""
        areas, shares = np.asarray(self.areas), np.asarray(self.shares)
        low, middle, high = (
            (float(v) for v in np.quantile(areas, (0.05, 0.5, 0.95))) if len(areas) else (None,) * 3
        )
        masked = self.instances - self.boxes if self.instances else 0
        return {
            "images": self.images,
            "pixels": self.pixels,
            "instances": self.instances,
            "crowds": self.crowds,
            "boxes": self.boxes,
            "small": int((areas < SMALL).sum()) if masked else 0,
            "medium": int(((areas >= SMALL) & (areas < MEDIUM)).sum()) if masked else 0,
            "large": int((areas >= MEDIUM).sum()) if masked else 0,
            "area_5%": low,
            "area_median": middle,
            "area_95%": high,
            "share_median": float(np.median(shares)) if len(shares) else None,
        }


@dataclass
class SplitStats:
    """One split, or several added up."""

    space: LabelSpace
    classes: list[ClassStats] = field(init=False)
    images: int = 0
    empty: int = 0
    """Images without any object, or with background alone."""
    pixels: int = 0
    """Of all frames."""
    ignored: int = 0
    """Pixels of label maps that are to be ignored."""
    has_objects: bool = False
    has_labels: bool = False
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """``(H, W)`` of the images."""
    objects_per_image: Counter[int] = field(default_factory=Counter)
    together: np.ndarray = field(init=False, repr=False)
    """``(K, K)``: images that hold both classes; on the diagonal, those that hold the one."""

    def __post_init__(self) -> None:
        count = len(self.space.classes)
        self.classes = [ClassStats(name) for name in self.space.classes]
        self.together = np.zeros((count, count), np.int64)

    def add(self, sample: Sample) -> None:
        """Count one sample.

        Raises
        ------
        DataError
            its labels cannot be read.
        """
        frame = sample.size[0] * sample.size[1]
        self.images += 1
        self.pixels += frame
        self.sizes[sample.size] += 1
        held: set[int] = set()
        if sample.label_map is not None:
            self.has_labels = True
            held |= self._add_labels(sample, frame)
        if sample.instances is not None:
            self.has_objects = True
            # Label maps, where there are both, already say how many pixels a class has.
            held |= self._add_objects(sample.instances, frame, sample.label_map is None)
        here = sorted(held)
        for class_id in here:
            self.classes[class_id].images += 1
        self.together[np.ix_(here, here)] += 1
        self.empty += not held - {self.space.background}

    def _add_labels(self, sample: Sample, frame: int) -> set[int]:
        labels = sample.labels
        assert labels is not None
        counts = np.bincount(labels.ravel(), minlength=self.space.ignore + 1)
        self.ignored += int(counts[self.space.ignore])
        held = np.flatnonzero(counts[: len(self.classes)]).tolist()
        for class_id in held:
            one = self.classes[class_id]
            one.pixels += int(counts[class_id])
            if sample.instances is None:
                one.add(int(counts[class_id]), frame)
        return {class_id for class_id in held if class_id != self.space.ignore}

    def _add_objects(self, found: tuple[Instance, ...], frame: int, count_pixels: bool) -> set[int]:
        self.objects_per_image[len(found)] += 1
        for one in found:
            row = self.classes[one.class_id]
            row.instances += 1
            row.crowds += one.crowd
            mask = one.mask
            if mask is None:
                row.boxes += 1
                continue
            area = int(mask.areas()[0])
            row.pixels += area if count_pixels else 0
            row.add(area, frame)
        return {one.class_id for one in found}

    def merge(self, other: SplitStats) -> None:
        """Add another split with the same classes."""
        for one, more in zip(self.classes, other.classes, strict=True):
            one.images += more.images
            one.pixels += more.pixels
            one.instances += more.instances
            one.crowds += more.crowds
            one.boxes += more.boxes
            one.areas += more.areas
            one.shares += more.shares
        self.images += other.images
        self.empty += other.empty
        self.pixels += other.pixels
        self.ignored += other.ignored
        self.has_objects |= other.has_objects
        self.has_labels |= other.has_labels
        self.sizes += other.sizes
        self.objects_per_image += other.objects_per_image
        self.together += other.together

    def to_json(self) -> dict[str, Any]:
        """All of it but the areas of single objects."""
        heights = np.array(sorted(size[0] for size in self.sizes.elements()) or [0])
        widths = np.array(sorted(size[1] for size in self.sizes.elements()) or [0])
        per_image = np.array(sorted(self.objects_per_image.elements()) or [0])
        names = self.space.classes
        return {
            "images": self.images,
            "empty_images": self.empty,
            "instances": sum(one.instances for one in self.classes),
            "instances_per_image": {
                "mean": float(per_image.mean()),
                "median": float(np.median(per_image)),
                "max": int(per_image[-1]),
            },
            "pixels": self.pixels,
            "ignored_pixels": self.ignored,
            "height": {
                "min": int(heights[0]),
                "median": float(np.median(heights)),
                "max": int(heights[-1]),
            },
            "width": {
                "min": int(widths[0]),
                "median": float(np.median(widths)),
                "max": int(widths[-1]),
            },
            "sizes": [
                {"height": height, "width": width, "images": count}
                for (height, width), count in self.sizes.most_common(20)
            ],
            "classes": {one.name: one.summary() for one in self.classes},
            "together": {
                names[i]: {
                    names[j]: int(self.together[i, j])
                    for j in range(len(names))
                    if j != i and self.together[i, j]
                }
                for i in range(len(names))
            },
        }


def measure(
    parts: Mapping[str, SampleSource],
    step: Callable[[], None] = lambda: None,
) -> dict[str, SplitStats]:
    """Statistics of each split; ``step`` is called after each sample.

    Raises
    ------
    DataError
        labels cannot be read, or name a class that there is none of.
    """
    measured: dict[str, SplitStats] = {}
    for name, source in parts.items():
        stats = measured[name] = SplitStats(source.space)
        for index in range(len(source)):
            stats.add(source[index])
            step()
    return measured


def total(measured: Mapping[str, SplitStats]) -> SplitStats:
    """All splits added up.

    Raises
    ------
    DataError
        they have different classes.
    """
    splits = list(measured.values())
    if not splits or any(one.space.classes != splits[0].space.classes for one in splits):
        raise DataError(f"{', '.join(measured) or 'no splits'}: have different classes")
    whole = SplitStats(splits[0].space)
    for one in splits:
        whole.merge(one)
    return whole


def as_table(measured: Mapping[str, SplitStats]) -> Table:
    """One row for each class of each split, as ``--csv`` writes them."""
    rows = [
        {"split": split, "class": one.name, **one.summary()}
        for split, stats in measured.items()
        for one in stats.classes
    ]
    return Table(
        {
            key: [np.nan if row[key] is None else row[key] for row in rows]
            for key in (rows[0] if rows else ())
        }
    )
