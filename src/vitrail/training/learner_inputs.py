"""What a :class:`~vitrail.training.learner.Learner` is given, as sections of a recipe."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch

from vitrail.data.opening import open_dataset
from vitrail.data.sample import SampleSource
from vitrail.errors import ConfigError, ParameterError, UnknownNameError, nearest
from vitrail.models.base import SemanticModel
from vitrail.models.instances import InstanceModel
from vitrail.models.registry import ARCHITECTURES
from vitrail.training.config import ModelConfig, Recipe, TrainConfig
from vitrail.training.data import Sources
from vitrail.training.setup import Network, make_task, space_of
from vitrail.training.task import Task
from vitrail.weights.card import Card
from vitrail.weights.catalog import ALIASES, catalog, find
from vitrail.weights.header import read_card

Data: TypeAlias = (
    "str | os.PathLike[str] | Mapping[str, object] | tuple[SampleSource, SampleSource]"
)
"""A data set's path, a recipe's ``data`` section, or what is trained and what is scored on."""

Model: TypeAlias = "str | os.PathLike[str] | Mapping[str, object] | Network"
"""Name of an architecture or of a packaged model, a checkpoint's path, a recipe's ``model``
section, or a network."""

_OF_A_FIT = ("epochs", "schedule")
_DRAWN = 0.2
"""Share of the images that are scored on, where a data set has only one part."""


class GivenData(NamedTuple):
    """Data as a recipe has it."""

    name: str
    section: dict[str, object]
    sources: Sources | None
    """Where they were given: no recipe can name these."""
    told: str
    """What was decided without being asked for; may be empty."""


def given_data(
    data: Data,
    format: str | None,
    options: Mapping[str, object] | None,
    val: str | float | None,
    seed: int,
) -> GivenData:
    """The ``data`` section of a recipe.

    Raises
    ------
    ParameterError
        ``data`` or ``val`` is of no kind that is known, or says something twice.
    ConfigError
        the splits do not say which one to score on.
    DataError
        there is no such data set.
    """
    if isinstance(data, str | os.PathLike):
        root = Path(data)
        section: dict[str, object] = {"root": root, "format": format, "options": options or {}}
        splits = open_dataset(root, format, options, strict=False).splits
        parts, told = _parts(root, splits, val, seed)
        return GivenData(root.resolve().name, {**section, **parts}, None, told)
    if format is not None or options or val is not None:
        raise ParameterError("format, options and val are for a data set that is given as a path")
    if isinstance(data, Mapping):
        root = data.get("root")
        name = Path(root).resolve().name if isinstance(root, str | os.PathLike) else ""
        return GivenData(name, dict(data), None, "")
    if not isinstance(data, tuple) or len(data) != 2:
        raise ParameterError(
            "data: expected the path of a data set, a mapping as a recipe's data section, or a "
            f"pair of sources (training, validation), got {type(data).__name__}"
        )
    return GivenData("data", {"root": Path("data")}, Sources(*data), "")


def _parts(
    root: Path, splits: tuple[str, ...], val: str | float | None, seed: int
) -> tuple[dict[str, object], str]:
    """Which splits are trained and scored on, or how they are drawn; and what to say of it."""
    known = f"{root} has the splits {', '.join(splits)}"
    only = splits[0] if len(splits) == 1 else None
    learnt = "train" if "train" in splits else only
    if isinstance(val, str) or (val is None and learnt not in (None, "val") and "val" in splits):
        name = "val" if val is None else str(val)
        if name not in splits:
            raise ConfigError(f"val={name!r}: {known}; a number draws that share of the images")
        rest = [split for split in splits if split != name]
        if len(rest) != 1 and (learnt is None or learnt == name):
            raise ConfigError(f"{known}: give data={{'root': ..., 'train': NAME, 'val': NAME}}")
        return {"train": learnt if learnt in rest else rest[0], "val": name}, ""
    if learnt is None:
        raise ConfigError(f"{known}: say which one to score on, as in val='test'")
    share = _DRAWN if val is None else val
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise ParameterError(f"val={val!r}: expected a split's name or a share between 0 and 1")
    told = f"{share:.0%} of the images of {learnt!r} are drawn as the validation part (seed {seed})"
    drawn = {"parts": f"val={share:.6f},train=rest", "seed": seed, "source": learnt}
    return {"draw": drawn}, told if val is None else ""


class GivenModel(NamedTuple):
    """A network as a recipe has it."""

    name: str
    section: dict[str, object]
    card: Card | None
    """Of the checkpoint to go on from."""
    network: Network | None
    """Where it was given: a recipe can name its architecture only if it is registered."""


def given_model(
    model: Model, arguments: Mapping[str, object] | None, encoder_weights: str | None
) -> GivenModel:
    """The ``model`` section of a recipe.

    Raises
    ------
    UnknownNameError
        no architecture and no model has that name.
    WeightsError
        the checkpoint is damaged, or has no card.
    SourceError
        published weights are not here and cannot be downloaded.
    ParameterError
        ``model`` is of no kind that is known, or something is said twice.
    """
    if isinstance(model, str) and model in ARCHITECTURES:
        section = {"architecture": model, "arguments": dict(arguments or {})}
        return GivenModel(model, {**section, "encoder_weights": encoder_weights}, None, None)
    if isinstance(model, SemanticModel | InstanceModel | Mapping):
        _only_by_name(arguments, encoder_weights)
    if isinstance(model, SemanticModel | InstanceModel):
        name = type(model).__name__
        return GivenModel(name, {"architecture": name}, None, model)
    if isinstance(model, Mapping):
        return GivenModel(str(model.get("architecture", "")), dict(model), None, None)
    if not isinstance(model, str | os.PathLike):
        raise ParameterError(
            "model: expected the name of an architecture or a packaged model, the path of a "
            "checkpoint, a mapping, a SemanticModel or an InstanceModel, got "
            f"{type(model).__name__}"
        )
    entry = find(os.fspath(model))
    path = Path(model) if entry is None else entry.obtain()
    if entry is None and not path.suffix and path.parent == Path():  # names have neither
        raise UnknownNameError("model", os.fspath(model), [*ARCHITECTURES, *catalog(), *ALIASES])
    card = read_card(path)
    _only_by_name(arguments, encoder_weights)
    kept = {name: value for name, value in card.arguments.items() if name != "classes"}
    section = {"architecture": card.architecture, "arguments": kept, "start": path}
    return GivenModel(card.name, section, card, None)


def _only_by_name(arguments: Mapping[str, object] | None, encoder_weights: str | None) -> None:
    if arguments or encoder_weights:
        raise ParameterError(
            "arguments and encoder_weights are for an architecture by its name: "
            + ", ".join(ARCHITECTURES)
        )


def first_task(
    given: GivenModel, recipe: Recipe, sources: Sources, say: Callable[[str], object]
) -> tuple[Task[Any, Any], Network, ModelConfig | None]:
    """The task, the network to begin with, and the recipe's section that makes the same; None: none
    does.

    ``say`` is told what of a checkpoint was left out, as
    :func:`~vitrail.training.setup.start_weights` says.

    Raises
    ------
    ConfigError, UnknownNameError, WeightsError
        as :func:`vitrail.training.setup.make_task`.
    """
    if given.network is not None:
        space = space_of(recipe, sources, given.network)
        if given.network.classes != len(space.classes):
            raise ConfigError(
                f"the network has {given.network.classes} classes, the data {len(space.classes)}: "
                + ", ".join(space.classes)
            )
        return *make_task(recipe, sources, given.network), None
    with torch.random.fork_rng(devices=[]):  # the user's dice stay where they are
        torch.manual_seed(recipe.train.seed)  # as a training of this recipe begins
        return *make_task(recipe, sources, say=say), recipe.model


def check_settings(settings: Mapping[str, object]) -> None:
    """:class:`ParameterError` for what is no setting of a training, or is said elsewhere."""
    known = set(TrainConfig.model_fields) - {*_OF_A_FIT, "image_size", "batch_size"}
    for name in settings:
        if name in _OF_A_FIT:
            raise ParameterError(f"{name}: said to fit_one_cycle or fit, not to the Learner")
        if name not in known:
            raise ParameterError(f"Learner has no setting {name!r}; {nearest(name, known)}")


def card_name(*words: str) -> str:
    """A name that files can have, of words: ``"CamVid", "unet"`` to ``"camvid-unet"``."""
    joined = re.sub(r"[^a-z0-9._-]+", "-", "-".join(word for word in words if word).lower())
    return joined.strip("-._") or "learner"
