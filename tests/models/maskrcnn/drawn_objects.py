"""Targets drawn by code, for tests of what a detector learns from."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from vitrail.data.transforms import InstanceExample
from vitrail.data.transforms.geometry import Grid
from vitrail.data.transforms.instances import extents, to_planes

Box = tuple[int, int, int, int]


def example(
    masks: Sequence[np.ndarray] = (),
    class_ids: Sequence[int] | None = None,
    *,
    size: tuple[int, int] = (64, 64),
    crowd: Sequence[int] = (),
    boxed: Sequence[int] = (),
) -> InstanceExample:
    """A target with the given ``(H, W)`` bool masks, each with a pixel.

    ``crowd`` and ``boxed`` are the numbers of crowds and of objects with nothing but a box.
    """
    planes, plane, _ = to_planes(((0, 0, mask) for mask in masks), Grid.of((0, 0, *size), size))
    numbers = torch.arange(len(masks))
    return InstanceExample(
        torch.zeros((3, *size), dtype=torch.uint8),
        torch.from_numpy(extents(planes, plane)),
        torch.tensor(list(class_ids or [0] * len(masks)), dtype=torch.int64),
        torch.isin(numbers, torch.tensor(list(crowd), dtype=torch.int64)),
        ~torch.isin(numbers, torch.tensor(list(boxed), dtype=torch.int64)),
        torch.from_numpy(planes.astype(np.int32)),
        torch.from_numpy(plane),
    )


def rectangle(x1: int, y1: int, x2: int, y2: int, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """``(H, W)`` bool, x2 and y2 exclusive."""
    mask = np.zeros(size, bool)
    mask[y1:y2, x1:x2] = True
    return mask


def ellipses(count: int, *, size: tuple[int, int] = (64, 64), seed: int = 0) -> list[np.ndarray]:
    """``(H, W)`` bool masks, which may lie over each other and over the image's edge."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(count):
        mask = np.zeros(size, np.uint8)
        centre = rng.integers(0, size[1]), rng.integers(0, size[0])
        axes = rng.integers(3, max(size) // 3, 2)
        cv2.ellipse(
            mask,
            [int(v) for v in centre],
            [int(v) for v in axes],
            rng.uniform(0, 180),
            0,
            360,
            1,
            -1,
        )
        masks.append(mask.astype(bool))
    return masks


def near(boxes: torch.Tensor, count: int, *, side: int, seed: int = 0) -> torch.Tensor:
    """``(count, 4)`` boxes inside an image of ``side`` px, half of them close to the given ones."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, 2, generator=generator) * side
    found = torch.cat([corners.amin(1), corners.amax(1)], 1)
    if len(boxes):
        chosen = boxes[torch.randint(len(boxes), (count // 2,), generator=generator)]
        sides = (chosen[:, 2:] - chosen[:, :2]).repeat(1, 2)
        found[: count // 2] = chosen + 0.1 * sides * torch.randn(
            count // 2, 4, generator=generator
        ).clamp(-2, 2)
    return found.clamp(0, side)
