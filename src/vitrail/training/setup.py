"""The network of a training, before its first step: built, started, described by its card."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
from torch import Tensor

from vitrail.data.sample import LabelSpace
from vitrail.errors import ConfigError, nearest
from vitrail.losses import build_loss
from vitrail.metrics import ConfusionMatrix
from vitrail.models.base import SemanticModel
from vitrail.models.registry import build
from vitrail.result.palette import palette
from vitrail.training.config import Recipe
from vitrail.training.records import Epoch
from vitrail.weights.card import Card, Score
from vitrail.weights.files import load_state, read_tensors


def make_model(recipe: Recipe, space: LabelSpace) -> SemanticModel:
    """Build the recipe's network for these classes, with the weights it starts from.

    Raises
    ------
    ConfigError, UnknownNameError
        the architecture, an argument of it, or the loss does not fit.
    WeightsError
        the starting weights cannot be read, or do not fit.
    """
    arguments = recipe.model.arguments
    if "classes" in arguments:
        raise ConfigError("model.arguments.classes: the data set says how many classes there are")
    model = build(recipe.model.architecture, {**arguments, "classes": len(space.classes)})
    model.criterion = build_loss(recipe.loss)
    model.criterion.check(model.channels, exclusive=model.channels > 1)
    start_weights(model, recipe)
    return model


def start_weights(model: SemanticModel, recipe: Recipe) -> None:
    """Give the network, or its encoder, the weights that the recipe says to start from."""
    if recipe.model.start is not None:
        load_state(model, read_tensors(recipe.model.start), recipe.model.start)
        return
    wanted = recipe.model.encoder_weights
    encoder = getattr(model, "encoder", None)
    if wanted is None:
        return
    if encoder is None:
        raise ConfigError(f"{recipe.model.architecture} has no encoder for encoder_weights")
    if isinstance(wanted, Path):
        encoder.load_pretrained(read_tensors(wanted))
    else:
        encoder.load_pretrained(imagenet_state(str(recipe.model.arguments.get("encoder"))))


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


def watchable(space: LabelSpace) -> list[str]:
    """What ``train.monitor`` may name."""
    scores = ConfusionMatrix(len(space.classes)).compute()
    return ["val_loss", "loss", *scores, *(f"iou_{name}" for name in space.classes)]


def check_monitor(monitor: str, space: LabelSpace) -> None:
    """:class:`ConfigError` where no such number is measured."""
    known = watchable(space)
    if monitor not in known:
        raise ConfigError(f"train.monitor={monitor!r}: {nearest(monitor, known)}")


def class_colours(space: LabelSpace) -> tuple[tuple[int, int, int], ...]:
    """RGB of each class in pictures of label maps: the data set's own; otherwise those that it has
    over a photo, and black for the background."""
    if space.colours is not None:
        return space.colours
    colours = [(int(r), int(g), int(b)) for r, g, b in palette(len(space.classes))]
    if space.background is not None:
        colours.insert(space.background, (0, 0, 0))
    return tuple(colours[: len(space.classes)])


def make_card(
    recipe: Recipe, space: LabelSpace, epoch: Epoch | None, command: str, *, best: bool = False
) -> Card:
    """The card of a checkpoint from this recipe, with the scores that the epoch reached.

    ``best``: whether the epoch was chosen by its score, which the card then says.
    """
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
        scores=() if epoch is None else (_score(recipe, epoch, command, best=best),),
        limits=recipe.limits,
    )


def _score(recipe: Recipe, epoch: Epoch, command: str, *, best: bool) -> Score:
    return Score(
        dataset=recipe.data.root.name,
        split=recipe.data.val if isinstance(recipe.data.val, str) else "val",
        protocol="pooled over all pixels, at original image size, ignored pixels left out, "
        f"no test-time augmentation; epoch {epoch.number}"
        + (f", the best on this split by {recipe.train.monitor}" if best else ""),
        values={
            name: round(value, 4)
            for name, value in epoch.metrics.items()
            if math.isfinite(value) and (name in _ON_CARD or name.startswith("iou_"))
        },
        command=command,
    )


_ON_CARD = ("mean_iou", "mean_dice", "pixel_accuracy")


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
