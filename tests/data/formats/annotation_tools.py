"""Drawn samples for the tests of annotation tools' formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from hypothesis import strategies as st

from vitrail.data.formats.base import Dataset
from vitrail.data.sample import Instance, LabelSpace, Sample, SampleSource
from vitrail.result.masks import Masks

SPACE = LabelSpace(("cat", "dog", "no"))
"""The last name is what YAML 1.1 takes for a boolean."""


class ListSource:
    """Samples in memory."""

    def __init__(self, samples: Sequence[Sample], space: LabelSpace = SPACE) -> None:
        self.samples, self.space = samples, space
        self.ids = [sample.id for sample in samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def sources(**splits: Sequence[Sample]) -> dict[str, SampleSource]:
    """Splits by name, as writers take them."""
    return {name: ListSource(samples) for name, samples in splits.items()}


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """``(H, W, 3)`` uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def write_picture(path: Path, size: tuple[int, int]) -> Path:
    """A picture as file, in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture(size))
    return path


def blob(size: tuple[int, int], *, hole: bool = False, parts: int = 1) -> Masks:
    """Discs side by side, with a square hole in each or without."""
    dense = np.zeros(size, np.uint8)
    step = size[1] // parts
    radius = min(step, size[0]) // 2 - 2
    for part in range(parts):
        centre = (part * step + step // 2, size[0] // 2)
        cv2.circle(dense, centre, radius, 1, -1)
        if hole:
            reach = max(radius // 3, 1)
            corners = [(c - reach, c + reach) for c in centre]
            (x0, x1), (y0, y1) = corners
            dense[y0:y1, x0:x1] = 0
    return Masks.from_dense(dense[None])


def star(size: tuple[int, int], points: int = 7) -> np.ndarray:
    """An outline with two decimals, as COCO's are."""
    angles = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False) + 0.1
    reach = np.where(np.arange(2 * points) % 2, 0.2, 0.45)[:, None]
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.round((unit * reach + 0.5) * size[::-1], 2)


def varied(size: tuple[int, int], prefix: str = "") -> list[Sample]:
    """Objects of every kind: outlines, masks with holes and parts, bare boxes, none at all."""
    ring = star(size)
    height, width = size
    objects = [
        [Instance.from_polygons(0, [ring], size, id="1")],
        [
            Instance.from_masks(1, blob(size, hole=True, parts=2), id="1"),
            Instance.from_polygons(2, [ring * 0.5, ring * 0.5 + (width / 2, height / 2)], size),
        ],
        [Instance.from_box(0, (1.0, 2.25, width - 3.5, height - 1.0), size, id="7")],
        [],
    ]
    return [
        Sample(f"{prefix}s{number}", picture(size, number), size, instances=tuple(found))
        for number, found in enumerate(objects)
    ]


def same_objects(ours: Sample, back: Sample, *, boxes: bool = True) -> None:
    """Assert that objects come back: class, pixels, and bare boxes as they were."""
    assert ours.instances is not None and back.instances is not None
    kept = [one for one in ours.instances if boxes or one.mask is not None]
    assert [one.class_id for one in back.instances] == [one.class_id for one in kept]
    for one, other in zip(kept, back.instances, strict=True):
        if one.mask is None:
            assert other.mask is None
            assert other.box == one.box
        else:
            assert other.mask == one.mask


def same_set(before: Mapping[str, SampleSource], after: Dataset, *, boxes: bool = True) -> None:
    """Assert that splits, classes, ids, pictures and objects come back, and without faults."""
    assert after.problems == [] or all(one.severity == "note" for one in after.problems)
    assert list(after.splits) == list(before)
    for split, source in before.items():
        back = after[split]
        assert list(back.ids) == sorted(source.ids)
        assert back.space.classes == source.space.classes
        order = sorted(range(len(source)), key=lambda i: source.ids[i])
        for number, index in enumerate(order):
            ours, other = source[index], back[number]
            assert other.id == ours.id and other.size == ours.size
            np.testing.assert_array_equal(other.image, ours.image)
            same_objects(ours, other, boxes=boxes)


@st.composite
def drawn_masks(draw: st.DrawFn) -> Masks:
    """One mask of up to 12 x 12 pixels, with any holes and parts, never empty."""
    height, width = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    bits = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    dense = np.array(bits).reshape(1, height, width)
    dense.flat[draw(st.integers(0, height * width - 1))] = True
    return Masks.from_dense(dense)


@st.composite
def drawn_rings(draw: st.DrawFn, extent: float = 40.0) -> np.ndarray:
    """An outline of 3 to 9 points with two decimals, some of them outside the frame."""
    coordinate = st.integers(-200, round(extent * 100) + 200).map(lambda value: value / 100)
    corners = draw(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=9))
    return np.array(corners, np.float64)
