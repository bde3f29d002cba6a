"""One fit of a :class:`~vitrail.training.learner.Learner`: a recipe, a folder, a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from torch import nn

from vitrail.training.config import Recipe, make_recipe
from vitrail.training.loop import STATE, Training
from vitrail.training.records import Callback, Outcome, Run
from vitrail.training.stopping import TrainingStopped
from vitrail.weights.card import Card
from vitrail.weights.files import write_checkpoint

START = "start.safetensors"
"""In a fit's folder: what it began from, where no recipe makes that anew."""


def place(out: Path, name: str, *, resume: bool) -> tuple[Path, bool]:
    """The folder of the next fit, or of the last one where that has a state to go on from; and
    whether it goes on. The folders are ``NAME``, ``NAME-2`` and so on."""
    number, last, folder = 1, None, out / name
    while folder.exists():
        number, last = number + 1, folder
        folder = out / f"{name}-{number}"
    if resume and last is not None and (last / STATE).exists():
        return last, True
    return folder, False


def changed(recipe: Recipe, **settings: object) -> Recipe:
    """A recipe with other values of its ``train`` section; :class:`ConfigError` where they cannot
    be."""
    content = recipe.model_dump()
    return make_recipe({**content, "train": {**content["train"], **settings}}, source="Learner")


def starting_from(recipe: Recipe, start: Path) -> Recipe:
    """A recipe that goes on from that checkpoint."""
    model = recipe.model.model_copy(update={"start": start, "encoder_weights": None})
    return recipe.model_copy(update={"model": model})


class StartFile(Callback):
    """What a fit begins from, written into its folder when it begins."""

    def __init__(self, model: nn.Module, card: Card) -> None:
        self.model, self.card = model, card

    def on_start(self, run: Run) -> None:
        write_checkpoint(run.output / START, self.model, self.card)


def run_fit(
    training: Training,
    watching: Sequence[Callback],
    command: str,
    say: Callable[[str], object],
    interrupted: Callable[[Training], object],
) -> Outcome:
    """Run a training to its end. After Ctrl-C, ``interrupted`` is called before
    :class:`~vitrail.training.stopping.TrainingStopped` is raised."""
    with ExitStack() as closing:
        for one in watching:
            closing.callback(one.close)
        try:
            return training.run(watching, command, say)
        except TrainingStopped as stopped:
            interrupted(training)
            raise TrainingStopped(
                f"stopped in epoch {training.progress.epoch} after step {training.progress.step}; "
                "the same call with resume=True goes on from there, the state is in "
                f"{stopped.output}",
                stopped.output,
            ) from None
