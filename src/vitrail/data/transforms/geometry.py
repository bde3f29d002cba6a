"""Which pixels of an image make a training crop: one plan, drawn once, for image and masks alike.

A plan is drawn from the size of the image alone, before anything is decoded. So only the part of
the image that the crop shows is ever resized, and a large JPEG can be decoded at a fraction of its
size. Images are resized by torchvision.transforms.v2 (bilinear, antialiased), masks by the nearest
pixel centre, with which no label is ever mixed.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from vitrail.data.transforms.framing import Framing, Size, View, chance, uniform

F = v2.functional


class Grid(NamedTuple):
    """Which pixel of an image each pixel of a resized part of it shows: the one whose centre lies
    nearest, as OpenCV's ``INTER_NEAREST_EXACT`` takes them."""

    rows: np.ndarray
    """``(h,)`` int64, never falling."""
    columns: np.ndarray
    """``(w,)`` int64, likewise."""

    @classmethod
    def of(cls, window: tuple[int, int, int, int], resized: Size) -> Grid:
        """Of a window ``y x h w`` of the image, px, and the size that it is resized to."""
        y, x, h, w = window
        return cls(y + _nearest(h, resized[0]), x + _nearest(w, resized[1]))

    @property
    def size(self) -> Size:
        """``(h, w)`` of the resized part."""
        return len(self.rows), len(self.columns)

    def seen(self, y: int, x: int, crop: np.ndarray) -> tuple[int, int, np.ndarray]:
        """A crop whose corner lies at ``(y, x)`` of the image: where, and how, it is shown."""
        top, bottom = np.searchsorted(self.rows, (y, y + crop.shape[0]))
        left, right = np.searchsorted(self.columns, (x, x + crop.shape[1]))
        chosen = np.ix_(self.rows[top:bottom] - y, self.columns[left:right] - x)
        return int(top), int(left), crop[chosen]


