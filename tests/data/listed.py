"""Sources kept in memory, and samples drawn by code, for tests of what is done with sources."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.result.masks import Masks


@dataclass
class Listed:
    """Samples in a list as a source."""

    samples: Sequence[Sample]
    space: LabelSpace

    @property
    def ids(self) -> list[str]:
        return [sample.id for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise, the same for the same seed."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def mask(rows: Sequence[str]) -> Masks:
    """One mask of a drawing: ``#`` is the object, anything else is not."""
    return Masks.from_dense(np.array([[letter == "#" for letter in row] for row in rows])[None])


def labels(rows: Sequence[str]) -> np.ndarray:
    """A label map of a drawing: digits are class ids, ``x`` is 255."""
    return np.array([[255 if c == "x" else int(c) for c in row] for row in rows], np.uint8)


def drawn(class_id: int, rows: Sequence[str], **more) -> Instance:
    """An object of a drawing."""
    return Instance.from_masks(class_id, mask(rows), **more)


def sample(id: str, size: tuple[int, int], *found: Instance, seed: int = 0) -> Sample:
    """A sample with objects."""
    return Sample(id, picture(*size, seed=seed), size, instances=found)


def mapped(id: str, rows: Sequence[str], seed: int = 0) -> Sample:
    """A sample with a label map of a drawing."""
    made = labels(rows)
    height, width = made.shape
    return Sample(id, picture(height, width, seed=seed), (height, width), made)
