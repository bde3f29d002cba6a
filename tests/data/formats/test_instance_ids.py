"""Masks that number objects."""

import json
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
import skimage.io
import skimage.measure
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from tests.data.formats.folder_sets import (
    claim,
    object_sets,
    opened,
    pairs,
    photo,
    quick,
    save,
    spaces,
    truncate,
    written,
)
from tests.data.listed import Listed, drawn, mapped, sample
from vitrail.data.formats.instance_ids import FORMAT
from vitrail.data.sample import Instance, LabelSpace
from vitrail.errors import DataError, ImageError, ImageTooLargeError

NUMBERS = np.array([[0, 3, 3, 0], [1, 1, 0, 700], [0, 0, 3, 700]], np.uint16)


def test_every_number_is_an_object(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": NUMBERS, "b": np.zeros((2, 2), np.uint16)})
    source = opened(FORMAT, tmp_path, name="cell")["all"]
    assert source.space == LabelSpace(("cell",))
    found = source[0].instances
    assert [one.id for one in found] == ["1", "3", "700"]
    assert all(one.class_id == 0 and not one.crowd for one in found)
    for one in found:
        assert np.array_equal(one.mask.dense()[0], int(one.id) == NUMBERS)
    assert found[1].box == (1, 0, 3, 3), "all parts of a number are one object"
    assert source[1].instances == ()
    assert source[0].labels is None
    assert source[0].image.shape == (3, 4, 3)


def test_eight_bits_and_tiff(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": NUMBERS.astype(np.uint8)})
    photo(tmp_path / "images" / "b.jpg", 3, 4)
    tifffile.imwrite(tmp_path / "masks" / "b.tif", NUMBERS.astype(np.int32))
    source = opened(FORMAT, tmp_path)["all"]
    assert [one.id for one in source[0].instances] == ["1", "3", str(700 % 256)]
    assert [one.id for one in source[1].instances] == ["1", "3", "700"]


def test_masks_that_cannot_be_read(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": NUMBERS})
    path = tmp_path / "masks" / "a.png"
    source = opened(FORMAT, tmp_path)["all"]
    save(path, np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"a.png: has 3 channels; an index mask has one"):
        _ = source[0]
    save(path, np.random.default_rng(0).integers(0, 9, (64, 64)).astype(np.uint16))
    truncate(path)
    with pytest.raises(ImageError, match=r"a.png: the PNG data is damaged or cut short"):
        _ = source[0]
    claim(path, 70_000, 70_000)
    with pytest.raises(ImageTooLargeError, match=r"a.png: its header claims 70,000"):
        _ = source[0]
    save(path, np.zeros((4, 3), np.uint16))
    with pytest.raises(DataError, match=r"a.jpg: the image is 4x3 px, its annotations .* 3x4"):
        _ = source[0].image


def facts(one: Instance) -> tuple:
    return one.class_id, one.id, one.crowd, dict(one.attributes), one.box


@quick
@given(st.data())
def test_what_is_written_is_read_again(data: st.DataObject) -> None:
    space = data.draw(spaces())
    space = LabelSpace(space.classes, None, space.ignore, space.original_ids, space.colours)
    splits = data.draw(object_sets(space, overlap=False))
    with tempfile.TemporaryDirectory() as folder:
        back = written(FORMAT, splits, Path(folder) / "set")
        assert back.space == space
        for split, source in splits.items():
            assert back[split].ids == source.ids
            for index in range(len(source)):
                old, new = source[index].instances, back[split][index].instances
                assert [facts(one) for one in new] == [facts(one) for one in old]
                assert [one.mask for one in new] == [one.mask for one in old]
        pickle.loads(pickle.dumps(back[split]))[0]


def test_attributes_and_annotated_boxes_survive(tmp_path: Path) -> None:
    more = {"id": "p7", "attributes": {"occluded": True, "pose": "left"}}
    one = drawn(0, ["##.", "..."], box=(0.0, 0.0, 2.5, 1.5), **more)
    back = written(FORMAT, {"all": Listed([sample("a", (2, 3), one)], LabelSpace(("x",)))},
                   tmp_path / "set")  # fmt: skip
    (found,) = back["all"][0].instances
    assert facts(found) == (0, "p7", False, more["attributes"], (0.0, 0.0, 2.5, 1.5))


def test_plain_objects_of_one_class_need_no_notes(tmp_path: Path) -> None:
    one = sample("a", (1, 3), drawn(0, ["#.."], id="1"), drawn(0, ["..#"], id="2"))
    written(FORMAT, {"all": Listed([one], LabelSpace(("x",)))}, tmp_path / "set")
    assert [p.name for p in (tmp_path / "set" / "masks").iterdir()] == ["a.png"]


def test_small_objects_lie_on_top_and_hidden_or_bare_ones_are_dropped(tmp_path: Path) -> None:
    things = (
        drawn(0, ["#..."]),
        drawn(0, ["###."]),
        drawn(0, ["####"], crowd=True),
        drawn(0, [".##."]),
        drawn(0, [".#.."]),
        drawn(0, ["..#."]),
        Instance.from_box(0, (0, 0, 1, 1), (1, 4)),
    )
    source = Listed([sample("a", (1, 4), *things)], LabelSpace(("x",)))
    (sample_,) = written(FORMAT, {"all": source}, tmp_path / "set")["all"]
    shown = {one.crowd: one.mask.dense()[0].astype(int).tolist() for one in sample_.instances}
    assert len(sample_.instances) == 4
    assert shown[True] == [[0, 0, 0, 1]]
    assert [one.mask.areas()[0] for one in sample_.instances] == [1, 1, 1, 1]


def test_label_maps_become_their_connected_parts(tmp_path: Path) -> None:
    space = LabelSpace(("ground", "cat", "dog"), 0)
    back = written(FORMAT, {"all": Listed([mapped("a", ["1012x"])], space)}, tmp_path / "set")
    assert back.space.classes == ("cat", "dog")
    found = back["all"][0].instances
    assert [(one.class_id, one.box[0]) for one in found] == [(0, 0.0), (0, 2.0), (1, 3.0)]


def test_skimage_counts_the_objects_that_were_written(tmp_path: Path) -> None:
    things = (drawn(0, ["##..", "##.."]), drawn(1, ["...#", "...#"]))
    source = Listed([sample("a", (2, 4), *things)], LabelSpace(("x", "y")))
    written(FORMAT, {"val": source}, tmp_path / "set")
    numbers = skimage.io.imread(tmp_path / "set" / "val" / "masks" / "a.png")
    assert numbers.dtype == np.uint16
    regions = skimage.measure.regionprops(numbers)
    assert [(one.label, one.area) for one in regions] == [(1, 4), (2, 2)]


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "expected an object of number"),
        ('{"1": "cow"}', "object 1 is of the class 'cow', expected one of x, y"),
        ('{"1": {"class": ["x"]}}', r"object 1 is of the class \['x'\]"),
        ('{"1": {"class": "x", "attributes": 3}}', "has the attributes 3"),
        ('{"1": {"class": "x", "box": [1, 2]}}', r"has the box \[1, 2\]"),
        ('{"1": {"class": "x", "box": [1, 2, NaN, 4]}}', "has the box"),
        ('{"1": {"class": "x", "box": "1234567"}}', "has the box"),
    ],
)
def test_faulty_notes(tmp_path: Path, notes: str, message: str) -> None:
    source = Listed([sample("a", (1, 2), drawn(1, ["#."]))], LabelSpace(("x", "y")))
    back = written(FORMAT, {"all": source}, tmp_path / "set")
    path = tmp_path / "set" / "masks" / "a.json"
    assert json.loads(path.read_text("utf-8"))["1"]["class"] == "y"
    path.write_text(notes, "utf-8")
    with pytest.raises(DataError, match=message) as caught:
        _ = back["all"][0]
    assert "a.json" in str(caught.value)
