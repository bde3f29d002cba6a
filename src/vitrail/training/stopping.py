"""When a training ends before its last epoch: on request, or for want of progress."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

from vitrail.training.config import TrainConfig
from vitrail.training.records import Epoch
from vitrail.training.state import Progress


class TrainingStopped(KeyboardInterrupt):
    """The user or the system asked a training to end; its state is written."""

    def __init__(self, message: str, output: Path) -> None:
        super().__init__(message)
        self.output = output
        """Folder with the state to go on from."""


class StopRequest:
    """Turns Ctrl-C and SIGTERM into a request that is met after the step; a second one is not
    waited for. Only in the main thread: elsewhere Python does not hand out signals.

    torchrun hands on what it gets, and ends the others when one process has gone: there, a process
    may get two signals for one request.
    """

    def __init__(self) -> None:
        self.made = False
        self._patience = 2 if "TORCHELASTIC_RUN_ID" in os.environ else 1
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _request(self, number: int, _: FrameType | None) -> None:
        self.made = True
        if self._patience == 0:
            raise KeyboardInterrupt
        self._patience -= 1

    def stop(self, progress: Progress, output: Path) -> NoReturn:
        """Leave the training, its state written."""
        raise TrainingStopped(
            f"stopped in epoch {progress.epoch} after step {progress.step}; nothing is lost: the "
            f"state is in {output}, and the same command with --resume goes on from there",
            output,
        )


def best_epoch(history: Sequence[Epoch], monitor: str) -> Epoch:
    """The first epoch with the best score; one that is no number is worst."""
    return max(history, key=lambda epoch: (_gain(epoch, monitor), -epoch.number))


def out_of_patience(history: Sequence[Epoch], config: TrainConfig) -> bool:
    """Whether the last ``patience`` epochs brought nothing better by more than ``min_delta``."""
    best, since = -math.inf, 0
    for epoch in history:
        gain = _gain(epoch, str(config.monitor))
        if gain > best + config.min_delta or (math.isinf(best) and gain > best):
            best, since = gain, 0
        else:
            since += 1
    return config.patience is not None and since >= config.patience


def _gain(epoch: Epoch, monitor: str) -> float:
    """The monitored number, such that more is better."""
    score = epoch.score(monitor)
    if math.isnan(score):
        return -math.inf
    return -score if monitor in ("loss", "val_loss") else score
