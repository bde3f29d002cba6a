"""Curves and pictures of a training in TensorBoard, MLflow and Weights & Biases."""

from __future__ import annotations

import importlib.util
import math
import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from vitrail.errors import MissingExtraError, OutputError, UnknownNameError, VitrailError
from vitrail.training.pictures import epoch_picture
from vitrail.training.records import Callback, Epoch, Outcome, Run, Step, Validation


class Sink(Protocol):
    """A place that keeps curves. Nothing of its library is imported before :meth:`open`."""

    name: str
    """As a recipe's ``train.trackers`` calls it."""

    def open(self, run: Run, first: int) -> None:
        """Begin (``first`` is 1), or go on with what an earlier process told of this training:
        nothing from step ``first`` on shall be there twice."""

    def step(self, values: Mapping[str, float], step: int) -> None:
        """Keep finite numbers of the ``step``-th step since the beginning."""

    def epoch(
        self, values: Mapping[str, float], step: int, number: int, picture: np.ndarray | None
    ) -> None:
        """Keep finite numbers, and an (H, W, 3) RGB picture, of epoch ``number``, which ended
        with that step."""

    def close(self, finished: bool) -> None:
        """Write what is left; ``finished`` is false after an error or an interruption."""


class Tracker(Callback):
    """Tells a :class:`Sink` of every step and epoch.

    The sink is opened with the first step, as only that says whether a training begins or where
    it goes on; a sink that cannot be opened ends the training there. One that fails later, such
    as a server that goes away overnight, is given up with a warning, and the training goes on.

    Steps have ``train/loss``, its terms (``train/loss_ce`` ...), ``train/lr``,
    ``train/gradient_norm`` and ``train/images_per_second``; epochs ``val/loss``,
    ``val/<metric>``, ``epoch/loss``, ``epoch/number``, ``epoch/image_size`` and
    ``epoch/seconds``, all over the count of steps. Numbers that are not finite, such as the IoU
    of a class that does not occur, are left out.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._opened = self._failed = self._finished = False
        self._total = 0

    def on_start(self, run: Run) -> None:
        self._run = run
        self._opened = self._failed = self._finished = False
        self._total = 0

    def on_step(self, step: Step) -> None:
        self._total = step.total
        if self._ready(step.total):
            values = {
                "train/loss": step.loss,
                **{f"train/loss_{name}": value for name, value in step.terms.items()},
                "train/lr": step.lr,
                "train/gradient_norm": step.gradient_norm,
                "train/images_per_second": step.images_per_second,
            }
            try:
                self.sink.step(_finite(values), step.total)
            except Exception as error:
                self._give_up(error)

    def on_epoch(self, epoch: Epoch, validation: Validation) -> None:
        # A training that goes on right before a validation has not told of a step yet.
        total = self._total or self._run.steps * epoch.number // self._run.recipe.train.epochs
        if self._ready(total + 1):
            values = {
                "val/loss": epoch.val_loss,
                **{f"val/{name}": value for name, value in epoch.metrics.items()},
                "epoch/loss": epoch.loss,
                "epoch/number": epoch.number,
                "epoch/image_size": epoch.image_size,
                "epoch/seconds": epoch.seconds,
            }
            shown = epoch_picture(self._run, epoch, validation) if validation.shown else None
            try:
                self.sink.epoch(_finite(values), total, epoch.number, shown)
            except Exception as error:
                self._give_up(error)

    def on_end(self, outcome: Outcome) -> None:
        self._finished = True

    def close(self) -> None:
        if self._opened and not self._failed:
            try:
                self.sink.close(self._finished)
            except Exception as error:
                self._give_up(error)
        self._opened = False

    def _ready(self, first: int) -> bool:
        if not self._opened and not self._failed:
            self._opened = True
            try:
                self.sink.open(self._run, first)
            except VitrailError:
                self._failed = True
                raise
            except Exception as error:  # whatever a tracker's client lets through
                self._failed = True
                raise OutputError(
                    f"train.trackers: {self.sink.name} could not be opened "
                    f"({type(error).__name__}: {_one_line(error)}); mend that, or leave it out of "
                    "train.trackers"
                ) from error
        return not self._failed

    def _give_up(self, error: Exception) -> None:
        self._failed = True
        warnings.warn(
            f"{self.sink.name} failed and is told nothing more of this training: "
            f"{type(error).__name__}: {_one_line(error)}",
            RuntimeWarning,
            stacklevel=2,
        )


def trackers(names: Iterable[str]) -> list[Callback]:
    """The trackers that a recipe's ``train.trackers`` names.

    Raises
    ------
    UnknownNameError
        there is no such tracker.
    MissingExtraError
        its library is not installed; says how to install it.
    """
    from vitrail.training.sinks import MLflow, TensorBoard, Wandb

    sinks: dict[str, tuple[type[Sink], str]] = {
        "tensorboard": (TensorBoard, 'pip install "tensorboard>=2.17"'),
        "mlflow": (MLflow, 'pip install "vitrail[mlflow]"'),
        "wandb": (Wandb, 'pip install "vitrail[wandb]"'),
    }
    found: list[Callback] = []
    for name in dict.fromkeys(names):
        if name not in sinks:
            raise UnknownNameError("tracker", name, sinks)
        sink, install = sinks[name]
        if not _installed(name):
            raise MissingExtraError(
                f"train.trackers: {name} is not installed; {install}, or leave it out of "
                "train.trackers"
            )
        found.append(Tracker(sink()))
    return found


def _installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    return importlib.util.find_spec(package) is not None


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
