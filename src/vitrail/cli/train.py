"""``vitrail train``: a recipe in, a checkpoint with its card out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vitrail.training.loop import Training


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/subjects.yaml.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="Changes to it, such as train.epochs=5."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for checkpoints, curves and pictures.")
    ] = Path("runs"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on where an earlier run stopped; begin if there is none."
        ),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only look whether everything fits; train nothing.")
    ] = False,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only look for a good learning rate.")
    ] = False,
) -> None:
    """Train a network.

    Leaves in OUT/NAME: NAME.safetensors (the best epoch), last.safetensors, history.csv,
    report.html, a picture of each epoch, and state.safetensors, from which --resume goes on.
    With several GPUs or machines: torchrun --nproc-per-node 4 -m vitrail train RECIPE.
    """
    from vitrail.errors import ParameterError
    from vitrail.training.config import read_recipe

    if sum((resume, check, find_lr, overwrite)) > 1:
        raise ParameterError("--resume, --overwrite, --check and --find-lr exclude each other")
    settings = overrides or []
    plan = read_recipe(recipe, settings)
    folder = out / plan.name
    if check or find_lr:
        from vitrail.training.loop import Training
        from vitrail.training.setup import serial_opencv

        with serial_opencv():
            training = Training(plan, folder, dry=True)
            if find_lr:
                _show_rates(training, out / f"{plan.name}-lr.png")
                return
            found = training.preflight()
        print(*training.notes, found.text, sep="\n")
        found.refuse()
        return
    from vitrail.training.api import training_command
    from vitrail.training.loop import train as run
    from vitrail.training.processes import is_first_process
    from vitrail.training.watching import watchers

    command = training_command(recipe, settings)
    outcome = run(
        plan,
        folder,
        callbacks=watchers(plan),
        command=command,
        overwrite=overwrite,
        resume=resume,
        say=print,
    )
    if not is_first_process():
        return
    print(outcome.told)


def _show_rates(training: Training, path: Path) -> None:
    """Say which learning rate to take, and draw the curve that says so."""
    from rich.progress import Progress

    from vitrail.atomic import make_folder
    from vitrail.result.write import write_picture

    with Progress(transient=True) as progress:
        task = progress.add_task("trying rates")
        curve = training.find_rate(
            say=lambda done, total: progress.update(task, completed=done, total=total)
        )
    make_folder(path.parent)
    write_picture(path, curve.plot())
    print(
        f"train.lr={curve.suggestion:.1e} (the loss falls fastest at {curve.steepest:.1e}; a tenth "
        f"of the rate with the least loss is {curve.minimum_tenth:.1e}) -> {path}"
    )
