"""Cityscapes: what is written, of its own classes and of others."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.data.formats.drawn_cityscapes import (
    by_id,
    opened,
    write,
    write_cityscapes,
)
from tests.data.formats.drawn_voc import same
from tests.data.listed import Listed, drawn, mapped, sample
from vitrail.data.formats.cityscapes_labels import cityscapes_coding
from vitrail.data.formats.cityscapes_polygons import Drawing, outlines
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.result.masks import Masks


def written_files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_cityscapes_comes_back_byte_for_byte(tmp_path: Path) -> None:
    write_cityscapes(tmp_path / "in")
    source = opened(tmp_path / "in")
    write(dict(source.items()), tmp_path / "out")
    assert written_files(tmp_path / "out") == written_files(tmp_path / "in")
    for path in (tmp_path / "in" / "leftImg8bit").rglob("*.png"):
        copy = tmp_path / "out" / path.relative_to(tmp_path / "in")
        assert copy.read_bytes() == path.read_bytes()
    old, new = by_id(source), by_id(opened(tmp_path / "out"))
    assert old.keys() == new.keys()
    for id, one in old.items():
        assert same(new[id].labels, one.labels)
        assert [(o.id, o.class_id, o.crowd, o.mask) for o in new[id].instances or ()] == [
            (o.id, o.class_id, o.crowd, o.mask) for o in one.instances or ()
        ]


@pytest.mark.parametrize("labels", ["train19", "all34", "category"])
def test_spaces_come_back(labels: str, tmp_path: Path) -> None:
    write_cityscapes(tmp_path / "in")
    source = opened(tmp_path / "in", labels=labels)
    again = write(dict(source.items()), tmp_path / "out")
    assert again.space == source.space
    assert (tmp_path / "out" / "labels.json").exists() == (labels != "train19")
    for id, one in by_id(again).items():
        assert same(one.labels, by_id(source)[id].labels)


def test_written_polygons_paint_the_same(tmp_path: Path) -> None:
    write_cityscapes(tmp_path / "in")
    whole = by_id(write(dict(opened(tmp_path / "in", labels="all34").items()), tmp_path / "out"))
    pictures = {id: (one.labels, one.instances) for id, one in whole.items()}
    for path in (tmp_path / "out" / "gtFine").rglob("*.png"):
        path.unlink()
    for id, one in by_id(opened(tmp_path / "out")).items():
        labels, instances = pictures[id]
        assert same(one.labels, labels)
        assert [(o.id, o.crowd, o.mask) for o in one.instances or ()] == [
            (o.id, o.crowd, o.mask) for o in instances or ()
        ]


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(
        np.uint16,
        st.tuples(st.integers(1, 14), st.integers(1, 14)),
        elements=st.sampled_from([0, 7, 26, 26000, 26001]),
    )
)
def test_outlines_paint_any_picture_exactly(values: np.ndarray) -> None:
    height, width = values.shape
    found = tuple(outlines(values))
    assert all(len(points) >= 3 for _, points in found)
    assert same(Drawing((height, width), found).paint(), values)


SHAPES = ("##....", "##..##", "....##", "......")
OTHER = ("......", "......", "##....", "##....")
THIRD = ("..##..", "......", "......", "....##")


def shapes(found: tuple[Instance, ...]) -> list[tuple[int, bool, bytes]]:
    return sorted((o.class_id, o.crowd, o.mask.dense().tobytes()) for o in found if o.mask)


def test_several_groups_of_one_class_stay_apart(tmp_path: Path) -> None:
    space = LabelSpace(("cell", "clump"))
    found = (
        drawn(0, SHAPES),
        drawn(1, OTHER, crowd=True),
        drawn(1, THIRD, crowd=True),
    )
    again = write({"train": Listed([sample("a", (4, 6), *found)], space)}, tmp_path / "out")
    assert again.space == space
    one = again["train"][0]
    assert one.label_map is None
    assert shapes(one.instances or ()) == shapes(found)


def test_pixels_of_a_class_outside_of_its_objects_are_no_group(tmp_path: Path) -> None:
    """The 19 classes, but a car of the label map that is no object: the files alone mislead."""
    space = cityscapes_coding("train19").space
    labels = np.zeros((4, 6), np.uint8)
    labels[0, 0] = 13
    one = Sample("x/a", np.zeros((4, 6, 3), np.uint8), (4, 6), labels, (drawn(13, OTHER),))
    again = write({"train": Listed([one], space)}, tmp_path / "out")
    assert (tmp_path / "out" / "labels.json").exists() and again.space == space
    (found,) = list(again["train"][0].instances or ())
    assert not found.crowd and found.mask == drawn(13, OTHER).mask
    assert same(again["train"][0].labels, labels)


def test_label_maps_without_objects_come_back_without(tmp_path: Path) -> None:
    space = cityscapes_coding("train19").space
    one = mapped("x/a", ["00xx", "0033"])
    again = write({"train": Listed([one], space)}, tmp_path / "out")
    assert again["train"][0].instances is None and again.space == space
    assert same(again["train"][0].labels, one.labels)


def test_numbers_and_colours_of_other_sets_are_kept(tmp_path: Path) -> None:
    space = LabelSpace(("person", "zebra"), None, 255, (1, 24), ((220, 20, 60), (220, 20, 60)))
    parts = {"train": Listed([sample("a", (4, 6), drawn(1, SHAPES, id="7"))], space)}
    again = write(parts, tmp_path / "out")
    assert again.space == space
    path = tmp_path / "out" / "gtFine" / "train" / "default" / "a_gtFine_instanceIds.png"
    values = np.asarray(PIL.Image.open(path))
    assert set(np.unique(values).tolist()) == {0, 24000}


@pytest.mark.parametrize(("count", "divisor"), [(64, 1000), (65, 256), (200, 256), (300, 65535)])
def test_sets_of_many_classes(count: int, divisor: int, tmp_path: Path) -> None:
    ignore = 255 if count < 256 else 65535
    space = LabelSpace(tuple(f"class {i}" for i in range(count)), None, ignore)
    labels = np.array([[0, 1, count - 1, ignore]], np.uint16 if count > 255 else np.uint8)
    one = Sample("a", np.zeros((1, 4, 3), np.uint8), (1, 4), labels)
    objects = () if count > 255 else (drawn(count - 1, ["#..#"]), drawn(0, [".#.."]))
    if objects:
        one = Sample("a", np.zeros((1, 4, 3), np.uint8), (1, 4), labels, objects)
    again = write({"train": Listed([one], space)}, tmp_path / "out")
    assert again.space == space
    table = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert table["instanceDivisor"] == divisor
    (back,) = by_id(again).values()
    assert same(back.labels, labels)
    assert sorted(o.class_id for o in back.instances or ()) == sorted(o.class_id for o in objects)


def test_ids_with_folders_and_odd_names_come_back(tmp_path: Path) -> None:
    ids = ["a/b/x", "a/x", "a%2Fb/x", "default/x", "x", "ü b/ç"]
    space = LabelSpace(("thing",))
    found = [sample(id, (4, 6), drawn(0, SHAPES), seed=i) for i, id in enumerate(ids)]
    again = write({"train": Listed(found, space)}, tmp_path / "out")
    assert sorted(again["train"].ids) == sorted(ids)
    for one in by_id(again).values():
        assert same(one.image, next(o.image for o in found if o.id == one.id))
    folders = {path.parent.name for path in (tmp_path / "out").rglob("*_leftImg8bit.png")}
    assert folders == {"a%2Fb", "a", "a%252Fb", "%64efault", "default", "ü b"}


@pytest.mark.parametrize("id", ["../x", "./x/../../y"])
def test_ids_do_not_lead_out(id: str, tmp_path: Path) -> None:
    parts = {"train": Listed([sample(id, (4, 6), drawn(0, SHAPES))], LabelSpace(("thing",)))}
    assert write(parts, tmp_path / "out")["train"].ids == [id]
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("leftImg8bit", "gtFine", "labels.json"),
    }


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    found = [sample("x", (4, 6), drawn(0, SHAPES)) for _ in range(2)]
    with pytest.raises(DataError, match="two images would be written as"):
        write({"train": Listed(found, LabelSpace(("thing",)))}, tmp_path / "out")


def test_more_objects_than_sixteen_bits_number_are_refused(tmp_path: Path) -> None:
    one = Masks.from_crops([(0, 0, np.ones((1, 1), bool))], (40, 40))
    objects = [Instance.from_masks(0, one)] * 1001
    with pytest.raises(DataError, match=r"more than 1000 objects of 'cell'.*write it as coco"):
        write({"train": Listed([sample("a", (40, 40), *objects)], LabelSpace(("cell",)))}, tmp_path)


def test_class_ids_that_are_none_are_refused(tmp_path: Path) -> None:
    one = Sample("a", np.zeros((2, 2, 3), np.uint8), (2, 2), np.full((2, 2), 9, np.uint8))
    with pytest.raises(DataError, match=r"a: holds the class id 9, expected 0\.\.1 or 255"):
        write({"train": Listed([one], LabelSpace(("p", "q")))}, tmp_path)
