import base64
import io
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.formats.annotation_tools import (
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
from vitrail.data.formats.labelme import FORMAT, LabelmeOptions, open_labelme
from vitrail.data.formats.labelme_write import LabelmeWriteOptions
from vitrail.data.formats.labelme_write import write as write_labelme
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError

SIZE = (48, 64)
DEFAULTS = LabelmeWriteOptions()
SQUARE = [[2, 3], [10, 3], [10, 8], [2, 8]]


def written(folder: Path, options=DEFAULTS, **splits: Sequence[Sample]) -> Dataset:
    folder.mkdir(exist_ok=True)
    write_labelme(sources(**splits), folder, options)
    return open_labelme(folder, LabelmeOptions())


def png(mask: np.ndarray) -> str:
    file = io.BytesIO()
    PIL.Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def shape(kind: Any = "polygon", points: Any = SQUARE, label: Any = "cat", **more) -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, **more}


def labelme_set(root: Path, shapes: Any, name: str = "a", **more) -> Path:
    """A set of one image of 20 x 10 px with these shapes."""
    write_picture(root / f"{name}.png", (10, 20))
    content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"{name}.png"}
    content |= {"imageData": None, "imageHeight": 10, "imageWidth": 20, **more}
    (root / f"{name}.json").write_text(json.dumps(content))
    return root


def only(root: Path, **options) -> Sample:
    dataset = open_labelme(root, LabelmeOptions(**options))
    assert dataset.problems == [] and len(dataset["all"]) == 1
    return dataset["all"][0]


def test_everything_an_object_is_survives(tmp_path):
    train, val = varied(SIZE), varied(SIZE, "sub/folder/")
    same_set(sources(train=train, val=val), written(tmp_path, train=train, val=val))


@given(st.lists(drawn_masks(), min_size=1, max_size=3), st.sampled_from(["auto", "masks"]))
@settings(max_examples=40, deadline=None)
def test_any_masks_survive(tmp_path_factory, masks, how):
    samples = [
        Sample(f"{i}", picture(mask.size), mask.size, instances=(Instance.from_masks(1, mask),))
        for i, mask in enumerate(masks)
    ]
    folder = tmp_path_factory.mktemp("labelme")
    same_set(sources(all=samples), written(folder, LabelmeWriteOptions(masks=how), all=samples))


