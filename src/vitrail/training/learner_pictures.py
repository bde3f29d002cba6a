"""What a :class:`~vitrail.training.learner.Learner` shows: PIL images, which notebooks display."""

from __future__ import annotations

from itertools import chain

import numpy as np
from PIL import Image

from vitrail.data.sample import LabelSpace, SampleSource, label_space
from vitrail.data.split import Subset
from vitrail.errors import ParameterError
from vitrail.training.config import Recipe
from vitrail.training.data import crop_sizes, show_order, training_set
from vitrail.training.pictures import comparison, label_sheet
from vitrail.training.records import Validation
from vitrail.training.setup import class_colours


def some_of(source: SampleSource, n: int) -> Subset:
    """``n`` samples spread evenly over a source, all where it has fewer."""
    return Subset(source, _spread(len(source), n))


def batch_picture(recipe: Recipe, source: SampleSource, n: int) -> Image.Image:
    """``n`` training crops of the first epoch, each beside its labels."""
    space = label_space(source)
    crops = training_set(recipe, source, crop_sizes(recipe.train)[0])
    order = show_order(source, recipe.data.repeat)
    pairs: list[list[tuple[str, np.ndarray]]] = []
    for index in _spread(len(crops), n):
        example = crops[0, index]
        image = np.ascontiguousarray(example.image.permute(1, 2, 0).numpy())
        pairs.append([(source.ids[order[index]], image), ("truth", example.labels.numpy())])
    # Two crops a row, where they come out even.
    across = 2 if len(pairs) % 2 == 0 else 1
    rows = [[*chain(*pairs[i : i + across])] for i in range(0, len(pairs), across)]
    title = f"{recipe.name}: training crops, {crop_sizes(recipe.train)[0]} px"
    return Image.fromarray(label_sheet(title, rows, space.classes, class_colours(space)))


def results_picture(title: str, validation: Validation, space: LabelSpace) -> Image.Image:
    """Rows of input, truth and prediction."""
    return Image.fromarray(comparison(title, validation, space.classes, class_colours(space)))


def _spread(length: int, n: int) -> list[int]:
    if n < 1:
        raise ParameterError(f"n={n}: expected at least 1 image")
    return sorted({int(i) for i in np.linspace(0, length - 1, min(n, length))})
