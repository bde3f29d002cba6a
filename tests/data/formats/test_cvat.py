import pickle
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.formats.annotation_tools import (
    ListSource,
    blob,
    drawn_masks,
    drawn_rings,
    picture,
    same_objects,
    same_set,
    sources,
    star,
    varied,
    write_picture,
)
from vitrail.data.formats.base import Dataset
from vitrail.data.formats.cvat import FORMAT, CvatOptions, open_cvat
from vitrail.data.formats.cvat_write import CvatWriteOptions
from vitrail.data.formats.cvat_write import write as write_cvat
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError

SIZE = (48, 64)
DEFAULTS = CvatWriteOptions()
LABELS = "<label><name>cat</name></label><label><name>dog</name></label>"
SQUARE = '<polygon label="cat" points="2,3;10,3;10,8;2,8"/>'


def written(folder: Path, options=DEFAULTS, **splits: Sequence[Sample]) -> Dataset:
    folder.mkdir(exist_ok=True)
    write_cvat(sources(**splits), folder, options)
    return open_cvat(folder, CvatOptions())


def cvat_set(root: Path, shapes: str, labels: str = LABELS, place: str = "images/a.png") -> Path:
    """A set of one image of 20 x 10 px with these shapes."""
    write_picture(root / place, (10, 20))
    (root / "annotations.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><labels>{labels}</labels></task></meta>"
        f'<image id="0" name="a.png" width="20" height="10">{shapes}</image></annotations>'
    )
    return root


def only(root: Path, **options) -> Sample:
    dataset = open_cvat(root, CvatOptions(**options))
    assert dataset.problems == [] and len(dataset["all"]) == 1
    return dataset["all"][0]


def test_everything_an_object_is_survives(tmp_path):
    train, val = varied(SIZE), varied(SIZE, "sub/folder/")
    same_set(sources(train=train, val=val), written(tmp_path / "a", train=train, val=val))
    same_set(sources(all=train), written(tmp_path / "b", all=train))
    assert (tmp_path / "b/images/s0.png").exists()


