"""How large an image is shown, and where the crop lies on it: drawn from its size alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torchvision.transforms import v2

Size = tuple[int, int]
"""``(h, w)``, px."""


def uniform(low: float, high: float) -> float:
    """A number between two others, from torch's global generator."""
    return low + (high - low) * torch.rand(()).item()


def chance(probability: float) -> bool:
    """True with the given probability; draws nothing where that is 0 or 1."""
    return probability >= 1 or (probability > 0 and torch.rand(()).item() < probability)


@dataclass(frozen=True, slots=True)
class View:
    """How large an image is shown, and where the crop lies on it."""

    scale: tuple[float, float]
    """Output pixels per source pixel, down and across."""
    top: float
    left: float
    """Corner of the crop on the scaled image, px; negative where the crop sticks out."""


class Framing(Protocol):
    """Draws a view of a frame ``(H, W)`` for a crop of ``size``."""

    def draw(self, frame: Size, size: Size) -> View: ...


@dataclass(frozen=True, slots=True)
class ScaleJitter:
    """The whole image at a random scale, with a slight stretch; the crop falls anywhere on it.

    Large scale jittering: Ghiasi et al., arXiv:2012.07177.

    Parameters
    ----------
    scale:
        The long side of the whole image is drawn between these multiples of the crop's long side,
        uniformly in the logarithm.
    stretch:
        Each side is multiplied or divided by at most ``1 + stretch``.
    """

    scale: tuple[float, float]
    stretch: float

    def draw(self, frame: Size, size: Size) -> View:
        low, high = self.scale
        factor = low * (high / low) ** uniform(0, 1) * max(size) / max(frame)
        aspect = (1 + self.stretch) ** uniform(-1, 1)
        shown = [
            max(1, round(frame[0] * factor * aspect)),
            max(1, round(frame[1] * factor / aspect)),
        ]
        # Smaller than the crop: anywhere inside it. Larger: the crop anywhere on it.
        top, left = (
            math.copysign(torch.randint(abs(extent - out) + 1, ()).item(), extent - out)
            for extent, out in zip(shown, size, strict=True)
        )
        return View((shown[0] / frame[0], shown[1] / frame[1]), top, left)


@dataclass(frozen=True, slots=True)
class ResizedCrop:
    """A window of random area and shape, resized to the crop: torchvision's RandomResizedCrop.

    Parameters
    ----------
    area:
        Range of the window's share of the image's area.
    stretch:
        Width over height of the window lies within ``(1 + stretch) ** 2`` of 1 either way.
    """

    area: tuple[float, float]
    stretch: float

    def draw(self, frame: Size, size: Size) -> View:
        ratio = (1 + self.stretch) ** 2
        crop = v2.RandomResizedCrop(size, self.area, (1 / ratio, ratio))
        window = crop.make_params([torch.empty((1, *frame), device="meta")])
        down, across = size[0] / window["height"], size[1] / window["width"]
        return View((down, across), window["top"] * down, window["left"] * across)


@dataclass(frozen=True, slots=True)
class Stretch:
    """The whole image, made to fit the crop exactly, whatever its shape."""

    def draw(self, frame: Size, size: Size) -> View:
        return View((size[0] / frame[0], size[1] / frame[1]), 0.0, 0.0)
