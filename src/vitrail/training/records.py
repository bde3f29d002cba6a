"""What a training tells of itself: the run, its steps and epochs, and where its results lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vitrail.metrics import ConfusionMatrix
from vitrail.result import InstanceResult
from vitrail.training.config import Recipe


@dataclass(frozen=True, slots=True)
class Scoring:
    """The numbers that a validation gives, by their names among :attr:`Epoch.metrics`."""

    main: str
    """What decides which epoch is best, unless the recipe says otherwise."""
    title: str
    """The same in words."""
    others: tuple[str, ...]
    """What cards and reports tell besides."""
    by_class: str
    """What stands before a class's name."""
    class_title: str
    """The same in words."""
    protocol: str
    """How they are measured, for cards."""


PIXELS = Scoring(
    "mean_iou",
    "mean IoU",
    ("mean_dice", "pixel_accuracy"),
    "iou_",
    "IoU",
    "pooled over all pixels, at original image size, ignored pixels left out",
)
"""Of label maps."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the optimizer."""

    epoch: int
    """From 1."""
    number: int
    """In the epoch, from 1."""
    of: int
    """Steps that the epoch has."""
    total: int
    """Steps done since the beginning of the training, this one included."""
    loss: float
    """Of this step, all terms and all processes together."""
    terms: Mapping[str, float]
    """Its parts by name."""
    lr: float
    """Learning rate of the step, of the decoder and head."""
    gradient_norm: float
    """Before clipping."""
    images_per_second: float
    """Mean over this epoch so far, loading included, all processes together."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to."""

    number: int
    """From 1."""
    image_size: int
    """Side of the training crop, px."""
    lr: float
    """Learning rate of the last step."""
    loss: float
    """Mean training loss, of the raw (not the averaged) weights."""
    terms: Mapping[str, float]
    """The loss's parts by name, means likewise."""
    val_loss: float
    """Mean loss on the validation split, of the weights that were scored."""
    metrics: Mapping[str, float]
    """On the validation split, at original image size. Of label maps, pooled over pixels:
    ``mean_iou``, ``pixel_accuracy`` ... as :meth:`ConfusionMatrix.compute`, and ``iou_<class>`` of
    each class. Of objects ``mask_ap``, ``mask_ap50`` ... ``box_ap`` ... and ``mask_ap_<class>``;
    see :mod:`vitrail.training.validate_objects`. NaN where a class does not occur."""
    images_per_second: float
    """Training throughput, loading included."""
    seconds: float
    """Training and validation together."""

    @property
    def mean_iou(self) -> float:
        """NaN where objects were scored."""
        return self.metrics.get("mean_iou", math.nan)

    def score(self, monitor: str) -> float:
        """The number that ``train.monitor`` names: a metric, ``loss`` or ``val_loss``."""
        if monitor in ("loss", "val_loss"):
            return float(getattr(self, monitor))
        return self.metrics[monitor]


@dataclass(frozen=True, slots=True)
class Shown:
    """A validation image with its truth and what the network made of it after an epoch."""

    id: str
    image: np.ndarray
    """``(H, W, 3)`` uint8."""
    truth: np.ndarray
    """``(H, W)`` class ids, ``ignore`` where unlabelled."""
    predicted: np.ndarray
    """``(H, W)`` class ids."""


@dataclass(frozen=True, slots=True)
class ShownObjects:
    """Likewise, with objects."""

    id: str
    image: np.ndarray
    """``(H, W, 3)`` uint8."""
    truth: InstanceResult
    found: InstanceResult
    """All that the network told, of any score."""


@dataclass(frozen=True, slots=True)
class Validation:
    """One pass over the validation split."""

    matrix: ConfusionMatrix | None
    """Of label maps; None where objects were scored."""
    loss: float
    shown: tuple[Shown, ...] | tuple[ShownObjects, ...]
    """The same few images after every epoch."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """As :attr:`Epoch.metrics`."""


@dataclass(frozen=True, slots=True)
class Run:
    """A training that begins, or goes on."""

    recipe: Recipe
    output: Path
    """Folder of the results."""
    command: str
    """What repeats it; may be empty."""
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    """RGB of each class, as pictures show it."""
    steps: int
    """Of the whole training."""
    images: tuple[int, int]
    """Of the training and of the validation split."""
    parameters: int
    """Trainable numbers of the network."""
    device: str
    precision: str
    processes: int
    scoring: Scoring = PIXELS
    done: Sequence[Epoch] = field(default=())
    """Epochs of the run that is resumed; empty where it begins."""

    @property
    def monitor(self) -> str:
        """What decides which epoch is best."""
        return self.recipe.train.monitor or self.scoring.main


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a training's results lie."""

    checkpoint: Path
    """The best one, by ``train.monitor``."""
    best: Epoch
    history: tuple[Epoch, ...] = field(repr=False)
    reason: str
    """Why it ended: "all epochs done", or that it stopped early."""
    monitor: str = PIXELS.main
    """What decided which epoch is best."""
    scoring: Scoring = PIXELS

    @property
    def told(self) -> str:
        """The reason and the best epoch in one line."""
        best, scoring = self.best, self.scoring
        score = best.metrics.get(scoring.main, math.nan)
        return (
            f"{self.reason}; best by {self.monitor}: epoch {best.number}, {scoring.title} "
            f"{score:.4f} -> {self.checkpoint}"
        )


class Callback:
    """Something that watches a training. All methods do nothing unless overridden.

    Called in the main process only. A callback that raises ends the training.
    """

    def on_start(self, run: Run) -> None:
        """Before the first step; output folder and recipe exist."""

    def on_step(self, step: Step) -> None:
        """After each step of the optimizer."""

    def on_epoch(self, epoch: Epoch, validation: Validation) -> None:
        """After each epoch's validation, its checkpoint written."""

    def on_end(self, outcome: Outcome) -> None:
        """After the last epoch; not after an error or an interruption."""

    def close(self) -> None:
        """Always, at the very end, however the training ended."""
