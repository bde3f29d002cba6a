import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.formats.annotation_tools import blob, drawn_masks, drawn_rings
from vitrail.data.formats.outlines import (
    bridge,
    drawable,
    exact_rings,
    from_fractions,
    single_ring,
    to_fractions,
)
from vitrail.data.polygon import rasterise
from vitrail.data.sample import Instance
from vitrail.result.masks import Masks


@given(drawn_masks())
@settings(max_examples=150, deadline=None)
def test_one_line_encloses_exactly_the_pixels_of_any_mask(mask):
    ring = single_ring(Instance.from_masks(0, mask))
    assert ring is not None
    assert rasterise([ring], mask.size) == mask


@given(st.lists(drawn_rings(), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_one_line_encloses_exactly_the_pixels_of_any_outlines(rings):
    instance = Instance.from_polygons(0, rings, (40, 40))
    ring = single_ring(instance)
    drawn = Masks.from_dense(np.zeros((1, 40, 40))) if ring is None else rasterise([ring], (40, 40))
    assert drawn == instance.mask


def test_an_outline_annotated_as_one_is_left_as_it_is():
    ring = np.array([[1.25, 1], [7, 2], [4, 6.5]])
    kept = single_ring(Instance.from_polygons(0, [ring], (8, 8)))
    np.testing.assert_array_equal(kept, ring)


def test_a_bridge_walks_each_seam_there_and_back():
    left = np.array([[0, 0], [2, 0], [2, 2], [0, 2]])
    right = left + np.array([5, 0])
    line = bridge([left, right])
    assert line.tolist() == [
        [0, 0],
        [2, 0],
        *([5, 0], [7, 0], [7, 2], [5, 2], [5, 0]),
        [2, 0],
        [2, 2],
        [0, 2],
    ]


def test_holes_within_parts_within_holes_have_rings():
    dense = np.zeros((15, 15), bool)
    for reach in range(7, 0, -1):
        dense[7 - reach : 8 + reach, 7 - reach : 8 + reach] = reach % 2
    mask = Masks.from_dense(dense[None])
    rings = exact_rings(mask)
    assert len(rings) == 7
    assert rasterise([bridge(rings)], mask.size) == mask


def test_many_parts_are_joined_in_reasonable_time():
    dense = np.zeros((150, 150), bool)
    dense[::3, ::3] = True
    mask = Masks.from_dense(dense[None])
    line = bridge(exact_rings(mask))
    assert len(line) == 2500 * 4 + 2 * 2499
    assert rasterise([line], mask.size) == mask


def test_outlines_that_differ_from_the_mask_are_not_what_the_object_is():
    mask = blob((20, 20))
    ring = np.array([[0.0, 0], [5, 0], [5, 5]])
    assert drawable(Instance.from_masks(0, mask, polygons=(ring,))) is None
    assert drawable(Instance.from_masks(0, rasterise([ring], (20, 20)), polygons=(ring,)))


@given(st.integers(1, 20_000), st.lists(st.integers(-5_000_000, 5_000_000), min_size=1))
@settings(max_examples=300, deadline=None)
def test_pixels_with_three_decimals_come_back_from_fractions(extent, thousandths):
    pixels = np.array(thousandths) / 1000
    assert np.array_equal(from_fractions(to_fractions(pixels, extent), extent), pixels)


@pytest.mark.parametrize(
    ("pixels", "extent", "text"),
    [(320, 640, 0.5), (1, 3, 0.33333333333), (100.25, 4000, 0.0250625)],
)
def test_fractions_are_as_short_as_they_can_be(pixels, extent, text):
    assert to_fractions(np.array([pixels]), extent).tolist() == [text]
