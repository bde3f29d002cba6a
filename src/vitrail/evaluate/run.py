"""Run a model over a data set and count, image by image, with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from vitrail.data.derive import without_background
from vitrail.data.sample import Sample, SampleSource, label_space
from vitrail.errors import DataError, ParameterError, VitrailError
from vitrail.evaluate.classes import Matching, match_classes
from vitrail.evaluate.instances import InstanceScores
from vitrail.evaluate.semantic import SemanticScores
from vitrail.evaluate.settings import Settings
from vitrail.image import Image
from vitrail.predict.instances import InstanceNetwork
from vitrail.predict.segmenter import Segmenter
from vitrail.result import InstanceResult, Result, SemanticResult


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model scored on a data set."""

    scores: SemanticScores | InstanceScores
    settings: Settings
    images: int
    """Images that count."""
    failures: tuple[tuple[str, str], ...]
    """(image, what was wrong) of those that could not be read or segmented."""

    @property
    def matching(self) -> Matching:
        """Which class is which."""
        return self.scores.matching


def evaluate(
    segmenter: Segmenter,
    source: SampleSource,
    settings: Settings | None = None,
    *,
    on_error: Callable[[str, VitrailError], None] | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Score a model on one split of a data set, at original image size.

    Label maps are scored by pixels (:class:`SemanticScores`), objects by COCO's rules and one to
    one (:class:`InstanceScores`); which of the two, the model's results say. Images are read,
    predicted and forgotten; some hundred bytes of each stay.

    Parameters
    ----------
    on_error : called for an image or annotation that cannot be read, which is then left out
        (all are in :attr:`Evaluation.failures`)
    tell : called with the number of images done

    Raises
    ------
    DataError
        classes do not fit together, or no image could be scored.
    ParameterError
        the model answers in regions or edges, which have no classes; or the mapping is wrong.
    """
    run = _Run(segmenter, source, settings or Settings(), on_error, tell)
    return run.evaluation()


class _Run:
    def __init__(
        self,
        segmenter: Segmenter,
        source: SampleSource,
        settings: Settings,
        on_error: Callable[[str, VitrailError], None] | None,
        tell: Callable[[int], None],
    ) -> None:
        self.segmenter, self.source, self.settings = segmenter, source, settings
        self.on_error, self.tell = on_error, tell
        self.failures: list[tuple[str, str]] = []
        self.scores: SemanticScores | InstanceScores | None = None
        self._pending: deque[tuple[Image, Sample]] = deque()
        self._logits: dict[int, np.ndarray] = {}
        if not len(source):
            raise DataError("the split has no images")

    def evaluation(self) -> Evaluation:
        wants_logits = self.settings.curves or self.settings.explain
        results = self.segmenter.predict(
            self._images(),
            batch_size=self.settings.batch_size,
            on_error=self._fail,
            on_logits=self._keep if wants_logits else None,
        )
        count = 0
        for result in results:
            image, sample = self._pending.popleft()
            while image is not result.image:  # those between could not be segmented
                image, sample = self._pending.popleft()
            if self.scores is None:  # outside of try: classes that do not fit fit in no image
                self.scores = self._scores_for(result)
            try:
                self._add(self.scores, sample, result, self._logits.pop(id(image), None))
                count += 1
            except VitrailError as error:
                self._fail(sample.id, error)
            self.tell(count + len(self.failures))
        if self.scores is None or not count:
            raise DataError(
                f"none of the {len(self.source)} images could be scored;"
                f" the first failed by: {self.failures[0][1]}"
            )
        return Evaluation(self.scores, self.settings, count, tuple(self.failures))

    def _images(self) -> Iterator[Image]:
        for index in range(len(self.source)):
            try:
                sample = self.source[index]
                image = Image(np.asarray(sample.image), source=sample.id)
            except VitrailError as error:
                self._fail(self.source.ids[index], error)
                continue
            # A sample keeps what it has read: the pending ones are a batch, not the set.
            self._pending.append((image, sample))
            yield image

    def _keep(self, image: Image, logits: np.ndarray) -> None:
        self._logits[id(image)] = logits

    def _fail(self, name: str, error: VitrailError) -> None:
        self.failures.append((name, str(error)))
        if self.on_error is not None:
            self.on_error(name, error)

    @staticmethod
    def _add(
        scores: SemanticScores | InstanceScores,
        sample: Sample,
        result: Result,
        logits: np.ndarray | None,
    ) -> None:
        if isinstance(scores, SemanticScores) and isinstance(result, SemanticResult):
            scores.add(sample, result, logits)
        elif isinstance(scores, InstanceScores) and isinstance(result, InstanceResult):
            scores.add(sample, result)

    def _scores_for(self, result: Result) -> SemanticScores | InstanceScores:
        """By the kind of the first result; a segmenter's results are all of one kind."""
        mapping = self.settings.mapping
        if isinstance(result, SemanticResult):
            space = label_space(self.source)
            matching = match_classes(result.classes, result.background, space, mapping)
            return SemanticScores(matching, self.settings, self.source.space)
        if isinstance(result, InstanceResult):
            space, table = without_background(self.source.space)
            matching = match_classes(result.classes, None, space, mapping)
            # Objects carry the ids of the data set's own space, its background among them.
            truth = np.array([matching.void if i is None else matching.truth[i] for i in table])
            engine = self.segmenter.engine
            detection = engine.detection if isinstance(engine, InstanceNetwork) else None
            return InstanceScores(
                replace(matching, truth=truth), detection, explain=self.settings.explain
            )
        raise ParameterError(
            f"{self.segmenter.name} answers in {result.kind}, which have no classes to compare with"
            " labels; evaluate a method that gives a class to each pixel (`vitrail models list`)"
        )
