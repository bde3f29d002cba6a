"""One labelled image, whatever data set it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """What the integers in a label map mean. Background and ignore are said, never guessed."""

    classes: tuple[str, ...]
    """Names by class id, from 0 without gaps."""
    background: int | None = None
    """The id of "none of the others", if the data set has one."""
    ignore: int = 255
    """The id of pixels without a known class; not a class, in no loss and no metric."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its pixel labels."""

    id: str
    """The data set's own name for it."""
    image: np.ndarray
    """``(H, W, 3)`` uint8, RGB."""
    labels: np.ndarray
    """``(H, W)`` uint8 or uint16 class ids."""
    unlabelled: frozenset[int] = field(default_factory=frozenset)
    """Classes that nobody annotated in this image: background may hide them."""


class SampleSource(Protocol):
    """A data set: a length, items read on access, and the meaning of its labels."""

    space: LabelSpace

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...


def class_ids(names: Sequence[str], space: LabelSpace) -> frozenset[int]:
    """Ids of class names; ``KeyError`` with the offending name where one is unknown."""
    index = {name: number for number, name in enumerate(space.classes)}
    return frozenset(index[name] for name in names)
