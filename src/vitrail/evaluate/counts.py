"""What is kept of each image: its pixel counts under several protocols, a few numbers a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from vitrail.metrics import ConfusionMatrix, PerImage
from vitrail.metrics.confusion import confusion
from vitrail.metrics.overlap import reduce_confusion


class Void(StrEnum):
    """What becomes of truth pixels without a known class."""

    LEFT_OUT = "left out"
    WRONG = "counted as wrong"
    BACKGROUND = "counted as background"


@dataclass(frozen=True, eq=False)
class Pixels:
    """The counts of one image, at one size, by what becomes of void pixels."""

    joint: np.ndarray
    """(C + 1, C + 1) int64: rows the truth, columns the prediction, the last one void."""

    @classmethod
    def of(cls, truth: np.ndarray, predicted: np.ndarray, classes: int) -> Pixels:
        """From scored ids, void being ``classes``."""
        return cls(confusion(truth, predicted, classes + 1))

    @property
    def known(self) -> np.ndarray:
        """(C, C) without void and without what the prediction leaves out."""
        return self.joint[:-1, :-1]

    @property
    def void(self) -> int:
        """Truth pixels without a known class."""
        return int(self.joint[-1].sum())

    def reduced(self, void: Void, background: int | None = None) -> np.ndarray:
        """(3, C): right, in truth, predicted.

        Void counted as wrong adds to what is predicted only: each class loses precision by the
        void pixels that it was given, and no recall.
        """
        matrix = self.known
        if void is Void.BACKGROUND:
            matrix = matrix.copy()
            matrix[background] += self.joint[-1, :-1]
        counts = reduce_confusion(matrix)
        if void is Void.WRONG:
            counts[2] += self.joint[-1, :-1]
        return counts


class Counts:
    """Pixel counts of all images: pooled as a matrix, and per image for each protocol.

    Parameters
    ----------
    classes : number of scored classes C
    background : its id, if there is one
    explain : keep what the other protocols need, too
    """

    def __init__(self, classes: int, background: int | None, *, explain: bool) -> None:
        self.classes, self.background = classes, background
        self.void = 0
        """Void pixels of all images."""
        self.skipped = 0
        """Pixels that the prediction left out (a class mapped to ignore, or no answer)."""
        self.pixels = 0
        self._matrix = np.zeros((classes, classes), np.int64)
        wanted = [Void.LEFT_OUT]
        if explain:
            wanted += [Void.WRONG] + ([] if background is None else [Void.BACKGROUND])
        self._images: dict[Void, list[np.ndarray]] = {void: [] for void in wanted}
        self._resized: list[np.ndarray] = []

    def add(self, pixels: Pixels) -> None:
        """One image at its original size."""
        self._matrix += pixels.known
        self.void += pixels.void
        self.skipped += int(pixels.joint[:-1, -1].sum())
        self.pixels += int(pixels.joint.sum())
        for void, rows in self._images.items():
            rows.append(pixels.reduced(void, self.background))

    def add_resized(self, pixels: Pixels) -> None:
        """The same image at the size that the network sees."""
        self._resized.append(pixels.reduced(Void.LEFT_OUT))

    def matrix(self) -> ConfusionMatrix:
        """Counts pooled over images, void left out."""
        metric = ConfusionMatrix(self.classes)
        metric.load({"counts": self._matrix})
        return metric

    def per_image(self, void: Void = Void.LEFT_OUT, empty: str = "skip") -> PerImage | None:
        """Counts image by image; None where they were not kept."""
        rows = self._images.get(void)
        return None if rows is None else self._metric(rows, empty)

    def resized(self) -> PerImage | None:
        """Counts image by image at the network's size; None where they were not kept."""
        return self._metric(self._resized, "skip") if self._resized else None

    def _metric(self, rows: Sequence[np.ndarray], empty: str) -> PerImage:
        metric = PerImage(self.classes, empty=empty)
        metric.load({"counts": np.array(rows, np.int64).reshape(len(rows), 3, self.classes)})
        return metric
