"""Look at a data set: samples drawn with their labels, on one sheet."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.data.derive import has_objects
from vitrail.data.sample import Box, LabelSpace, Sample, SampleSource
from vitrail.result import canvas
from vitrail.result.draw import Style, draw
from vitrail.result.instances import InstanceResult
from vitrail.result.masks import Masks
from vitrail.result.palette import palette
from vitrail.result.semantic import SemanticResult

if TYPE_CHECKING:
    from vitrail.data.augment import AugmentConfig
    from vitrail.data.transforms import Augmentation, InstanceExample

_STYLE = Style(tags=False)
_VEIL = np.array([205, 205, 205], np.uint8)


def choose(count: int, wanted: int, seed: int) -> list[int]:
    """Ascending indices of ``wanted`` out of ``count`` samples, by chance; all where fewer are."""
    return sorted(random.Random(seed).sample(range(count), min(wanted, count)))


def overlay(sample: Sample, space: LabelSpace) -> np.ndarray:
    """The image with its labels over it, (H, W, 3) uint8 RGB.

    Objects where the sample has them, otherwise its label map. Crowds and ignored pixels are
    veiled in light grey, bare boxes are framed.

    Raises
    ------
    DataError, ImageError, SourceError
        the image or its labels cannot be read.
    """
    if sample.instances is None:
        known = space if sample.labels is not None else space.with_background()
        return _labelled(sample.image, sample.semantic(space), known)
    found = [(one, one.mask) for one in sample.instances]
    masked = [(one, mask) for one, mask in found if mask is not None and not one.crowd]
    return _with_objects(
        sample.image,
        Masks.from_crops((mask.crop(0) for _, mask in masked), sample.size),
        [one.class_id for one, _ in masked],
        [mask.crop(0) for one, mask in found if mask is not None and one.crowd],
        [(one.class_id, one.box) for one, mask in found if mask is None],
        space,
    )


def _labelled(image: np.ndarray, labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    result = SemanticResult(
        labels,
        space.classes,
        background=space.background,
        ignore=space.ignore,
        palette=None if space.colours is None else np.array(space.colours, np.uint8),
    )
    return draw(result, image, _STYLE)


def _with_objects(
    image: np.ndarray,
    masks: Masks,
    class_ids: Sequence[int],
    crowds: Sequence[tuple[int, int, np.ndarray]],
    boxes: Sequence[tuple[int, Box]],
    space: LabelSpace,
) -> np.ndarray:
    """Objects by their masks, crowds by their crops, and what has a class and a box only."""
    size = masks.size
    picture = np.array(image, order="C")
    for y, x, crop in crowds:
        window = picture[y : y + crop.shape[0], x : x + crop.shape[1]]
        canvas.tint_mask(window, crop, _VEIL, 0.6)
    result = InstanceResult(
        masks.boxes().astype(np.float32),
        np.ones(len(masks), np.float32),
        np.array(class_ids, np.int64),
        masks,
        space.classes,
        size=size,
    )
    picture = draw(result, picture, _STYLE)
    for class_id, box in boxes:
        canvas.frame(picture, box, palette(class_id + 1)[-1], canvas.Scale.of(size).line)
    return picture


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures of one height, a light gap between them."""
    gap = np.full((left.shape[0], max(2, left.shape[1] // 60), 3), 250, np.uint8)
    return np.hstack([left, gap, right])


def pair(sample: Sample, space: LabelSpace) -> np.ndarray:
    """The image beside itself with its labels, (H, 2 W and a gap, 3) uint8 RGB."""
    return side_by_side(sample.image, overlay(sample, space))


def augmented(
    source: SampleSource, index: int, config: AugmentConfig, size: int, draws: int, seed: int = 0
) -> list[np.ndarray]:
    """Training crops of one sample as a network would see them, each beside its labels.

    Parameters
    ----------
    source, index:
        Where the sample is; what is pasted, and the other parts of mosaics, come from all of it.
    config:
        What is changed.
    size:
        Side of the crops, px.
    draws:
        How many.

    Returns
    -------
    pictures of (size, 2 size and a gap, 3) uint8 RGB

    Raises
    ------
    DataError, ImageError, SourceError
        a sample cannot be read.
    ConfigError, ParameterError
        the augmentation does not suit these labels.
    """
    from vitrail.data.augment import build_augmentation
    from vitrail.data.sample import label_space
    from vitrail.data.transforms import InstanceExample, TrainingSet

    augmentation: Augmentation[Any]
    if has_objects(source):
        space = source.space
        augmentation = build_augmentation(config, size, space, "instances")
    else:
        space = label_space(source)
        augmentation = build_augmentation(config, size, space, "labels")
    shown = TrainingSet(source, augmentation, seed=seed)
    pictures: list[np.ndarray] = []
    for epoch in range(draws):
        example = shown[epoch, index]
        image = np.ascontiguousarray(example.image.permute(1, 2, 0).numpy())
        if isinstance(example, InstanceExample):
            labelled = _example_objects(image, example, space)
        else:
            labelled = _labelled(image, example.labels.numpy(), space)
        pictures.append(side_by_side(image, labelled))
    return pictures


def _example_objects(image: np.ndarray, example: InstanceExample, space: LabelSpace) -> np.ndarray:
    masks = Masks.from_dense(example.masks.numpy())
    ids, boxes = example.class_ids.tolist(), example.boxes.tolist()
    crowd, outlined = example.crowd.numpy(), example.outlined.numpy()
    plain = np.flatnonzero(outlined & ~crowd)
    return _with_objects(
        image,
        masks[plain],
        [ids[i] for i in plain],
        [masks.crop(i) for i in np.flatnonzero(crowd).tolist()],
        [(ids[i], (*boxes[i],)) for i in np.flatnonzero(~outlined).tolist()],
        space,
    )
