"""Hand-made trainings, to see what watches them without training anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.drawn import discs
from vitrail.metrics import ConfusionMatrix
from vitrail.training.config import Recipe, read_recipe
from vitrail.training.records import Callback, Epoch, Outcome, Run, Shown, Step, Validation

HOSTILE = "<b>\"disc\" & 'co'</b>"
"""A class name that breaks what does not escape it."""
STEPS = 4
"""In each epoch."""

_RECIPE = """
name: made
summary: made by hand
data:
  root: {root}
  train: {{images: train/images, masks: train/masks}}
  val: {{images: val/images, masks: val/masks}}
  classes: [background, disc, square]
model: {{architecture: unet, arguments: {{encoder: mobilenetv2_035}}}}
preprocessing: {{image_size: 64}}
loss: ce + dice
train: {{epochs: {epochs}, image_size: 64, batch_size: 4, monitor: mean_iou}}
training_data: drawn
licences: {{code: Apache-2.0, weights: Apache-2.0, training_data: CC0-1.0}}
"""


def made_recipe(folder: Path, epochs: int = 3, overrides: Sequence[str] = ()) -> Recipe:
    """A valid recipe; its data set does not exist."""
    path = folder / "made.yaml"
    path.write_text(_RECIPE.format(root=folder / "none", epochs=epochs), "utf-8")
    return read_recipe(path, list(overrides))


def made_run(
    folder: Path,
    epochs: int = 3,
    *,
    overrides: Sequence[str] = (),
    done: Sequence[Epoch] = (),
    classes: tuple[str, ...] = ("background", HOSTILE, "square"),
) -> Run:
    """A run of ``epochs`` epochs of 4 steps, whose folder ``out`` exists."""
    output = folder / "out"
    output.mkdir(exist_ok=True)
    return Run(
        recipe=made_recipe(folder, epochs, overrides),
        output=output,
        command="vitrail train made.yaml train.lr=0.01",
        classes=classes,
        colours=((0, 0, 0), (230, 159, 0), (0, 114, 178), (0, 158, 115))[: len(classes)],
        steps=STEPS * epochs,
        images=(16, 4),
        parameters=1_234_567,
        device="cpu",
        precision="float32",
        processes=1,
        done=tuple(done),
    )


def made_step(epoch: int, number: int) -> Step:
    """The ``number``-th step of an epoch, both from 1; its loss falls with every step."""
    total = (epoch - 1) * STEPS + number
    return Step(
        epoch=epoch,
        number=number,
        of=STEPS,
        total=total,
        loss=2.0 / total,
        terms={"ce": 1.5 / total, "dice": 0.5 / total},
        lr=1e-3 / total,
        gradient_norm=0.25 * total,
        images_per_second=100.0,
    )


def made_epoch(number: int, mean_iou: float | None = None, val_loss: float | None = None) -> Epoch:
    """An epoch whose square does not occur; by default each one is better than the one before."""
    score = 1 - 0.5 / number if mean_iou is None else mean_iou
    return Epoch(
        number=number,
        image_size=64,
        lr=1e-3 / number,
        loss=1.0 / number,
        terms={"ce": 0.75 / number, "dice": 0.25 / number},
        val_loss=1.2 / number if val_loss is None else val_loss,
        metrics={
            "pixel_accuracy": 0.9,
            "mean_iou": score,
            "iou_background": score + 0.05,
            f"iou_{HOSTILE}": score - 0.05,
            "iou_square": math.nan,
        },
        images_per_second=100.0 + number,
        seconds=60.0 * number,
    )


def made_validation(shown: int = 2, *, classes: int = 3, seed: int = 0) -> Validation:
    """Discs and squares; a stripe of the truth is unlabelled, and the prediction is shifted."""
    matrix = ConfusionMatrix(classes, ignore=255)
    pictures: list[Shown] = []
    for index, (image, labels) in enumerate(discs(shown, seed=seed)):
        truth = labels.copy()
        truth[:12] = 255
        predicted = np.roll(labels, 6, axis=1)
        matrix.update(truth, predicted)
        pictures.append(Shown(f"photo_{index}", image, truth, predicted))
    return Validation(matrix, 0.5, tuple(pictures))


def train_by_hand(
    callbacks: Sequence[Callback], run: Run, *, first: int = 1, last: int | None = None
) -> Iterator[Epoch]:
    """Tell callbacks of a training from step ``first`` on; to be stopped anywhere by its caller.

    Gives each epoch after it was told. Neither the end nor the close is told.
    """
    for callback in callbacks:
        callback.on_start(run)
    for total in range(first, (last or run.steps) + 1):
        number, within = divmod(total - 1, STEPS)
        for callback in callbacks:
            callback.on_step(made_step(number + 1, within + 1))
        if within + 1 == STEPS:
            epoch, validation = made_epoch(number + 1), made_validation(seed=number)
            for callback in callbacks:
                callback.on_epoch(epoch, validation)
            yield epoch


def finish(callbacks: Sequence[Callback], run: Run, history: Sequence[Epoch]) -> Outcome:
    """Tell of the end, and close."""
    best = max(history, key=lambda epoch: epoch.mean_iou)
    outcome = Outcome(run.output / "made.safetensors", best, tuple(history), "all epochs done")
    for callback in callbacks:
        callback.on_end(outcome)
    for callback in callbacks:
        callback.close()
    return outcome


def resumed(run: Run, done: Sequence[Epoch]) -> Run:
    """The same training, going on after these epochs."""
    return replace(run, done=tuple(done))
