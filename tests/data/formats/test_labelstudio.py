import base64
import io
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
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
)
from tests.data.formats.labelstudio_exports import (
    TRIANGLE,
    export,
    only,
    polygon,
    result,
    task,
)
from vitrail.data.formats.base import Dataset
from vitrail.data.formats.labelstudio import LabelStudioOptions, open_labelstudio
from vitrail.data.formats.labelstudio_rle import encode
from vitrail.data.formats.labelstudio_write import LabelStudioWriteOptions
from vitrail.data.formats.labelstudio_write import write as write_labelstudio
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.result.masks import Masks

SIZE = (48, 64)
DEFAULTS = LabelStudioWriteOptions()


def written(folder: Path, options=DEFAULTS, **splits: Sequence[Sample]) -> Dataset:
    folder.mkdir(exist_ok=True)
    write_labelstudio(sources(**splits), folder, options)
    return open_labelstudio(folder, LabelStudioOptions())


def test_everything_an_object_is_survives(tmp_path):
    train, val = varied(SIZE), varied(SIZE, "sub folder/a+b&c#d%41/")
    for how in ("auto", "brush", "polygons"):
        options = LabelStudioWriteOptions(masks=how)
        back = written(tmp_path / how, options, train=train, val=val)
        same_set(sources(train=train, val=val), back)


@given(
    st.lists(drawn_masks(), min_size=1, max_size=3), st.sampled_from(["auto", "brush", "polygons"])
)
@settings(max_examples=60, deadline=None)
def test_any_masks_survive(tmp_path_factory, masks, how):
    samples = [
        Sample(f"{i}", picture(mask.size), mask.size, instances=(Instance.from_masks(1, mask),))
        for i, mask in enumerate(masks)
    ]
    folder, options = tmp_path_factory.mktemp("ls"), LabelStudioWriteOptions(masks=how)
    same_set(sources(all=samples), written(folder, options, all=samples))


@given(st.lists(drawn_rings(40), max_size=3), st.integers(30, 50), st.integers(30, 50))
@settings(max_examples=40, deadline=None)
def test_single_outlines_come_back_point_for_point(tmp_path_factory, rings, height, width):
    size = (height, width)
    found = tuple(Instance.from_polygons(0, [ring], size) for ring in rings)
    sample = Sample("a", picture(size), size, instances=found)
    back = written(tmp_path_factory.mktemp("ls"), all=[sample])["all"][0]
    for one, other in zip(found, back.instances or (), strict=True):
        assert one.polygons and other.polygons
        np.testing.assert_array_equal(other.polygons[0], one.polygons[0])


