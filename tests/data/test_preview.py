"""Samples drawn with their labels."""

import numpy as np
import pytest

from tests.data.listed import drawn
from vitrail.data.preview import choose, overlay, pair
from vitrail.data.sample import Instance, LabelSpace, Sample

SPACE = LabelSpace(("ground", "disc", "box"), 0)
SIZE = (40, 40)
GREY = np.full((*SIZE, 3), 100, np.uint8)


def changed(sample: Sample, space: LabelSpace = SPACE) -> np.ndarray:
    picture = overlay(sample, space)
    assert picture.shape == (*SIZE, 3) and picture.dtype == np.uint8
    return (picture != GREY).any(axis=2)


def square(value: int) -> np.ndarray:
    made = np.zeros(SIZE, np.uint8)
    made[10:30, 10:30] = value
    return made


def test_label_maps_are_tinted() -> None:
    where = changed(Sample("a", GREY, SIZE, square(1)))
    assert where[10:30, 10:30].all() and not where[:6].any()


def test_a_sets_own_colours_are_used() -> None:
    space = LabelSpace(SPACE.classes, 0, colours=((0, 0, 0), (255, 0, 0), (0, 255, 0)))
    picture = overlay(Sample("a", GREY, SIZE, square(1)), space)
    red, green, blue = picture[20, 20].astype(int)
    assert red > 150 and green == blue < 100


def test_ignored_pixels_and_crowds_are_veiled() -> None:
    ignored = overlay(Sample("a", GREY, SIZE, square(255)), SPACE)[20, 20]
    mask = drawn(1, ["#" * 40] * 40, crowd=True)
    crowd = overlay(Sample("a", GREY, SIZE, instances=(mask,)), SPACE)[20, 20]
    for pixel in (ignored, crowd):
        assert pixel.min() == pixel.max() > 130


def test_objects_are_tinted_and_bare_boxes_framed() -> None:
    rows = [("#" * 10).ljust(40, ".")] * 10 + ["." * 40] * 30
    found = (drawn(1, rows), Instance.from_box(2, (20, 20, 36, 36), SIZE))
    where = changed(Sample("a", GREY, SIZE, instances=found), LabelSpace(("x", "disc", "box")))
    assert where[:10, :10].all()
    assert where[20, 20:36].all() and where[20:36, 35].all() and not where[26:30, 26:30].any()


def test_an_image_without_objects_stays_as_it_is() -> None:
    assert not changed(Sample("a", GREY, SIZE, instances=())).any()
    assert not changed(Sample("a", GREY, SIZE, square(0))).any()


def test_the_image_beside_its_labels() -> None:
    picture = pair(Sample("a", GREY, SIZE, square(1)), SPACE)
    assert picture.shape == (40, 82, 3)
    assert (picture[:, :40] == GREY).all() and (picture[:, 42:] != GREY).any()


@pytest.mark.parametrize(("count", "wanted"), [(100, 16), (5, 16), (0, 3)])
def test_choice(count: int, wanted: int) -> None:
    chosen = choose(count, wanted, 1)
    assert chosen == sorted(set(chosen)) == choose(count, wanted, 1)
    assert len(chosen) == min(count, wanted) and all(0 <= index < count for index in chosen)


def test_choice_depends_on_the_seed() -> None:
    assert choose(1000, 8, 0) != choose(1000, 8, 1)
