"""A segmenter that answers what a test wants, and label maps drawn by chance."""

from collections.abc import Mapping, Sequence

import numpy as np

from tests.data.listed import Listed
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import ImageError
from vitrail.image import Image
from vitrail.predict.segmenter import Segmenter
from vitrail.result import InstanceResult, Result, SemanticResult

SPACE = LabelSpace(("ground", "cat", "dog"), 0)


class Oracle:
    """Gives each image, by its name, the result prepared for it; None cannot be segmented."""

    def __init__(self, results: Mapping[str, Result | None]) -> None:
        self.results = results

    def __call__(self, image: Image) -> Result:
        result = self.results[image.source or ""]
        if result is None:
            raise ImageError(f"{image.source}: no")
        if isinstance(result, SemanticResult):
            return SemanticResult(
                result.labels,
                result.classes,
                background=result.background,
                ignore=result.ignore,
                image=image,
            )
        if isinstance(result, InstanceResult):
            return InstanceResult(
                result.boxes,
                result.scores,
                result.class_ids,
                result.masks,
                result.classes,
                size=result.size,
                image=image,
            )
        return result


def oracle(results: Mapping[str, Result | None]) -> Segmenter:
    return Segmenter("oracle", Oracle(results))


def answering(
    labels: Mapping[str, np.ndarray],
    classes: Sequence[str] = SPACE.classes,
    background: int | None = 0,
) -> Segmenter:
    """A segmenter with these label maps, by image name."""
    return oracle(
        {
            id: SemanticResult(map, tuple(classes), background=background)
            for id, map in labels.items()
        }
    )


def drawn_set(
    number: int, *, seed: int = 0, classes: int = 3, void: float = 0.1, right: float = 0.7
) -> tuple[Listed, dict[str, np.ndarray]]:
    """Noisy maps of different sizes, and predictions that are right with a chance that varies."""
    rng = np.random.default_rng(seed)
    samples: list[Sample] = []
    predicted: dict[str, np.ndarray] = {}
    for index in range(number):
        size = int(rng.integers(8, 40)), int(rng.integers(8, 40))
        present = rng.permutation(classes)[: int(rng.integers(1, classes + 1))]
        truth = rng.choice(present, size).astype(np.uint8)
        kept = rng.random(size) < right * rng.uniform(0.8, 1.2)
        mistaken = present if index % 3 else np.arange(classes)  # most mistakes stay in the scene
        guess = np.where(kept, truth, rng.choice(mistaken, size)).astype(np.uint8)
        truth[rng.random(size) < void] = 255
        id = f"image {index:03d}"
        picture = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        samples.append(Sample(id, picture, size, truth))
        predicted[id] = guess
    return Listed(samples, SPACE), predicted
