"""A training that is killed, at no moment of its choosing, and resumed loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.drawn import write_recipe
from vitrail.errors import WeightsError
from vitrail.training.config import read_recipe
from vitrail.training.loop import STATE, train
from vitrail.weights.header import read_metadata

pytestmark = pytest.mark.slow

_PATIENCE = 300
"""Seconds that a training of a few steps may take on a busy machine."""
_SETTINGS = (
    *("train.preflight=false", "train.epochs=2", "train.finish_epochs=1", "train.workers=1"),
    *("train.checkpoint_minutes=1e-6", "train.trackers=[]", "train.shown=0"),
)
_STEPS = 8  # of the whole training: 16 images, 4 a step, two epochs


def start(recipe: Path, out: Path, *options: str) -> subprocess.Popen:
    """The command, in a process group of its own."""
    command = [sys.executable, "-m", "vitrail", "train", str(recipe), *_SETTINGS, "-o", str(out)]
    return subprocess.Popen(
        [*command, *options],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def steps_done(state: Path) -> int:
    """As the state on disk says, which is replaced while we read it."""
    try:
        return json.loads(read_metadata(state)["vitrail.training"])["progress"]["steps"]
    except WeightsError:
        return 0  # none yet


def kill_after(training: subprocess.Popen, state: Path, step: int, delay: float) -> None:
    """Kill all its processes, ``delay`` seconds after that many steps are on disk."""
    deadline = time.monotonic() + _PATIENCE
    while steps_done(state) < step:
        assert training.poll() is None, "it ended too early"
        assert time.monotonic() < deadline, f"step {step} was not reached"
        time.sleep(0.01)
    time.sleep(delay)
    os.killpg(training.pid, signal.SIGKILL)
    assert training.wait(_PATIENCE) == -signal.SIGKILL


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the killed processes have: with more, sums are added up in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_killed_training_ends_with_the_same_state(tmp_path: Path, one_thread: None) -> None:
    path = write_recipe(tmp_path)
    recipe = read_recipe(path, list(_SETTINGS))
    train(recipe, tmp_path / "whole")
    rng = np.random.default_rng(7)
    killed = tmp_path / "killed" / "tiny"
    # Anywhere in an epoch, in its validation, or while the state itself is written.
    for step in sorted(int(step) for step in rng.choice(np.arange(1, _STEPS - 1), 2, False)):
        training = start(path, tmp_path / "killed", "--resume")
        kill_after(training, killed / STATE, step, float(rng.uniform(0, 0.1)))
        assert step <= steps_done(killed / STATE)
    train(recipe, killed, resume=True)
    assert steps_done(killed / STATE) == _STEPS
    for name in (STATE, "tiny.safetensors", "last.safetensors"):
        assert _tensors(killed / name) == _tensors(tmp_path / "whole" / name)


def _tensors(path: Path) -> bytes:
    """All that follows the header, whose metadata hold times."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__")
    return json.dumps(header, sort_keys=True).encode() + content[8 + length :]
