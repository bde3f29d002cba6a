"""Label maps as objects, objects as label maps, and classes picked, renamed and merged."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.measure import label as skimage_label

from tests.data.listed import Listed, drawn, labels, mapped, mask, sample
from vitrail.data.derive import AsLabelMaps, AsObjects, Relabelled, objects
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import UnknownNameError

SPACE = LabelSpace(("ground", "disc", "box"), background=0)


def test_components_are_objects() -> None:
    """Corners connect, classes do not; background and ignore are none."""
    found = objects(mapped("a", ["1002", "0102", "1x00"]), SPACE)
    assert [(one.class_id, one.id) for one in found] == [(1, "1"), (2, "2")]
    assert found[0].mask == mask(["#...", ".#..", "#..."])
    assert found[1].mask == mask(["...#", "...#", "...."])
    assert found[1].box == (3.0, 0.0, 4.0, 2.0)


def test_own_objects_are_kept() -> None:
    own = drawn(1, ["#"], id="mine")
    both = Sample("a", np.zeros((1, 1, 3), np.uint8), (1, 1), labels(["2"]), (own,))
    assert objects(both, SPACE) == (own,)
    neither = Sample("a", np.zeros((1, 1, 3), np.uint8), (1, 1))
    assert objects(neither, SPACE) == ()


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9),
                     elements=st.sampled_from([0, 1, 2, 255])))  # fmt: skip
def test_objects_are_scikit_images_components(drawing: np.ndarray) -> None:
    """As many as skimage.measure.label (scikit-image 0.25) finds; painted, they are the map."""
    size = (drawing.shape[0], drawing.shape[1])
    found = objects(Sample("a", np.zeros((*size, 3), np.uint8), size, drawing), SPACE)
    for class_id in (1, 2):
        of_class = [one for one in found if one.class_id == class_id]
        assert len(of_class) == skimage_label(drawing == class_id, connectivity=2).max()
    painted = np.zeros_like(drawing)
    for one in found:
        assert one.mask is not None
        painted[one.mask.dense()[0]] = one.class_id
    assert np.array_equal(painted, np.where(drawing == 255, 0, drawing))
    corners = [(one.class_id, one.box[1], one.box[0]) for one in found]
    assert corners == sorted(corners)


def test_label_maps_seen_as_objects_lose_their_background() -> None:
    space = LabelSpace(("disc", "ground", "box"), background=1, original_ids=(7, 0, 9))
    source = Listed([mapped("a", ["01", "22"])], space)
    seen = pickle.loads(pickle.dumps(AsObjects(source)))
    assert seen.space == LabelSpace(("disc", "box"), original_ids=(7, 9))
    assert list(seen.ids) == ["a"] and len(seen) == 1
    assert [one.class_id for one in seen[0].instances] == [0, 1]
    assert seen[0].labels is None


def test_objects_seen_as_label_maps() -> None:
    found = sample("a", (2, 3), drawn(0, ["##.", "##."]), drawn(1, [".#.", "..."]))
    source = Listed([found], LabelSpace(("disc", "box")))
    seen = pickle.loads(pickle.dumps(AsLabelMaps(source)))
    assert seen.space == LabelSpace(("background", "disc", "box"), background=0)
    assert np.array_equal(seen[0].labels, labels(["120", "110"]))  # the small one lies on top
    assert seen[0].instances is None


def test_label_maps_stay_as_they_are() -> None:
    source = Listed([mapped("a", ["01x"])], SPACE)
    assert AsLabelMaps(source).space == SPACE
    assert np.array_equal(AsLabelMaps(source)[0].labels, labels(["01x"]))


def test_relabelling_a_label_map() -> None:
    greys = tuple((level,) * 3 for level in range(4))
    space = LabelSpace(("ground", "cat", "dog", "car"), 0, colours=greys)
    source = Listed([mapped("a", ["0123x"])], space)
    made = pickle.loads(
        pickle.dumps(Relabelled(source, ["dog", "cat"], {"cat": "pet", "dog": "pet"}))
    )
    assert made.space == LabelSpace(("ground", "pet"), 0, colours=(greys[0], greys[2]))
    assert np.array_equal(made[0].labels, labels(["0110x"]))
    only = Relabelled(source, ["car"])
    assert only.space.classes == ("ground", "car")
    assert np.array_equal(only[0].labels, labels(["0001x"]))


def test_classes_left_out_are_ignored_where_there_is_no_background() -> None:
    source = Listed([mapped("a", ["012"])], LabelSpace(("sky", "sea", "land")))
    made = Relabelled(source, ["land", "sky"])
    assert made.space.classes == ("land", "sky")
    assert np.array_equal(made[0].labels, labels(["1x0"]))


def test_relabelling_objects() -> None:
    found = sample("a", (1, 3), drawn(0, ["#.."]), drawn(1, [".#."], id="k"), drawn(2, ["..#"]))
    source = Listed([found], LabelSpace(("cat", "car", "dog")))
    made = Relabelled(source, rename={"dog": "cat"})
    assert made.space.classes == ("cat", "car")
    assert [one.class_id for one in made[0].instances] == [0, 1, 0]
    left = Relabelled(source, ["car"])[0]
    assert [(one.class_id, one.id) for one in left.instances] == [(0, "k")]


def test_unannotated_classes_move_along() -> None:
    base = mapped("a", ["01"])
    marked = Sample("a", base.picture, base.size, base.label_map, unlabelled=frozenset({2}))
    source = Listed([marked], SPACE)
    assert AsObjects(source)[0].unlabelled == {1}
    assert Relabelled(source, ["box"])[0].unlabelled == {1}
    assert Relabelled(source, ["disc"])[0].unlabelled == frozenset()


def test_unknown_class() -> None:
    source = Listed([mapped("a", ["01"])], SPACE)
    with pytest.raises(UnknownNameError, match="did you mean 'disc'"):
        Relabelled(source, ["dsic"])
    with pytest.raises(UnknownNameError, match="'cart'"):
        Relabelled(source, rename={"cart": "car"})
