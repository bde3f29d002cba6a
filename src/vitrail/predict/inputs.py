"""What a network is fed: images of any size as batches in which each is as if it were alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from vitrail.errors import ImageError, ParameterError
from vitrail.image import Image
from vitrail.models.base import Frame
from vitrail.predict.preprocess import fit_size, frame_of, padded_size, to_batch
from vitrail.weights.card import Preprocessing


class Batch(NamedTuple):
    """Some of the images that were given, ready for one pass."""

    members: list[int]
    """Which ones, as positions."""
    images: Tensor
    """``(B, C, h, w)`` float32, normalised, channels-last."""
    frames: list[Frame]


class Inputs:
    """A card's preprocessing for a network of a given stride.

    Parameters
    ----------
    preprocessing:
        The card's.
    stride:
        What the network wants its input padded to, px.
    image_size:
        In place of the card's.
    mirrored:
        The network sees each image with left and right exchanged.

    Raises
    ------
    ParameterError
        the network takes squares, which ``image_size`` does not divide into its strides.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        stride: int,
        image_size: int | None = None,
        *,
        mirrored: bool = False,
    ) -> None:
        self.preprocessing, self.stride, self.mirrored = preprocessing, stride, mirrored
        if image_size is None:
            return
        if preprocessing.resize == "square" and image_size % stride:
            fits = max(1, round(image_size / stride)) * stride
            raise ParameterError(
                f"image_size={image_size}: this network takes squares with a side that is a "
                f"multiple of {stride}; the nearest is {fits}"
            )
        self.preprocessing = preprocessing.at_size(image_size)

    def batches(self, images: Sequence[Image]) -> Iterator[Batch]:
        """Batches that together hold every image once.

        Images share one only where they need the same padding, which is part of the input.

        Raises
        ------
        ImageError
            an image has no colour bands that the network could take.
        """
        pictures = [self._picture(image) for image in images]
        groups: dict[tuple[int, int], list[int]] = {}
        for index, picture in enumerate(pictures):
            resized = fit_size(picture.shape[:2], self.preprocessing)
            size = padded_size(resized, self.preprocessing, self.stride)
            groups.setdefault(size, []).append(index)
        for members in groups.values():
            chosen = [pictures[index] for index in members]
            yield Batch(members, *to_batch(chosen, self.preprocessing, stride=self.stride))

    def frame(self, image: Image) -> Frame:
        """Where the image lies in its batch."""
        return frame_of(image.size, self.preprocessing)

    def _picture(self, image: Image) -> np.ndarray:
        """The bands that the network takes, as uint8."""
        bands = len(self.preprocessing.mean)
        if bands == 3:
            pixels = image.rgb()
            return np.ascontiguousarray(pixels[:, ::-1]) if self.mirrored else pixels
        raise ImageError(
            f"{image.source or 'the image'}: this network takes {bands} bands, "
            "which are not RGB; only RGB networks are supported"
        )
