"""How often the classes of a data set occur, and which loss suits that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vitrail.data.sample import SampleSource, label_space
from vitrail.errors import DataError

RARE = 0.02
"""Share of the labelled pixels below which a class is rare."""
_MOST = 10.0
"""Largest class weight, and one over the least: larger ones make steps jump."""
_LONGEST = 2000
"""Characters of a loss that :func:`~vitrail.losses.build_loss` reads."""


@dataclass(frozen=True, slots=True)
class ClassBalance:
    """Counts over some images of a split."""

    classes: tuple[str, ...]
    background: int | None
    pixels: np.ndarray
    """``(C,)`` int64: labelled pixels of each class."""
    images: np.ndarray
    """``(C,)`` int64: images in which it occurs."""
    beside: np.ndarray
    """``(C,)`` int64: labelled pixels of those images."""
    ignored: int
    """Pixels without a label."""
    looked_at: int
    """Images."""
    of: int
    """Images that the split has."""

    @property
    def shares(self) -> np.ndarray:
        """``(C,)``: of all labelled pixels, 0 where there are none."""
        return self.pixels / max(1, int(self.pixels.sum()))

    @property
    def text(self) -> str:
        """A small table for the console, the most frequent class first."""
        sampled = f"{self.looked_at:,} of " if self.looked_at < self.of else ""
        title = f"classes in {sampled}{_images(self.of)}"
        width = max(len(name) for name in self.classes)
        shares = self.shares
        lines = [title]
        for number in np.argsort(-shares, kind="stable").tolist():
            share, count = shares[number], int(self.images[number])
            lines.append(f"  {self.classes[number]:<{width}}  {share:>8.2%}  {_images(count)}")
        unlabelled = self.ignored / max(1, self.ignored + int(self.pixels.sum()))
        if unlabelled:
            lines.append(f"  {unlabelled:.2%} of the pixels have no label")
        return "\n".join(lines)


class Suggestion(NamedTuple):
    """A loss for a recipe, and why."""

    text: str
    """For :func:`vitrail.losses.build_loss`."""
    reason: str


def class_balance(
    source: SampleSource,
    limit: int = 200,
    *,
    seed: int = 0,
    step: Callable[[], None] = lambda: None,
) -> ClassBalance:
    """Count classes in the label maps (or painted objects) of some images, one at a time.

    Parameters
    ----------
    source:
        The training split.
    limit:
        Images looked at, drawn by ``seed``; all if there are no more.
    step:
        Called after each image.

    Raises
    ------
    DataError
        an annotation cannot be read, or holds an id that is no class.
    """
    space = label_space(source)
    count = len(space.classes)
    pixels, images, beside = (np.zeros(count, np.int64) for _ in range(3))
    ignored = 0
    chosen = drawn_indices(len(source), limit, seed)
    for index in chosen:
        labels = source[index].semantic(source.space)
        counts = np.bincount(labels.ravel(), minlength=max(count, space.ignore + 1))
        strange = np.flatnonzero(counts[count:]) + count
        if set(strange.tolist()) - {space.ignore}:
            raise DataError(
                f"{source.ids[index]}: its labels hold the ids {strange.tolist()}, expected 0 to "
                f"{count - 1}, or {space.ignore} where nothing is known"
            )
        ignored += int(counts[space.ignore])
        here = counts[:count].astype(np.int64)
        pixels += here
        images += here > 0
        beside[here > 0] += here.sum()
        step()
    return ClassBalance(
        space.classes,
        space.background,
        pixels,
        images,
        beside,
        ignored,
        len(chosen),
        len(source),
    )


@dataclass(frozen=True, slots=True)
class ObjectCounts:
    """Counts over some images of a split."""

    classes: tuple[str, ...]
    objects: np.ndarray
    """``(C,)`` int64: objects of each class, crowds left out."""
    images: np.ndarray
    """``(C,)`` int64: images in which it occurs."""
    crowds: int
    boxes: int
    """Objects of which only the box is annotated."""
    sides: tuple[float, float, float]
    """Tenth, half and nine tenths of the objects have a box of a smaller side than this (the root
    of its area), as a share of the image's longer side; NaN where there are none."""
    empty: int
    """Images without an object."""
    most: int
    """Objects of the fullest image."""
    looked_at: int
    """Images."""
    of: int
    """Images that the split has."""

    @property
    def text(self) -> str:
        """A small table for the console, the most frequent class first."""
        sampled = f"{self.looked_at:,} of " if self.looked_at < self.of else ""
        width = max(len(name) for name in self.classes)
        lines = [f"objects in {sampled}{_images(self.of)}"]
        for number in np.argsort(-self.objects, kind="stable").tolist():
            told = f"{int(self.objects[number]):>8,}  {_images(int(self.images[number]))}"
            lines.append(f"  {self.classes[number]:<{width}}  {told}")
        if self.objects.any():
            low, middle, high = (f"{side:.1%}" for side in self.sides)
            lines.append(
                f"  {self.most:,} in the fullest image; half of them are {middle} of the image's "
                f"longer side or less, a tenth {low}, nine tenths {high}"
            )
        if self.empty:
            lines.append(f"  none in {_images(self.empty)}")
        for count, one, several, rest in (
            (self.crowds, "crowd", "crowds", "from which nothing is learnt"),
            (self.boxes, "box", "boxes", "without an outline: no mask is learnt from it"),
        ):
            if count:
                lines.append(f"  {count:,} {one if count == 1 else several} {rest}")
        return "\n".join(lines)


