"""Where a training stands, on disk: all that goes on from, bit for bit, and no pickle.

``state.safetensors`` holds the tensors of the network, of its average and of the optimizer; its
metadata hold, as JSON, how far the training has come, what it has scored, and the recipe. Chance
needs no place in it: what a step draws is a function of the seed and the step's number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vitrail.atomic import write_atomically
from vitrail.errors import ConfigError, WeightsError
from vitrail.training.config import Recipe
from vitrail.training.records import Epoch
from vitrail.weights.header import read_metadata

_KEY = "vitrail.training"
_VERSION = 1
_FREE = {
    *(f"train.{name}" for name in ("device", "workers", "trackers", "preflight", "shown")),
    *(f"train.{name}" for name in ("checkpoint_minutes", "patience", "min_delta")),
    *("data.root", "model.start", "model.encoder_weights"),
    *("summary", "training_data", "licences", "limits"),
}
"""Settings that may differ when a training goes on: they change no step that is to come. A data set
may have moved; that it is the same one is seen by the number of its images."""


@dataclass
class Progress:
    """How far a training has come."""

    steps: int = 0
    """Of the optimizer, since the beginning."""
    epoch: int = 1
    """The one that runs, from 1."""
    step: int = 0
    """Its steps that are done."""
    images: int = 0
    """Images of this epoch so far."""
    sums: dict[str, float] = field(default_factory=dict)
    """Terms of the loss, times images, summed over this epoch so far."""
    seconds: float = 0.0
    """Spent in this epoch so far."""
    parts: int = 1
    """In how many parts a step's images are computed now."""
    batch_size: int = 0
    """As it was chosen, where the recipe says auto."""
    history: list[Epoch] = field(default_factory=list)
    sampler: dict[str, Any] = field(default_factory=dict)
    """Where the order of the images stands."""


def save_state(
    path: Path,
    recipe: Recipe,
    progress: Progress,
    model: nn.Module,
    averaged: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    scaler: Mapping[str, Any] | None,
) -> None:
    """Write the state whole or not at all.

    Raises
    ------
    OutputError
        the file cannot be written; an older one is untouched.
    """
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    if averaged is not None:
        tensors |= {f"averaged/{name}": value for name, value in averaged.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                tensors[f"optimizer/{index}/{name}"] = torch.as_tensor(value)
    content = {
        "version": _VERSION,
        "recipe": recipe.model_dump(mode="json"),
        "progress": asdict(progress),
        "scaler": scaler,
    }
    # Views and shared storage are not for safetensors.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    data = save(plain, {_KEY: json.dumps(content)})
    write_atomically(path, lambda file: file.write(data))


@dataclass(frozen=True)
class State:
    """What was read back."""

    path: Path
    progress: Progress
    tensors: dict[str, Tensor]
    scaler: Mapping[str, Any] | None

    def fill(
        self, model: nn.Module, averaged: nn.Module | None, optimizer: torch.optim.Optimizer
    ) -> None:
        """Put everything back.

        Raises
        ------
        WeightsError
            the tensors do not fit the network.
        """
        _fill(model, self._named("model/"), self.path)
        if averaged is not None:
            _fill(averaged, self._named("averaged/"), self.path)
        values: dict[int, dict[str, Tensor]] = {}
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        for name, value in self._named("optimizer/").items():
            index, key = name.split("/", 1)
            like = parameters[int(index)]
            if value.shape == like.shape:
                # Fused optimizers go through memory in order: it has to be the parameter's own.
                value = torch.empty_like(like, dtype=value.dtype).copy_(value)
            values.setdefault(int(index), {})[key] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": values, "param_groups": groups})

    def _named(self, prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): value
            for name, value in self.tensors.items()
            if name.startswith(prefix)
        }


def load_state(path: Path, recipe: Recipe) -> State:
    """Read a state, and see that it is of this recipe.

    Raises
    ------
    WeightsError
        the file is missing, damaged, or not a training's state.
    ConfigError
        it is of another recipe; names the keys that differ.
    """
    metadata = read_metadata(path)
    try:
        content = json.loads(metadata[_KEY])
        version = content["version"]
        progress = dict(content["progress"])
        progress["history"] = [Epoch(**epoch) for epoch in progress["history"]]
        restored = Progress(**progress)
        earlier, scaler = content["recipe"], content["scaler"]
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: not the state of a training ({error!r})") from None
    if version != _VERSION:
        raise WeightsError(f"{path}: state of version {version}, this vitrail reads {_VERSION}")
    now = recipe.model_dump(mode="json")
    differing = [key for key in _differences(earlier, now) if not _is_free(key)]
    if differing:
        shown = "; ".join(
            f"{key} was {_at(earlier, key)!r}, is {_at(now, key)!r}" for key in differing[:4]
        )
        raise ConfigError(
            f"{path}: the run to be resumed had other settings: {shown}. Resume with the same ones,"
            " or start anew in another folder (--out) or over it (--overwrite)"
        )
    return State(path, restored, load_file(path), scaler)


def _is_free(key: str) -> bool:
    return key in _FREE or key.split(".")[0] in _FREE


def _differences(one: Any, two: Any, place: str = "") -> list[str]:
    """Dotted keys at which two JSON values differ."""
    if isinstance(one, dict) and isinstance(two, dict):
        keys = [*one, *(key for key in two if key not in one)]
        return [
            found
            for key in keys
            for found in _differences(one.get(key), two.get(key), f"{place}.{key}".lstrip("."))
        ]
    return [] if one == two else [place]


def _at(value: Any, place: str) -> Any:
    for key in place.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _fill(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    own = model.state_dict()
    wrong = [
        name
        for name in {**own, **tensors}
        if name not in own or name not in tensors or own[name].shape != tensors[name].shape
    ]
    if wrong:
        raise WeightsError(
            f"{path}: {len(wrong)} tensors do not fit this network, the first is {wrong[0]!r}"
        )
    model.load_state_dict(tensors)
