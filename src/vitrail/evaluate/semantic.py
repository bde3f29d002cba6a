"""Label maps against label maps: everything counted in one pass over the predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.evaluate.classes import Matching
from vitrail.evaluate.counts import Counts, Pixels, Void
from vitrail.evaluate.curves import PrecisionRecall, add_scores
from vitrail.evaluate.intervals import class_intervals
from vitrail.evaluate.settings import Settings
from vitrail.evaluate.worst import Worst
from vitrail.metrics import BoundaryF, BoundaryIoU, ConfusionMatrix, PerImage
from vitrail.metrics.overlap import FRACTIONS
from vitrail.result import SemanticResult
from vitrail.result.table import Table

BOUNDARY_TOLERANCE = 0.008
"""Of the image's diagonal, as DAVIS measures contours."""


@dataclass(frozen=True, eq=False)
class Row:
    """An image in the table of images."""

    id: str
    file: str
    size: tuple[int, int]
    void: int
    """Pixels without a known class."""


@dataclass(eq=False)
class SemanticScores:
    """What label maps scored; fill with :meth:`add`.

    Parameters
    ----------
    matching : which class is which
    settings : what is wanted
    space : the data set's own, for painting objects where there are no label maps
    """

    matching: Matching
    settings: Settings
    space: LabelSpace
    rows: list[Row] = field(default_factory=list)
    """The images, in the order of the data set."""

    def __post_init__(self) -> None:
        classes, wanted = len(self.matching.classes), self.settings
        background = self.matching.background
        self.counts = Counts(classes, background, explain=wanted.explain)
        self.curves = PrecisionRecall(classes) if wanted.curves else None
        self.worst = Worst(wanted.worst, self.matching.classes, background)
        void = self.matching.void
        self._boundary_iou = BoundaryIoU(classes, ignore=void) if wanted.boundary else None
        self._boundary_f = (
            BoundaryF(classes, tolerances=(BOUNDARY_TOLERANCE,), ignore=void)
            if wanted.boundary
            else None
        )
        self.scored = False
        """Whether probabilities were seen."""

    def add(self, sample: Sample, result: SemanticResult, logits: np.ndarray | None) -> None:
        """One image.

        Parameters
        ----------
        sample : the truth
        result : the prediction, at the sample's size
        logits : (M, h, w) float32 at the size that the network saw, where there are any

        Raises
        ------
        DataError
            the truth cannot be read, or holds an id without a class.
        """
        match = self.matching
        try:
            truth = match.read_truth(sample.semantic(self.space))
        except DataError as error:
            text = str(error)
            raise error if sample.id in text else DataError(f"{sample.id}: {text}") from None
        predicted = match.read_predicted(result.labels, result.ignore)
        pixels = Pixels.of(truth, predicted, len(match.classes))
        file = str(sample.path or "")
        self.rows.append(Row(sample.id, file, sample.size, pixels.void))
        self.counts.add(pixels)
        # What the prediction leaves out has no class in what follows, on either side.
        left_out = predicted == match.void
        counted = np.where(left_out, match.void, truth)
        if self._boundary_iou is not None and self._boundary_f is not None:
            answer = np.where(left_out, 0, predicted)
            self._boundary_iou.update(counted, answer)
            self._boundary_f.update(counted, answer)
        if logits is not None:
            self.scored = True
            if self.settings.explain:
                self.counts.add_resized(self._at_input_size(truth, logits))
            if self.curves is not None:
                add_scores(self.curves, counted, logits, match.predicted)
        one = PerImage(len(match.classes))
        one.load({"counts": pixels.reduced(Void.LEFT_OUT)[None]})
        self.worst.add(sample.id, float(one.images()[0]), sample.image, truth, predicted)

    def _at_input_size(self, truth: np.ndarray, logits: np.ndarray) -> Pixels:
        predicted = self.matching.read_predicted(logits.argmax(axis=0))
        height, width = predicted.shape
        # Nearest by pixel centres, as Pillow does it: the image was resized by them, too.
        small = cv2.resize(
            truth.astype(np.uint16), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
        )
        return Pixels.of(small, predicted, len(self.matching.classes))

    def matrix(self) -> ConfusionMatrix:
        """Pixel counts of the whole set, void left out."""
        return self.counts.matrix()

    def per_image(self) -> PerImage:
        """Pixel counts image by image, void left out."""
        metric = self.counts.per_image()
        assert metric is not None
        return metric

    def totals(self) -> dict[str, float]:
        """Mean scores, pixel accuracy, frequency-weighted IoU; pooled over all pixels."""
        totals = self.matrix().compute()
        if self._boundary_iou is not None and self._boundary_f is not None:
            totals |= self._boundary_iou.compute()
            totals["boundary_f"] = next(iter(self._boundary_f.compute().values()))
        if self.curves is not None and self.scored:
            area = self.curves.average_precision()
            known = area[~np.isnan(area)]
            totals["mean_average_precision"] = float(known.mean()) if known.size else float("nan")
        return totals

    def total_intervals(self) -> dict[str, tuple[float, float]]:
        """95 % intervals of :meth:`totals`, of those that have one; empty without bootstrap."""
        if not self.settings.draws:
            return {}
        return self.per_image().intervals(draws=self.settings.draws, seed=self.settings.seed)

    def by_class(self) -> dict[str, np.ndarray]:
        """Scores of each class, (C,) each: iou, dice, precision, recall, and what was asked for."""
        matrix = self.matrix()
        scores = {name: getattr(matrix, name)() for name in FRACTIONS}
        if self._boundary_iou is not None and self._boundary_f is not None:
            scores["boundary_iou"] = self._boundary_iou.per_class()
            scores["boundary_f"] = self._boundary_f.per_class()[:, 0]
        if self.curves is not None and self.scored:
            scores["average_precision"] = self.curves.average_precision()
            scores["best_dice"], scores["best_threshold"] = self.curves.best_f()
        return scores

    def class_intervals(self) -> Mapping[str, np.ndarray]:
        """95 % intervals, (C, 2) each, of iou, dice, precision, recall; empty without bootstrap."""
        if not self.settings.draws:
            return {}
        return class_intervals(self.per_image(), draws=self.settings.draws, seed=self.settings.seed)

    def image_table(self) -> Table:
        """A row an image: its size, void pixels, scores, and the IoU of each class in it."""
        metric = self.per_image()
        columns: dict[str, object] = {
            "image": [row.id for row in self.rows],
            "file": [row.file for row in self.rows],
            "height": [row.size[0] for row in self.rows],
            "width": [row.size[1] for row in self.rows],
            "void": [row.void for row in self.rows],
        }
        for score in ("pixel_accuracy", "mean_iou", "mean_dice"):
            columns[score] = metric.images(score)
        for index, name in enumerate(self.matching.classes):
            columns[f"iou {name}"] = metric.images("mean_iou", [index])
        return Table(columns)  # pyright: ignore[reportArgumentType]
