"""The images that went worst, kept as small pictures while the others pass by."""

from __future__ import annotations

import cv2
import numpy as np

from vitrail.result import SemanticResult
from vitrail.result.draw import Style, draw
from vitrail.result.legend import contact_sheet

_SIDE = 480
"""Long side of a kept picture, px."""


class Worst:
    """At most ``most`` images of the lowest score; of equal scores, the first by name.

    Parameters
    ----------
    most : how many; 0 keeps none
    classes, background : what the scored ids are; void is ``len(classes)``
    """

    def __init__(self, most: int, classes: tuple[str, ...], background: int | None) -> None:
        self.most, self.classes, self.background = most, classes, background
        self._kept: list[tuple[float, str, list[np.ndarray]]] = []

    def add(
        self, id: str, score: float, image: np.ndarray, truth: np.ndarray, predicted: np.ndarray
    ) -> None:
        """Keep an image if it is among the worst so far; a score of NaN never is.

        ``image`` is (H, W, 3) uint8, the label maps are (H, W) scored ids.
        """
        if not self.most or np.isnan(score):
            return
        if len(self._kept) == self.most and (score, id) >= self._kept[-1][:2]:
            return
        pictures = [_small(image), *(self._drawn(image, ids) for ids in (truth, predicted))]
        self._kept = sorted([*self._kept, (score, id, pictures)], key=lambda one: one[:2])
        del self._kept[self.most :]

    @property
    def found(self) -> list[tuple[str, float]]:
        """Names and scores, the worst first."""
        return [(id, score) for score, id, _ in self._kept]

    def sheet(self) -> np.ndarray | None:
        """A row an image: itself, the truth, the prediction; (H, W, 3) uint8, None if empty."""
        cells = [
            (title, picture)
            for score, id, pictures in self._kept
            for title, picture in zip(
                (id, "truth", f"prediction, IoU {score:.3f}"), pictures, strict=True
            )
        ]
        if not cells:
            return None
        return contact_sheet(cells, columns=3, cell=max(240, *(p.shape[1] for _, p in cells)))

    def _drawn(self, image: np.ndarray, ids: np.ndarray) -> np.ndarray:
        result = SemanticResult(
            ids.astype(np.uint16),
            self.classes,
            background=self.background,
            ignore=len(self.classes),
        )
        return _small(draw(result, image, Style(tags=False)))


def _small(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    factor = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
