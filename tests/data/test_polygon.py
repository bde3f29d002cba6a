"""Outlines: filled pixel for pixel as pycocotools fills them; their area; whether they cross."""

import warnings
from importlib.metadata import version

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from vitrail.data import polygon
from vitrail.data.polygon import rasterise, ring_area, ring_is_simple
from vitrail.errors import DataError

PYCOCOTOOLS = f"pycocotools-{version('pycocotools')}"
SQUARE = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], float)


def reference(rings: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """What ``COCO.annToMask`` does."""
    flat = [np.asarray(ring, float).ravel().tolist() for ring in rings]
    merged = coco.merge(coco.frPyObjects(flat, *size))
    with warnings.catch_warnings():  # pycocotools warns of its own __array__
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.asarray(coco.decode(merged)).astype(bool)


def coordinates(step: float) -> st.SearchStrategy[float]:
    """Positions in and around a frame of 40 px, on a grid of ``step`` px; 0: anywhere."""
    if step:
        return st.integers(int(-30 / step), int(70 / step)).map(lambda v: v * step)
    return st.floats(-1e3, 1e3) | st.floats(-30, 70)


@st.composite
def outlines(draw: st.DrawFn) -> list[np.ndarray]:
    """One to four rings: random (so concave and crossing), in places tiny, flat or far out."""
    axis = coordinates(draw(st.sampled_from([0, 0.01, 0.1, 0.2, 0.5, 1.0])))
    count = draw(st.integers(1, 4))
    points = st.lists(st.tuples(axis, axis), min_size=3, max_size=12)
    rings = [np.array(draw(points)) for _ in range(count)]
    return [ring * draw(st.sampled_from([1, 1, 0.02])) for ring in rings]


@settings(max_examples=400, deadline=None)
@given(outlines(), st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_fills_as_pycocotools(rings: list[np.ndarray], size: tuple[int, int]) -> None:
    made = rasterise(rings, size)
    assert made.size == size and len(made) == 1
    assert np.array_equal(made.dense()[0], reference(rings, size)), PYCOCOTOOLS


@pytest.mark.parametrize("seed", range(4))
def test_a_star_of_many_points_fills_as_pycocotools(seed: int) -> None:
    """Long steep and flat edges, many crossings a column, several rings that overlap."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    rings = [
        rng.uniform(100, 400, 2)
        + (rng.uniform(20, 300, (300, 1)) * np.stack([np.cos(angle), np.sin(angle)], 1))
        for _ in range(3)
    ]
    assert np.array_equal(rasterise(rings, (480, 512)).dense()[0], reference(rings, (480, 512)))


@pytest.mark.parametrize(
    "ring",
    [
        [[-1e7, -1e7], [3e8, 20], [-1e7, 3e6]],
        [[5, -3e8], [20, 3e8], [12.3, 3e8]],
        [[-50, -50], [-20, -50], [-20, -20]],
        [[100, 3], [200, 3], [200, 30]],
        [[0, 0], [40, 0], [40, 30], [0, 30]],
        [[39.9, 0], [40.1, 0], [40.1, 30], [39.9, 30]],
    ],
    ids=["huge", "steep", "above-left", "right", "whole-frame", "last-column"],
)
def test_what_leaves_the_frame_is_cut(ring: list[list[float]]) -> None:
    """The truth of the far ones is the even-odd rule, as walking them needs gigabytes."""
    points = np.array(ring)
    made = rasterise([points], (30, 40)).dense()[0]
    if np.abs(points).max() < 1e6:
        assert np.array_equal(made, reference([points], (30, 40)))
    else:
        y, x = np.mgrid[:30, :40] + 0.5
        inside = np.zeros((30, 40), bool)
        for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, 0), strict=True):
            if y1 != y2:
                inside ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
        assert inside.any() and (made != inside).mean() < 0.02


@pytest.mark.parametrize("points", [0, 1, 2])
def test_fewer_than_three_points_add_nothing(points: int) -> None:
    degenerate = SQUARE[:points]
    assert rasterise([degenerate], (8, 8)).areas().tolist() == [0]
    if points == 2:
        assert np.array_equal(
            rasterise([SQUARE, degenerate], (8, 8)).dense()[0],
            reference([SQUARE, degenerate], (8, 8)),
        )


def test_no_rings_or_no_pixels_give_one_empty_mask() -> None:
    for rings, size in [([], (5, 7)), ([SQUARE], (0, 7)), ([SQUARE], (5, 0))]:
        made = rasterise(rings, size)
        assert (len(made), made.size, int(made.areas()[0])) == (1, size, 0)


def test_more_than_127_rings_that_overlap_are_united() -> None:
    rings = [SQUARE + np.array([i / 50, 0]) for i in range(300)]
    assert np.array_equal(rasterise(rings, (8, 16)).dense()[0], reference(rings, (8, 16)))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300, -5e8])
def test_what_is_no_position_is_refused(wrong: float) -> None:
    ring = SQUARE.copy()
    ring[2, 1] = wrong
    with pytest.raises(DataError, match="finite number of pixels"):
        rasterise([SQUARE, ring], (8, 8))


def test_a_flat_list_is_refused() -> None:
    with pytest.raises(DataError, match=r"expected \(K, 2\)"):
        rasterise([SQUARE.ravel()], (8, 8))


def test_area_has_the_sign_of_the_winding() -> None:
    assert ring_area(SQUARE) == 16  # right, down, left, up: clockwise on the screen
    assert ring_area(SQUARE[::-1]) == -16
    assert ring_area(SQUARE + 1e9) == 16
    assert ring_area(SQUARE[:2]) == 0
    assert ring_area(np.array([[0, 0], [2, 2], [2, 0], [0, 2]])) == 0


SHAPES = {
    # name: points, crosses nothing, is simple in the strict sense
    "square": (SQUARE, True, True),
    "closed square": (np.concatenate([SQUARE, SQUARE[:1]]), True, True),
    "repeated points": (np.repeat(SQUARE, 2, axis=0), True, True),
    "triangle": (SQUARE[:3], True, True),
    "bow tie": (SQUARE[[0, 2, 1, 3]], False, False),
    "corner touches corner": ([[0, 0], [2, 2], [4, 0], [4, 4], [2, 2], [0, 4]], True, False),
    "corner touches edge": ([[0, 0], [4, 0], [4, 4], [2, 0], [0, 4]], True, False),
    "spike": ([[0, 0], [4, 0], [4, 4], [4, 8], [4, 4], [0, 4]], True, False),
    "folded back": ([[0, 0], [6, 0], [4, 0], [4, 4], [0, 4]], True, False),
    "flat": ([[0, 0], [2, 0], [4, 0]], True, False),
    "two points": (SQUARE[:2], True, False),
    "nothing": (SQUARE[:0], True, False),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("turn", range(3))
def test_crossing_and_touching(name: str, turn: int) -> None:
    points, crosses_nothing, simple = SHAPES[name]
    ring = np.roll(np.asarray(points, float), turn, axis=0) * 17.3 + [1e3, 0.1]
    for way in (ring, ring[::-1], ring[:, ::-1]):
        assert ring_is_simple(way) == crosses_nothing
        assert ring_is_simple(way, touching=False) == simple


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=3, max_size=9),
    st.sampled_from([7, 1 << 20]),
)
def test_the_strict_sense_is_that_of_geos(points: list[tuple[int, int]], pairs: int) -> None:
    """Reference: shapely's LinearRing.is_simple; in blocks of few pairs too."""
    shapely = pytest.importorskip("shapely")
    ring = np.array(points, float)
    if (ring == ring[0]).all():
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(polygon, "_PAIRS", pairs)
        assert ring_is_simple(ring, touching=False) == shapely.LinearRing(ring).is_simple
