"""MLflow and W&B by stand-ins that take what the real ones document (MLflow 3.3, wandb 0.22)."""

import math
import posixpath
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from tests.training.made import finish, made_recipe, made_run, resumed, train_by_hand
from vitrail.training.records import Run
from vitrail.training.sinks import recipe_text, settings
from vitrail.training.trackers import trackers


@dataclass
class Metric:
    key: str
    value: float
    timestamp: int
    step: int


@dataclass
class Param:
    key: str
    value: str


@dataclass
class Store:
    """What an MLflow server would hold."""

    experiments: dict[str, str | None] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    uris: list[str | None] = field(default_factory=list)


def _check_name(name: str) -> None:
    """``mlflow.utils.validation``: what it refuses in names of metrics and parameters."""
    assert re.fullmatch(r"[/\w.\- ]*", name), name
    assert posixpath.normpath(name) == name
    assert len(name) <= 250


def _fake_mlflow(store: Store) -> dict[str, ModuleType]:
    class MlflowClient:
        def __init__(self, tracking_uri: str | None = None, registry_uri: str | None = None):
            store.uris.append(tracking_uri)

        def get_experiment_by_name(self, name: str) -> Any:
            known = name in store.experiments
            return SimpleNamespace(experiment_id=f"id of {name}") if known else None

        def create_experiment(
            self, name: str, artifact_location: str | None = None, tags: Any = None
        ) -> str:
            assert name not in store.experiments
            store.experiments[name] = artifact_location
            return f"id of {name}"

        def create_run(
            self,
            experiment_id: str,
            start_time: int | None = None,
            tags: Any = None,
            run_name: str | None = None,
        ) -> Any:
            assert experiment_id == "id of vitrail"
            number = f"run{len(store.runs)}"
            store.runs[number] = {
                "name": run_name,
                "status": "RUNNING",
                "params": {},
                "metrics": [],
                "files": {},
            }
            return SimpleNamespace(info=SimpleNamespace(run_id=number))

        def update_run(
            self, run_id: str, status: str | None = None, name: str | None = None
        ) -> None:
            store.runs[run_id]["status"] = status

        def log_batch(
            self, run_id: str, metrics: Any = (), params: Any = (), tags: Any = ()
        ) -> None:
            assert len(metrics) <= 1000
            assert len(params) <= 100
            for one in params:
                _check_name(one.key)
                assert isinstance(one.value, str)
                assert one.key not in store.runs[run_id]["params"]  # no value may change
                store.runs[run_id]["params"][one.key] = one.value
            for one in metrics:
                _check_name(one.key)
                assert math.isfinite(one.value)
                assert isinstance(one.step, int)
                assert one.timestamp > 1.6e12  # milliseconds
            store.runs[run_id]["metrics"] += metrics

        def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
            store.runs[run_id]["files"][artifact_file] = text

        def log_image(self, run_id: str, image: np.ndarray, artifact_file: str) -> None:
            assert image.dtype == np.uint8
            store.runs[run_id]["files"][artifact_file] = image

        def set_terminated(
            self, run_id: str, status: str | None = None, end_time: int | None = None
        ) -> None:
            assert status in ("FINISHED", "FAILED", "KILLED")
            store.runs[run_id]["status"] = status

    package, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    package.MlflowClient = MlflowClient  # type: ignore[attr-defined]
    package.entities = entities  # type: ignore[attr-defined]
    entities.Metric, entities.Param = Metric, Param  # type: ignore[attr-defined]
    return {"mlflow": package, "mlflow.entities": entities}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    kept = Store()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, module in _fake_mlflow(kept).items():
        monkeypatch.setitem(sys.modules, name, module)
    return kept


def _train(
    name: str, run: Run, *, first: int = 1, last: int | None = None, end: bool = False
) -> list:
    """Train by hand; without an end, as if killed."""
    callbacks = trackers([name])
    history = list(train_by_hand(callbacks, run, first=first, last=last))
    if end:
        finish(callbacks, run, [*run.done, *history])
    return history


def _steps(store: Store, run: str, key: str) -> list[int]:
    return [one.step for one in store.runs[run]["metrics"] if one.key == key]


def test_mlflow_keeps_a_run_in_the_output_folder(store: Store, tmp_path: Path) -> None:
    run = made_run(tmp_path)
    _train("mlflow", run, end=True)
    database = (run.output / "mlflow" / "mlflow.db").resolve()
    assert store.uris == [f"sqlite:///{database.as_posix()}"]
    assert store.experiments == {"vitrail": (database.parent / "artifacts").as_uri()}
    kept = store.runs["run0"]
    assert (kept["name"], kept["status"]) == ("made", "FINISHED")
    assert kept["params"]["train.epochs"] == "3"
    assert kept["params"]["loss"] == "ce + dice"
    assert yaml.safe_load(kept["files"]["recipe.yaml"])["train"]["batch_size"] == 4
    assert {"epoch-001.png", "epoch-003.png"} <= set(kept["files"])
    assert _steps(store, "run0", "train/loss") == list(range(1, 13))
    assert _steps(store, "run0", "val/mean_iou") == [4, 8, 12]
    assert any(one.key == "val/iou__b__disc_ _ _co___b_" for one in kept["metrics"])


def test_mlflow_goes_on_with_its_run(store: Store, tmp_path: Path) -> None:
    run = made_run(tmp_path)
    history = _train("mlflow", run, last=9)
    _train("mlflow", resumed(run, history[:1]), first=6, end=True)
    assert list(store.runs) == ["run0"]
    assert store.runs["run0"]["status"] == "FINISHED"
    assert _steps(store, "run0", "train/loss") == list(range(1, 13))
    assert _steps(store, "run0", "val/loss") == [4, 8, 12]


