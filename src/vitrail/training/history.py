"""What a training came to as tables: ``history.csv`` of epochs and ``steps.csv`` of steps."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from vitrail.atomic import output_error, write_atomically
from vitrail.metrics import ConfusionMatrix
from vitrail.training.records import Callback, Epoch, Run, Step, Validation

_STEP_FIELDS = ("step", "epoch", "loss", "lr", "gradient_norm", "images_per_second")


class HistoryCsv(Callback):
    """``history.csv`` in the output folder: a row an epoch, all of the training, resumed or not.

    Columns: ``number``, ``image_size``, ``lr``, ``loss``, its terms (``loss_ce`` ...),
    ``val_loss``, the metrics (``mean_iou`` ... ``iou_<class>``; ``nan`` where a class does not
    occur), ``images_per_second`` and ``seconds``. Rewritten whole after each epoch, so that a
    reader never sees half of it.
    """

    def on_start(self, run: Run) -> None:
        self._path = run.output / "history.csv"
        self._epochs = list(run.done)

    def on_epoch(self, epoch: Epoch, validation: Validation) -> None:
        self._epochs.append(epoch)
        _write(self._path, history_rows(self._epochs))


def history_rows(epochs: Sequence[Epoch]) -> list[list[object]]:
    """A head and a row an epoch, as :class:`HistoryCsv` describes."""
    terms = list(dict.fromkeys(name for epoch in epochs for name in epoch.terms))
    metrics = list(dict.fromkeys(name for epoch in epochs for name in epoch.metrics))
    head = ["number", "image_size", "lr", "loss", *(f"loss_{name}" for name in terms), "val_loss"]
    rows = (
        [epoch.number, epoch.image_size, epoch.lr, epoch.loss]
        + [epoch.terms.get(name, "") for name in terms]
        + [epoch.val_loss]
        + [epoch.metrics.get(name, "") for name in metrics]
        + [epoch.images_per_second, epoch.seconds]
        for epoch in epochs
    )
    return [[*head, *metrics, "images_per_second", "seconds"], *rows]


class StepsCsv(Callback):
    """``steps.csv`` in the output folder: a line a step, written as it is done.

    Columns: ``step`` (since the beginning of the training), ``epoch``, ``loss``, ``lr``,
    ``gradient_norm`` and ``images_per_second``. A training that goes on from an earlier state
    first cuts the lines beyond it, so that no step is told twice.
    """

    _file: TextIO | None = None

    def on_start(self, run: Run) -> None:
        self._path = run.output / "steps.csv"

    def on_step(self, step: Step) -> None:
        row = (
            step.total,
            step.epoch,
            step.loss,
            step.lr,
            step.gradient_norm,
            step.images_per_second,
        )
        try:
            if self._file is None:
                kept = _rows_before(self._path, step.total)
                _write(self._path, [_STEP_FIELDS, *kept])
                # A buffer of a line: what was told is in the file even if the process is killed.
                self._file = self._path.open("a", buffering=1, encoding="utf-8", newline="")
            self._file.write(",".join(map(str, row)) + "\n")
        except OSError as error:
            raise output_error(self._path, error) from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _rows_before(path: Path, step: int) -> list[list[str]]:
    """Whole rows of an earlier ``steps.csv`` below a step; none where there is no such file."""
    if step == 1 or not path.exists():
        return []
    rows: list[list[str]] = []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in csv.reader(line.replace("\0", "") for line in file):
            with suppress(ValueError):  # the head, or a line torn by a power cut
                if len(row) == len(_STEP_FIELDS) and int(row[0]) < step:
                    rows.append(row)
    return rows


def write_confusion(
    path: Path, matrix: ConfusionMatrix, classes: Sequence[str], epoch: int
) -> None:
    """Write an epoch's confusion matrix: pixels, rows the truth, columns the prediction."""
    rows = ([name, *row] for name, row in zip(classes, matrix.counts.tolist(), strict=True))
    _write(path, [[f"epoch {epoch}", *classes], *rows])


def read_confusion(path: Path, classes: Sequence[str], epoch: int) -> ConfusionMatrix | None:
    """What :func:`write_confusion` wrote; None where there is none of that epoch and classes."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
        if head != [f"epoch {epoch}", *classes] or [row[0] for row in rows] != list(classes):
            return None
        matrix = ConfusionMatrix(len(classes))
        matrix.counts[:] = [[int(count) for count in row[1:]] for row in rows]
    except (OSError, ValueError, IndexError):
        return None
    return matrix


def _write(path: Path, rows: Iterable[Iterable[object]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))