def object_counts(source: SampleSource, limit: int = 200, *, seed: int = 0) -> ObjectCounts:
    """Count the objects of some images, without drawing an outline.

    Parameters
    ----------
    source:
        The training split; its samples have objects.
    limit:
        Images looked at, drawn by ``seed``; all if there are no more.

    Raises
    ------
    DataError
        an annotation cannot be read.
    """
    count = len(source.space.classes)
    objects, images = (np.zeros(count, np.int64) for _ in range(2))
    crowds = boxes = empty = most = 0
    sides: list[float] = []
    chosen = drawn_indices(len(source), limit, seed)
    for index in chosen:
        sample = source[index]
        found = [one for one in sample.instances or () if not one.crowd]
        crowds += len(sample.instances or ()) - len(found)
        boxes += sum(one.stored is None and one.polygons is None for one in found)
        empty += not found
        most = max(most, len(found))
        here = np.bincount([one.class_id for one in found], minlength=count)
        objects += here
        images += here > 0
        for one in found:
            x1, y1, x2, y2 = one.box
            area = max(0.0, x2 - x1) * max(0.0, y2 - y1)
            sides.append(area**0.5 / max(sample.size))
    quantiles = np.quantile(sides, (0.1, 0.5, 0.9)).tolist() if sides else [float("nan")] * 3
    return ObjectCounts(
        source.space.classes,
        objects,
        images,
        crowds,
        boxes,
        (quantiles[0], quantiles[1], quantiles[2]),
        empty,
        most,
        len(chosen),
        len(source),
    )


def suggest_loss(balance: ClassBalance) -> Suggestion:
    """A loss by how rare the rarest class is. In this order:

    1. No class but the background is rare (:data:`RARE`): ``ce + dice``, the default of nnU-Net
       (Isensee et al., arXiv:1809.10486).
    2. There is one such class: ``ce + focal_tversky``, which prices a missed pixel above a false
       one and dwells on poor overlap (Abraham and Khan, arXiv:1810.07842, on small lesions).
    3. Several classes: ``ce(weights=[...]) + dice`` with median-frequency weights (Eigen and
       Fergus, arXiv:1411.4734: the median over classes of the frequency, over that of the class,
       where frequency is its pixels over all labelled pixels of the images it is in), kept
       within 0.1 and 10. A class that was not seen weighs 1. With so many classes that the
       weights do not fit into a recipe's line: as 2.
    """
    shares = balance.shares
    objects = [c for c in range(len(balance.classes)) if c != balance.background]
    seen = [c for c in objects if balance.pixels[c]]
    if not seen:
        return Suggestion("ce + dice", "no labelled pixel of any class but the background was seen")
    rarest = min(seen, key=lambda c: shares[c])
    told = f"{balance.classes[rarest]} has {shares[rarest]:.2%} of the labelled pixels"
    if shares[rarest] >= RARE:
        return Suggestion("ce + dice", f"no class is rare: {told}")
    if len(objects) > 1:
        numbers = ", ".join(f"{weight:.3g}" for weight in _weights(balance))
        text = f"ce(weights=[{numbers}]) + dice"
        if len(text) <= _LONGEST:
            return Suggestion(text, f"{told}; classes weigh by median frequency")
    return Suggestion(
        "ce + focal_tversky", f"{told}; focal_tversky prices a missed pixel above a false one"
    )


def _weights(balance: ClassBalance) -> np.ndarray:
    """``(C,)`` median-frequency weights."""
    seen = balance.pixels > 0
    frequency = balance.pixels[seen] / balance.beside[seen]
    weights = np.ones(len(seen))
    weights[seen] = (np.median(frequency) / frequency).clip(1 / _MOST, _MOST)
    return weights


def drawn_indices(length: int, limit: int, seed: int) -> list[int]:
    """``limit`` of ``length`` indices, rising, the same for a seed; all if there are no more."""
    if length <= limit:
        return list(range(length))
    return np.sort(np.random.default_rng(seed).choice(length, limit, replace=False)).tolist()


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
