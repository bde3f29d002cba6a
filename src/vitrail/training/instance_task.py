"""Training networks that find objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vitrail.data.augment import build_augmentation
from vitrail.data.derive import AsObjects, has_objects
from vitrail.data.sample import SampleSource
from vitrail.data.transforms import InstanceExample, TrainingSet, collate_instances
from vitrail.errors import ConfigError, DataError
from vitrail.models.instances import InstanceModel
from vitrail.predict.preprocess import normalise
from vitrail.result.palette import palette
from vitrail.training.balance import object_counts
from vitrail.training.config import Recipe
from vitrail.training.data import Sources, crop_sizes, show_order
from vitrail.training.records import Scoring, Validation
from vitrail.training.task import TYPES, Loading, Survey, with_monitor
from vitrail.training.validate_objects import ObjectMeasure, validate_objects

_OBJECTS = 64
"""Objects of a made-up image."""


class InstanceTask:
    """A :class:`~vitrail.training.task.Task`: objects, scored by COCO's average precision.

    Raises
    ------
    ConfigError
        the recipe names a loss, or crops that are no multiple of the network's stride.
    """

    partial = True

    def __init__(self, recipe: Recipe, sources: Sources, network: InstanceModel) -> None:
        if recipe.loss is not None:
            raise ConfigError(
                f"loss={recipe.loss!r}: {recipe.model.architecture} has losses of its own, for "
                "proposals, classes, boxes and masks; leave loss out of the recipe"
            )
        for side in sorted(set(crop_sizes(recipe.train))):
            if side % network.stride:
                raise ConfigError(
                    f"the training crop has {side} px (train.image_size, train.finish_size): "
                    f"{recipe.model.architecture} takes multiples of {network.stride}"
                )
        self.sources, self.space = sources, sources.training.space
        masks = _has_masks(network) and _outlined(sources.validation)
        self.measure = ObjectMeasure(
            self.space.classes, masks=masks, most=max(100, network.params.max_detections)
        )
        self.recipe = with_monitor(recipe, self.scoring.main)

    @property
    def scoring(self) -> Scoring:
        return self.measure.scoring

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        colours = palette(len(self.space.classes)).tolist()
        return tuple((int(red), int(green), int(blue)) for red, green, blue in colours)

    def watchable(self) -> Sequence[str]:
        return ["val_loss", "loss", *self.measure.names]

    def training_set(self, size: int) -> TrainingSet[InstanceExample]:
        return TrainingSet(
            self.sources.training,
            build_augmentation(self.recipe.augment, size, self.space, "instances"),
            seed=self.recipe.train.seed,
            order=show_order(self.sources.training, self.recipe.data.repeat),
        )

    def collate(self, examples: list[InstanceExample]) -> list[InstanceExample]:
        return collate_instances(examples)

    def images(self, batch: list[InstanceExample]) -> int:
        return len(batch)

    def side(self, batch: list[InstanceExample]) -> int:
        return max(max(example.image.shape[-2:]) for example in batch)

    def split(self, batch: list[InstanceExample], parts: int) -> list[list[InstanceExample]]:
        size = -(-len(batch) // parts)  # as torch.chunk divides
        return [batch[start : start + size] for start in range(0, len(batch), size)]

    def tensors(self, batch: list[InstanceExample]) -> dict[str, Tensor]:
        return {
            f"{number}/{name}": part.contiguous()
            for number, example in enumerate(batch)
            for name, part in example._asdict().items()
        }

    def prepared(
        self, batch: list[InstanceExample], device: torch.device
    ) -> tuple[Tensor, list[InstanceExample]]:
        moved = [
            InstanceExample(*(part.to(device, non_blocking=True) for part in one)) for one in batch
        ]
        pixels = torch.stack([example.image for example in moved])
        images = normalise(pixels, self.recipe.preprocessing)
        return images.contiguous(memory_format=torch.channels_last), moved

    def terms(
        self,
        network: nn.Module,
        images: Tensor,
        targets: Sequence[InstanceExample],
        precision: str,
    ) -> Mapping[str, Tensor]:
        """Both in mixed precision: the heads that look at regions run within the loss."""
        assert isinstance(network, InstanceModel)
        kind = images.device.type
        with torch.autocast(kind, TYPES[precision], enabled=precision != "float32"):
            return network.loss(network(images), targets)

    def forward(self, network: nn.Module, images: Tensor) -> object:
        """A pass over noise with many objects side by side; draws from no global generator but
        within the loss."""
        assert isinstance(network, InstanceModel)
        own = torch.Generator().manual_seed(0)
        noise = torch.randn(images.shape, generator=own).to(images)
        noise = noise.contiguous(memory_format=torch.channels_last)
        example = _grid(images.shape[-1], _OBJECTS, images.device)
        return network.loss(network(noise), [example] * len(images))

    def nothing_to_learn(self, targets: Sequence[InstanceExample]) -> str | None:
        """Nothing of the kind: an image without objects teaches that there are none."""
        return None

    def validate(
        self, network: nn.Module, source: SampleSource, precision: str, loading: Loading
    ) -> Validation:
        assert isinstance(network, InstanceModel)
        return validate_objects(
            network,
            source,
            self.recipe.preprocessing,
            self.measure,
            precision=precision,
            loading=loading,
        )

    def survey(self, source: SampleSource, limit: int, seed: int) -> Survey:
        """Objects of each class."""
        counts = object_counts(source, limit, seed=seed)
        if counts.objects.any():
            return Survey(counts, (counts.text,))
        told = "train: no object of any class"
        if counts.looked_at < counts.of:
            return Survey(counts, (counts.text,), warnings=(f"{told} was seen",))
        return Survey(counts, (counts.text,), errors=(told,))


def of_objects(sources: Sources, recipe: Recipe) -> Sources:
    """Both parts with the classes that objects can have: all but the background.

    Raises
    ------
    ConfigError
        a part has label maps and no objects.
    """
    for part, source in zip(("train", "val"), sources, strict=True):
        try:
            known = has_objects(source)
        except DataError:  # the preflight tells it, with what to do
            known = True
        if not known:
            raise ConfigError(
                f"data.{part}: {recipe.data.root} has label maps and no objects, which "
                f"{recipe.model.architecture} learns from; convert it first (`vitrail data convert "
                "... --to coco` makes an object of each connected component)"
            )
    if sources.training.space.background is None:
        return sources
    return Sources(AsObjects(sources.training), AsObjects(sources.validation))


def _has_masks(network: InstanceModel) -> bool:
    return getattr(getattr(network, "arguments", None), "masks", True)


def _outlined(source: SampleSource) -> bool:
    """Whether an object of a source has an outline; True where there is no object."""
    objects = False
    for index in range(len(source)):
        try:
            found = source[index].instances or ()
        except DataError:
            continue
        if any(one.stored is not None or one.polygons is not None for one in found):
            return True
        objects = objects or bool(found)
    return not objects


def _grid(side: int, objects: int, device: torch.device) -> InstanceExample:
    """Squares in rows and columns, as many as that, on a crop of ``side`` px."""
    across = math.isqrt(objects - 1) + 1
    cell = side // across
    numbers = torch.arange(objects)
    corners = torch.stack([numbers % across, numbers // across], 1) * cell
    boxes = torch.cat([corners, corners + max(1, cell * 3 // 4)], 1)
    plane = torch.zeros((1, side, side), dtype=torch.int32)
    for number, (x1, y1, x2, y2) in enumerate(boxes.tolist(), 1):
        plane[0, y1:y2, x1:x2] = number
    none = torch.zeros(objects, dtype=torch.bool)
    parts = (
        torch.zeros((3, side, side), dtype=torch.uint8),
        boxes.float(),
        torch.zeros(objects, dtype=torch.int64),
        none,
        ~none,
        plane,
        torch.zeros(objects, dtype=torch.int64),
    )
    return InstanceExample(*(part.to(device) for part in parts))
