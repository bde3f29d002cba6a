"""COCO objects: what is read, and from which layouts."""

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.data.formats.drawn_coco import (
    SIZE,
    document,
    draw_images,
    objects_of,
    one_image,
    open_coco,
    ring_mask,
    write_coco,
)
from vitrail.data.formats.coco import FORMAT
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ParameterError


def test_objects_are_read_as_they_are(tmp_path: Path) -> None:
    dataset = open_coco(write_coco(tmp_path))
    source = dataset["train"]
    assert (dataset.splits, dataset.problems) == (("train",), [])
    assert dataset.reason == "found annotations/instances_train2017.json"
    assert source.ids == ["000048", "000049", "000050"]  # by name, not as listed
    assert source.space == LabelSpace(("cat", "leaf", "Füße 足"), original_ids=(2, 7, 90))

    sample = source[2]
    assert sample.size == SIZE and sample.image.shape == (*SIZE, 3) and sample.labels is None
    by_id = {one.id: one for one in objects_of(sample)}
    assert list(by_id) == ["1000", "1002", "1004", "1001", "1003"]  # as in the file
    outline, parts, crowd, ring, box = (by_id[str(1000 + n)] for n in range(5))

    assert (outline.class_id, outline.box) == (0, (2.0, 4.1, 17.25, 19.75))
    assert outline.attributes == {"area": 123.25}
    assert outline.polygons is not None
    assert outline.polygons[0].tolist() == [
        [3.5, 4.1],
        [17.25, 5],
        [14.2, 19.75],
        [9, 9.99],
        [2, 18],
    ]
    assert parts.box == (20, -4, 66, 12.5)  # around the outlines, as none was annotated
    assert (len(parts.polygons or ()), parts.attributes) == (2, {"occluded": True})
    assert crowd.crowd and crowd.class_id == 2 and crowd.mask is not None
    assert crowd.mask.areas().tolist() == [210]
    assert ring.attributes == {"score": 0.5} and ring.mask is not None
    assert np.array_equal(ring.mask.dense()[0], ring_mask().astype(bool))
    assert (box.class_id, box.box, box.mask) == (1, (1.5, 2, 31.75, 22), None)
    assert box.attributes == {}  # key points are no segmentation
    assert source[-1].id == sample.id
    with pytest.raises(IndexError):
        source[3]


