"""What the terminal shows of a training, and what a log gets."""

import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.training.made import (
    HOSTILE,
    made_epoch,
    made_run,
    made_validation,
    resumed,
    train_by_hand,
)
from vitrail.training.progress import ProgressBar, clock, epoch_line


def _console(terminal: bool) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=200, legacy_windows=False, _environ={}
    )


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_log_gets_one_line_an_epoch(tmp_path: Path) -> None:
    console, run = _console(False), made_run(tmp_path)
    bar = ProgressBar(console)
    assert len(list(train_by_hand([bar], run))) == 3
    bar.close()
    lines = _text(console).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("epoch 2/3  64 px  loss 0.5000  val_loss 0.6000  mean_iou 0.7500  ")
    assert f"background 0.800, {HOSTILE} 0.700, square none" in lines[1]
    assert lines[1].endswith("102.0 images/s  2:00  best")
    assert "\x1b" not in _text(console)


def test_a_terminal_gets_a_bar_with_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 10.0  # seconds a step
        return now

    monkeypatch.setattr("vitrail.training.progress.time.monotonic", clock)
    console, run = _console(True), made_run(tmp_path)
    bar = ProgressBar(console)
    list(train_by_hand([bar], run, last=6))
    assert bar._bar is not None
    task = bar._bar.tasks[0]
    assert task.description == "epoch 2/3"
    assert (task.completed, task.total) == (2, 4)
    assert task.fields["left"] == "1:00 left"  # 6 of 12 steps, 10 s each
    assert task.fields["best"] == "best mean_iou 0.5000"
    assert task.fields["speed"] == "100.0 images/s"
    assert task.fields["loss"] == "loss 0.3333"
    bar.close()
    assert "epoch 1/3" in _text(console)
    bar.close()  # twice does no harm


def test_a_resumed_training_knows_its_best(tmp_path: Path) -> None:
    console = _console(False)
    run = resumed(made_run(tmp_path), [made_epoch(1, mean_iou=0.99)])
    list(train_by_hand([ProgressBar(console)], run, first=5))
    assert "best" not in _text(console)


def test_the_loss_can_be_what_decides(tmp_path: Path) -> None:
    console = _console(False)
    run = made_run(tmp_path, overrides=["train.monitor=val_loss"])
    bar = ProgressBar(console)
    bar.on_start(run)
    for number, loss in enumerate((0.5, 0.7, 0.4), 1):
        bar.on_epoch(
            made_epoch(number, mean_iou=0.9 - number / 10, val_loss=loss), made_validation()
        )
    assert [line.endswith("best") for line in _text(console).splitlines()] == [True, False, True]


def test_many_classes_stay_one_line(tmp_path: Path) -> None:
    run = replace(made_run(tmp_path), classes=tuple(f"class {i}" for i in range(40)))
    assert "class 3" not in epoch_line(run, made_epoch(1))


def test_scores_that_are_no_number(tmp_path: Path) -> None:
    epoch = replace(made_epoch(1, val_loss=math.nan))
    assert "val_loss none" in epoch_line(made_run(tmp_path), epoch)


@pytest.mark.parametrize(
    ("seconds", "words"), [(7.6, "0:08"), (200, "3:20"), (7500, "2:05:00"), (59.7, "1:00")]
)
def test_clock(seconds: float, words: str) -> None:
    assert clock(seconds) == words