@given(st.lists(drawn_masks(), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_any_masks_survive(tmp_path_factory, masks):
    samples = [
        Sample(f"{i}", picture(mask.size), mask.size, instances=(Instance.from_masks(1, mask),))
        for i, mask in enumerate(masks)
    ]
    same_set(sources(all=samples), written(tmp_path_factory.mktemp("cvat"), all=samples))


@given(st.lists(st.lists(drawn_rings(40), min_size=1, max_size=3), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_outlines_come_back_point_for_point(tmp_path_factory, objects):
    size = (40, 40)
    found = tuple(Instance.from_polygons(0, rings, size) for rings in objects)
    sample = Sample("a", picture(size), size, instances=found)
    back = written(tmp_path_factory.mktemp("cvat"), all=[sample])["all"][0]
    assert back.instances and len(back.instances) == len(found)
    for one, other in zip(found, back.instances, strict=True):
        assert one.polygons and other.polygons
        for ring, returned in zip(one.polygons, other.polygons, strict=True):
            np.testing.assert_array_equal(returned, ring)


def test_what_else_is_said_of_an_object_survives(tmp_path):
    about = {
        "occluded": True,
        "z_order": -2,
        "source": "auto",
        "hard": False,
        "age": 3.5,
        "legs": 4,
        'a<b & "c"': "x < y\n\r\t'z'",
    }
    ring = star(SIZE)
    objects = (
        Instance.from_polygons(0, [ring], SIZE, crowd=True, attributes=about),
        Instance.from_polygons(1, [ring], SIZE, attributes={"group_id": 4}),
        Instance.from_polygons(1, [ring, ring + 9], SIZE, attributes={"group_id": 4}),
    )
    sample = Sample("a", picture(SIZE), SIZE, instances=objects)
    back = written(tmp_path, all=[sample])["all"][0].instances
    assert back and len(back) == 3
    assert (back[0].crowd, back[0].attributes) == (True, about)
    assert [one.attributes.get("group_id") for one in back[1:]] == [4, 5]
    assert [len(one.polygons or ()) for one in back] == [1, 1, 2]


def test_classes_keep_their_order_and_colours(tmp_path):
    space = LabelSpace(("z & <y>", "a"), colours=((1, 2, 255), (0, 16, 32)))
    write_cvat({"all": ListSource(varied(SIZE)[3:], space)}, tmp_path, DEFAULTS)
    back = open_cvat(tmp_path, CvatOptions()).space
    assert (back.classes, back.colours) == (space.classes, space.colours)


def test_masks_as_polygons_fill_holes_and_outlines_as_masks_keep_pixels(tmp_path):
    mask = blob(SIZE, hole=True)
    sample = Sample("a", picture(SIZE), SIZE, instances=(Instance.from_masks(0, mask),))
    back = written(tmp_path / "p", CvatWriteOptions(masks="polygons"), all=[sample])["all"][0]
    assert back.instances and back.instances[0].mask == blob(SIZE)
    drawn = Instance.from_polygons(0, [star(SIZE)], SIZE)
    sample = Sample("a", picture(SIZE), SIZE, instances=(drawn,))
    back = written(tmp_path / "m", CvatWriteOptions(masks="masks"), all=[sample])["all"][0]
    assert back.instances and back.instances[0].mask == drawn.mask
    assert back.instances[0].polygons is None


def test_a_mask_is_runs_row_by_row_within_its_box(tmp_path):
    shapes = '<mask label="dog" rle="1, 2, 0, 3" left="4" top="5" width="3" height="2"/>'
    (one,) = only(cvat_set(tmp_path, shapes)).instances or ()  # pyright: ignore
    expected = np.zeros((10, 20), bool)
    expected[5:7, 4:7] = [[0, 1, 1], [1, 1, 1]]
    assert one.mask is not None and one.class_id == 1
    np.testing.assert_array_equal(one.mask.dense()[0], expected)


def test_masks_are_cut_at_the_frame(tmp_path):
    shapes = '<mask label="cat" rle="0,6" left="-1" top="9" width="3" height="2"/>'
    (one,) = only(cvat_set(tmp_path, shapes)).instances or ()  # pyright: ignore
    assert one.mask and np.argwhere(one.mask.dense()[0]).tolist() == [[9, 0], [9, 1]]


def test_upright_boxes_are_boxes_and_turned_ones_areas(tmp_path):
    shapes = (
        '<box label="cat" xtl="2" ytl="3.5" xbr="10" ybr="8"/>'
        '<box label="cat" xtl="4" ytl="2" xbr="12" ybr="6" rotation="90.0"/>'
    )
    root = cvat_set(tmp_path, shapes)
    sample = only(root)
    assert sample.instances and len(sample.instances) == 2
    upright, turned = sample.instances
    assert upright.box == (2, 3.5, 10, 8) and upright.mask is None
    assert turned.polygons
    np.testing.assert_allclose(turned.polygons[0], [[10, 0], [10, 8], [6, 8], [6, 0]], atol=1e-12)
    filled = only(root, rectangles="areas").instances
    assert filled and filled[0].polygons
    assert filled[0].polygons[0].tolist() == [[2, 3.5], [10, 3.5], [10, 8], [2, 8]]


def test_rotation_is_clockwise_about_the_middle(tmp_path):
    shapes = '<box label="cat" xtl="4" ytl="2" xbr="12" ybr="6" rotation="30"/>'
    sample = only(cvat_set(tmp_path, shapes))
    assert sample.instances and sample.instances[0].polygons
    first, second = sample.instances[0].polygons[0][:2]
    # On the screen y points down: clockwise, the right end of the upper edge sinks.
    assert second[1] > first[1]
    np.testing.assert_allclose(sample.instances[0].polygons[0].mean(axis=0), [8, 4])


def test_ellipses_are_their_outline(tmp_path):
    shapes = '<ellipse label="cat" cx="10" cy="5" rx="8" ry="3" rotation="0"/>'
    sample = only(cvat_set(tmp_path, shapes))
    assert sample.instances and sample.instances[0].polygons and sample.instances[0].mask
    x, y = (sample.instances[0].polygons[0] - (10, 5)).T
    np.testing.assert_allclose((x / 8) ** 2 + (y / 3) ** 2, 1)
    assert sample.instances[0].mask.areas()[0] == pytest.approx(np.pi * 24, rel=0.05)
    # Turned by a quarter, width and height are swapped.
    turned = only(cvat_set(tmp_path, shapes.replace('rotation="0"', 'rotation="90"'))).instances
    assert turned and turned[0].box == pytest.approx((7, -3, 13, 13), abs=0.05)


def test_groups_join_shapes_of_one_label(tmp_path):
    shapes = (
        '<polygon label="cat" points="0,0;2,0;2,2" group_id="1"/>'
        '<polygon label="cat" points="5,5;7,5;7,7" group_id="1"/>'
        '<polygon label="dog" points="5,5;7,5;7,7" group_id="1"/>'
        '<box label="cat" xtl="0" ytl="0" xbr="9" ybr="9" group_id="1"/>'
        '<polygon label="cat" points="0,0;2,0;2,2" group_id="0"/>'
    )
    root = cvat_set(tmp_path, shapes)
    sample = only(root)
    assert sample.instances
    parts = [(one.class_id, one.id, len(one.polygons or ())) for one in sample.instances]
    assert parts == [(0, "1", 2), (1, "3", 1), (0, "5", 1)]
    assert sample.instances[0].box == (0, 0, 9, 9)
    assert len(only(root, join_groups=False).instances or ()) == 5


def test_tags_are_passed_over_and_attributes_typed(tmp_path):
    labels = (
        "<label><name>cat</name><attributes><attribute><name>age</name><input_type>number"
        "</input_type></attribute><attribute><name>tail</name><input_type>checkbox</input_type>"
        "</attribute></attributes></label>"
    )
    shapes = (
        '<tag label="good"><attribute name="x">1</attribute></tag>'
        '<polygon label="cat" points="0,0;2,0;2,2" occluded="0" z_order="3" source="manual">'
        '<attribute name="age">7</attribute><attribute name="tail">false</attribute>'
        '<attribute name="free">7</attribute></polygon>'
    )
    (one,) = only(cvat_set(tmp_path, shapes, labels)).instances or ()  # pyright: ignore
    assert one.attributes == {"age": 7, "tail": False, "free": "7", "z_order": 3}


@pytest.mark.parametrize(
    ("shape", "code", "told"),
    [
        ('<polygon points="0,0;1,1;2,2"/>', "malformed-annotation", "the name of a label"),
        ('<polygon label="cat"/>', "malformed-annotation", "points ''"),
        ('<polygon label="cat" points="0,0;1"/>', "malformed-annotation", "finite numbers"),
        ('<polygon label="cat" points="0,0;1,nan;2,2"/>', "malformed-annotation", "nan"),
        ('<polygon label="cat" points="0,0;1,1e999;2,2"/>', "malformed-annotation", "1e999"),
        ('<polygon label="cat" points="0,0;1,1_0;2,2"/>', "malformed-annotation", "1_0"),
        ('<box label="cat" xtl="0" ytl="0" xbr="x" ybr="1"/>', "malformed-annotation", "xbr 'x'"),
        ('<box label="cat" xtl="0" ytl="0" xbr="1"/>', "malformed-annotation", "ybr None"),
        ('<ellipse label="cat" cx="0" cy="0" rx="1"/>', "malformed-annotation", "ry None"),
        (
            '<mask label="cat" rle="1,2" left="0" top="0" width="2" height="2"/>',
            "malformed-annotation",
            "runs that sum to 3, expected 4",
        ),
        (
            '<mask label="cat" rle="5,-1" left="0" top="0" width="2" height="2"/>',
            "malformed-annotation",
            "expected 4",
        ),
        (
            '<mask label="cat" rle="1;2" left="0" top="0" width="2" height="2"/>',
            "malformed-annotation",
            "with commas",
        ),
        (
            '<mask label="cat" rle="4" left="0" top="0" width="-2" height="-2"/>',
            "malformed-annotation",
            "at least 1",
        ),
        (
            '<mask label="cat" rle="4" left="0" top="0.5" width="2" height="2"/>',
            "malformed-annotation",
            "whole numbers",
        ),
        (
            '<mask label="cat" rle="10000000000" left="0" top="0" width="100000" height="100000"/>',
            "malformed-annotation",
            "the size of a part of an image",
        ),
        (
            '<mask label="cat" rle="42" left="0" top="0" width="21" height="2"/>',
            "malformed-annotation",
            "at most 20x10",
        ),
        ('<polyline label="cat" points="0,0;1,1"/>', "unsupported-shape", "no area"),
        (
            '<skeleton label="cat"><points label="eye" points="0,0"/></skeleton>',
            "unsupported-shape",
            "no area",
        ),
        ('<blob label="cat"/>', "unsupported-shape", "unknown"),
        (
            '<polygon label="cow" points="0,0;1,1;2,2"/>',
            "unknown-category",
            "known names: cat, dog",
        ),
    ],
)
def test_a_bad_shape_is_told_and_left_out(tmp_path, shape, code, told):
    dataset = open_cvat(cvat_set(tmp_path, shape + SQUARE), CvatOptions())
    (problem,) = dataset.problems
    assert (problem.code, problem.id, problem.split) == (code, "a.png, shape 1", "all")
    assert problem.severity == ("warning" if code == "unsupported-shape" else "error")
    assert told in str(problem)
    assert [one.id for one in dataset["all"][0].instances or ()] == ["2"]


def test_a_mask_larger_than_an_image_of_unsaid_size_is_told_on_reading(tmp_path):
    shape = '<mask label="cat" rle="42" left="0" top="0" width="21" height="2"/>'
    root = cvat_set(tmp_path, shape)
    path = root / "annotations.xml"
    path.write_text(path.read_text().replace(' width="20" height="10"', ""))
    with pytest.raises(DataError, match=r"a\.png, shape 1: a mask of 21x2 px"):
        only(root)
    path.write_text(path.read_text().replace(shape, SQUARE))
    assert only(root).size == (10, 20)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no element found"),
        ("<annotations>", "no element found"),
        ("<annotations><image name='a'", "unclosed token"),
        ("<annotations><image></annotations>", "mismatched tag"),
        ("<html></html>", "its root is <'html'>"),
        ("<annotations><track id='0'/></annotations>", "CVAT for video"),
        ("<annotations></annotations>", "holds no images"),
        ("<annotations><image id='3'/></annotations>", "an image without name"),
        ("<annotations>\xff</annotations>", "not well-formed"),
        ("<!DOCTYPE annotations [<!ENTITY a 'b'>]><annotations>&a;</annotations>", "document type"),
        (
            "<!DOCTYPE annotations SYSTEM 'file:///etc/passwd'><annotations/>",
            "declares a document type",
        ),
        ("<annotations>&a;</annotations>", "undefined entity"),
        ("<?xml version='1.0' encoding='none'?><annotations/>", "unknown encoding: none"),
        ("<?xml version='1.0' encoding='utf-7'?><annotations/>", "its encoding cannot be read"),
    ],
)
def test_a_file_that_is_no_cvat_xml_is_told(tmp_path, content, told):
    path = tmp_path / "annotations.xml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=re.escape(told)):
        open_cvat(path, CvatOptions())


def test_deep_nesting_does_no_harm(tmp_path):
    root = cvat_set(tmp_path, "<a>" * 50_000 + "</a>" * 50_000 + SQUARE)
    dataset = open_cvat(root, CvatOptions())
    assert [p.code for p in dataset.problems] == ["unsupported-shape"]
    assert len(dataset["all"][0].instances or ()) == 1


@pytest.mark.parametrize("size", ['width="0"', 'width="-20"', 'width="x"', 'width="900000000"'])
def test_sizes_that_cannot_be_are_told_and_measured(tmp_path, size):
    root = cvat_set(tmp_path, SQUARE)
    path = root / "annotations.xml"
    path.write_text(path.read_text().replace('width="20"', size))
    dataset = open_cvat(root, CvatOptions())
    assert [(p.code, p.id) for p in dataset.problems] == [("malformed-annotation", "a.png")]
    assert dataset["all"][0].size == (10, 20)


@pytest.mark.parametrize("meta", ["task", "project", "job"])
def test_labels_are_those_that_areas_can_have(tmp_path, meta):
    labels = (
        "<label><name>b</name><color>#0a0B0c</color><type>polygon</type></label>"
        "<label><name>line</name><type>polyline</type></label>"
        "<label><name>man</name><type>skeleton</type></label>"
        "<label><name>hand</name><type>points</type><parent>man</parent></label>"
        "<label><name>a</name><color>#ff0000</color><type>any</type></label>"
    )
    root = cvat_set(tmp_path, "", labels)
    path = root / "annotations.xml"
    path.write_text(path.read_text().replace("task>", f"{meta}>"))
    space = open_cvat(root, CvatOptions()).space
    assert (space.classes, space.colours) == (("b", "a"), ((10, 11, 12), (255, 0, 0)))


def test_labels_that_occur_serve_where_none_are_declared(tmp_path):
    shapes = SQUARE.replace("cat", "z") + SQUARE
    assert open_cvat(cvat_set(tmp_path, shapes, ""), CvatOptions()).space.classes == ("cat", "z")


@pytest.mark.parametrize("place", ["images/a.png", "a.png", "some/where/a.png"])
def test_images_are_found_below_the_set(tmp_path, place):
    assert only(cvat_set(tmp_path, SQUARE, place=place)).path == tmp_path / place


def test_a_single_file_finds_images_beside_it(tmp_path):
    cvat_set(tmp_path / "one", SQUARE)
    cvat_set(tmp_path / "two", SQUARE, place="a.png")
    for folder in ("one", "two"):
        assert only(tmp_path / folder / "annotations.xml").path


def test_missing_ambiguous_and_repeated_images_are_told(tmp_path):
    root = cvat_set(tmp_path, SQUARE, place="x/a.png")
    write_picture(root / "y/a.png", (10, 20))
    extra = '<image name="gone.png"/><image name="b.png"/><image name="b.png"/></annotations>'
    write_picture(root / "b.png", (10, 20))
    path = root / "annotations.xml"
    path.write_text(path.read_text().replace("</annotations>", extra))
    dataset = open_cvat(root, CvatOptions())
    assert [(p.code, p.id) for p in dataset.problems] == [
        ("ambiguous-image", "a.png"),
        ("missing-image", "gone.png"),
        ("repeated-image", "b.png"),
    ]
    assert dataset["all"].ids == ["b"]
    dataset = open_cvat(root, CvatOptions(images=Path("x")))
    assert dataset["all"].ids == ["a"]


def test_paths_of_windows_and_climbing_paths_stay_below_the_set(tmp_path):
    write_picture(tmp_path / "a.png", (10, 20))
    root = cvat_set(tmp_path / "set", SQUARE, place="images/deep/a.png")
    path = root / "annotations.xml"
    plain = path.read_text()
    for name in ("deep\\a.png", "..\\..\\a.png", "../../a.png", "/etc/a.png", "C:\\deep\\a.png"):
        path.write_text(plain.replace('name="a.png"', f'name="{name}"'))
        assert only(root).path == root / "images/deep/a.png"


def test_subsets_are_splits(tmp_path):
    root = cvat_set(tmp_path, SQUARE, place="images/train/a.png")
    write_picture(root / "images/val/a.png", (10, 20))
    path = root / "annotations.xml"
    more = '<image name="a.png" subset="val"/></annotations>'
    text = path.read_text().replace('name="a.png"', 'name="a.png" subset="train"')
    path.write_text(text.replace("</annotations>", more))
    dataset = open_cvat(root, CvatOptions())
    assert dataset.splits == ("train", "val") and dataset.problems == []
    assert dataset["val"][0].path == root / "images/val/a.png"
    assert dataset["train"].ids == dataset["val"].ids == ["a"]


def test_several_files_are_splits_by_name(tmp_path):
    root = cvat_set(tmp_path, SQUARE)
    (root / "annotations.xml").rename(root / "first.xml")
    cvat_set(root, SQUARE, "<label><name>cow</name></label>" + LABELS)
    dataset = open_cvat(root, CvatOptions())
    assert dataset.splits == ("annotations", "first")
    assert dataset.space.classes == ("cow", "cat", "dog")
    assert [one.class_id for one in dataset["first"][0].instances or ()] == [1]


def test_recognised_by_its_root_element(tmp_path):
    root = cvat_set(tmp_path, SQUARE)
    assert FORMAT.recognise(root) == "annotations.xml, CVAT for images"
    assert FORMAT.recognise(root / "annotations.xml")
    (root / "annotations.xml").write_text("<?xml version='1.0'?><annotation></annotation>")
    assert FORMAT.recognise(root) is None
    with pytest.raises(DataError, match="no XML file of CVAT"):
        open_cvat(root, CvatOptions())


def test_sources_travel_to_other_processes(tmp_path):
    source = written(tmp_path, all=varied(SIZE))["all"]
    copy = pickle.loads(pickle.dumps(source))
    assert copy.ids == source.ids
    for index in range(len(source)):
        same_objects(source[index], copy[index])


@pytest.mark.parametrize("name", ["a\x00b", "a\x1b", "\ud800", "\ufffe"])
def test_characters_that_xml_cannot_hold_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="cannot hold"):
        write_cvat({"all": ListSource([], LabelSpace((name,)))}, tmp_path, DEFAULTS)
