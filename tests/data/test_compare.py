"""What of a sample came back, and what did not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.data.listed import drawn, mapped, sample
from vitrail.data.compare import ClassChange, Comparison, class_table
from vitrail.data.matching import lost_attributes, match
from vitrail.data.sample import Instance, LabelSpace, Sample

THINGS = LabelSpace(("cat", "dog"))
MAPS = LabelSpace(("ground", "cat", "dog"), 0)


def compared(before: Sample, after: Sample | None, space=THINGS, new=None, **how) -> Comparison:
    how = {"objects_survive": True, "labels": False} | how
    comparison = Comparison(space, new or space, **how)
    comparison.add(before, after)
    comparison.finish()
    return comparison


def cats(before: list[Instance], after: list[Instance]) -> ClassChange:
    size = (before + after)[0].size
    made = compared(sample("a", size, *before), sample("a", size, *after))
    return made.classes[0]


def test_equal_objects() -> None:
    change = cats([drawn(0, ["#.#"])], [drawn(0, ["#.#"])])
    assert change == ClassChange("cat", 1, 1, masks_in=1, iou_sum=1.0)


def test_order_does_not_matter() -> None:
    one, other = drawn(0, ["##.."]), drawn(0, [".###"])
    assert cats([one, other], [other, one]).iou_sum == 2.0


def test_a_filled_hole() -> None:
    change = cats([drawn(0, ["###", "#.#", "###"])], [drawn(0, ["###"] * 3)])
    assert (change.holes_filled, change.changed) == (1, 1)
    assert change.mean_iou == pytest.approx(8 / 9)


def test_a_hole_that_is_opened_is_not_filled() -> None:
    change = cats([drawn(0, ["###", "#.#", "###"])], [drawn(0, ["###", "#..", "###"])])
    assert (change.holes_filled, change.changed) == (0, 1)
    nested = ["#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"]
    assert cats([drawn(0, nested)], [drawn(0, ["#######"] * 7)]).holes_filled == 2


def test_a_dropped_part() -> None:
    change = cats([drawn(0, ["##..#"])], [drawn(0, ["##..."])])
    assert (change.parts_dropped, change.parts_merged, change.parts_split) == (1, 0, 0)
    assert change.mean_iou == pytest.approx(2 / 3)


def test_parts_grown_together() -> None:
    change = cats([drawn(0, ["##.##"])], [drawn(0, ["#####"])])
    assert (change.parts_dropped, change.parts_merged, change.parts_split) == (0, 1, 0)


def test_parts_that_become_objects() -> None:
    change = cats([drawn(0, ["###.#"])], [drawn(0, ["###.."]), drawn(0, ["....#"])])
    assert (change.instances_in, change.instances_out) == (1, 2)
    assert (change.parts_split, change.parts_dropped, change.parts_merged) == (1, 0, 0)


def test_pixels_below_another_object() -> None:
    """Formats of one value a pixel keep only the object on top."""
    size = ["####"]
    change = cats([drawn(0, size), drawn(0, [".##."])], [drawn(0, ["#..#"]), drawn(0, [".##."])])
    assert (change.overlap_pixels, change.changed) == (2, 1)
    assert change.parts_dropped == 0


def test_lost_objects_and_new_ones() -> None:
    change = cats([drawn(0, ["##.."])], [drawn(0, ["...#"])])
    assert (change.instances_in, change.instances_out, change.iou_sum) == (1, 1, 0.0)
    assert (change.lost, change.changed, change.mean_iou) == (1, 0, None)
    assert cats([drawn(0, ["##"])], []).instances_out == 0


def test_an_object_of_another_class_is_another_object() -> None:
    made = compared(sample("a", (1, 1), drawn(0, ["#"])), sample("a", (1, 1), drawn(1, ["#"])))
    cat, dog = made.classes
    assert (cat.instances_in, cat.instances_out, cat.iou_sum) == (1, 0, 0.0)
    assert (dog.instances_in, dog.instances_out) == (0, 1)


def test_crowds() -> None:
    crowd, plain = drawn(0, ["##"], crowd=True), drawn(0, ["##"])
    assert cats([crowd], [crowd]).crowds_dropped == 0
    assert cats([crowd], [plain]).crowds_dropped == 1
    # Of two equal masks the crowd is taken for the crowd.
    assert cats([plain, crowd, plain], [crowd, plain]).crowds_dropped == 0
    assert cats([plain, crowd], [crowd, plain]).crowds_dropped == 0


def test_a_dropped_crowd_changes_no_mask() -> None:
    plain = drawn(0, ["##.."])
    change = cats([plain, drawn(0, ["..##"], crowd=True)], [plain])
    assert (change.instances_in, change.instances_out, change.crowds_dropped) == (2, 1, 1)
    assert (change.lost, change.changed, change.mean_iou) == (1, 0, 1.0)


def test_bare_boxes() -> None:
    box = Instance.from_box(0, (1.0, 0.0, 3.0, 1.0), (1, 4))
    near = Instance.from_box(0, (1.004, 0.0, 3.0, 1.0), (1, 4))
    far = Instance.from_box(0, (1.5, 0.0, 3.0, 1.0), (1, 4))
    assert cats([box], [near]).boxes_dropped == 0
    assert cats([box], [far]).boxes_dropped == 1
    assert cats([box], [drawn(0, [".##."])]).boxes_dropped == 1
    change = cats([box], [])
    assert (change.boxes_dropped, change.masks_in, change.mean_iou) == (1, 0, None)


def test_equal_outlines_need_no_raster(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = np.array([[0.3, 0.2], [3.7, 0.1], [2.2, 2.9]])
    monkeypatch.setattr("vitrail.data.polygon.rasterise", None)
    one = Instance.from_polygons(0, [ring], (4, 4))
    assert cats([one], [Instance.from_polygons(0, [ring.copy()], (4, 4))]).iou_sum == 1.0


def test_empty_masks_are_equal() -> None:
    empty = drawn(0, ["..."])
    assert cats([empty], [empty]).changed == 0
    change = cats([empty, drawn(0, ["#.."])], [drawn(0, ["#.."])])
    assert (change.lost, change.changed) == (1, 0)


def test_attributes() -> None:
    old = drawn(
        0,
        ["#"],
        attributes={
            "area": 9,
            "occluded": True,
            "score": 3,
            "note": "",
            "side": "Unspecified",
            "pose": "left",
        },
    )
    same = drawn(0, ["#"], attributes={"occluded": "true", "score": "3", "pose": "left"})
    assert lost_attributes(old, same) == []
    assert lost_attributes(old, drawn(0, ["#"], attributes={"pose": "right"})) == [
        "occluded", "score", "pose",
    ]  # fmt: skip


def test_a_sample_that_does_not_come_back() -> None:
    made = compared(sample("a", (1, 2), drawn(0, ["##"])), None)
    assert (made.classes[0].instances_out, made.classes[0].lost) == (0, 1)
    made = compared(mapped("a", ["012"]), None, MAPS, objects_survive=False, labels=True)
    assert made.pixels_changed == 3


def test_another_size_is_not_the_sample() -> None:
    made = compared(mapped("a", ["01"]), mapped("a", ["01", "01"]), MAPS,
                    objects_survive=False, labels=True)  # fmt: skip
    assert made.pixels_changed == 2


def test_label_maps() -> None:
    made = compared(mapped("a", ["0011x"]), mapped("a", ["01120"]), MAPS,
                    objects_survive=False, labels=True)  # fmt: skip
    ground, cat, dog = made.classes
    assert (ground.pixels_in, ground.pixels_out, ground.pixels_same) == (2, 2, 1)
    assert (cat.label_iou, dog.label_iou) == (pytest.approx(1 / 3), 0.0)
    assert (made.pixels, made.pixels_changed, made.ignored_changed) == (5, 3, 1)


def test_label_maps_of_other_numbers() -> None:
    """The same classes under other ids, the background under another name."""
    other = LabelSpace(("dog", "nothing", "cat"), 1, 9)
    base = mapped("a", ["0012x"])
    again = Sample("a", base.picture, base.size, np.array([[1, 1, 2, 0, 9]], np.uint8))
    made = compared(base, again, MAPS, other, objects_survive=False, labels=True)
    assert made.pixels_changed == 0 and made.ignored_changed == 0
    assert [one.label_iou for one in made.classes] == [1.0, 1.0, 1.0]


def test_label_maps_that_come_back_as_objects() -> None:
    """Ignored pixels become background; touching things of a class become one."""
    base = mapped("a", ["011x2"])
    again = sample("a", (1, 5), drawn(0, [".##.."]), drawn(1, ["....#"]))
    made = compared(base, again, MAPS, THINGS, labels=True)
    assert (made.pixels_changed, made.ignored_changed) == (1, 1)
    assert [(one.instances_in, one.instances_out) for one in made.classes[1:]] == [(1, 1), (1, 1)]


def test_objects_that_become_pixels() -> None:
    base = sample(
        "a", (1, 4), drawn(0, ["###."]), drawn(1, [".##."]), drawn(0, ["...#"], crowd=True)
    )
    again = mapped("a", ["122x"])
    made = compared(base, again, THINGS, MAPS, objects_survive=False, labels=True)
    cat, dog = made.classes
    assert (cat.instances_in, cat.instances_out, cat.overlap_pixels) == (2, 0, 2)
    assert (dog.overlap_pixels, cat.crowds_dropped) == (0, 1)
    assert made.pixels_changed == 0  # as they are painted


def test_unannotated_classes() -> None:
    base = mapped("a", ["01"])
    marked = Sample("a", base.picture, base.size, base.label_map, unlabelled=frozenset({2}))
    assert compared(marked, base, MAPS, labels=True).unlabelled_lost == 1
    assert compared(marked, marked, MAPS, labels=True).unlabelled_lost == 0


@pytest.mark.parametrize(
    ("before", "after", "table"),
    [
        (THINGS, LabelSpace(("dog", "cat")), (1, 0)),
        (THINGS, LabelSpace(("cat",)), (0, None)),
        (THINGS, LabelSpace(("object",)), (0, 0)),
        (MAPS, LabelSpace(("bg", "thing"), 0), (0, 1, 1)),
        (MAPS, THINGS, (None, 0, 1)),
        (THINGS, MAPS, (1, 2)),
        (LabelSpace(("a", "b")), LabelSpace(("c", "d")), (None, None)),
    ],
)
def test_classes_are_told_by_name(before: LabelSpace, after: LabelSpace, table: tuple) -> None:
    assert class_table(before, after) == table


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(5)),
       arrays.arrays(bool, (5, 6, 6), elements=st.booleans()))  # fmt: skip
def test_a_shuffled_list_is_matched_whole(order: list[int], dense: np.ndarray) -> None:
    dense[:, 0, 0] = True
    found = [drawn(0, ["".join(".#"[int(v)] for v in row) for row in one]) for one in dense]
    pairs = match(found, [found[i] for i in order], (0,))
    assert len(pairs) == 5 and len({j for j, _ in pairs.values()}) == 5
    assert all(iou == 1.0 for _, iou in pairs.values())
    assert all(found[order[j]].mask == found[i].mask for i, (j, _) in pairs.items())
