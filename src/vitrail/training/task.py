"""What differs between trainings: what a network learns from, and by what it is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from vitrail.data.sample import LabelSpace, SampleSource
from vitrail.data.transforms import TrainingSet
from vitrail.errors import ConfigError, nearest
from vitrail.losses.processes import across_processes
from vitrail.training.config import Recipe
from vitrail.training.data import Sources
from vitrail.training.memory import Pass
from vitrail.training.records import Scoring, Validation

B = TypeVar("B")
"""A batch as the loader gives it, on the CPU."""
T = TypeVar("T")
"""The truth of a batch as the loss takes it, on the device."""

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Loading:
    """How a part of the data is gone through for a validation."""

    workers: int = 0
    """Loader processes."""
    shown: int = 0
    """How many images are returned with what was found; spread evenly over the part."""
    rank: int = 0
    processes: int = 1
    """This process scores every ``processes``-th image from the ``rank``-th on; the result is that
    of all of them, and the same for any number of processes."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the truth of a training part looks like, as the preflight tells it."""

    counts: Any
    """:class:`~vitrail.training.balance.ClassBalance` or ``ObjectCounts``."""
    told: tuple[str, ...]
    """For the console."""
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())


class Task(Protocol[B, T]):
    """A kind of training, for the classes of one data set."""

    @property
    def sources(self) -> Sources:
        """Both parts, in the classes that the network learns."""
        ...

    @property
    def space(self) -> LabelSpace:
        """Those classes."""
        ...

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """RGB of each in pictures."""
        ...

    @property
    def recipe(self) -> Recipe:
        """With what it leaves to the task filled in."""
        ...

    @property
    def scoring(self) -> Scoring:
        """What a validation measures."""
        ...

    @property
    def partial(self) -> bool:
        """Whether a process has the loss of its own images only, to which parts of the network may
        not have contributed; otherwise it is the loss of all processes' images."""
        ...

    @property
    def forward(self) -> Pass | None:
        """A training pass on made-up truth, for measuring memory; None: that of semantic
        networks."""
        ...

    def watchable(self) -> Sequence[str]:
        """What ``train.monitor`` may name."""
        ...

    def training_set(self, size: int) -> TrainingSet[Any]:
        """The training part through the recipe's augmentation, as square crops of ``size`` px."""
        ...

    def collate(self, examples: list[Any]) -> B:
        """A batch of examples."""
        ...

    def images(self, batch: B) -> int:
        """How many images a batch has."""
        ...

    def side(self, batch: B) -> int:
        """The longer side of its images, px."""
        ...

    def split(self, batch: B, parts: int) -> list[B]:
        """A batch in that many parts or fewer, none of them empty."""
        ...

    def tensors(self, batch: B) -> dict[str, Tensor]:
        """All that a batch holds, to be saved."""
        ...

    def prepared(self, batch: B, device: torch.device) -> tuple[Tensor, T]:
        """Images ``(B, C, H, W)`` as the network takes them, and their truth, on the device."""
        ...

    def terms(
        self, network: nn.Module, images: Tensor, targets: T, precision: str
    ) -> Mapping[str, Tensor]:
        """Forward pass and loss: named terms that sum to the training loss.

        ``precision``: ``float32``, ``bfloat16`` or ``float16``, of what may be less than float32.
        """
        ...

    def nothing_to_learn(self, targets: T) -> str | None:
        """Why nothing can be learnt from a batch; None where something can."""
        ...

    def validate(
        self,
        network: nn.Module,
        source: SampleSource,
        precision: str,
        loading: Loading,
    ) -> Validation:
        """Score a network, which is left in evaluation mode, on a set of images."""
        ...

    def survey(self, source: SampleSource, limit: int, seed: int) -> Survey:
        """Count the classes in ``limit`` images of a training part, drawn by ``seed``."""
        ...


def check_monitor(task: Task[Any, Any]) -> None:
    """:class:`ConfigError` where the task measures no number that ``train.monitor`` names."""
    monitor, known = task.recipe.train.monitor, task.watchable()
    if monitor not in known:
        raise ConfigError(f"train.monitor={monitor!r}: {nearest(str(monitor), known)}")


def with_monitor(recipe: Recipe, default: str) -> Recipe:
    """A recipe that says by what the best epoch is chosen."""
    if recipe.train.monitor is not None:
        return recipe
    settings = recipe.train.model_copy(update={"monitor": default})
    return recipe.model_copy(update={"train": settings})


class Learning(nn.Module):
    """A network together with its loss: what several processes run as one forward pass.

    Networks that find objects run some of their layers within the loss; gradients can be shared
    between processes only of what lies within ``forward``.
    """

    def __init__(self, network: nn.Module, task: Task[Any, Any], precision: str) -> None:
        super().__init__()
        self.network, self.task, self.precision = network, task, precision

    def forward(self, images: Tensor, targets: Any) -> dict[str, Tensor]:
        """Named terms that sum to the training loss."""
        with across_processes():
            return dict(self.task.terms(self.network, images, targets, self.precision))
