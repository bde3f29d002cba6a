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
