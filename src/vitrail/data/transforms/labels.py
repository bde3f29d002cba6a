"""Training crops with a class for every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vitrail.data.sample import LabelSpace, Sample
from vitrail.data.transforms.framing import Size
from vitrail.data.transforms.geometry import Plan
from vitrail.data.transforms.reading import read_pixels


class Example(NamedTuple):
    """One crop as tensors; torch's default collation stacks them."""

    image: Tensor
    """``(3, h, w)`` uint8, RGB."""
    labels: Tensor
    """``(h, w)`` uint8, or int32 where the label space goes beyond 255."""
    unlabelled: Tensor
    """``(C,)`` bool: classes that were not annotated in this image."""


def unlabelled_flags(sample: Sample, space: LabelSpace) -> Tensor:
    """``(C,)`` bool, true for the classes that were not annotated in the sample."""
    flags = torch.zeros(len(space.classes), dtype=torch.bool)
    flags[list(sample.unlabelled)] = True
    return flags


@dataclass(frozen=True, slots=True)
class LabelScene:
    """A crop in the making: what is cut out, pasted and tiled before it becomes an Example."""

    image: Tensor
    """``(3, h, w)`` uint8, contiguous."""
    labels: np.ndarray
    """``(h, w)`` uint8 or uint16."""
    unlabelled: Tensor
    """``(C,)`` bool."""
    space: LabelSpace
    """Of the labels."""

    @classmethod
    def read(cls, sample: Sample, space: LabelSpace, plan: Plan, *, target: LabelSpace):
        """Decode a sample as a plan wants it.

        ``space`` is the data set's own, ``target`` that of its label maps (``label_space``).

        Raises
        ------
        DataError, ImageError, SourceError
            its files are damaged or do not fit together.
        """
        pixels, plan, factor = read_pixels(sample, plan)
        wide = max(target.ignore + 1, len(target.classes)) > 256
        labels = sample.semantic(space).astype(np.uint16 if wide else np.uint8, copy=False)
        flags = unlabelled_flags(sample, space)
        added = len(target.classes) - len(space.classes)  # the background, put first
        return cls(
            plan.image(pixels, factor),
            plan.mask(labels, target.ignore),
            torch.cat([torch.zeros(added, dtype=torch.bool), flags]),
            target,
        )

    def with_image(self, image: Tensor) -> LabelScene:
        """The same labels on another picture."""
        return LabelScene(image, self.labels, self.unlabelled, self.space)

    def pasted(self, donor: LabelScene) -> LabelScene:
        """Lay the donor's labelled objects (neither background nor ignore) over this crop.

        Both are of one size.
        """
        objects = donor.labels != self.space.ignore
        if self.space.background is not None:
            objects &= donor.labels != self.space.background
        return LabelScene(
            torch.where(torch.from_numpy(objects), donor.image, self.image),
            np.where(objects, donor.labels, self.labels),
            self.unlabelled,
            self.space,
        )

    @classmethod
    def tiled(cls, scenes: Sequence[LabelScene], corners: Sequence[Size], size: Size) -> LabelScene:
        """Crops side by side, each with its upper left corner ``(y, x)``; they fill ``size``.

        A class that is unlabelled in one of them is so in the whole.
        """
        image = torch.zeros((3, *size), dtype=torch.uint8)
        labels = np.zeros(size, scenes[0].labels.dtype)
        for scene, (y, x) in zip(scenes, corners, strict=True):
            h, w = scene.labels.shape
            image[:, y : y + h, x : x + w] = scene.image
            labels[y : y + h, x : x + w] = scene.labels
        flags = torch.stack([scene.unlabelled for scene in scenes]).any(0)
        return cls(image, labels, flags, scenes[0].space)

    def hidden(self, y: int, x: int, h: int, w: int) -> LabelScene:
        """Ignore the labels of a rectangle, px: nothing in the picture says what lies there."""
        labels = self.labels.copy()
        labels[y : y + h, x : x + w] = self.space.ignore
        return LabelScene(self.image, labels, self.unlabelled, self.space)

    def example(self) -> Example:
        """As tensors."""
        narrow = self.labels.dtype == np.uint8
        labels = self.labels if narrow else self.labels.astype(np.int32)
        return Example(self.image, torch.from_numpy(labels), self.unlabelled)
