"""Class colours: deterministic, and apart for readers of every kind of colour vision."""

from __future__ import annotations

import numpy as np
import pytest

from vitrail.result.palette import (
    contrast,
    ink_on,
    light_and_dark,
    luminance,
    palette,
    vary,
    visions,
)


def nearest(colours: np.ndarray) -> float:
    """The smallest CIELAB distance of two colours, in the worst of three colour visions."""
    seen = visions(colours)
    distance = np.linalg.norm(seen[:, :, None] - seen[:, None], axis=3)
    distance[:, range(len(colours)), range(len(colours))] = np.inf
    return float(distance.min())


# Measured: 51.6, 17.0, 15.9, 11.9, 4.8. A difference of 2.3 is just noticeable side by side.
@pytest.mark.parametrize(("count", "least"), [(3, 50), (8, 16.5), (20, 15), (32, 11), (150, 4)])
def test_colours_are_apart_in_normal_protan_and_deutan_vision(count: int, least: float) -> None:
    assert nearest(palette(count)) > least


def test_a_colour_does_not_depend_on_how_many_there_are() -> None:
    for count in (0, 1, 7, 33, 200, 600):
        colours = palette(count)
        assert (colours.shape, colours.dtype) == ((count, 3), np.uint8)
        np.testing.assert_array_equal(colours, palette(700)[:count])


def test_first_colours_are_okabe_and_itos() -> None:
    published = {
        (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
        (0, 114, 178), (213, 94, 0), (204, 121, 167),
    }  # fmt: skip
    assert {tuple(colour) for colour in palette(7).tolist()} == published


def test_normal_vision_is_plain_cielab() -> None:
    from skimage.color import rgb2lab

    colours = palette(64)
    expected = rgb2lab(colours[None] / 255.0)[0]
    np.testing.assert_allclose(visions(colours)[0], expected, atol=0.5)


def test_contrast_is_that_of_wcag() -> None:
    black, white, grey = (np.full(3, level, np.uint8) for level in (0, 255, 119))
    assert contrast(black, white) == pytest.approx(21)
    assert contrast(white, grey) == pytest.approx(4.48, abs=0.01)  # #777 on white, well known
    assert luminance(white) == pytest.approx(1)


def test_text_on_every_class_colour_reads() -> None:
    assert all(contrast(ink_on(colour), colour) > 4.5 for colour in palette(256))


def test_one_of_the_two_outline_tones_shows_on_any_ground() -> None:
    grounds = [np.full(3, level, np.uint8) for level in range(0, 256, 15)] + list(palette(40))
    for colour in palette(40):
        light, dark = light_and_dark(colour)
        assert all(max(contrast(light, g), contrast(dark, g)) > 2.5 for g in grounds)


def test_objects_of_one_class_differ_but_keep_its_colour_first() -> None:
    for colour in palette(7):
        kin = np.array([vary(colour, step) for step in range(12)])
        assert np.abs(kin[0].astype(int) - colour).max() <= 4  # rounding of hue, light, saturation
        steps = np.linalg.norm(np.diff(visions(kin)[0], axis=0), axis=1)
        assert steps.min() > 8
