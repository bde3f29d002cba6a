"""How far a training is, in the terminal."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from vitrail.training.records import Callback, Epoch, Run, Step, Validation
from vitrail.training.stopping import best_epoch

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_NAMED = 8  # classes up to which an epoch's line has the score of each


class ProgressBar(Callback):
    """A bar for the epoch with loss, best score, images/s and the time that the whole training
    still takes, and a line for each epoch that is done. Only those lines where the output is no
    terminal, so that a log stays readable.

    Parameters
    ----------
    console : where to; default standard output
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._bar: Progress | None = None

    def on_start(self, run: Run) -> None:
        from rich.console import Console

        self.close()
        self._run = run
        self._epochs = list(run.done)
        self._begun: tuple[float, int] | None = None
        self._out = self._console or Console()
        if self._out.is_terminal:
            self._bar, self._task = _make_bar(self._out, self._best())

    def on_step(self, step: Step) -> None:
        now = time.monotonic()
        if self._begun is None:
            self._begun = now, step.total
        if self._bar is None:
            return
        state = "" if step.number < step.of else ", validating"
        self._bar.update(
            self._task,
            completed=step.number,
            total=step.of,
            description=f"epoch {step.epoch}/{self._run.recipe.train.epochs}{state}",
            loss=f"loss {step.loss:.4g}",
            speed=f"{step.images_per_second:,.1f} images/s",
            left=self._left(now, step.total),
        )

    def on_epoch(self, epoch: Epoch, validation: Validation) -> None:
        self._epochs.append(epoch)
        best = best_epoch(self._epochs, self._run.monitor)
        self._out.print(
            epoch_line(self._run, epoch) + ("  best" if best.number == epoch.number else ""),
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        if self._bar is not None:
            self._bar.update(self._task, best=self._best())

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _best(self) -> str:
        if not self._epochs:
            return ""
        monitor = self._run.monitor
        return f"best {monitor} {best_epoch(self._epochs, monitor).score(monitor):.4f}"

    def _left(self, now: float, total: int) -> str:
        """The rest at the pace so far, validation and loading included."""
        assert self._begun is not None
        begun, first = self._begun
        if total == first:
            return ""
        return f"{clock((now - begun) / (total - first) * (self._run.steps - total))} left"


def epoch_line(run: Run, epoch: Epoch) -> str:
    """What an epoch came to, in one line; the score of each class where they are few."""
    scoring = run.scoring
    shown = dict.fromkeys(("val_loss", scoring.main, run.monitor))
    words = [
        f"epoch {epoch.number}/{run.recipe.train.epochs}",
        f"{epoch.image_size} px",
        f"loss {epoch.loss:.4f}",
        *(f"{name} {_number(epoch.score(name))}" for name in shown if name != "loss"),
    ]
    if len(run.classes) <= _NAMED:
        of = scoring.by_class
        scores = ((name, epoch.metrics.get(f"{of}{name}", math.nan)) for name in run.classes)
        words.append(", ".join(f"{name} {_number(value, 3)}" for name, value in scores))
    words += [f"{epoch.images_per_second:,.1f} images/s", clock(epoch.seconds)]
    return "  ".join(words)


def clock(seconds: float) -> str:
    """``"0:08"``, ``"3:20"`` or ``"2:05:00"``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _number(value: float, digits: int = 4) -> str:
    return "none" if math.isnan(value) else f"{value:.{digits}f}"


def _make_bar(console: Console, best: str) -> tuple[Progress, TaskID]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    def text(field: str) -> TextColumn:
        return TextColumn(f"{{task.fields[{field}]}}", markup=False)

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        text("loss"),
        text("best"),
        text("speed"),
        text("left"),
        console=console,
    )
    task = bar.add_task("starting", total=None, loss="", best=best, speed="", left="")
    bar.start()
    return bar, task
