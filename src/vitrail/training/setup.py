"""What a training needs before its first step: data, loaders, parameter groups, a start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vitrail.data.augment import build_augmentation
from vitrail.data.formats.index_masks import IndexMasks
from vitrail.data.sample import LabelSpace
from vitrail.data.sampler import ResumableSampler
from vitrail.data.transforms import Example, TrainingSet
from vitrail.errors import ConfigError
from vitrail.models.base import SemanticModel
from vitrail.train.config import Recipe, Split, TrainConfig
from vitrail.weights.files import load_state, read_tensors


def open_split(recipe: Recipe, split: Split, space: LabelSpace) -> IndexMasks:
    """One part of the recipe's data set; nothing is read yet."""
    root = recipe.data.root
    return IndexMasks(root / split.images, root / split.masks, space, recipe.data.unlabelled)


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


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict]:
    """Four groups: encoder or not, decayed or not (biases and norms are not)."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((name.startswith("encoder."), parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.lr * (config.encoder_lr_scale if in_encoder else 1.0),
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for (in_encoder, decayed), parameters in groups.items()
    ]


def crop_sizes(config: TrainConfig) -> list[int]:
    """The crop of each epoch."""
    finish = min(config.finish_epochs, config.epochs)
    return [config.image_size] * (config.epochs - finish) + [config.finish_size] * finish


def show_order(source: IndexMasks, repeat: Mapping[str, int]) -> list[int]:
    """Indices of the images that one epoch shows: each once, or as often as its prefix says.

    Raises
    ------
    ConfigError
        a prefix that no image has: it is misspelt.
    """
    names = [path.name for path in source.images]
    for prefix in repeat:
        if not any(name.startswith(prefix) for name in names):
            raise ConfigError(f"data.repeat: no image of the training set starts with {prefix!r}")
    times = [
        max((count for prefix, count in repeat.items() if name.startswith(prefix)), default=1)
        for name in names
    ]
    return [index for index, count in enumerate(times) for _ in range(count)]


def make_loader(recipe: Recipe, training: IndexMasks, size: int) -> DataLoader[Example]:
    """Shuffled, augmented batches of square crops; each worker runs on one thread.

    What an epoch holds is a function of ``train.seed`` and the epoch, whatever ``train.workers``.
    """
    config = recipe.train
    augmented = TrainingSet(
        training,
        build_augmentation(recipe.augment, size, training.space, "labels"),
        seed=config.seed,
        order=show_order(training, recipe.data.repeat),
    )
    return DataLoader(
        augmented,
        batch_sampler=ResumableSampler(len(augmented), config.batch_size, seed=config.seed),
        num_workers=config.workers,
        pin_memory=torch.cuda.is_available(),
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
