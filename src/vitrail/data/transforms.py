"""From samples to tensors: every random draw is made once for an image and its labels.

Geometry and colour come from torchvision.transforms.v2, which draws once for all the tensors of
a sample and treats a ``tv_tensors.Mask`` with nearest-neighbour sampling.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from vitrail.data.sample import LabelSpace, Sample, SampleSource


class Example(NamedTuple):
    """One sample as tensors."""

    image: Tensor
    """``(3, h, w)`` uint8, RGB."""
    labels: Tensor
    """``(h, w)`` uint8, or int32 for label maps beyond 255."""
    unlabelled: Tensor
    """``(C,)`` bool: classes that were not annotated in this image."""


class TrainingSet(torch.utils.data.Dataset[Example]):
    """A sample source seen through an augmentation; safe with worker processes.

    ``copy_paste`` is the probability that the objects of a second image, drawn at random and put
    through the same transform, are pasted over an image: Ghiasi et al., "Simple Copy-Paste is a
    Strong Data Augmentation Method", arXiv:2012.07177, for pixel labels.
    """

    def __init__(
        self, source: SampleSource, transform: v2.Transform, *, copy_paste: float = 0.0
    ) -> None:
        self.source = source
        self.transform = transform
        self.copy_paste = copy_paste

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        sample = self.source[index]
        image, labels = self.transform(*as_tensors(sample, self.source.space))
        if self.copy_paste and torch.rand(()).item() < self.copy_paste:
            donor = self.source[int(torch.randint(len(self.source), ()))]
            image, labels = paste(
                image,
                labels,
                *self.transform(*as_tensors(donor, self.source.space)),
                self.source.space,
            )
        return Example(image, labels, unlabelled_flags(sample, self.source.space))


def paste(
    image: Tensor, labels: Tensor, donor: Tensor, donor_labels: Tensor, space: LabelSpace
) -> tuple[Tensor, Tensor]:
    """Lay the donor's labelled objects (neither background nor ignore) over an image.

    All are ``(C, h, w)`` and ``(h, w)`` of one size; new tensors are returned.
    """
    objects = donor_labels != space.ignore
    if space.background is not None:
        objects &= donor_labels != space.background
    return torch.where(objects, donor, image), torch.where(objects, donor_labels, labels)


def as_tensors(sample: Sample, space: LabelSpace) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """The image ``(3, H, W)`` uint8 and its labels ``(H, W)``, sharing memory where they can."""
    labels = sample.semantic(space)
    labels = labels if labels.dtype == "uint8" else labels.astype("int32")
    image = torch.from_numpy(sample.image).permute(2, 0, 1)
    return tv_tensors.Image(image), tv_tensors.Mask(torch.from_numpy(labels))


def unlabelled_flags(sample: Sample, space: LabelSpace) -> Tensor:
    """``(C,)`` bool, true for the classes that were not annotated in the sample."""
    flags = torch.zeros(len(space.classes), dtype=torch.bool)
    flags[list(sample.unlabelled)] = True
    return flags


def augmentation(
    size: int,
    *,
    scale: tuple[float, float],
    flip: float,
    rotate: float,
    colour: float,
    grey: float,
    ignore: int,
) -> v2.Transform:
    """The training transform: square crops of ``size`` px out of a jittered scene.

    Parameters
    ----------
    size:
        Side of the crop that the network sees (px).
    scale:
        The whole image's long side is drawn between these multiples of ``size``; what does not
        fill the crop is padded with black and ``ignore``.
    flip:
        Probability of a horizontal mirror.
    rotate:
        Largest rotation, degrees either way.
    colour:
        Strength of brightness, contrast, saturation (and a fifth of it for hue) jitter.
    grey:
        Probability of dropping the colour.
    ignore:
        Label for pixels that come from outside the image.
    """
    fill: Any = {tv_tensors.Image: 0, tv_tensors.Mask: ignore}
    steps: list[v2.Transform] = [LongSideJitter(size, scale)]
    if rotate:
        steps.append(
            v2.RandomApply(
                [v2.RandomRotation([-rotate, rotate], v2.InterpolationMode.BILINEAR, fill=fill)],
                0.5,
            )
        )
    steps.append(v2.RandomCrop(size, pad_if_needed=True, fill=fill))
    if flip:
        steps.append(v2.RandomHorizontalFlip(flip))
    if colour:
        steps.append(v2.ColorJitter(colour, colour, colour, colour / 5))
    if grey:
        steps.append(v2.RandomGrayscale(grey))
    return v2.Compose(steps)


class LongSideJitter(v2.Transform):
    """Resize so that the long side is a random multiple of ``size``, with a slight stretch."""

    def __init__(self, size: int, scale: tuple[float, float], stretch: float = 0.15) -> None:
        super().__init__()
        self.size, self.scale, self.stretch = size, scale, stretch

    def make_params(self, flat_inputs: list[object]) -> dict[str, object]:
        height, width = v2.query_size(flat_inputs)
        low, high = self.scale
        factor = low * (high / low) ** torch.rand(()).item()  # uniform in the logarithm
        factor *= self.size / max(height, width)
        aspect = (1 + self.stretch) ** (2 * torch.rand(()).item() - 1)
        return {
            "size": [
                max(1, round(height * factor * aspect)),
                max(1, round(width * factor / aspect)),
            ]
        }

    def transform(self, inpt: object, params: dict[str, object]) -> object:
        return self._call_kernel(v2.functional.resize, inpt, size=params["size"], antialias=True)
