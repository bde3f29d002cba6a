"""``vitrail.train``: a recipe in, a trained model out, as ``vitrail train`` on the command line."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from vitrail.atomic import write_atomically
from vitrail.errors import ParameterError
from vitrail.training.config import Recipe, make_recipe, read_recipe
from vitrail.training.loop import train as run
from vitrail.training.progress import ProgressBar
from vitrail.training.records import Callback, Outcome, Run
from vitrail.training.sinks import recipe_text
from vitrail.training.watching import watchers

RECIPE = "recipe.yaml"
"""In the output folder of a training whose recipe was made in Python."""


def train(
    recipe: str | os.PathLike[str] | Mapping[str, object] | Recipe,
    *overrides: str,
    out: str | os.PathLike[str] = "runs",
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[Callback] | None = None,
    quiet: bool = False,
) -> Outcome:
    """Train a network.

    Leaves in ``out/NAME``: ``NAME.safetensors`` (the best epoch), ``last.safetensors``,
    ``history.csv``, ``report.html``, a picture of each epoch, and ``state.safetensors``, from
    which ``resume=True`` goes on. See docs/training.md.

    Parameters
    ----------
    recipe:
        Path of a recipe, a mapping of the same structure, or a
        :class:`~vitrail.training.config.Recipe`.
    overrides:
        Changes to it, as on the command line: ``"train.epochs=3"``.
    out:
        Folder in which the results get a folder of their own, named as the recipe.
    resume:
        Go on where an earlier run stopped; begin if there is none.
    overwrite:
        Whether the results of an earlier run may be replaced.
    callbacks:
        What watches; by default :func:`vitrail.training.watching.watchers`.
    quiet:
        Print nothing.

    Returns
    -------
    The best epoch, its checkpoint, and the history.

    Raises
    ------
    ConfigError, DataError
        before the first step, when recipe, data and model do not fit together.
    TrainingStopped
        after Ctrl-C, the state written. A ``KeyboardInterrupt``.
    VitrailError
        the loss is no number any more, or the memory does not suffice; says what to change.
    """
    if resume and overwrite:
        raise ParameterError("resume and overwrite exclude each other")
    for override in overrides:
        if not isinstance(override, str):
            raise ParameterError(f"override {override!r}: expected a text such as 'train.epochs=3'")
    written: list[Callback] = []
    if isinstance(recipe, str | os.PathLike):
        plan = read_recipe(Path(recipe), list(overrides))
        command = training_command(Path(recipe), overrides)
    elif isinstance(recipe, Mapping | Recipe):
        content = recipe.model_dump() if isinstance(recipe, Recipe) else recipe
        plan = make_recipe(content, overrides)
        command = training_command(Path(RECIPE))
        written.append(RecipeFile())
    else:
        raise ParameterError(
            f"recipe: expected a path, a mapping or a Recipe, got {type(recipe).__name__}"
        )
    watching = default_callbacks(plan, quiet=quiet) if callbacks is None else callbacks
    return run(
        plan,
        Path(out) / plan.name,
        callbacks=[*written, *watching],
        command=command,
        overwrite=overwrite,
        resume=resume,
        say=say_nothing if quiet else print,
    )


def training_command(recipe: Path, overrides: Sequence[str] = ()) -> str:
    """What repeats a training, for its card: where files lie on this machine is left out."""
    return shlex.join(["vitrail", "train", _portable(recipe), *map(_portable_setting, overrides)])


def default_callbacks(recipe: Recipe, *, quiet: bool) -> list[Callback]:
    """What watches a training unless told otherwise; nothing in the terminal where ``quiet``."""
    watching = watchers(recipe)
    return [one for one in watching if not (quiet and isinstance(one, ProgressBar))]


def say_nothing(text: str) -> None:
    """Takes what would be printed."""


class RecipeFile(Callback):
    """``recipe.yaml`` in the output folder, so that a recipe made in Python can be run again."""

    def on_start(self, run: Run) -> None:
        text = recipe_text(run.recipe).encode()
        write_atomically(run.output / RECIPE, lambda file: file.write(text))


def _portable(path: Path) -> str:
    return path.name if path.is_absolute() else path.as_posix()


def _portable_setting(setting: str) -> str:
    key, _, value = setting.partition("=")
    return f"{key}={_portable(Path(value))}" if Path(value).is_absolute() else setting