def test_mlflow_takes_a_new_training_for_a_new_run(store: Store, tmp_path: Path) -> None:
    run = made_run(tmp_path)
    _train("mlflow", run, last=5)
    _train("mlflow", run, last=5)
    assert list(store.runs) == ["run0", "run1"]
    assert _steps(store, "run1", "val/loss") == [4]


def test_mlflow_uses_the_server_of_the_environment(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    _train("mlflow", made_run(tmp_path), end=True)
    assert store.uris == [None]  # MLflow then reads the environment itself
    assert store.experiments == {"vitrail": None}


def test_an_interrupted_training_is_killed_in_mlflow(store: Store, tmp_path: Path) -> None:
    (tracker,) = trackers(["mlflow"])
    list(train_by_hand([tracker], made_run(tmp_path), last=3))
    assert _steps(store, "run0", "train/loss") == []  # not sent one by one
    tracker.close()
    assert _steps(store, "run0", "train/loss") == [1, 2, 3]
    assert store.runs["run0"]["status"] == "KILLED"


class FakeWandb(ModuleType):
    """``wandb.init`` with the arguments it documents, and runs that take steps in order only."""

    class Image:
        def __init__(self, data_or_path: np.ndarray, caption: str | None = None) -> None:
            assert data_or_path.ndim == 3

    class Run:
        def __init__(self, arguments: dict[str, Any]) -> None:
            self.arguments = arguments
            self.logged: list[tuple[int, dict]] = []
            self.exit_code: int | None = None

        def log(
            self, data: dict[str, Any], step: int | None = None, commit: bool | None = None
        ) -> None:
            assert self.exit_code is None
            assert step is not None
            assert not self.logged or step >= self.logged[-1][0]
            self.logged.append((step, data))

        def finish(self, exit_code: int | None = None) -> None:
            self.exit_code = exit_code

    def __init__(self) -> None:
        super().__init__("wandb")
        self.runs: list[FakeWandb.Run] = []

    def init(
        self,
        entity: str | None = None,
        project: str | None = None,
        dir: str | None = None,
        id: str | None = None,
        name: str | None = None,
        config: dict[str, Any] | None = None,
        allow_val_change: bool | None = None,
        group: str | None = None,
        mode: str | None = None,
        resume: str | None = None,
    ) -> "FakeWandb.Run":
        assert mode in (None, "online", "offline", "disabled")
        assert resume in (None, "allow", "never", "must", "auto")
        assert id is not None
        assert not set(id) & set("/\\#?%:")
        self.runs.append(FakeWandb.Run({key: value for key, value in locals().items() if value}))
        return self.runs[-1]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def _told(run: "FakeWandb.Run", key: str) -> list[int]:
    return [step for step, data in run.logged if key in data]


def test_wandb_is_offline_unless_told(wandb: FakeWandb, tmp_path: Path) -> None:
    run = made_run(tmp_path)
    _train("wandb", run, end=True)
    (kept,) = wandb.runs
    assert kept.arguments["mode"] == "offline"
    assert "resume" not in kept.arguments
    assert kept.arguments["dir"] == str(run.output.resolve())
    assert (kept.arguments["project"], kept.arguments["name"]) == ("vitrail", "made")
    assert kept.arguments["config"]["train"]["epochs"] == 3
    assert kept.exit_code == 0
    assert _told(kept, "train/loss") == list(range(1, 13))
    assert _told(kept, "val/mean_iou") == _told(kept, "epoch") == [4, 8, 12]


@pytest.mark.parametrize(
    ("variable", "value"), [("WANDB_API_KEY", "secret"), ("WANDB_MODE", "online")]
)
def test_wandb_goes_online_if_told_and_on_with_its_run(
    variable: str, value: str, wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    run = made_run(tmp_path)
    history = _train("wandb", run, last=9)
    _train("wandb", resumed(run, history[:1]), first=6, end=True)
    first, second = wandb.runs
    assert "mode" not in first.arguments  # wandb reads the environment itself
    assert second.arguments["resume"] == "allow"
    assert first.arguments["id"] == second.arguments["id"]
    # The second is not told again what the first had kept: up to the end of epoch 2.
    assert _told(second, "train/loss") == [9, 10, 11, 12]
    assert _told(second, "val/loss") == [12]


@pytest.mark.parametrize("mode", [None, "offline"])
def test_wandb_without_a_network_goes_on_in_its_group(
    mode: str | None, wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    run = made_run(tmp_path)
    history = _train("wandb", run, last=5)
    _train("wandb", resumed(run, history), first=5, end=True)
    first, second = wandb.runs
    assert first.arguments["group"] == second.arguments["group"] == first.arguments["id"]
    assert second.arguments["id"] == f"{first.arguments['id']}-5"
    assert second.arguments["name"] == "made from step 5"


def test_an_interrupted_training_failed_in_wandb(wandb: FakeWandb, tmp_path: Path) -> None:
    (tracker,) = trackers(["wandb"])
    list(train_by_hand([tracker], made_run(tmp_path), last=3))
    tracker.close()
    assert wandb.runs[0].exit_code == 1


def test_a_recipe_as_text_can_be_read_again(tmp_path: Path) -> None:
    from vitrail.training.config import read_recipe

    recipe = made_recipe(tmp_path)
    path = tmp_path / "again.yaml"
    path.write_text(recipe_text(recipe), "utf-8")
    assert read_recipe(path) == recipe


def test_settings_are_flat(tmp_path: Path) -> None:
    flat = dict(settings(made_recipe(tmp_path, overrides=["train.patience=null"])))
    assert flat["train.epochs"] == "3"
    assert flat["name"] == "made"
    assert flat["data.classes"] == '["background", "disc", "square"]'
    assert flat["train.patience"] == "null"
    assert flat["data.unlabelled"] == "{}"
