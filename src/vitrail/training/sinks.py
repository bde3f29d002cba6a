"""Where trackers keep what they are told: TensorBoard, MLflow, Weights & Biases.

All keep it in the output folder, without a network, unless the environment names a server.
Their libraries are imported when they are opened: importing them costs seconds.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vitrail.atomic import make_folder, output_error, write_atomically
from vitrail.training.config import Recipe
from vitrail.training.records import Run

_EVERY = 50
"""Steps that are told at once."""


class TensorBoard:
    """Event files in ``tensorboard/``; look at them with ``tensorboard --logdir OUTPUT``.

    The recipe is under Text. Where a training goes on, events beyond the step it goes on from are
    marked as void, which TensorBoard honours; where it begins, the events of an earlier training
    in the same folder are deleted.
    """

    name = "tensorboard"

    def open(self, run: Run, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = make_folder(run.output / "tensorboard")
        if first == 1:
            for path in folder.glob("events.out.tfevents.*"):
                try:
                    path.unlink()
                except OSError as error:
                    raise output_error(path, error) from error
        self._writer = SummaryWriter(str(folder), purge_step=None if first == 1 else first)
        if first == 1:
            told = f"{run.command}\n\n{recipe_text(run.recipe)}" if run.command else None
            text = told or recipe_text(run.recipe)
            # TensorBoard reads Markdown; four spaces keep YAML as it is.
            self._writer.add_text("recipe", re.sub(r"(?m)^", "    ", text), 0)

    def step(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def epoch(
        self, values: Mapping[str, float], step: int, number: int, picture: np.ndarray | None
    ) -> None:
        self.step(values, step)
        if picture is not None:
            self._writer.add_image("epoch", picture, step, dataformats="HWC")
        self._writer.flush()

    def close(self, finished: bool) -> None:
        self._writer.close()


class MLflow:
    """A run in the experiment ``vitrail``: in the server that ``MLFLOW_TRACKING_URI`` names, by
    default in ``mlflow/mlflow.db``; ``mlflow ui --backend-store-uri sqlite:///.../mlflow.db``.

    A database rather than plain files, because MLflow refuses those from 3.13 on. The recipe's
    settings are its parameters, the recipe and the epochs' pictures its artifacts. A training
    that goes on goes on with its run.
    """

    name = "mlflow"

    def open(self, run: Run, first: int) -> None:
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        folder = make_folder(run.output / "mlflow")
        if os.environ.get("MLFLOW_TRACKING_URI"):
            self._client, artifacts = MlflowClient(), None
        else:
            database = (folder / "mlflow.db").resolve()
            self._client = MlflowClient(tracking_uri=f"sqlite:///{database.as_posix()}")
            artifacts = (folder / "artifacts").resolve().as_uri()
        self._metrics: list[Any] = []
        self._ledger = _Ledger(folder / "run.json", first)
        if self._ledger.run:
            self._client.update_run(self._ledger.run, status="RUNNING")
            return
        experiment = self._client.get_experiment_by_name("vitrail")
        if experiment is None:
            number = self._client.create_experiment("vitrail", artifact_location=artifacts)
        else:
            number = experiment.experiment_id
        made = self._client.create_run(number, run_name=run.recipe.name)
        self._ledger.run = made.info.run_id
        self._ledger.write()
        parameters = [Param(_plain(key), value[:500]) for key, value in settings(run.recipe)]
        for start in range(0, len(parameters), 100):  # no more are taken at once
            self._client.log_batch(self._ledger.run, params=parameters[start : start + 100])
        self._client.log_text(self._ledger.run, recipe_text(run.recipe), "recipe.yaml")

    def step(self, values: Mapping[str, float], step: int) -> None:
        if self._ledger.admit(step=step):
            self._add(values, step)
            if step % _EVERY == 0:
                self._flush()

    def epoch(
        self, values: Mapping[str, float], step: int, number: int, picture: np.ndarray | None
    ) -> None:
        if self._ledger.admit(epoch=number):
            self._add(values, step)
            self._flush()
            if picture is not None:
                self._client.log_image(self._ledger.run, picture, f"epoch-{number:03d}.png")

    def close(self, finished: bool) -> None:
        self._flush()
        self._client.set_terminated(self._ledger.run, "FINISHED" if finished else "KILLED")

    def _add(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = int(time.time() * 1000)
        self._metrics += [Metric(_plain(key), value, now, step) for key, value in values.items()]

    def _flush(self) -> None:
        told, self._metrics = self._metrics, []
        for start in range(0, len(told), 1000):  # no more are taken at once
            self._client.log_batch(self._ledger.run, metrics=told[start : start + 1000])
        self._ledger.write()


class Wandb:
    """A run of the project ``vitrail`` (or ``WANDB_PROJECT``) in Weights & Biases.

    Kept in ``wandb/`` without a network, to be sent by ``wandb sync``, unless ``WANDB_API_KEY`` or
    ``WANDB_MODE`` is set. A training that goes on goes on with its run; without a network, where
    W&B cannot do that, it is a further run of the same group.
    """

    name = "wandb"

    def open(self, run: Run, first: int) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self._wandb = wandb
        self._ledger = _Ledger(make_folder(run.output / "wandb") / "run.json", first)
        chosen = "WANDB_MODE" in os.environ or "WANDB_API_KEY" in os.environ
        offline = not chosen or os.environ.get("WANDB_MODE") in ("offline", "dryrun")
        earlier = self._ledger.run
        self._ledger.run = earlier or secrets.token_hex(4)
        self._ledger.write()
        again = bool(earlier) and offline
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "vitrail"),
            name=f"{run.recipe.name} from step {first}" if again else run.recipe.name,
            group=self._ledger.run,
            id=f"{self._ledger.run}-{first}" if again else self._ledger.run,
            resume=None if offline else "allow",
            dir=str(run.output.resolve()),
            config={**run.recipe.model_dump(mode="json"), "command": run.command},
            allow_val_change=True,
            mode=None if chosen else "offline",
        )

    def step(self, values: Mapping[str, float], step: int) -> None:
        if self._ledger.admit(step=step):
            self._run.log(dict(values), step=step)
            if step % _EVERY == 0:
                self._ledger.write()

    def epoch(
        self, values: Mapping[str, float], step: int, number: int, picture: np.ndarray | None
    ) -> None:
        if self._ledger.admit(epoch=number):
            shown = {} if picture is None else {"epoch": self._wandb.Image(picture)}
            self._run.log({**values, **shown}, step=step)
            self._ledger.write()

    def close(self, finished: bool) -> None:
        self._ledger.write()
        self._run.finish(exit_code=0 if finished else 1)


class _Ledger:
    """Which run a training is in a tracker, and up to which step and epoch it was told.

    A training that goes on from an earlier state repeats steps that the tracker knows already,
    and neither MLflow nor W&B can take them back; as they are repeated exactly, they are not told
    again.
    """

    def __init__(self, path: Path, first: int) -> None:
        self._path = path
        self.run, self._step, self._epoch = "", 0, 0
        if first > 1:
            with suppress(OSError, ValueError, KeyError, TypeError):
                kept = json.loads(path.read_text("utf-8"))
                self.run, self._step, self._epoch = (
                    str(kept["run"]),
                    int(kept["step"]),
                    int(kept["epoch"]),
                )

    def admit(self, *, step: int = 0, epoch: int = 0) -> bool:
        """Whether a step, or an epoch, is new; it counts as told from now on."""
        new = step > self._step or epoch > self._epoch
        self._step, self._epoch = max(self._step, step), max(self._epoch, epoch)
        return new

    def write(self) -> None:
        content = json.dumps({"run": self.run, "step": self._step, "epoch": self._epoch})
        write_atomically(self._path, lambda file: file.write(content.encode()))


def recipe_text(recipe: Recipe) -> str:
    """A recipe as YAML, every default written out."""
    content = recipe.model_dump(mode="json")
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def settings(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """``("train.lr", "0.001")`` and so on: every value of a recipe by its dotted key."""

    def below(content: Mapping[str, object], path: str) -> Iterator[tuple[str, str]]:
        for key, value in content.items():
            if isinstance(value, dict) and value:
                yield from below(value, f"{path}{key}.")
            else:
                yield f"{path}{key}", value if isinstance(value, str) else json.dumps(value)

    yield from below(recipe.model_dump(mode="json"), "")


def _plain(name: str) -> str:
    """A name as MLflow takes it: letters, digits, ``_ - . /`` and spaces, at most 250."""
    head, slash, tail = name.partition("/")
    return (head + slash + re.sub(r"[^\w\-. ]", "_", tail))[:250]
