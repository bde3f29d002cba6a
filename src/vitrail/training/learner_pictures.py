"""What a :class:`~vitrail.training.learner.Learner` shows: PIL images, which notebooks display."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
from PIL import Image

from vitrail.data.sample import LabelSpace, SampleSource
from vitrail.data.split import Subset
from vitrail.data.transforms import Example, InstanceExample
from vitrail.errors import ParameterError
from vitrail.result import InstanceResult, Masks
from vitrail.training.data import crop_sizes, show_order
from vitrail.training.pictures import comparison, label_sheet, objects_over
from vitrail.training.records import Validation
from vitrail.training.task import Task


def some_of(source: SampleSource, n: int) -> Subset:
    """``n`` samples spread evenly over a source, all where it has fewer."""
    return Subset(source, _spread(len(source), n))


def batch_picture(task: Task[Any, Any], n: int) -> Image.Image:
    """``n`` training crops of the first epoch, each beside its labels or objects."""
    recipe, source, space = task.recipe, task.sources.training, task.space
    crops = task.training_set(crop_sizes(recipe.train)[0])
    order = show_order(source, recipe.data.repeat)
    pairs: list[list[tuple[str, np.ndarray]]] = []
    for index in _spread(len(crops), n):
        example = crops[0, index]
        image = np.ascontiguousarray(example.image.permute(1, 2, 0).numpy())
        pairs.append([(source.ids[order[index]], image), _truth(example, image, space)])
    # Two crops a row, where they come out even.
    across = 2 if len(pairs) % 2 == 0 else 1
    rows = [[*chain(*pairs[i : i + across])] for i in range(0, len(pairs), across)]
    title = f"{recipe.name}: training crops, {crop_sizes(recipe.train)[0]} px"
    return Image.fromarray(label_sheet(title, rows, space.classes, task.colours))


def _truth(
    example: Example | InstanceExample, image: np.ndarray, space: LabelSpace
) -> tuple[str, np.ndarray]:
    if isinstance(example, Example):
        return "truth", example.labels.numpy()
    objects = InstanceResult(
        example.boxes.numpy(),
        np.ones(len(example.boxes), np.float32),
        example.class_ids.numpy(),
        Masks.from_dense(example.masks.numpy()),
        space.classes,
        size=(image.shape[0], image.shape[1]),
    )
    return f"truth, {len(objects):,} objects", objects_over(image, objects)


def results_picture(title: str, validation: Validation, task: Task[Any, Any]) -> Image.Image:
    """Rows of input, truth and prediction."""
    return Image.fromarray(comparison(title, validation, task.space.classes, task.colours))


def _spread(length: int, n: int) -> list[int]:
    if n < 1:
        raise ParameterError(f"n={n}: expected at least 1 image")
    return sorted({int(i) for i in np.linspace(0, length - 1, min(n, length))})
