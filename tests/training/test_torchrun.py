"""Two processes under torchrun are one training: same batches, same scores, same weights."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.drawn import write_objects_recipe, write_recipe
from vitrail.errors import WeightsError
from vitrail.training.config import read_recipe
from vitrail.training.history import HistoryCsv
from vitrail.training.loop import STATE, Training, train
from vitrail.training.task import Loading
from vitrail.weights.header import read_metadata

pytestmark = pytest.mark.slow

_PATIENCE = 300
"""Seconds that a training of a few steps may take on a busy machine."""
_SETTINGS = (
    "model={architecture: unet-plain, arguments: {start: 4, depth: 2, dropout: 0}}",
    *("train.preflight=false", "train.trackers=[]", "train.epochs=6", "train.finish_epochs=0"),
    *("train.checkpoint_minutes=1e-6", "train.device=cpu", "train.precision=float32"),
    # Sums are rounded by how they are dealt out to processes. Plain gradient descent lets that
    # grow the least; adaptive rates blow it up where a gradient is all but zero.
    *("train.optimizer=sgd", "train.momentum=0", "train.lr=0.01", "train.schedule=constant"),
    "train.warmup=0",
)
_WITH_NORMS = ("model.arguments.batch_norm=true", "train.epochs=1", "train.lr=0.002")
"""Norms divide by a deviation, and so enlarge rounding at every step: fewer and smaller ones."""
_EXACT = ("pixel_accuracy", "mean_accuracy", "mean_iou", "mean_dice", "iou_disc", "iou_square")


def start(
    recipe: Path, out: Path, *options: str, settings: Sequence[str] = _SETTINGS
) -> subprocess.Popen:
    """The command in two processes that share their gradients over gloo."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", "2", "-m", "vitrail", "train"]
    return subprocess.Popen(
        [*launcher, str(recipe), *settings, "-o", str(out), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def steps_done(state: Path) -> int:
    """As the state on disk says, which is replaced while we read it."""
    try:
        return json.loads(read_metadata(state)["vitrail.training"])["progress"]["steps"]
    except WeightsError:
        return 0  # none yet


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_recipe(tmp_path_factory.mktemp("drawn"))
    for folder in ("images", "masks"):  # an odd number to divide between two
        (path.parent / "discs" / "val" / folder / "disc_003.png").unlink()
    return path


@pytest.fixture(scope="module")
def together(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The results of two processes, and what they said."""
    out = tmp_path_factory.mktemp("together")
    training = start(recipe, out)
    told = training.communicate(timeout=_PATIENCE)
    assert training.returncode == 0, told[1]
    return out / "tiny", *told


def test_two_processes_train_as_one_does(
    recipe: Path, together: tuple, tmp_path: Path, one_thread: None
) -> None:
    folder, said, complaints = together
    train(read_recipe(recipe, list(_SETTINGS)), tmp_path, callbacks=[HistoryCsv()])
    assert len(history(folder)) == 6
    assert_same(folder, tmp_path)
    losses = [float(row["loss"]) for row in history(folder)]
    assert losses[-1] < 0.8 * losses[0]
    assert said.count("all epochs done") == 1  # one of them speaks
    assert "Warning" not in complaints


def test_norms_see_the_batch_of_both_processes(
    recipe: Path, tmp_path: Path, one_thread: None
) -> None:
    training = start(recipe, tmp_path, *_WITH_NORMS)
    _, told = training.communicate(timeout=_PATIENCE)
    assert training.returncode == 0, told
    settings = [*_SETTINGS, *_WITH_NORMS]
    train(read_recipe(recipe, settings), tmp_path / "one", callbacks=[HistoryCsv()])
    assert_same(tmp_path / "tiny", tmp_path / "one")


def assert_same(folder: Path, other: Path) -> None:
    """Scores to the last digit, losses and weights but for rounding."""
    for row, expected in zip(history(folder), history(other), strict=True):
        assert [row[name] for name in _EXACT] == [expected[name] for name in _EXACT]
        for name in ("loss", "val_loss"):
            assert float(row[name]) == pytest.approx(float(expected[name]), rel=1e-5)
    tensors, expected = load_file(folder / STATE), load_file(other / STATE)
    assert tensors.keys() == expected.keys()
    far = {name: float((tensors[name] - expected[name]).abs().max()) for name in tensors}
    assert max(far.values()) < 1e-5, max(far, key=far.__getitem__)


_OBJECTS = (
    *("train.preflight=true", "train.trackers=[]", "train.device=cpu", "train.epochs=2"),
    *("train.freeze_encoder=1", "train.accumulate=2", "train.image_size=64"),
)


def test_two_processes_find_objects(tmp_path: Path, one_thread: None) -> None:
    """Each draws regions of its own, and the heads run within the loss; the encoder joins later.
    The preflight is the first one's alone."""
    recipe = write_objects_recipe(tmp_path)
    training = start(recipe, tmp_path / "two", settings=_OBJECTS)
    said, told = training.communicate(timeout=_PATIENCE)
    assert training.returncode == 0, told
    assert said.count("one batch: the loss falls") == 1
    rows = history(tmp_path / "two" / "tiny-objects")
    assert len(rows) == 2 and float(rows[1]["loss"]) < float(rows[0]["loss"])
    # What two processes scored together is what one finds of the same weights.
    plan = read_recipe(recipe, list(_OBJECTS))
    alone = Training(plan, tmp_path / "two" / "tiny-objects", resume=True)
    network = alone.stepper.averaged
    assert network is not None
    again = alone.task.validate(network, alone.sources.validation, "float32", Loading())
    for name, value in {**again.metrics, "val_loss": again.loss}.items():
        assert float(rows[1][name]) == pytest.approx(value, nan_ok=True, rel=1e-6), name


@pytest.mark.parametrize("who", ["launcher", "one process"])
def test_an_interrupt_stops_all_after_the_same_step(
    who: str, recipe: Path, together: tuple, tmp_path: Path
) -> None:
    training = start(recipe, tmp_path)
    state = tmp_path / "tiny" / STATE
    deadline = time.monotonic() + _PATIENCE
    while steps_done(state) < 2:
        assert training.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    pid = training.pid if who == "launcher" else _children(training.pid)[1]
    os.kill(pid, signal.SIGINT)
    _, told = training.communicate(timeout=_PATIENCE)
    assert training.returncode != 0
    stops = re.findall(r"stopped in epoch (\d+) after step (\d+); nothing is lost", told)
    assert len(stops) == 2 and stops[0] == stops[1], told
    epoch, step = map(int, stops[0])
    assert steps_done(state) == 4 * (epoch - 1) + step < 24
    again = start(recipe, tmp_path, "--resume")
    _, told = again.communicate(timeout=_PATIENCE)
    assert again.returncode == 0, told
    tensors, expected = load_file(state), load_file(together[0] / STATE)
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def _children(pid: int) -> list[int]:
    """Processes that one has started, in that order."""
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True)
    return sorted(int(line) for line in listed.stdout.split())
