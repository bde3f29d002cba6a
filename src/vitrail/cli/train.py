"""``vitrail train``: a recipe in, a checkpoint with its card out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vitrail.train.config import Recipe
    from vitrail.train.loop import Outcome


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/subjects.yaml.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="Changes to it, such as train.epochs=5."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for checkpoints and history.")
    ] = Path("runs"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")
    ] = False,
) -> None:
    """Train a network; leaves NAME.safetensors (best), last.safetensors and history.csv."""
    from vitrail.train.config import read_recipe

    settings = overrides or []
    plan = read_recipe(recipe, settings)
    command = shlex.join(["vitrail", "train", _portable(recipe), *map(_portable_setting, settings)])
    outcome = _run(plan, out / plan.name, command, overwrite)
    best = outcome.best
    print(f"best: epoch {best.number}, mean IoU {best.mean_iou:.4f} -> {outcome.checkpoint}")


def _portable(path: Path) -> str:
    """A path as the card shows it: where it lay on this machine means nothing elsewhere."""
    return path.name if path.is_absolute() else path.as_posix()


def _portable_setting(setting: str) -> str:
    key, _, value = setting.partition("=")
    return f"{key}={_portable(Path(value))}" if Path(value).is_absolute() else setting


def _run(plan: Recipe, out: Path, command: str, overwrite: bool) -> Outcome:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from vitrail.train.loop import Epoch
    from vitrail.train.loop import train as run

    console = Console()
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", epoch=1, loss=float("nan"))

        def on_step(epoch: int, step: int, steps: int, loss: float) -> None:
            progress.update(task, completed=step, total=steps, epoch=epoch, loss=loss)

        def on_epoch(epoch: Epoch) -> None:
            classes = zip(plan.data.classes, epoch.class_iou, strict=True)
            console.print(
                f"epoch {epoch.number}/{plan.train.epochs}  {epoch.image_size} px  "
                f"loss {epoch.loss:.4f}  mean IoU {epoch.mean_iou:.4f}  "
                + "  ".join(f"{name} {iou:.3f}" for name, iou in classes)
                + f"  {epoch.images_per_second:.1f} images/s",
                highlight=False,
            )

        return run(
            plan, out, on_step=on_step, on_epoch=on_epoch, command=command, overwrite=overwrite
        )
