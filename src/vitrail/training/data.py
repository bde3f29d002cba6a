"""The data of a training: opened, divided, relabelled and loaded as a recipe says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate

from vitrail.data.augment import build_augmentation
from vitrail.data.derive import Relabelled
from vitrail.data.formats.index_masks import IndexMasks
from vitrail.data.opening import open_dataset
from vitrail.data.sample import LabelSpace, SampleSource, label_space
from vitrail.data.sampler import ResumableSampler
from vitrail.data.split import Joined, Subset, group_keys, parse_parts, part_sizes
from vitrail.data.stratify import attribute_presence, class_presence, divide
from vitrail.data.transforms import Example, TrainingSet
from vitrail.errors import ConfigError, UnknownNameError
from vitrail.training.config import DataConfig, DrawConfig, Folders, Recipe, TrainConfig


class Sources(NamedTuple):
    """Both parts of the data, with the same classes."""

    training: SampleSource
    validation: SampleSource

    @property
    def space(self) -> LabelSpace:
        """The meaning of the label maps that the network learns."""
        return label_space(self.training)


def open_sources(config: DataConfig) -> Sources:
    """Open the training and the validation part; no image is read yet.

    Raises
    ------
    ConfigError
        a split, a class or a part that the data set does not have, or an empty one.
    DataError
        the data set cannot be read, or has faults.
    """
    if isinstance(config.train, Folders) and isinstance(config.val, Folders):
        sources = Sources(_folders(config, config.train), _folders(config, config.val))
        keep = None  # the list names the ids, all of which stay
    else:
        sources = _splits(config)
        keep = config.classes
    if keep is not None or config.merge:
        rename = {old: new for new, olds in config.merge.items() for old in olds}
        try:
            sources = Sources(*(Relabelled(source, keep, rename) for source in sources))
        except UnknownNameError as error:
            raise ConfigError(f"data.classes, data.merge: {error}") from None
    for part, source in zip(("train", "val"), sources, strict=True):
        if not len(source):
            raise ConfigError(f"data.{part}: this part of {config.root} holds no images")
    if label_space(sources.validation) != sources.space:
        raise ConfigError(
            f"{config.root}: the classes of data.train ({', '.join(sources.space.classes)}) are not"
            f" those of data.val ({', '.join(label_space(sources.validation).classes)})"
        )
    return sources


def _folders(config: DataConfig, part: Folders) -> IndexMasks:
    assert config.classes is not None
    space = LabelSpace(config.classes, config.background, config.ignore)
    return IndexMasks(config.root / part.images, config.root / part.masks, space, config.unlabelled)


def _splits(config: DataConfig) -> Sources:
    dataset = open_dataset(config.root, config.format, config.options)
    parts: Mapping[str, SampleSource] = (
        dict(dataset.items()) if config.draw is None else draw(dict(dataset.items()), config.draw)
    )
    chosen: list[SampleSource] = []
    for key, name in (("train", config.train), ("val", config.val)):
        if name not in parts:
            raise ConfigError(
                f"data.{key}={name!r}: {config.root} ({dataset.format}) has the splits "
                + ", ".join(parts)
                + ("; data.draw divides them" if config.draw is None else "")
            )
        chosen.append(parts[str(name)])
    return Sources(*chosen)


def draw(splits: Mapping[str, SampleSource], config: DrawConfig) -> dict[str, SampleSource]:
    """Divide a data set into parts, the same ones whatever the machine and the order of files.

    Folds are named ``train`` and ``val``: fold ``k`` of ``n`` is the validation part.

    Raises
    ------
    ConfigError
        there is no such split to divide.
    ParameterError, DataError
        the parts do not fit the number of images, or a group is missing.
    """
    if config.source is not None:
        if config.source not in splits:
            raise ConfigError(
                f"data.draw.source={config.source!r}: the splits are {', '.join(splits)}"
            )
        whole = splits[config.source]
    else:
        whole = next(iter(splits.values())) if len(splits) == 1 else Joined(splits)
    if config.parts is not None:
        sizes = part_sizes(parse_parts(config.parts), len(whole))
    else:
        assert config.folds is not None
        least, rest = divmod(len(whole), config.folds)
        sizes = {f"fold {k}": least + (k < rest) for k in range(config.folds)}
    dealt = divide(
        whole.ids,
        sizes,
        seed=config.seed,
        groups=None if config.group is None else group_keys(whole.ids, config.group),
        presence=_presence(whole, config.stratify),
    )
    if config.folds is not None:
        held_out = dealt[f"fold {config.fold}"]
        others = sorted(set(range(len(whole))) - set(held_out))
        dealt = {"train": others, "val": held_out}
    return {name: Subset(whole, sorted(indices)) for name, indices in dealt.items()}


def _presence(source: SampleSource, by: bool | str) -> np.ndarray | None:
    if isinstance(by, str):
        return attribute_presence(source, by)
    return class_presence(source) if by else None


def crop_sizes(config: TrainConfig) -> list[int]:
    """The crop of each epoch, px."""
    finish = min(config.finish_epochs, config.epochs)
    return [config.image_size] * (config.epochs - finish) + [config.finish_size] * finish


def show_order(source: SampleSource, repeat: Mapping[str, int]) -> list[int]:
    """Indices of the images that one epoch shows: each once, or as often as its prefix says.

    Raises
    ------
    ConfigError
        a prefix that no image has: it is misspelt.
    """
    for prefix in repeat:
        if not any(id.startswith(prefix) for id in source.ids):
            raise ConfigError(f"data.repeat: no image of the training set starts with {prefix!r}")
    times = [
        max((count for prefix, count in repeat.items() if id.startswith(prefix)), default=1)
        for id in source.ids
    ]
    return [index for index, count in enumerate(times) for _ in range(count)]


def training_set(recipe: Recipe, source: SampleSource, size: int) -> TrainingSet[Example]:
    """The training part through the recipe's augmentation, as square crops of ``size`` px."""
    space = label_space(source)
    return TrainingSet(
        source,
        build_augmentation(recipe.augment, size, space, "labels"),
        seed=recipe.train.seed,
        order=show_order(source, recipe.data.repeat),
    )


def make_loader(
    augmented: TrainingSet[Any],
    batch_size: int,
    config: TrainConfig,
    *,
    rank: int,
    of: int,
    collate: Callable[[list[Any]], Any] = default_collate,
) -> tuple[DataLoader[Any], ResumableSampler]:
    """Shuffled batches of this process's share; each worker runs on one thread.

    What an epoch holds is a function of ``train.seed`` and the epoch, whatever ``train.workers``
    and the number of processes. A set smaller than a batch makes one batch of it.
    """
    batch_size = min(batch_size, len(augmented) // of * of)
    if batch_size == 0:
        raise ConfigError(f"{len(augmented)} training images for {of} processes: too few")
    sampler = ResumableSampler(
        len(augmented), batch_size, seed=config.seed, num_replicas=of, rank=rank
    )
    loader = DataLoader(
        augmented,
        batch_sampler=sampler,
        num_workers=config.workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
    )
    return loader, sampler