LAYOUTS: dict[str, tuple[dict[str, str], str, dict[str, str], tuple[str, ...]]] = {
    # name: {annotation file: folder of its images}, what is opened, options, splits
    "coco 2017": (
        {
            "annotations/instances_val2017.json": "val2017",
            "annotations/instances_train2017.json": "train2017",
        },
        "",
        {},
        ("train", "val"),
    ),
    "images/train2017": (
        {"annotations/instances_train2017.json": "images/train2017"},
        "",
        {},
        ("train",),
    ),
    "two years": (
        {
            "annotations/instances_val2014.json": "val2014",
            "annotations/instances_val2017.json": "val2017",
        },
        "",
        {},
        ("val2014", "val2017"),
    ),
    "one of its files": (
        {"annotations/instances_train2017.json": "train2017"},
        "annotations/instances_train2017.json",
        {},
        ("train",),
    ),
    "roboflow": (
        {
            "valid/_annotations.coco.json": "valid",
            "train/_annotations.coco.json": "train",
            "test/_annotations.coco.json": "test",
        },
        "",
        {},
        ("train", "valid", "test"),
    ),
    "cvat": ({"annotations/instances_default.json": "images"}, "", {}, ("all",)),
    "fiftyone": ({"labels.json": "data"}, "", {}, ("all",)),
    "datumaro": ({"annotations/instances_train.json": "images/train"}, "", {}, ("train",)),
    "beside": ({"made by hand.json": "."}, "", {}, ("all",)),
    "a file with images beside": ({"made by hand.json": "."}, "made by hand.json", {}, ("all",)),
    "a file with images": ({"x.json": "images"}, "x.json", {}, ("all",)),
    "images shared by splits": (
        {"val.json": "images", "train.json": "images"},
        "",
        {},
        ("train", "val"),
    ),
    "options": (
        {"a/b.json": "c/d"},
        "",
        {"annotations": "a/b.json", "images": "c/d"},
        ("all",),
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str, tmp_path: Path) -> None:
    files, opened, options, splits = LAYOUTS[name]
    for number, (file, folder) in enumerate(files.items()):
        content = document(images=2 + number)
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(json.dumps(content), "utf-8")
        draw_images(content, tmp_path / folder)
    root = tmp_path / opened
    assert (FORMAT.recognise(root) is None) == (name == "options")
    dataset = open_coco(root, **options)
    assert dataset.splits == splits
    lengths = {split: len(dataset[split]) for split in splits}
    assert sorted(lengths.values()) == list(range(2, 2 + len(files)))
    assert dataset.problems == []
    for split in splits:
        assert dataset[split][0].image.shape == (*SIZE, 3)


def test_options_for_each_split(tmp_path: Path) -> None:
    for split in ("a", "b"):
        content = document(images=1)
        (tmp_path / f"{split}.json").write_text(json.dumps(content), "utf-8")
        draw_images(content, tmp_path / "pictures" / split)
    dataset = open_coco(
        tmp_path,
        annotations={"b": "b.json", "a": "a.json"},
        images={"a": "pictures/a", "b": "pictures/b"},
    )
    assert dataset.splits == ("b", "a")
    assert dataset["a"][0].path == tmp_path / "pictures" / "a" / "000050.png"


@pytest.mark.parametrize(
    "options",
    [{"annotations": "none.json"}, {"images": "none"}, {"images": {"train": "none"}}],
)
def test_options_that_name_nothing(options: dict[str, Any], tmp_path: Path) -> None:
    write_coco(tmp_path)
    with pytest.raises(DataError, match=r"none.*: no such .* option (annotations|images)"):
        open_coco(tmp_path, **options)["train"]


def test_an_unknown_option(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="did you mean 'images'"):
        open_coco(tmp_path, image="x")


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"shapes": [], "imageHeight": 4}',
        '{"images": [{"id": 1}], "annotations": [{"segments_info": []}], "categories": []}',
        "not JSON",
        "",
    ],
)
def test_other_files_are_not_taken_for_coco(content: str, tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2017.json").write_text(content)
    assert FORMAT.recognise(tmp_path) is None
    with pytest.raises(DataError, match="no COCO annotations found"):
        open_coco(tmp_path)


def test_recognising_leaves_a_folder_of_many_json_files_alone(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.json").write_text(json.dumps(document(images=1)))
    assert FORMAT.recognise(tmp_path) is None
    assert FORMAT.recognise(tmp_path / "3.json") is not None
    assert FORMAT.recognise(tmp_path / "absent") is None


def test_sub_folders_and_equal_stems(tmp_path: Path) -> None:
    content = document(images=4)
    names = ["b/x.png", "a/x.png", "a\\y.png", "z.png"]
    for entry, name in zip(content["images"], names, strict=True):
        entry["file_name"] = name.replace("\\", "/")
    write_coco(tmp_path, content)
    cv2.imwrite(str(tmp_path / "train2017" / "z.jpg"), np.zeros((*SIZE, 3), np.uint8))
    content["images"].append({"id": 1, "file_name": "z.jpg", "height": 40, "width": 56})
    content["images"][2]["file_name"] = names[2]  # a path of Windows
    path = tmp_path / "annotations" / "instances_train2017.json"
    path.write_text(json.dumps(content), "utf-8")
    dataset = open_coco(tmp_path)
    assert dataset["train"].ids == ["a/x", "a/y", "b/x", "z.jpg", "z.png"]
    assert dataset["train"][1].image.shape == (*SIZE, 3)
    assert dataset.problems == []


def test_classes_are_those_of_all_splits(tmp_path: Path) -> None:
    """Tools write the categories that occur; ids must still mean the same in each split."""
    train, val = document(images=1), document(images=1)
    train["categories"] = [{"id": 7, "name": "leaf"}, {"id": 2, "name": "cat"}]
    train["annotations"] = [one for one in train["annotations"] if one["category_id"] != 90]
    val["categories"] = [{"id": 90, "name": "Füße 足"}, {"id": 7, "name": "leaf"}]
    val["annotations"] = [one for one in val["annotations"] if one["category_id"] != 2]
    write_coco(tmp_path, train)
    write_coco(tmp_path, val, "val2017")
    dataset = open_coco(tmp_path)
    assert dataset["val"].space == dataset["train"].space
    assert dataset["val"].space.original_ids == (2, 7, 90)
    assert {one.class_id for one in objects_of(dataset["val"][0])} == {1, 2}
    assert dataset.problems == []


def test_one_id_with_two_names_is_refused(tmp_path: Path) -> None:
    val = document(images=1)
    val["categories"] = [{"id": 2, "name": "dog"}]
    write_coco(tmp_path)
    write_coco(tmp_path, val, "val2017")
    with pytest.raises(DataError, match=r"category 2 is 'cat' in .* and 'dog' in"):
        open_coco(tmp_path)["train"]


def test_ids_from_0_without_gaps_need_no_table(tmp_path: Path) -> None:
    content = one_image(category_id=0)
    content["categories"] = [{"id": 1, "name": "b"}, {"id": 0, "name": "a"}]
    source = open_coco(write_coco(tmp_path, content))["train"]
    assert source.space == LabelSpace(("a", "b"))


def test_categories_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Roboflow adds a category 0 with the project's name."""
    content = one_image()
    content["categories"] = [{"id": 0, "name": "cell"}, {"id": 1, "name": "cell"}]
    dataset = open_coco(write_coco(tmp_path, content))
    assert dataset["train"].space.classes == ("cell (0)", "cell (1)")
    assert {one.code for one in dataset.problems} == {"duplicate-category"}
    assert {one.severity for one in dataset.problems} == {"warning"}


def test_an_image_without_a_size_has_that_of_its_file(tmp_path: Path) -> None:
    write_coco(tmp_path, one_image())
    content = one_image()
    del content["images"][0]["height"], content["images"][0]["width"]
    (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    assert open_coco(tmp_path)["train"][0].size == (8, 10)
    (tmp_path / "train2017" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png"):
        open_coco(tmp_path)["train"][0]


def test_a_source_travels_light(tmp_path: Path) -> None:
    """To worker processes go positions; annotations and masks stay in the file."""
    content = document(images=40)
    for annotation in content["annotations"]:
        if isinstance(annotation.get("segmentation"), list):
            annotation["segmentation"] *= 50
    source = open_coco(write_coco(tmp_path, content))["train"]
    sent = pickle.dumps(source)
    file = tmp_path / "annotations" / "instances_train2017.json"
    assert len(sent) < 10_000 < file.stat().st_size / 20
    copy = pickle.loads(sent)
    for index in (0, 39):
        ours, theirs = objects_of(source[index]), objects_of(copy[index])
        assert [one.id for one in ours] == [one.id for one in theirs]
        assert all(a.mask == b.mask for a, b in zip(ours, theirs, strict=True))


def test_a_file_that_changed_is_noticed(tmp_path: Path) -> None:
    source = open_coco(write_coco(tmp_path))["train"]
    path = tmp_path / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text("utf-8").replace("1000", "9"), "utf-8")
    with pytest.raises(DataError, match=r"instances_train2017\.json: changed since it was opened"):
        source[0]
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        source[0]
