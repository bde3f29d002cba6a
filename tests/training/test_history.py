"""Tables of a training: whole, readable, and told once however often it was interrupted."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from tests.training.made import (
    HOSTILE,
    finish,
    made_epoch,
    made_run,
    made_step,
    made_validation,
    resumed,
    train_by_hand,
)
from vitrail.errors import OutputError
from vitrail.training.history import HistoryCsv, StepsCsv, read_confusion, write_confusion


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_history_has_a_row_an_epoch(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    history = list(train_by_hand([HistoryCsv()], run))
    rows = _rows(run.output / "history.csv")
    assert list(rows[0]) == [
        *("number", "image_size", "lr", "loss", "loss_ce", "loss_dice", "val_loss"),
        *("pixel_accuracy", "mean_iou", "iou_background", f"iou_{HOSTILE}", "iou_square"),
        *("images_per_second", "seconds"),
    ]
    assert [float(row["mean_iou"]) for row in rows] == [epoch.mean_iou for epoch in history]
    assert [float(row["loss_ce"]) for row in rows] == [epoch.terms["ce"] for epoch in history]
    assert math.isnan(float(rows[0]["iou_square"]))


def test_history_is_whole_after_each_epoch(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    counts = [len(_rows(run.output / "history.csv")) for _ in train_by_hand([HistoryCsv()], run)]
    assert counts == [1, 2, 3]
    assert [path.name for path in run.output.iterdir()] == ["history.csv"]


def test_history_goes_on_after_a_resume(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    list(train_by_hand([HistoryCsv()], run))
    whole = (run.output / "history.csv").read_bytes()
    # The state to resume from is older than what history.csv had come to.
    again = resumed(run, [made_epoch(1)])
    list(train_by_hand([HistoryCsv()], again, first=5))
    assert (run.output / "history.csv").read_bytes() == whole


def test_steps_are_there_as_they_are_done(tmp_path: Path) -> None:
    run, steps = made_run(tmp_path), StepsCsv()
    steps.on_start(run)
    steps.on_step(made_step(1, 1))
    steps.on_step(made_step(1, 2))
    rows = _rows(run.output / "steps.csv")  # not closed yet
    assert [row["step"] for row in rows] == ["1", "2"]
    assert rows[1] == {
        "step": "2",
        "epoch": "1",
        "loss": "1.0",
        "lr": "0.0005",
        "gradient_norm": "0.5",
        "images_per_second": "100.0",
    }
    steps.close()


@pytest.mark.parametrize("torn", ["", "11,3,0.1", "\0\0\0\0\n"])
def test_steps_beyond_the_resumed_one_are_cut(torn: str, tmp_path: Path) -> None:
    run, whole = made_run(tmp_path), StepsCsv()
    history = list(train_by_hand([whole], run))
    finish([whole], run, history)
    path = run.output / "steps.csv"
    expected = path.read_bytes()
    path.write_bytes(expected + torn.encode())

    again = StepsCsv()
    list(train_by_hand([again], resumed(run, history[:1]), first=7))
    again.close()
    assert path.read_bytes() == expected
    assert [row["step"] for row in _rows(path)] == [str(n) for n in range(1, 13)]


def test_a_new_training_begins_a_new_table(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    for last in (6, 2):
        steps = StepsCsv()
        list(train_by_hand([steps], run, last=last))
        steps.close()
    assert [row["step"] for row in _rows(run.output / "steps.csv")] == ["1", "2"]


def test_a_table_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    (run.output / "steps.csv").mkdir()
    steps = StepsCsv()
    steps.on_start(run)
    with pytest.raises(OutputError, match=r"steps\.csv"):
        steps.on_step(made_step(1, 1))


def test_a_confusion_matrix_comes_back(tmp_path: Path) -> None:
    matrix, path = made_validation().matrix, tmp_path / "confusion.csv"
    classes = ("background", HOSTILE, "a,b")
    write_confusion(path, matrix, classes, 7)
    kept = read_confusion(path, classes, 7)
    assert kept is not None
    assert matrix.counts.sum() > 0
    np.testing.assert_array_equal(kept.counts, matrix.counts)
    assert kept.compute() == matrix.compute()


def test_another_confusion_matrix_is_not_taken(tmp_path: Path) -> None:
    path, classes = tmp_path / "confusion.csv", ("a", "b", "c")
    assert read_confusion(path, classes, 1) is None
    write_confusion(path, made_validation().matrix, classes, 1)
    assert read_confusion(path, classes, 2) is None
    assert read_confusion(path, ("a", "b", "d"), 1) is None
    path.write_text(path.read_text("utf-8").replace("0", "none", 1), "utf-8")
    assert read_confusion(path, classes, 1) is None
