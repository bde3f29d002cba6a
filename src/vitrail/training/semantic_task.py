"""Training networks that give every pixel a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import convert_to_fp32
from torch import Tensor, nn
from torch.utils.data import default_collate

from vitrail.data.sample import SampleSource, label_space
from vitrail.data.transforms import Example, TrainingSet
from vitrail.losses import SemanticTargets, build_loss
from vitrail.metrics import ConfusionMatrix
from vitrail.models.base import SemanticModel
from vitrail.predict.preprocess import normalise
from vitrail.result.palette import palette
from vitrail.training.balance import class_balance, suggest_loss
from vitrail.training.config import Recipe
from vitrail.training.data import Sources, training_set
from vitrail.training.records import PIXELS, Validation
from vitrail.training.task import TYPES, Loading, Survey, with_monitor
from vitrail.training.validate import validate

LOSS = "ce + dice"
"""Where the recipe names none."""


class SemanticTask:
    """A :class:`~vitrail.training.task.Task`: label maps, scored by a confusion matrix.

    Raises
    ------
    ConfigError
        the loss cannot be, or does not fit the network's classes.
    """

    scoring = PIXELS
    partial = False
    forward = None

    def __init__(self, recipe: Recipe, sources: Sources, network: SemanticModel) -> None:
        loss = recipe.loss or LOSS
        self.recipe = with_monitor(recipe, PIXELS.main).model_copy(update={"loss": loss})
        self.sources, self.space = sources, label_space(sources.training)
        network.criterion = build_loss(loss)
        network.criterion.check(network.channels, exclusive=network.channels > 1)
        self._criterion = network.criterion

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """The data set's own; otherwise those that a class has over a photo, black for the
        background."""
        space = self.space
        if space.colours is not None:
            return space.colours
        colours = [(int(r), int(g), int(b)) for r, g, b in palette(len(space.classes))]
        if space.background is not None:
            colours.insert(space.background, (0, 0, 0))
        return tuple(colours[: len(space.classes)])

    def watchable(self) -> Sequence[str]:
        scores = ConfusionMatrix(len(self.space.classes)).compute()
        return ["val_loss", "loss", *scores, *(f"iou_{name}" for name in self.space.classes)]

    def training_set(self, size: int) -> TrainingSet[Example]:
        return training_set(self.recipe, self.sources.training, size)

    def collate(self, examples: list[Example]) -> Example:
        return default_collate(examples)

    def images(self, batch: Example) -> int:
        return len(batch.image)

    def side(self, batch: Example) -> int:
        return max(batch.image.shape[-2:])

    def split(self, batch: Example, parts: int) -> list[Example]:
        chunks = [torch.chunk(part, parts) for part in batch]
        return [Example(*pieces) for pieces in zip(*chunks, strict=True)]

    def tensors(self, batch: Example) -> dict[str, Tensor]:
        return {name: part.contiguous() for name, part in batch._asdict().items()}

    def prepared(self, batch: Example, device: torch.device) -> tuple[Tensor, SemanticTargets]:
        images = normalise(batch.image.to(device), self.recipe.preprocessing)
        targets = SemanticTargets(
            batch.labels.to(device).long(),
            self.space.ignore,
            self.space.background,
            batch.unlabelled.to(device),
            self.recipe.data.omission_weight,
        )
        return images.contiguous(memory_format=torch.channels_last), targets

    def terms(
        self, network: nn.Module, images: Tensor, targets: SemanticTargets, precision: str
    ) -> Mapping[str, Tensor]:
        return semantic_terms(network, images, targets, precision)

    def nothing_to_learn(self, targets: SemanticTargets) -> str | None:
        empty = bool((targets.labels == targets.ignore).all())
        return "none of its pixels has a label" if empty else None

    def validate(
        self, network: nn.Module, source: SampleSource, precision: str, loading: Loading
    ) -> Validation:
        assert isinstance(network, SemanticModel)
        return validate(
            network,
            source,
            self.recipe.preprocessing,
            precision=precision,
            omission_weight=self.recipe.data.omission_weight,
            workers=loading.workers,
            shown=loading.shown,
            rank=loading.rank,
            processes=loading.processes,
        )

    def survey(self, source: SampleSource, limit: int, seed: int) -> Survey:
        """Pixels of each class, and a loss that suits them."""
        balance = class_balance(source, limit, seed=seed)
        suggestion = suggest_loss(balance)
        told = f"suggested loss: {suggestion.text} ({suggestion.reason})"
        if self._criterion.text != suggestion.text:
            told += f"; the recipe has {self._criterion.text}"
        objects = [c for c in range(len(balance.classes)) if c != balance.background]
        errors: list[str] = []
        if not balance.pixels[objects].any():
            errors.append("train: no labelled pixel of any class but the background")
        if balance.looked_at < balance.of:
            warnings, errors = [f"{error} was seen" for error in errors], []
        else:
            warnings = []
        return Survey(balance, (balance.text, told), tuple(errors), tuple(warnings))


def semantic_terms(
    network: nn.Module, images: Tensor, targets: SemanticTargets, precision: str
) -> Mapping[str, Tensor]:
    """The network in mixed precision, its loss in float32."""
    kind = images.device.type
    with torch.autocast(kind, TYPES[precision], enabled=precision != "float32"):
        raw: Any = network(images)
    with torch.autocast(kind, enabled=False):
        assert isinstance(network, SemanticModel)
        return network.loss(convert_to_fp32(raw), targets)