@given(st.lists(st.integers(-500, 5000).map(lambda n: n / 100), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_bare_boxes_come_back_exactly(tmp_path_factory, numbers):
    x1, y1, x2, y2 = numbers
    box = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
    sample = Sample("a", picture((41, 37)), (41, 37), instances=(
        Instance.from_box(0, box, (41, 37), id="b"),))  # fmt: skip
    back = written(tmp_path_factory.mktemp("ls"), all=[sample])["all"][0].instances
    assert back and back[0].box == box and back[0].mask is None and back[0].id == "b"


def test_classes_keep_their_order_and_colours(tmp_path):
    space = LabelSpace(("z & <y>", 'a"'), colours=((1, 2, 255), (0, 16, 32)))
    write_labelstudio({"all": ListSource(varied(SIZE)[3:], space)}, tmp_path, DEFAULTS)
    back = open_labelstudio(tmp_path, LabelStudioOptions()).space
    assert (back.classes, back.colours) == (space.classes, space.colours)


def test_ids_are_unique_within_an_image(tmp_path):
    objects = tuple(Instance.from_masks(0, blob(SIZE), id=id) for id in ("x", "x", "", "3"))
    sample = Sample("a", picture(SIZE), SIZE, instances=objects)
    back = written(tmp_path, all=[sample])["all"][0].instances
    assert [one.id for one in back or ()] == ["x", "x_", "3", "3_"]


def test_polygons_are_percent_of_the_image(tmp_path):
    sample = only(export(tmp_path, [task([polygon()])]))
    assert sample.size == (10, 20) and sample.id == "a"
    (one,) = sample.instances or ()  # pyright: ignore
    assert one.id == "r1" and one.polygons
    assert one.polygons[0].tolist() == [[2, 3], [10, 3], [10, 8]]


def test_rectangles_are_boxes_and_turn_about_their_corner(tmp_path):
    upright = {"x": 10, "y": 30, "width": 40, "height": 50, "rotation": 0}
    turned = {"x": 50, "y": 20, "width": 20, "height": 30, "rotation": 90}
    results = [result(one, "rectanglelabels") for one in (upright, turned)]
    root = export(tmp_path, [task(results)])
    sample = only(root)
    assert sample.instances and len(sample.instances) == 2
    assert sample.instances[0].box == (2, 3, 10, 8) and sample.instances[0].mask is None
    # 4 px wide and 3 px high, its corner at (10, 2): a quarter clockwise, it lies left of it.
    assert sample.instances[1].polygons
    corners = sample.instances[1].polygons[0]
    np.testing.assert_allclose(corners, [[10, 2], [10, 6], [7, 6], [7, 2]], atol=1e-12)
    filled = only(root, rectangles="areas").instances
    assert filled and filled[0].polygons
    assert filled[0].polygons[0].tolist() == [[2, 3], [10, 3], [10, 8], [2, 8]]


def test_ellipses_are_radii_in_percent(tmp_path):
    value = {"x": 50, "y": 50, "radiusX": 40, "radiusY": 30, "rotation": 0}
    (one,) = only(export(tmp_path, [task([result(value, "ellipselabels")])])).instances or ()  # pyright: ignore
    assert one.polygons
    x, y = (one.polygons[0] - (10, 5)).T
    np.testing.assert_allclose((x / 8) ** 2 + (y / 3) ** 2, 1)


def test_brush_strokes_bitmasks_and_their_attributes(tmp_path):
    mask = blob((10, 20), hole=True, parts=2)
    rle = list(encode(mask))
    alpha = np.zeros((10, 20, 4), np.uint8)
    alpha[..., 3] = mask.dense()[0] * 255
    file = io.BytesIO()
    PIL.Image.fromarray(alpha).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    results = [
        result({"format": "rle", "rle": rle}, "brushlabels"),
        result({"format": "rle", "rle": dict(enumerate(rle))}, "brushlabels", id="r2"),
        result({"imageDataURL": url}, "bitmasklabels", id="r3", image_rotation=90),
        {"id": "r1", "type": "choices", "from_name": "fur", "value": {"choices": ["long"]}},
        {"type": "relation", "from_id": "r1", "to_id": "r2", "direction": "right"},
    ]
    sample = only(export(tmp_path, [task(results)]))
    assert sample.instances and [one.mask for one in sample.instances] == [mask] * 3
    attributes = [one.attributes for one in sample.instances]
    assert attributes == [{"fur": ["long"]}, {}, {"image_rotation": 90.0}]


def test_crowds_come_back_as_crowds(tmp_path):
    """A choice of the region says so; without any crowd, annotators are not asked for it."""
    crowd, plain = (Instance.from_masks(0, blob(SIZE, hole=hole), id="x") for hole in (True, False))
    found = [replace(crowd, crowd=True), plain]
    found.append(Instance.from_box(1, (1.0, 2.0, 3.0, 4.0), SIZE, crowd=True, id="b"))
    found.append(Instance.from_polygons(2, [star(SIZE)], SIZE, crowd=True))
    sample = Sample("a", picture(SIZE), SIZE, instances=tuple(found))
    back = written(tmp_path / "crowds", all=[sample])
    assert back.problems == []
    same_objects(sample, back["all"][0])
    again = back["all"][0].instances or ()
    assert [(one.crowd, one.id) for one in again] == [
        (True, "x"), (False, "x_"), (True, "b"), (True, "4"),
    ]  # fmt: skip
    assert all(not one.attributes for one in again)
    assert 'name="iscrowd"' in (tmp_path / "crowds" / "config.xml").read_text()
    written(tmp_path / "none", all=[replace(sample, instances=(plain,))])
    assert "iscrowd" not in (tmp_path / "none" / "config.xml").read_text()


def test_another_choice_of_that_name_is_an_attribute(tmp_path):
    choice = {"id": "r1", "type": "choices", "from_name": "iscrowd", "value": {"choices": ["no"]}}
    sample = only(export(tmp_path, [task([polygon(), choice])]))
    assert sample.instances and len(sample.instances) == 1
    one = sample.instances[0]
    assert not one.crowd and one.attributes == {"iscrowd": ["no"]}


def test_soft_strokes_are_cut_at_an_opacity(tmp_path):
    from tests.data.formats.test_labelstudio_rle import header, packed

    bits = header(800) + f" 111 {399:016b} {200:08b} 111 {399:016b} {90:08b}"
    value = {"format": "rle", "rle": list(packed(bits))}
    root = export(tmp_path, [task([result(value, "brushlabels")])])
    found = [only(root, opacity=opacity).instances for opacity in (1, 91, 201)]
    areas = [one[0].mask.areas()[0] for one in found if one and one[0].mask]
    assert areas == [200, 100, 0]


def test_general_labels_come_once_bare_and_once_labelled(tmp_path):
    bare = polygon(None, type="polygon")
    labelled = polygon(None, type="labels")
    labelled["value"] = {**labelled["value"], "labels": ["cat", "dog"]}
    sample = only(export(tmp_path, [task([bare, labelled])]))
    assert [(one.class_id, one.id) for one in sample.instances or ()] == [(0, "r1"), (1, "r1:dog")]


@pytest.mark.parametrize(
    ("wrong", "code", "told"),
    [
        ("text", "malformed-annotation", "a result with a value"),
        ({**polygon(), "value": 3}, "malformed-annotation", "a result with a value"),
        (result({"points": [[1, 2], [3]]}), "malformed-annotation", "pairs of finite numbers"),
        (result({"points": [[1, 2], [3, None]]}), "malformed-annotation", "pairs"),
        (result({"points": [[1, float("nan")]]}), "malformed-annotation", "nan"),
        (result({"points": []}), "malformed-annotation", "pairs"),
        (
            result({"x": 1, "y": 2, "width": "w", "height": 4}, "rectanglelabels"),
            "malformed-annotation",
            "width 'w'",
        ),
        (result({"x": 1, "radiusX": 4}, "ellipselabels"), "malformed-annotation", "y None"),
        (
            result({"x": 1, "y": 2, "width": 1, "height": 4, "rotation": "x"}, "rectanglelabels"),
            "malformed-annotation",
            "rotation 'x'",
        ),
        (result({"rle": [1, 2, 256]}, "brushlabels"), "malformed-annotation", "0 to 255"),
        (result({"rle": [1.5]}, "brushlabels"), "malformed-annotation", "0 to 255"),
        (result({"rle": "abc"}, "brushlabels"), "malformed-annotation", "a list of bytes"),
        (result({"rle": []}, "brushlabels"), "malformed-annotation", "claims 0 bytes"),
        (
            result({"rle": [255] * 40}, "brushlabels"),
            "malformed-annotation",
            "claims 4,294,967,295 bytes, expected 800",
        ),
        (
            result({"rle": [0] * 9}, "brushlabels", original_width=None),
            "malformed-annotation",
            "original_width",
        ),
        (result({"imageDataURL": "x"}, "bitmasklabels"), "malformed-annotation", "a base64 PNG"),
        (polygon(None), "unlabelled-region", "a label"),
        (result({}, type=["choices"]), "unsupported-shape", "no area"),
        (result({"points": TRIANGLE, "closed": False}), "unsupported-shape", "no area"),
        (result({"x": 1, "y": 1, "width": 0.5}, "keypointlabels"), "unsupported-shape", "no area"),
        (result({"vertices": []}, "vectorlabels"), "unsupported-shape", "no area"),
    ],
)
def test_a_bad_region_is_told_and_left_out(tmp_path, wrong, code, told):
    good = polygon(id="good")
    dataset = open_labelstudio(export(tmp_path, [task([wrong, good])]), LabelStudioOptions())
    (problem,) = dataset.problems
    place = "1" if wrong == "text" else "r1"
    assert (problem.code, problem.id) == (code, f"task 7, region {place}")
    assert problem.severity == ("error" if code == "malformed-annotation" else "warning")
    assert problem.file == tmp_path / "export.json" and told in str(problem)
    assert [one.id for one in dataset["all"][0].instances or ()] == ["good"]


def test_a_stroke_that_is_cut_short_is_told_when_it_is_read(tmp_path):
    rle = list(encode(blob((10, 20))))[:12]
    root = export(tmp_path, [task([result({"rle": rle}, "brushlabels")])])
    with pytest.raises(DataError, match=r"export\.json, task 7, region r1: the brush ends after"):
        only(root)


def test_regions_drawn_on_another_size_are_told(tmp_path):
    other = polygon(original_width=40)
    dataset = open_labelstudio(export(tmp_path, [task([polygon(), other])]), LabelStudioOptions())
    (problem,) = dataset.problems
    assert problem.id == "task 7" and "another size" in problem.value
    assert len(dataset["all"][0].instances or ()) == 1


def test_sources_travel_to_other_processes(tmp_path):
    source = written(tmp_path, all=varied(SIZE))["all"]
    copy = pickle.loads(pickle.dumps(source))
    assert copy.ids == source.ids
    for index in range(len(source)):
        same_objects(source[index], copy[index])


def test_empty_objects_are_not_written(tmp_path):
    empty = Instance.from_masks(0, Masks.from_dense(np.zeros((1, *SIZE), bool)))
    thin = Instance.from_polygons(0, [np.array([[1.0, 1], [2, 2]])], SIZE)
    sample = Sample("a", picture(SIZE), SIZE, instances=(empty, thin))
    for how in ("auto", "brush", "polygons"):
        back = written(tmp_path / how, LabelStudioWriteOptions(masks=how), all=[sample])
        assert back["all"][0].instances == ()


def test_labels_that_xml_cannot_hold_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot hold"):
        write_labelstudio({"all": ListSource([], LabelSpace(("a\x00",)))}, tmp_path, DEFAULTS)


def test_outlines_of_several_parts_are_painted(tmp_path):
    rings = [star((20, 20)), star((20, 20)) + 25]
    instance = Instance.from_polygons(0, rings, SIZE)
    sample = Sample("a", picture(SIZE), SIZE, instances=(instance,))
    back = written(tmp_path, all=[sample])["all"][0].instances
    assert back and len(back) == 1 and back[0].mask == instance.mask
