"""A reader's ``utils.Dataset`` as vitrail's training takes data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from vitrail.compat.mrcnn._boxes import extract_bboxes
from vitrail.compat.mrcnn._dataset import Dataset, objects_of
from vitrail.compat.mrcnn.config import Config
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.predict import matterport
from vitrail.result import Masks


class DatasetSource:
    """A :class:`~vitrail.data.sample.SampleSource` over a prepared data set.

    Class ids lose the background: the original's class 1 is 0 here. A negative id is a crowd.

    Parameters
    ----------
    dataset:
        Prepared.
    images:
        Which of its images, by their numbers.
    config:
        Where given, images come as the original trains on them: resized and padded, in mode
        ``crop`` a part that torch's generator draws. Otherwise as they are.
    """

    def __init__(
        self, dataset: Dataset, images: Sequence[int] | np.ndarray, config: Config | None = None
    ) -> None:
        self.dataset, self.images, self.config = dataset, [int(one) for one in images], config
        self.space = LabelSpace(tuple(dataset.class_names[1:]))

    @property
    def ids(self) -> Sequence[str]:
        return [str(self.dataset.image_info[number]["id"]) for number in self.images]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        number = self.images[index]
        masks, class_ids = objects_of(self.dataset, number)
        image = partial(self.dataset.load_image, number)
        size = (masks.shape[0], masks.shape[1])
        if not masks.shape[2] or self.config is not None:
            pixels = self._pixels(number, masks)
            image, size = partial(_itself, pixels), pixels.shape[:2]
        if self.config is not None:
            pixels, masks = _molded(image(), masks, self.config)
            image, size = partial(_itself, pixels), pixels.shape[:2]
        found = [
            _instance(int(class_id), masks[..., place], box, size)
            for place, (class_id, box) in enumerate(
                zip(class_ids, extract_bboxes(masks), strict=True)
            )
            if box.any()
        ]
        return Sample(self.ids[index], image, size, instances=tuple(found))

    def _pixels(self, number: int, masks: np.ndarray) -> np.ndarray:
        """An image whose masks have its size."""
        pixels = self.dataset.load_image(number)
        if masks.shape[2] and pixels.shape[:2] != masks.shape[:2]:
            raise DataError(
                f"{self.dataset.image_info[number]['path'] or f'image {number}'}: load_mask() "
                f"returned masks of {masks.shape[1]}x{masks.shape[0]} px for an image of "
                f"{pixels.shape[1]}x{pixels.shape[0]} px"
            )
        return pixels


class Rounds:
    """A source whose epochs have a number of images of their own, as ``STEPS_PER_EPOCH`` says.

    Its epochs follow on from one another: an image comes again when all others have come.

    Attributes
    ----------
    round:
        The epoch, from 0; set it before the epoch's first item is asked for.
    """

    def __init__(self, source: DatasetSource, length: int) -> None:
        self.source, self.length, self.round = source, length, 0
        self.space = source.space

    @property
    def ids(self) -> Sequence[str]:
        known = self.source.ids
        return [known[number % len(known)] for number in range(self.length)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        turn, place = divmod(self.round * self.length + index, len(self.source))
        order = np.random.default_rng(turn).permutation(len(self.source))
        return self.source[int(order[place])]


def spread(count: int, limit: int) -> list[int]:
    """``limit`` of ``count`` numbers, evenly spread; all where there are no more."""
    return (
        [number * count // limit for number in range(limit)] if limit < count else [*range(count)]
    )


def _itself(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _instance(class_id: int, mask: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> Instance:
    y1, x1, y2, x2 = box.tolist()
    crop = (y1, x1, np.ascontiguousarray(mask[y1:y2, x1:x2]))
    return Instance.from_masks(
        abs(class_id) - 1, Masks.from_crops([crop], size), crowd=class_id < 0
    )


def _molded(image: np.ndarray, masks: np.ndarray, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """An image and its masks as the network sees them; masks by the nearest pixel."""
    size = (image.shape[0], image.shape[1])
    least, least_scale = config.IMAGE_MIN_DIM or 0, float(config.IMAGE_MIN_SCALE or 0)
    if config.IMAGE_RESIZE_MODE == "crop":
        scale = max(1.0, least / min(size), least_scale)
        height, width = round(size[0] * scale), round(size[1] * scale)
        y = int(torch.randint(height - least + 1, ()))
        x = int(torch.randint(width - least + 1, ()))
        part = np.s_[y : y + least, x : x + least]
        return (
            np.ascontiguousarray(matterport.resize(image, (height, width))[part]),
            _nearest(masks, (height, width))[part],
        )
    fitted = matterport.fit(
        size, least=least, most=config.IMAGE_MAX_DIM, least_scale=least_scale, mode="square"
    )
    y1, x1, y2, x2 = fitted.window
    canvas = np.zeros((*fitted.canvas, masks.shape[2]), bool)
    canvas[y1:y2, x1:x2] = _nearest(masks, fitted.resized)
    return matterport.mold(image, fitted), canvas


def _nearest(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(H, W, N)`` masks at another size, as bool."""
    if not masks.shape[2]:
        return np.zeros((*size, 0), bool)
    rows, columns = (
        (2 * np.arange(length) + 1) * source // (2 * length)
        for length, source in zip(size, masks.shape, strict=False)
    )
    return masks[rows][:, columns] != 0