def _nearest(extent: int, resized: int) -> np.ndarray:
    """The source of each pixel along an axis, from OpenCV itself: of ties it alone decides."""
    places = np.arange(extent, dtype=np.float32)[None]  # exact up to 16 million
    taken = cv2.resize(places, (resized, 1), interpolation=cv2.INTER_NEAREST_EXACT)
    return taken[0].astype(np.int64)


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of one image: its window is resized, rotated, cropped and flipped."""

    window: tuple[int, int, int, int]
    """``y x h w`` of the source pixels that the crop needs, inside the frame."""
    resized: Size
    """What the window is resized to."""
    top: int
    left: int
    """Corner of the crop on the resized window; negative where the crop sticks out."""
    size: Size
    """Of the crop."""
    angle: float = 0.0
    """Counter-clockwise, degrees."""
    pivot: tuple[float, float] = (0.0, 0.0)
    """What it is rotated about: y and x on the crop, px from its upper left edge."""
    flips: tuple[bool, bool] = (False, False)
    """Horizontal (left and right change places), vertical."""

    @property
    def area_scale(self) -> float:
        """Output pixels per source pixel."""
        _, _, h, w = self.window
        return self.resized[0] * self.resized[1] / (h * w)

    @property
    def reduction(self) -> int:
        """Largest of 1, 2, 4, 8 by which the source may shrink and still not be enlarged."""
        _, _, h, w = self.window
        room = min(h / self.resized[0], w / self.resized[1])
        return next(factor for factor in (8, 4, 2, 1) if factor <= room or factor == 1)

    def snapped(self, frame: Size, factor: int) -> Plan:
        """This plan with a window on whole blocks of ``factor`` px, so that a source reduced by
        that factor and labels in full size show exactly the same scene.

        It moves the crop by less than a pixel; up to ``factor - 1`` rows and columns at the far
        edges, where the last block is not whole, are left out.
        """
        if factor == 1:
            return self
        y, x, h, w = self.window
        rows, columns = frame[0] // factor, frame[1] // factor
        top, left = min(y // factor, rows - 1), min(x // factor, columns - 1)
        bottom, right = min(-(-(y + h) // factor), rows), min(-(-(x + w) // factor), columns)
        window = top, left, max(1, bottom - top), max(1, right - left)
        return replace(self, window=tuple(factor * value for value in window))

    def image(self, pixels: np.ndarray, factor: int = 1) -> Tensor:
        """``(H, W, 3)`` uint8, reduced by ``factor``, to a contiguous ``(3, h, w)``; outside black.

        With a factor, the plan must be :meth:`snapped` to it.
        """
        y, x, h, w = (value // factor for value in self.window)
        part = pixels[y : y + h, x : x + w]
        if not part.flags.writeable or min(part.strides) < 0:
            part = part.copy()  # torch takes neither read-only nor mirrored memory
        tensor = torch.from_numpy(part).permute(2, 0, 1)
        if (h, w) != self.resized:
            tensor = F.resize_image(tensor, list(self.resized), antialias=True)
        if self.angle:
            tensor = torch.from_numpy(self._rotated(tensor.permute(1, 2, 0).numpy(), 0))
            tensor = tensor.permute(2, 0, 1)
        else:
            canvas = torch.zeros((3, *self.size), dtype=torch.uint8)
            into, of = self._overlap()
            canvas[:, *into] = tensor[:, *of]
            tensor = canvas
        if self.flips[0]:
            tensor = F.horizontal_flip_image(tensor)
        if self.flips[1]:
            tensor = F.vertical_flip_image(tensor)
        return tensor.contiguous()

    def mask(self, labels: np.ndarray, fill: int) -> np.ndarray:
        """``(H, W)`` uint8 or uint16 ids in full size to ``(h, w)``; ``fill`` outside the frame."""
        y, x, h, w = self.window
        part = labels[y : y + h, x : x + w]
        if (h, w) != self.resized:
            part = cv2.resize(part, self.resized[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return self.placed(part, fill)

    @property
    def grid(self) -> Grid:
        """Which pixels of the image make the resized window."""
        return Grid.of(self.window, self.resized)

    def placed(self, part: np.ndarray, fill: int) -> np.ndarray:
        """Ids of the resized window, uint8 or uint16, to the crop; ``fill`` outside the frame."""
        if self.angle:
            out = self._rotated(part, fill)
        else:
            out = np.full(self.size, fill, part.dtype)
            into, of = self._overlap()
            out[into] = part[of]
        out = out[:, ::-1] if self.flips[0] else out
        return np.ascontiguousarray(out[::-1] if self.flips[1] else out)

    def _overlap(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The part of the crop that the resized window covers, and the part of that window."""
        into, of = [], []
        for start, extent, out in zip((self.top, self.left), self.resized, self.size, strict=True):
            first, last = max(0, -start), max(0, min(out, extent - start))
            into.append(slice(first, max(first, last)))
            of.append(slice(start + first, start + max(first, last)))
        return (into[0], into[1]), (of[0], of[1])

    def _rotated(self, part: np.ndarray, fill: int) -> np.ndarray:
        """The crop out of the rotated window.

        OpenCV's kernel: it takes the same pixels as ``v2.functional.rotate`` in a tenth of the
        time, and computes only those of the crop.
        """
        y, x = self.pivot
        matrix = cv2.getRotationMatrix2D((x - 0.5, y - 0.5), self.angle, 1)  # pixel centres
        matrix[:, 2] -= matrix[:, :2] @ (self.left, self.top)
        flags = cv2.INTER_LINEAR if part.ndim == 3 else cv2.INTER_NEAREST
        return cv2.warpAffine(part, matrix, self.size[::-1], flags=flags, borderValue=[fill] * 3)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Draws plans.

    Parameters
    ----------
    framing:
        How large the image is shown, and which part.
    size:
        ``(h, w)`` of the crop, px.
    rotate, rotate_probability:
        Largest rotation, degrees either way, and how often one is drawn.
    flip, flip_vertical:
        Probabilities of exchanging left and right, top and bottom.
    """

    framing: Framing
    size: Size
    rotate: float = 0.0
    rotate_probability: float = 0.5
    flip: float = 0.0
    flip_vertical: float = 0.0

    def plan(self, frame: Size, size: Size | None = None) -> Plan:
        """A plan for an image of ``frame`` px, and for a crop of another size if one is given."""
        size = size or self.size
        view = self.framing.draw(frame, size)
        turned = self.rotate > 0 and chance(self.rotate_probability)
        angle = uniform(-self.rotate, self.rotate) if turned else 0.0
        flips = chance(self.flip), chance(self.flip_vertical)
        pivot = _pivot(view, frame, size)
        needed = _needed(view, size, angle, pivot)
        (y, h), (x, w) = (
            _span(low, high, scale, extent)
            for (low, high), scale, extent in zip(needed, view.scale, frame, strict=True)
        )
        down, across = view.scale
        return Plan(
            (y, x, h, w),
            (max(1, round(h * down + _EPSILON)), max(1, round(w * across + _EPSILON))),
            round(view.top - y * down),
            round(view.left - x * across),
            size,
            angle,
            pivot,
            flips,
        )


_EPSILON = 1e-6
"""Rounding error of a product, px: what is whole by construction must come out whole, and of two
halves the far edge is rounded up, so that a crop that lies on the image is never a row short."""


def _pivot(view: View, frame: Size, size: Size) -> tuple[float, float]:
    """Centre of what the crop shows of the image, y and x on the crop."""
    centres = [
        (max(0.0, start) + min(extent * scale, start + out)) / 2 - start
        for start, extent, scale, out in zip(
            (view.top, view.left), frame, view.scale, size, strict=True
        )
    ]
    return centres[0], centres[1]


def _needed(
    view: View, size: Size, angle: float, pivot: tuple[float, float]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Rows and columns of the scaled image, from and to, that the rotated crop touches."""
    if not angle:
        return (view.top, view.top + size[0]), (view.left, view.left + size[1])
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    rows, columns = [], []
    for y, x in itertools.product((0, size[0]), (0, size[1])):
        dy, dx = y - pivot[0], x - pivot[1]
        rows.append(view.top + pivot[0] + sin * dx + cos * dy)
        columns.append(view.left + pivot[1] + cos * dx - sin * dy)
    # Bilinear sampling looks one pixel further.
    return (min(rows) - 1, max(rows) + 1), (min(columns) - 1, max(columns) + 1)


def _span(low: float, high: float, scale: float, extent: int) -> tuple[int, int]:
    """First source pixel, and how many (at least one), that hold a span of the scaled image."""
    first = min(max(0, math.floor(low / scale + _EPSILON)), extent - 1)
    last = min(max(first + 1, math.ceil(high / scale - _EPSILON)), extent)
    return first, last - first
