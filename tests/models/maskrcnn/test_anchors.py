"""Anchors, by hand and against torchvision's."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from vitrail.models.maskrcnn.anchors import anchor_shapes, place_anchors
from vitrail.models.maskrcnn.arguments import AnchorArguments

CPU = torch.device("cpu")


def arguments(**values: object) -> AnchorArguments:
    return AnchorArguments.model_validate(values)


def test_shapes_keep_their_area() -> None:
    shapes = anchor_shapes(arguments(sizes=[32, 100], ratios=[0.5, 1, 4]))
    sides = shapes[..., 2:] - shapes[..., :2]
    assert shapes.shape == (2, 3, 4)
    assert sides.prod(-1).flatten().tolist() == pytest.approx([1024] * 3 + [10_000] * 3)
    assert (sides[..., 1] / sides[..., 0])[0].tolist() == pytest.approx([0.5, 1, 4])
    assert shapes[0, 1].tolist() == [-16, -16, 16, 16]


def test_order_is_row_column_ratio() -> None:
    (placed,) = place_anchors(
        [(2, 3)], [8], (16, 24), arguments(sizes=[2], ratios=[1, 4]), inclusive=False, device=CPU
    )
    centres = (placed[:, :2] + placed[:, 2:]) / 2
    assert centres[::2].tolist() == [[0, 0], [8, 0], [16, 0], [0, 8], [8, 8], [16, 8]]
    assert torch.equal(centres[::2], centres[1::2])
    assert placed[0].tolist() == [-1, -1, 1, 1]
    assert placed[1].tolist() == [-0.5, -2, 0.5, 2]


def test_inclusive_corners_are_one_less() -> None:
    plain, inclusive = (
        place_anchors([(1, 2)], [4], (4, 8), arguments(sizes=[32]), inclusive=one, device=CPU)[0]
        for one in (False, True)
    )
    assert (plain - inclusive).unique(dim=0).tolist() == [[0, 0, 1, 1]]


def test_all_levels_are_torchvisions() -> None:
    sizes = (32, 64, 128, 256, 512)
    theirs = AnchorGenerator(tuple((size,) for size in sizes), ((0.5, 1.0, 2.0),) * 5)
    levels = [(50, 68), (25, 34), (13, 17), (7, 9), (4, 5)]
    features = [torch.zeros(1, 1, *level) for level in levels]
    images = ImageList(torch.zeros(1, 3, 200, 272), [(200, 272)])
    ours = place_anchors(
        levels,
        [4, 8, 16, 32, 64],
        (200, 272),
        arguments(rounded=True, whole_steps=True),
        inclusive=False,
        device=CPU,
    )
    torch.testing.assert_close(torch.cat(ours), theirs(images, features)[0])


def test_several_sizes_a_level_are_torchvisions() -> None:
    sizes = (32, 64, 128, 256, 512)
    theirs = AnchorGenerator((sizes,) * 3, ((0.5, 1.0, 2.0),) * 3)
    levels = [(7, 9), (7, 9), (4, 5)]
    features = [torch.zeros(1, 1, *level) for level in levels]
    images = ImageList(torch.zeros(1, 3, 224, 288), [(224, 288)])
    values = arguments(sizes=[sizes] * 3, rounded=True, whole_steps=True)
    ours = place_anchors(levels, [32, 32, 64], (224, 288), values, inclusive=False, device=CPU)
    assert values.shapes == 15 and ours[0].shape == (7 * 9 * 15, 4)
    torch.testing.assert_close(torch.cat(ours), theirs(images, features)[0])