@given(st.lists(st.lists(drawn_rings(40), min_size=1, max_size=3), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_outlines_come_back_point_for_point(tmp_path_factory, objects):
    size = (40, 40)
    found = tuple(Instance.from_polygons(0, rings, size) for rings in objects)
    sample = Sample("a", picture(size), size, instances=found)
    back = written(tmp_path_factory.mktemp("labelme"), all=[sample])["all"][0]
    assert back.instances and len(back.instances) == len(found)
    for one, other in zip(found, back.instances, strict=True):
        assert one.polygons and other.polygons
        for ring, returned in zip(one.polygons, other.polygons, strict=True):
            np.testing.assert_array_equal(returned, ring)


def test_what_else_is_said_of_an_object_survives(tmp_path):
    about = {"occluded": True, "hard": False, "description": "a tail", "colour": "red", "age": 3.5}
    ring = star(SIZE)
    objects = (
        Instance.from_polygons(0, [ring], SIZE, id="x7", crowd=True, attributes=about),
        Instance.from_polygons(1, [ring], SIZE, attributes={"group_id": 4}),
        Instance.from_polygons(1, [ring, ring + 9], SIZE, attributes={"group_id": 4}),
    )
    sample = Sample("a", picture(SIZE), SIZE, instances=objects)
    back = written(tmp_path, all=[sample])["all"][0].instances
    assert back and len(back) == 3
    assert (back[0].id, back[0].crowd, back[0].attributes) == ("x7", True, about)
    assert [one.attributes.get("group_id") for one in back[1:]] == [4, 5]
    assert [len(one.polygons or ()) for one in back] == [1, 1, 2]


def test_masks_as_polygons_fill_holes(tmp_path):
    mask = blob(SIZE, hole=True)
    sample = Sample("a", picture(SIZE), SIZE, instances=(Instance.from_masks(0, mask),))
    back = written(tmp_path, LabelmeWriteOptions(masks="polygons"), all=[sample])["all"][0]
    assert back.instances and back.instances[0].mask == blob(SIZE)


def test_embedded_images_are_read_where_the_file_is_gone(tmp_path):
    samples = varied(SIZE)
    same = written(tmp_path, LabelmeWriteOptions(embed=True), all=samples)
    same_set(sources(all=samples), same)
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    dataset = open_labelme(tmp_path, LabelmeOptions())
    back = dataset["all"][0]
    assert back.path is None
    np.testing.assert_array_equal(back.image, samples[0].image)
    assert pickle.loads(pickle.dumps(dataset["all"]))[1].size == SIZE


def test_an_embedded_image_that_is_damaged_is_told(tmp_path):
    root = labelme_set(tmp_path, [], imageData="AAAA", imagePath="gone.png")
    sample = only(root)
    with pytest.raises(DataError, match=r"a\.json: the embedded image"):
        _ = sample.image
    labelme_set(root, [], imageData="AAAA", imagePath="gone.png", imageWidth=None, imageHeight=None)
    with pytest.raises(DataError, match=r"a\.json: the embedded image"):
        only(root)


@pytest.mark.parametrize(
    ("kind", "points", "pixels"),
    [
        ("polygon", SQUARE, 40),
        (None, SQUARE, 40),
        ("oriented_rectangle", SQUARE, 40),
        ("rectangle", [[2, 3], [10, 8]], 40),
        ("rectangle", [[10, 8], [2, 3]], 40),
        ("rectangle", SQUARE, 40),
    ],
)
def test_shapes_that_are_areas(tmp_path, kind, points, pixels):
    (one,) = only(labelme_set(tmp_path, [shape(kind, points)])).instances or ()  # pyright: ignore
    assert one.mask and one.mask.areas().tolist() == [pixels]
    assert one.box == (2, 3, 10, 8) and one.id == "1"


def test_circles_are_their_middle_and_a_point_on_the_edge(tmp_path):
    root = labelme_set(tmp_path, [shape("circle", [[10, 5], [13, 9]])])
    sample = only(root)
    assert sample.instances and sample.instances[0].polygons
    distances = np.hypot(*(sample.instances[0].polygons[0] - (10, 5)).T)
    np.testing.assert_allclose(distances, 5)


def test_embedded_masks_lie_at_their_first_corner_and_are_cut_at_the_frame(tmp_path):
    mask = np.array([[1, 1, 0], [0, 1, 1]], np.uint8)
    shapes = [
        shape("mask", [[4, 3], [6, 4]], mask=png(mask)),
        shape("mask", [[17.6, 8.7], [20.1, 9.7]], mask=png(mask.astype(bool))),
        shape("mask", [[-1, -1], [1, 0]], mask=png(mask * 255)),
        shape("mask", [[-9, 0], [-7, 1]], mask=png(mask)),
    ]
    sample = only(labelme_set(tmp_path, shapes))
    assert sample.instances
    found = [one.mask.dense()[0] for one in sample.instances if one.mask]
    expected = np.zeros((10, 20), bool)
    expected[3:5, 4:7] = mask
    np.testing.assert_array_equal(found[0], expected)
    assert np.argwhere(found[1]).tolist() == [[9, 18], [9, 19]]
    assert np.argwhere(found[2]).tolist() == [[0, 0], [0, 1]]
    assert not found[3].any()


def test_rectangles_can_be_boxes(tmp_path):
    root = labelme_set(tmp_path, [shape("rectangle", [[10, 8], [2, 3]])])
    sample = only(root, rectangles="boxes")
    assert sample.instances and sample.instances[0].mask is None
    assert sample.instances[0].box == (2, 3, 10, 8)


def test_groups_join_shapes_of_one_label(tmp_path):
    other = [[12, 3], [16, 3], [16, 8]]
    mask = png(np.ones((2, 2), np.uint8))
    shapes = [
        shape(group_id=1, description="first"),
        shape(label="dog"),
        shape(points=other, group_id=1),
        shape("mask", [[0, 0], [1, 1]], group_id=2, mask=mask),
        shape(points=other, group_id=2),
        shape(points=other, label="dog", group_id=1),
    ]
    root = labelme_set(tmp_path, shapes)
    sample = only(root)
    assert sample.instances
    parts = [(one.class_id, one.id, len(one.polygons or ())) for one in sample.instances]
    assert parts == [(0, "1", 2), (1, "2", 1), (0, "4", 0), (1, "6", 1)]
    assert sample.instances[0].attributes == {"description": "first", "group_id": 1}
    joined, alone = sample.instances[2].mask, sample.instances[3].mask
    assert joined and alone and joined.areas() == alone.areas() + 4
    assert len(only(root, join_groups=False).instances or ()) == 6


@pytest.mark.parametrize(
    ("wrong", "code", "told"),
    [
        ("text", "malformed-annotation", "'text'"),
        (shape(label=3), "malformed-annotation", "label 3"),
        (shape(points=[]), "malformed-annotation", "pairs of finite numbers"),
        (shape(points=[[1, 2], [3]]), "malformed-annotation", "pairs of finite numbers"),
        (shape(points=[[1, 2], [3, float("nan")], [1, 1]]), "malformed-annotation", "nan"),
        (shape(points=[[1, 2], [3, float("inf")], [1, 1]]), "malformed-annotation", "inf"),
        (shape(points=[["1", "2"], ["3", "4"]]), "malformed-annotation", "pairs"),
        (shape(points=[[10**400, 2], [3, 4]]), "malformed-annotation", "pairs"),
        (shape(points={"x": 1}), "malformed-annotation", "pairs"),
        (shape(flags=[1]), "malformed-annotation", "flags"),
        (shape("circle", [[1, 2]]), "malformed-annotation", "two points"),
        (shape("rectangle", [[1, 2], [3, 4], [5, 6]]), "malformed-annotation", "two points"),
        (shape("mask", [[0, 0], [1, 1]]), "malformed-annotation", "a base64 PNG"),
        (shape("mask", [[0, 0]], mask="!!"), "malformed-annotation", "a base64 PNG"),
        (shape("mask", [[0, 0]], mask="aGFsbG8="), "malformed-annotation", "a base64 PNG"),
        (shape("point", [[1, 2]]), "unsupported-shape", "no area"),
        (shape("linestrip"), "unsupported-shape", "no area"),
        (shape("cuboid"), "unsupported-shape", "another kind"),
        (shape(["polygon"]), "unsupported-shape", "another kind"),
        (shape(label="__ignore__"), "ignored-region", "ignore"),
    ],
)
def test_a_bad_shape_is_told_and_left_out(tmp_path, wrong, code, told):
    dataset = open_labelme(labelme_set(tmp_path, [wrong, shape()]), LabelmeOptions())
    (problem,) = dataset.problems
    assert (problem.code, problem.id, problem.file) == (code, "shape 1", tmp_path / "a.json")
    assert problem.severity == ("error" if code == "malformed-annotation" else "warning")
    assert told in str(problem)
    assert [one.id for one in dataset["all"][0].instances or ()] == ["2"]
    assert dataset.space.classes == ("cat",)


def test_a_mask_that_claims_a_huge_size_is_not_decoded(tmp_path):
    head = base64.b64decode(png(np.ones((2, 2), np.uint8)))
    bomb = head[:16] + (100_000).to_bytes(4, "big") * 2 + head[24:]
    text = base64.b64encode(bomb).decode()
    root = labelme_set(tmp_path, [shape("mask", [[0, 0], [1, 1]], mask=text)])
    (problem,) = open_labelme(root, LabelmeOptions()).problems
    assert "100000x100000" in problem.value and "20x10" in problem.expected
    labelme_set(root, [shape("mask", [[0, 0]], mask=text)], imageWidth=None, imageHeight=None)
    with pytest.raises(DataError, match=r"shape 1: the embedded mask claims 100000x100000"):
        only(root)


def test_a_mask_that_is_cut_short_is_told_when_it_is_read(tmp_path):
    text = png(np.random.default_rng(0).integers(0, 2, (10, 20)).astype(np.uint8) * 255)
    root = labelme_set(tmp_path, [shape("mask", [[0, 0]], mask=text[:80])])
    with pytest.raises(DataError, match=r"a\.json, shape 1: the embedded mask is damaged"):
        only(root)


@pytest.mark.parametrize(
    "content",
    ["", "{", '{"shapes": [', "[" * 100_000, "\xff", '{"shapes": 3', "1" * 5000],
    ids=range(7),
)
def test_files_that_are_no_json_are_told(tmp_path, content):
    root = labelme_set(tmp_path, [shape()])
    (root / "bad.json").write_bytes(content.encode("latin-1"))
    dataset = open_labelme(root, LabelmeOptions())
    assert [(p.code, p.severity) for p in dataset.problems] == [("malformed-file", "error")]
    assert dataset["all"].ids == ["a"]


@pytest.mark.parametrize("shapes", ["null", "3", "{}"])
def test_shapes_that_are_no_list_are_an_error(tmp_path, shapes):
    root = labelme_set(tmp_path, [shape()])
    (root / "bad.json").write_text(f'{{"version": "5", "imagePath": "a.png", "shapes": {shapes}}}')
    dataset = open_labelme(root, LabelmeOptions())
    (problem,) = dataset.problems
    assert (problem.code, problem.severity) == ("malformed-file", "error")
    assert problem.value.startswith("shapes is ") and problem.expected == "a list of shapes"


def test_a_folder_of_images_whose_name_is_too_long(tmp_path):
    root = labelme_set(tmp_path, [shape()])
    with pytest.raises(DataError, match="no such folder of images"):
        open_labelme(root, LabelmeOptions(images=Path("x" * 5000)))


def test_other_json_files_are_left_out(tmp_path):
    root = labelme_set(tmp_path, [shape()])
    (root / "coco.json").write_text('{"images": []}')
    (root / "list.json").write_text("[1, 2]")
    dataset = open_labelme(root, LabelmeOptions())
    assert [p.code for p in dataset.problems] == ["unknown-file", "unknown-file"]
    assert dataset["all"].ids == ["a"]


@pytest.mark.parametrize("size", [(0, 10), (-3, 10), ("x", 10), (1e9, 1e9), (None, 10), (2.5, 4)])
def test_sizes_that_cannot_be_are_told_and_measured(tmp_path, size):
    root = labelme_set(tmp_path, [shape()], imageWidth=size[0], imageHeight=size[1])
    dataset = open_labelme(root, LabelmeOptions())
    assert [p.id for p in dataset.problems] == ["imageWidth, imageHeight"]
    assert dataset["all"][0].size == (10, 20)


def test_a_size_that_is_not_said_is_measured(tmp_path):
    sample = only(labelme_set(tmp_path, [shape()], imageWidth=None, imageHeight=None))
    assert sample.size == (10, 20) and sample.image.shape == (10, 20, 3)


@pytest.mark.parametrize(
    "path", ["../img/b.png", "..\\img\\b.png", "C:\\data\\img\\b.png", "/data/img/b.png", "b.png"]
)
def test_images_are_found_below_the_set_and_nowhere_else(tmp_path, path):
    root = tmp_path / "set"
    labelme_set(root / "json", [shape()], imagePath=path)
    (root / "json/a.png").unlink()
    (problem,) = open_failing(root)
    assert problem.code == "missing-image" and problem.id == "imagePath"
    write_picture(root / "img/b.png", (10, 20))
    assert only(root).path == root / "img/b.png"
    assert only(root / "json/a.json", images=Path("../img")).path


def open_failing(root: Path):
    labelme_set(root / "good", [shape()], "good")
    dataset = open_labelme(root, LabelmeOptions())
    (root / "good/good.json").unlink()
    return dataset.problems


def test_a_path_that_climbs_out_is_not_followed(tmp_path):
    write_picture(tmp_path / "secret.png", (10, 20))
    root = labelme_set(tmp_path / "set", [shape()], imagePath="../secret.png")
    (root / "a.png").unlink()
    with pytest.raises(DataError, match="does not exist"):
        open_labelme(root, LabelmeOptions())


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("one", "two"):
        labelme_set(tmp_path / folder, [shape()])
    dataset = open_labelme(tmp_path, LabelmeOptions())
    assert dataset.splits == ("one", "two") and dataset.problems == []
    assert dataset["two"][0].path == tmp_path / "two/a.png"
    labelme_set(tmp_path / "three/deep", [shape()], imagePath="x/y/b.png")
    for folder in ("one", "two"):
        write_picture(tmp_path / folder / "b.png", (10, 20))
    (problem,) = open_labelme(tmp_path, LabelmeOptions()).problems
    assert problem.code == "ambiguous-image" and "one/b.png, two/b.png" in problem.value


def test_the_image_of_the_same_name_is_taken_where_none_is_said(tmp_path):
    assert only(labelme_set(tmp_path, [shape()], imagePath=None)).path == tmp_path / "a.png"


def test_labels_are_sorted_or_as_listed(tmp_path):
    root = labelme_set(tmp_path, [shape(label="dog"), shape(label="cat"), shape(label="ant")])
    assert open_labelme(root, LabelmeOptions()).space.classes == ("ant", "cat", "dog")
    (root / "labels.txt").write_text("__ignore__\n_background_\ndog\n\ncat \n")
    dataset = open_labelme(root, LabelmeOptions())
    assert dataset.space.classes == ("dog", "cat")
    assert [one.class_id for one in dataset["all"][0].instances or ()] == [0, 1]
    (problem,) = dataset.problems
    assert (problem.code, problem.id) == ("unknown-category", "shape 3")
    assert "'ant'" in problem.value and "did you mean 'cat'" in problem.expected


def test_background_is_no_class(tmp_path):
    sample = only(labelme_set(tmp_path, [shape(label="_background_"), shape()]))
    assert [one.class_id for one in sample.instances or ()] == [0]


def test_folders_are_splits_if_they_hold_images_or_are_several(tmp_path):
    labelme_set(tmp_path / "one/train/x", [shape()])
    assert open_labelme(tmp_path / "one", LabelmeOptions()).splits == ("train",)
    assert open_labelme(tmp_path / "one", LabelmeOptions())["train"].ids == ["x/a"]
    labelme_set(tmp_path / "two/json", [shape()])
    (tmp_path / "two/images").mkdir()
    (tmp_path / "two/json/a.png").rename(tmp_path / "two/images/a.png")
    assert open_labelme(tmp_path / "two", LabelmeOptions()).splits == ("all",)
    assert open_labelme(tmp_path / "two", LabelmeOptions())["all"].ids == ["json/a"]


def test_recognised_by_its_files(tmp_path):
    root = labelme_set(tmp_path / "a/b", [shape()])
    assert FORMAT.recognise(root) == "JSON files of labelme in b/"
    assert FORMAT.recognise(tmp_path / "a") == "JSON files of labelme in b/"
    assert FORMAT.recognise(root / "a.json")
    assert FORMAT.recognise(root / "a.png") is None
    assert FORMAT.recognise(tmp_path) is None
    (root / "a.json").write_text('{"images": []}')
    assert FORMAT.recognise(root) is None
    with pytest.raises(DataError, match="no readable JSON file of labelme"):
        open_labelme(root, LabelmeOptions())


def test_sources_travel_to_other_processes(tmp_path):
    source = written(tmp_path, all=varied(SIZE))["all"]
    copy = pickle.loads(pickle.dumps(source))
    assert copy.ids == source.ids
    for index in range(len(source)):
        same_objects(source[index], copy[index])


@pytest.mark.parametrize("name", ["_background_", "__ignore__", " cat", "a\nb", ""])
def test_class_names_that_a_list_cannot_hold_are_refused(tmp_path, name):
    splits = sources(all=[])
    splits["all"].space = LabelSpace((name,))  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(DataError, match=r"does not keep|means something else"):
        write_labelme(splits, tmp_path, LabelmeWriteOptions())


def test_files_have_the_keys_and_types_that_labelme_demands(tmp_path):
    """What ``_load_shape_json_obj`` of labelme 5.9's ``_label_file.py`` asserts."""
    written(tmp_path, all=varied(SIZE))
    for path in (tmp_path / "all").glob("*.json"):
        content = json.loads(path.read_text())
        assert {"version", "imageData", "imagePath", "shapes"} <= content.keys()
        for one in content["shapes"]:
            assert isinstance(one["label"], str) and isinstance(one["shape_type"], str)
            assert one["points"] and all(
                len(point) == 2 and all(isinstance(xy, int | float) for xy in point)
                for point in one["points"]
            )
            assert all(isinstance(flag, bool) for flag in one["flags"].values())
            assert isinstance(one["description"], str)
            assert one["group_id"] is None or isinstance(one["group_id"], int)
            if one["shape_type"] == "mask":
                (x1, y1), (x2, y2) = one["points"]
                mask = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(one["mask"]))))
                assert mask.shape == (y2 - y1 + 1, x2 - x1 + 1)
