"""Trackers: what they are told, once, and what happens where they are missing or fail."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.training.made import (
    HOSTILE,
    STEPS,
    finish,
    made_epoch,
    made_run,
    made_validation,
    resumed,
    train_by_hand,
)
from vitrail.errors import MissingExtraError, OutputError, UnknownNameError
from vitrail.training.records import Callback, Run
from vitrail.training.trackers import Tracker, trackers

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


class Kept:
    """A sink that remembers, and fails where it is told to."""

    name = "kept"

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.first: int | None = None
        self.steps: dict[int, dict] = {}
        self.epochs: dict[int, tuple] = {}
        self.closed: list[bool] = []

    def _fail(self, what: str) -> None:
        if what == self.fails:
            raise ConnectionError("the server\nis gone")

    def open(self, run: Run, first: int) -> None:
        self._fail("open")
        assert self.first is None
        self.first = first

    def step(self, values: dict, step: int) -> None:
        self._fail("step")
        self.steps[step] = dict(values)

    def epoch(self, values: dict, step: int, number: int, picture: np.ndarray | None) -> None:
        self._fail("epoch")
        self.epochs[number] = (dict(values), step, picture)

    def close(self, finished: bool) -> None:
        self._fail("close")
        self.closed.append(finished)


def test_what_a_sink_is_told(tmp_path: Path) -> None:
    sink, run = Kept(), made_run(tmp_path)
    tracker = Tracker(sink)
    history = list(train_by_hand([tracker], run))
    finish([tracker], run, history)
    assert (sink.first, sink.closed) == (1, [True])
    assert sorted(sink.steps) == list(range(1, 13))
    assert sink.steps[4] == {
        "train/loss": 0.5,
        "train/loss_ce": 0.375,
        "train/loss_dice": 0.125,
        "train/lr": 0.00025,
        "train/gradient_norm": 1.0,
        "train/images_per_second": 100.0,
    }
    values, step, picture = sink.epochs[2]
    assert step == 8
    assert values["val/loss"] == 0.6
    assert values["val/mean_iou"] == 0.75
    assert values[f"val/iou_{HOSTILE}"] == pytest.approx(0.7)
    assert "val/iou_square" not in values  # it does not occur
    assert (values["epoch/loss"], values["epoch/number"], values["epoch/seconds"]) == (0.5, 2, 120)
    assert picture.ndim == 3


def test_a_training_that_stops_early_is_not_finished(tmp_path: Path) -> None:
    sink = Kept()
    tracker = Tracker(sink)
    list(train_by_hand([tracker], made_run(tmp_path), last=3))
    tracker.close()
    tracker.close()
    assert sink.closed == [False]


def test_a_training_that_goes_on_right_before_a_validation(tmp_path: Path) -> None:
    sink, run = Kept(), made_run(tmp_path)
    tracker = Tracker(sink)
    tracker.on_start(resumed(run, [made_epoch(1)]))
    tracker.on_epoch(made_epoch(2), made_validation(0))
    assert sink.first == 2 * STEPS + 1
    values, step, picture = sink.epochs[2]
    assert (step, picture) == (2 * STEPS, None)
    assert values["val/mean_iou"] == 0.75


def test_a_sink_that_cannot_be_opened_ends_the_training(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"kept could not be opened.*the server is gone.*leave"):
        list(train_by_hand([Tracker(Kept("open"))], made_run(tmp_path)))


@pytest.mark.parametrize("what", ["step", "epoch", "close"])
def test_a_sink_that_fails_later_is_given_up(what: str, tmp_path: Path) -> None:
    sink, run = Kept(what), made_run(tmp_path)
    tracker = Tracker(sink)
    with pytest.warns(RuntimeWarning, match="kept failed .*the server is gone") as told:
        history = list(train_by_hand([tracker], run))
        finish([tracker], run, history)
    assert len(history) == 3
    assert len(told) == 1
    assert len(sink.epochs) == {"step": 0, "epoch": 0, "close": 3}[what]
    assert not sink.closed


def test_unknown_trackers_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"'tensorbord'; did you mean 'tensorboard'"):
        trackers(["tensorbord"])


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("tensorboard", 'pip install "tensorboard>=2.17"'),
        ("mlflow", 'pip install "vitrail[mlflow]"'),
        ("wandb", 'pip install "vitrail[wandb]"'),
    ],
)
def test_a_missing_library_is_told_before_the_training(
    name: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError) as caught:
        trackers([name])
    assert line in str(caught.value)


def test_nothing_heavy_is_imported_before_the_training() -> None:
    code = (
        "import sys, vitrail.training.report; from vitrail.training.trackers import trackers;"
        "trackers(['tensorboard']);"
        "heavy = 'tensorboard', 'google.protobuf', 'grpc', 'matplotlib';"
        "print([name for name in heavy if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def _board(run: Run) -> "event_accumulator.EventAccumulator":
    board = event_accumulator.EventAccumulator(
        str(run.output / "tensorboard"), {"scalars": 0, "images": 0, "tensors": 0}
    )
    return board.Reload()


def _train(run: Run, *, first: int = 1, last: int | None = None, end: bool = False) -> list:
    callbacks: list[Callback] = trackers(["tensorboard"])
    history = list(train_by_hand(callbacks, run, first=first, last=last))
    if end:
        finish(callbacks, run, [*run.done, *history])
    else:
        for callback in callbacks:
            callback.close()
    return history


def test_tensorboard_has_curves_pictures_and_recipe(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    _train(run, end=True)
    board = _board(run)
    scalars = set(board.Tags()["scalars"])
    assert scalars >= {"train/loss", "train/loss_ce", "train/lr", "val/loss", "val/mean_iou"}
    assert "val/iou_square" not in scalars
    assert [(e.step, e.value) for e in board.Scalars("val/mean_iou")] == [
        (4, 0.5),
        (8, 0.75),
        (12, pytest.approx(1 - 0.5 / 3)),
    ]
    assert [e.step for e in board.Scalars("train/loss")] == list(range(1, 13))
    assert [e.step for e in board.Images("epoch")] == [4, 8, 12]
    assert board.Images("epoch")[0].width > 900
    (text,) = board.Tensors("recipe/text_summary")
    recipe = text.tensor_proto.string_val[0].decode()
    assert "    vitrail train made.yaml" in recipe
    assert "\n      epochs: 3\n" in recipe


@pytest.mark.parametrize("stopped", [5, 7, 8, 11])
def test_tensorboard_tells_nothing_twice_after_a_resume(stopped: int, tmp_path: Path) -> None:
    """The state that a training goes on from is older than what was told."""
    run = made_run(tmp_path)
    history = _train(run, last=stopped)
    time.sleep(1.1)  # event files are read by name: the second, the process, a counter (9 after 10)
    _train(resumed(run, history[:1]), first=5, end=True)
    board = _board(run)
    assert [e.step for e in board.Scalars("train/loss")] == list(range(1, 13))
    assert [e.step for e in board.Scalars("val/loss")] == [4, 8, 12]
    assert [e.step for e in board.Images("epoch")] == [4, 8, 12]
    assert len(board.Tensors("recipe/text_summary")) == 1


def test_a_new_training_replaces_the_events_of_the_old(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    _train(run, end=True)
    (run.output / "tensorboard" / "notes.txt").write_text("mine")
    _train(run, last=2)
    assert [e.step for e in _board(run).Scalars("train/loss")] == [1, 2]
    assert (run.output / "tensorboard" / "notes.txt").exists()
