"""The network of a training, before its first step: built, started, described by its card."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

from vitrail.data.sample import LabelSpace
from vitrail.errors import ConfigError
from vitrail.models.base import SemanticModel
from vitrail.models.instances import InstanceModel
from vitrail.models.registry import ARCHITECTURES, build
from vitrail.training.config import Recipe
from vitrail.training.data import Sources
from vitrail.training.instance_task import InstanceTask, of_objects
from vitrail.training.records import Epoch
from vitrail.training.semantic_task import SemanticTask
from vitrail.training.task import Task
from vitrail.weights.card import Card, Score
from vitrail.weights.files import load_state, read_tensors

Network = SemanticModel | InstanceModel
"""What can be trained."""


def make_model(
    recipe: Recipe, space: LabelSpace, say: Callable[[str], object] = lambda text: None
) -> Network:
    """Build the recipe's network for these classes, with the weights it starts from.

    ``say`` is told which of the starting weights are left out; see :func:`start_weights`.

    Raises
    ------
    ConfigError, UnknownNameError
        the architecture, or an argument of it, does not fit.
    WeightsError
        the starting weights cannot be read, or do not fit.
    """
    arguments = recipe.model.arguments
    if "classes" in arguments:
        raise ConfigError("model.arguments.classes: the data set says how many classes there are")
    model = build(recipe.model.architecture, {**arguments, "classes": len(space.classes)})
    start_weights(model, recipe, say)
    return model


def make_task(
    recipe: Recipe,
    sources: Sources,
    network: Network | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> tuple[Task[Any, Any], Network]:
    """What a recipe trains, and the network: the one given, or the recipe's with its first weights.

    Parameters
    ----------
    say:
        Told what of the starting weights was left out.

    Raises
    ------
    ConfigError, UnknownNameError, WeightsError
        as :func:`make_model`; or recipe, data and network do not fit together.
    """
    if _finds(recipe, network):
        sources = of_objects(sources, recipe)
    network = network or make_model(recipe, space_of(recipe, sources), say)
    if isinstance(network, InstanceModel):
        return InstanceTask(recipe, sources, network), network
    return SemanticTask(recipe, sources, network), network


def space_of(recipe: Recipe, sources: Sources, network: Network | None = None) -> LabelSpace:
    """The classes that a network would learn from a data set.

    Raises
    ------
    ConfigError
        the network finds objects, and the data set has none.
    """
    finds = _finds(recipe, network)
    return of_objects(sources, recipe).training.space if finds else sources.space


def _finds(recipe: Recipe, network: Network | None) -> bool:
    if network is not None:
        return isinstance(network, InstanceModel)
    return finds_objects(recipe.model.architecture)


def finds_objects(architecture: str) -> bool:
    """Whether networks of a registered architecture find objects."""
    entry = ARCHITECTURES.get(architecture)
    # Thresholds of detection are an argument of just those that detect.
    return entry is not None and "detection" in entry.arguments.model_fields


def start_weights(
    model: Network, recipe: Recipe, say: Callable[[str], object] = lambda text: None
) -> None:
    """Give the network, or its encoder, the weights that the recipe says to start from.

    It may start from one that knows another number of classes: the tensors whose shapes depend on
    that number start afresh, which ``say`` is told.
    """
    start = recipe.model.start
    if start is not None:
        tensors, own = read_tensors(start), model.state_dict()
        differing = [
            n for n, value in own.items() if n in tensors and tensors[n].shape != value.shape
        ]
        if differing and _depend_on_classes(differing, model, recipe):
            tensors = {**tensors, **{name: own[name] for name in differing}}
            say(
                f"{start}: knows another number of classes than the data: {', '.join(differing)} "
                f"start afresh, the other {len(tensors) - len(differing)} tensors are taken over"
            )
        load_state(model, tensors, start)
        return
    wanted = recipe.model.encoder_weights
    encoder: Any = getattr(model, "encoder", None)
    if wanted is None:
        return
    if encoder is None:
        raise ConfigError(f"{recipe.model.architecture} has no encoder for encoder_weights")
    if isinstance(wanted, Path):
        encoder.load_pretrained(read_tensors(wanted))
    else:
        encoder.load_pretrained(imagenet_state(str(recipe.model.arguments.get("encoder"))))


def _depend_on_classes(names: Sequence[str], model: Network, recipe: Recipe) -> bool:
    """Whether the shape of each of these tensors is another where there is one class more."""
    with torch.device("meta"):
        more = build(
            recipe.model.architecture,
            {**recipe.model.arguments, "classes": model.classes + 1},
        ).state_dict()
    own = model.state_dict()
    return all(more[name].shape != own[name].shape for name in names)


def imagenet_state(name: str) -> dict[str, Tensor]:
    """timm's pretrained weights for a backbone, from its cache or the hub.

    Raises
    ------
    ConfigError
        they cannot be had; says how to go on without a network.
    """
    import timm

    try:  # the hub client lets through whatever its transport raises
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"the ImageNet weights of {name} could not be downloaded ({reason}); offline, set "
            "model.encoder_weights=FILE.safetensors, or model.encoder_weights=null to start afresh"
        ) from None


def make_card(
    task: Task[Any, Any], epoch: Epoch | None, command: str, *, best: bool = False
) -> Card:
    """The card of a checkpoint of this task, with the scores that the epoch reached.

    ``best``: whether the epoch was chosen by its score, which the card then says.
    """
    recipe, space = task.recipe, task.space
    return Card(
        name=recipe.name,
        summary=recipe.summary,
        architecture=recipe.model.architecture,
        arguments={**recipe.model.arguments, "classes": len(space.classes)},
        classes=space.classes,
        background=space.background,
        preprocessing=recipe.preprocessing,
        training_data=recipe.training_data,
        training_command=command,
        licences=recipe.licences,
        scores=() if epoch is None else (_score(task, epoch, command, best=best),),
        limits=recipe.limits,
    )


def _score(task: Task[Any, Any], epoch: Epoch, command: str, *, best: bool) -> Score:
    recipe, scoring = task.recipe, task.scoring
    told = (scoring.main, *scoring.others)
    return Score(
        dataset=recipe.data.root.name,
        split=recipe.data.val if isinstance(recipe.data.val, str) else "val",
        protocol=f"{scoring.protocol}, no test-time augmentation; epoch {epoch.number}"
        + (f", the best on this split by {recipe.train.monitor}" if best else ""),
        values={
            name: round(value, 4)
            for name, value in epoch.metrics.items()
            if math.isfinite(value) and (name in told or name.startswith(scoring.by_class))
        },
        command=command,
    )


@contextlib.contextmanager
def serial_opencv() -> Iterator[None]:
    """Keep OpenCV to the calling thread, so that loader processes can be forked at any time.

    A child inherits OpenCV's thread pool without its threads and waits for them for ever, once
    the parent has used it. The cores belong to the network while it trains anyway.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
