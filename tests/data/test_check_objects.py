"""Faults of annotated objects: each planted into a clean set, and nothing else found."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.check_sets import OBJECTS, Memory, check, kinds, objects, only, with_objects
from vitrail.data.checks.outlines import measure, worst_loop
from vitrail.data.polygon import ring_area, ring_is_simple
from vitrail.data.sample import Instance, Sample
from vitrail.result.masks import Masks

SIZE = (96, 128)


def ring(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, np.float64)


def outline(*points: tuple[float, float], class_id: int = 0, **more) -> Instance:
    return Instance.from_polygons(class_id, [ring(*points)], SIZE, id="x", **more)


def masked(rows: slice, columns: slice, class_id: int = 0, **more) -> Instance:
    mask = np.zeros((1, *SIZE), bool)
    mask[0, rows, columns] = True
    return Instance.from_masks(class_id, Masks.from_dense(mask), id="x", **more)


SQUARE = ((60.0, 5.0), (80.0, 5.0), (80.0, 25.0), (60.0, 25.0))


def test_a_clean_set_is_silent() -> None:
    report = check(Memory(objects(), OBJECTS))
    assert not report.problems
    assert report.totals is not None and report.totals.all.objects.tolist() == [6, 6]


@pytest.mark.parametrize(
    "clean",
    [
        outline(*SQUARE),
        outline((0, 0), (128, 0), (128, 96)),  # on the frame
        outline((0, 0), (128.9, 0), (128.9, 50)),  # within the tolerance
        outline(*SQUARE, box=(59.0, 4.0, 81.0, 26.0)),  # inclusive ends and rounding
        outline((60, 5), (62, 5), (62, 8), box=(60.0, 5.0, 64.0, 10.0)),  # a pixel is much here
        # A hole made with a bridge: the outline runs back over itself, and crosses nowhere.
        outline(*SQUARE, (60, 5), (64, 9), (64, 20), (76, 20), (76, 9), (64, 9)),
        Instance.from_polygons(0, [ring(*SQUARE), ring(*SQUARE) + 2], SIZE),  # overlapping parts
        Instance.from_box(0, (60, 5, 80, 25), SIZE),
        masked(slice(5, 8), slice(60, 70)),
        masked(slice(5, 6), slice(60, 61), crowd=True),
        masked(slice(None), slice(None), crowd=True),
    ],
)
def test_clean_objects_are_silent(clean: Instance) -> None:
    assert not check(with_objects(clean)).problems


@pytest.mark.parametrize(
    ("faulty", "code", "severity", "value"),
    [
        (Instance.from_polygons(0, [], SIZE, id="x"), "empty-annotation", "error", "without"),
        (masked(slice(0, 0), slice(0, 0)), "empty-annotation", "error", "0 pixels"),
        (outline((60, 5), (80, 25)), "degenerate-polygon", "error", "2 distinct points"),
        (outline((60, 5), (60, 5), (60, 5)), "degenerate-polygon", "error", "1 distinct points"),
        (outline((60, 5), (70, 15), (80, 25)), "degenerate-polygon", "error", "3 points in a line"),
        (outline((60, 5), (60.4, 5), (60.4, 5.5)), "tiny-object", "warning", "0.1 px²"),
        (masked(slice(5, 6), slice(60, 61)), "tiny-object", "warning", "one pixel at 60, 5"),
        (
            outline((60, 5), (80, 25), (80, 5), (60, 25)),
            "self-intersecting-polygon",
            "warning",
            "crosses itself at 70, 15; a loop of 100 px² (50.0%)",
        ),
        (
            outline((10, 60), (90, 60), (90, 90), (86, 90), (87, 93), (89, 89), (10, 90)),
            "self-intersecting-polygon",
            "note",
            "crosses itself",
        ),
        (outline((100, 5), (150, 5), (150, 40)), "out-of-frame", "warning", "by 22 px"),
        (outline((-9, 5), (20, 5), (20, 40)), "out-of-frame", "warning", "by 9 px"),
        (outline((128, 5), (150, 5), (150, 40)), "outside-frame", "error", "outline [128"),
        (outline((5, -9), (20, -5), (20, 0)), "outside-frame", "error", "outline [5"),
        (Instance.from_box(0, (60, 5, 60, 25), SIZE, id="x"), "degenerate-box", "error", "box"),
        (Instance.from_box(0, (80, 5, 60, 25), SIZE, id="x"), "degenerate-box", "error", "box"),
        (Instance.from_box(0, (110, 5, 140, 25), SIZE, id="x"), "out-of-frame", "warning", "box"),
        (Instance.from_box(0, (140, 5, 160, 25), SIZE, id="x"), "outside-frame", "error", "box"),
        (
            Instance.from_box(0, (60, 5, np.nan, 25), SIZE, id="x"),
            "bad-coordinates",
            "error",
            "nan",
        ),
        (outline((60, 5), (np.inf, 5), (60, 40)), "bad-coordinates", "error", "box"),
        (
            outline(*SQUARE, box=(60.0, 5.0, 80.0, 40.0)),
            "box-mask-mismatch",
            "warning",
            "IoU 0.57",
        ),
        (
            masked(slice(5, 25), slice(60, 80), box=(5.0, 60.0, 25.0, 80.0)),
            "box-mask-mismatch",
            "error",
            "IoU 0.00",
        ),
        (outline(*SQUARE, class_id=9), "unknown-class-id", "error", "9"),
        (outline(*SQUARE, class_id=-1), "unknown-class-id", "error", "-1"),
    ],
)
def test_faulty_objects(faulty: Instance, code: str, severity: str, value: str) -> None:
    finding = only(check(with_objects(faulty)), code)
    problem = finding.problem
    assert (problem.severity, problem.id, problem.split) == (severity, "x", "train")
    assert value in problem.value and problem.expected and problem.advice
    assert finding.place == ("train", 1)


@pytest.mark.parametrize(
    ("box", "advice"),
    [
        ((60.0, 5.0, 140.0, 30.0), "x1 y1 x2 y2 was written where x y width height"),
        ((0.47, 0.05, 0.62, 0.26), "normalised"),
    ],
)
def test_boxes_of_another_convention(box, advice: str) -> None:
    problem = only(check(with_objects(outline(*SQUARE, box=box))), "box-mask-mismatch").problem
    assert advice in problem.advice


def test_box_written_with_its_size() -> None:
    one = outline((10, 12), (50, 12), (50, 40), (10, 40), box=(10.0, 12.0, 40.0, 28.0))
    problem = only(check(with_objects(one)), "box-mask-mismatch").problem
    assert "x y width height was written where x1 y1 x2 y2" in problem.advice


def test_normalised_outline() -> None:
    one = outline((0.4, 0.1), (0.6, 0.1), (0.6, 0.3))
    problem = only(check(with_objects(one)), "tiny-object").problem
    assert "multiply by width and height" in problem.advice


def test_one_bad_part_of_several_is_a_warning() -> None:
    one = Instance.from_polygons(0, [ring(*SQUARE), ring((5, 5), (9, 9))], SIZE, id="x")
    assert only(check(with_objects(one)), "degenerate-polygon").problem.severity == "warning"


def test_object_of_another_size() -> None:
    one = Instance.from_polygons(0, [ring(*SQUARE)], (192, 256), id="x")
    problem = only(check(with_objects(one)), "size-mismatch").problem
    assert "256x192" in problem.value and problem.expected == "128x96 px"


def _again(one: Instance, **changes) -> Instance:
    return replace(one, id="again", **changes)


def test_object_annotated_twice() -> None:
    one = outline(*SQUARE)
    moved = outline((60, 5), (80.5, 5), (80, 25.4), (60, 25))
    for other in (one, moved):
        problem = only(check(with_objects(one, _again(other))), "duplicate-annotation").problem
        assert problem.id == "again" and problem.severity == "warning" and " x," in problem.value


def test_three_copies_are_two_too_many() -> None:
    one = masked(slice(5, 25), slice(60, 80))
    report = check(with_objects(one, _again(one), replace(one, id="third")))
    assert kinds(report) == {"duplicate-annotation": 2}
    assert [problem.id for problem in report.problems] == ["again", "third"]


def test_box_annotated_twice() -> None:
    one = Instance.from_box(0, (60, 5, 80, 25), SIZE, id="x")
    assert only(check(with_objects(one, _again(one))), "duplicate-annotation")


def test_region_of_two_classes() -> None:
    one = outline(*SQUARE)
    problem = only(
        check(with_objects(one, _again(one, class_id=1))), "conflicting-annotation"
    ).problem
    assert "disc and square" in problem.value


def test_equal_boxes_of_different_masks_are_fine() -> None:
    """Two triangles that share a square, and a crowd around its members."""
    lower = outline((60, 5), (80, 25), (60, 25))
    upper = outline((60, 5), (80, 5), (80, 25))
    crowd = masked(slice(5, 25), slice(60, 80), crowd=True)
    assert not check(with_objects(lower, upper, crowd)).problems


def test_objects_without_ids_are_named_by_position() -> None:
    one = Instance.from_polygons(0, [ring((1, 1), (2, 2))], SIZE)
    assert only(check(with_objects(one)), "degenerate-polygon").problem.id == "o1#3"


def test_images_without_objects_are_fine() -> None:
    samples = objects()
    samples[2] = Sample("empty", samples[2].picture, SIZE, instances=())
    assert not check(Memory(samples, OBJECTS)).problems


def test_many_objects_in_one_image() -> None:
    """Comparing all pairs goes in blocks: 3000 apart, then one of them twice."""
    grid = [
        Instance.from_box(
            0, (x * 2.0, y * 2.0, x * 2 + 1.0, y * 2 + 1.0), (200, 300), id=f"{x},{y}"
        )
        for x in range(60)
        for y in range(50)
    ]
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[:100] = 200
    clean = [Sample("a", picture, (200, 300), instances=tuple(grid))]
    assert "duplicate-annotation" not in kinds(check(Memory(clean, OBJECTS)))
    twice = [Sample("a", picture, (200, 300), instances=(*grid, _again(grid[1234])))]
    found = [p for p in check(Memory(twice, OBJECTS)).problems if p.code == "duplicate-annotation"]
    assert [p.id for p in found] == ["again"]


_coordinates = st.integers(0, 6).map(float) | st.floats(0, 50, width=32)
_rings = st.lists(st.tuples(_coordinates, _coordinates), min_size=0, max_size=9).map(
    lambda points: np.array(points, np.float64).reshape(-1, 2)
)


@settings(max_examples=80, deadline=None)
@given(st.lists(_rings, max_size=6))
def test_measures_of_many_outlines_are_those_of_each(rings: list[np.ndarray]) -> None:
    for one, found in zip(rings, measure(rings), strict=True):
        assert found.area == pytest.approx(abs(ring_area(one)), abs=1e-6)
        if len(one):
            assert found.box == (*one.min(axis=0), *one.max(axis=0))
        if len(one) > 2:
            assert found.crosses == (not ring_is_simple(one))
        loop = worst_loop(found)
        assert loop is None or (loop[2] >= 1 and 0 < loop[3] <= 0.5)


def test_worst_loop_is_the_largest() -> None:
    """A bow tie of 800 and 200 px², with a third, small loop."""
    tie = ring((0, 0), (60, 60), (60, 0), (0, 60))
    uneven = ring((0, 0), (60, 30), (60, 0), (0, 60))
    for one, expected in ((tie, (30, 30, 900, 0.5)), (uneven, (40, 20, 300, 0.2))):
        (measured,) = measure([one])
        loop = worst_loop(measured)
        assert loop is not None and loop == pytest.approx(expected, rel=1e-6)
