"""COCO against pycocotools (2.0.11), supervision (0.31.2) and Datumaro (1.13.12).

What vitrail reads is what ``pycocotools.coco.COCO.annToMask`` gives, on sets drawn here and on 160
real images; what vitrail writes is read by all three, and vitrail reads what supervision and
Datumaro write.
"""

import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datumaro
import numpy as np
import pytest
import supervision
from datumaro.components.annotation import Bbox, Mask, Polygon
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from tests.data.drawn_sources import DrawnObjects
from tests.data.formats.drawn_coco import SIZE, document, open_coco, write_coco
from tests.data.formats.test_coco_panoptic import open_panoptic, write_panoptic
from tests.real_data import real
from vitrail.data.formats import coco, coco_panoptic
from vitrail.data.formats.base import Dataset, Format
from vitrail.data.opening import parse_options
from vitrail.data.polygon import rasterise
from vitrail.data.sample import Instance, SampleSource

PYCOCOTOOLS = f"pycocotools-{version('pycocotools')}"
SUPERVISION = f"supervision-{version('supervision')}"
DATUMARO = f"datumaro-{version('datumaro')}"

ENCODINGS = [{"encoding": "auto"}, {"encoding": "polygon"}, {"encoding": "rle"}]
UNCOMPRESSED = {"encoding": "rle", "compressed": False}


def written(
    source: SampleSource, folder: Path, format: Format = coco.FORMAT, **options: Any
) -> Path:
    folder.mkdir(parents=True)
    assert format.write is not None
    format.write({"train": source}, folder, parse_options(format.write_options, options, ""))
    return folder


def opened(root: Path, format: Format = coco.FORMAT) -> Dataset:
    """A folder of the format's layout, without a fault."""
    assert format.recognise(root) is not None
    dataset = format.open(root, format.options())
    for split in dataset.splits:
        dataset[split]
    assert dataset.problems == []
    return dataset


def theirs(api: COCO, annotation: Any) -> np.ndarray:
    with warnings.catch_warnings():  # pycocotools warns of its own __array__
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.asarray(api.annToMask(annotation)).astype(bool)


def objects(source: SampleSource, index: int) -> list[Instance]:
    found = source[index].instances
    assert found is not None
    return list(found)


def dense(instance: Instance) -> np.ndarray:
    assert instance.mask is not None
    return instance.mask.dense()[0]


def equal_to_pycocotools(source: SampleSource, file: Path) -> int:
    """Every image, object, class, box and mask is the same; returns how many masks there were."""
    api = COCO(str(file))
    classes = [api.cats[number]["name"] for number in sorted(api.cats)]
    assert classes == list(source.space.classes)
    by_name = {Path(one["file_name"]).with_suffix("").as_posix(): one for one in api.imgs.values()}
    assert sorted(by_name) == list(source.ids)
    masks = 0
    for index, name in enumerate(source.ids):
        entry = by_name[name]
        assert source[index].size == (entry["height"], entry["width"])
        annotations = api.loadAnns(api.getAnnIds(imgIds=entry["id"]))
        found = objects(source, index)
        assert [one.id for one in found] == [str(one["id"]) for one in annotations]
        for one, annotation in zip(found, annotations, strict=True):
            assert classes[one.class_id] == api.cats[annotation["category_id"]]["name"]
            assert one.crowd == bool(annotation.get("iscrowd", 0))
            if annotation.get("bbox"):
                x1, y1, x2, y2 = one.box
                assert [x1, y1, x2 - x1, y2 - y1] == pytest.approx(annotation["bbox"], abs=1e-8)
            if annotation.get("segmentation"):
                masks += 1
                assert np.array_equal(dense(one), theirs(api, annotation))
            else:
                assert one.mask is None
    return masks


# pycocotools -------------------------------------------------------------------------------------


def test_reading_is_that_of_pycocotools(tmp_path: Path, record_property: Any) -> None:
    record_property("reference", PYCOCOTOOLS)
    write_coco(tmp_path)
    file = tmp_path / "annotations" / "instances_train2017.json"
    assert equal_to_pycocotools(open_coco(tmp_path)["train"], file) == 12


coordinate = st.floats(-20, 80) | st.integers(-100, 350).map(lambda v: v / 5)
ring = st.lists(coordinate, min_size=6, max_size=24).filter(lambda ring: len(ring) % 2 == 0)
run_lengths = st.lists(st.integers(0, 300), max_size=12).map(
    lambda runs: runs[: next((i for i in range(len(runs)) if sum(runs[: i + 1]) > 2240), len(runs))]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(ring, min_size=1, max_size=3) | run_lengths, min_size=1, max_size=5))
def test_any_segmentation_is_that_of_pycocotools(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[Any]
) -> None:
    content = document(images=1)
    content["annotations"] = [
        {"id": number, "image_id": 50, "category_id": 7, "segmentation": shape}
        if shape and isinstance(shape[0], list)
        else {
            "id": number,
            "image_id": 50,
            "category_id": 2,
            "iscrowd": 1,
            "segmentation": {"size": list(SIZE), "counts": [*shape, 2240 - sum(shape)]},
        }
        for number, shape in enumerate(shapes, 1)
    ]
    folder = write_coco(tmp_path_factory.mktemp("any"), content)
    source = open_coco(folder)["train"]
    file = folder / "annotations" / "instances_train2017.json"
    assert equal_to_pycocotools(source, file) == len(shapes)


@pytest.mark.parametrize("options", [*ENCODINGS, UNCOMPRESSED], ids=str)
@pytest.mark.parametrize("drawn", ["as JSON", "as masks"])
def test_pycocotools_reads_what_is_written(
    drawn: str, options: dict[str, Any], tmp_path: Path
) -> None:
    source = (
        open_coco(write_coco(tmp_path / "a"))["train"] if drawn == "as JSON" else DrawnObjects()
    )
    folder = written(source, tmp_path / "b", **options)
    file = folder / "annotations" / "instances_train.json"
    copy = open_coco(folder)["train"]
    assert equal_to_pycocotools(copy, file) > 10
    api = COCO(str(file))
    for index, name in enumerate(source.ids):
        (image,) = (n for n, one in api.imgs.items() if one["file_name"] == f"{name}.png")
        annotations = api.loadAnns(api.getAnnIds(imgIds=image))
        for one, annotation in zip(objects(source, index), annotations, strict=True):
            if one.mask is None:
                assert annotation["segmentation"] == []
                continue
            mask, expected = theirs(api, annotation), dense(one)
            if options["encoding"] == "polygon" and not one.crowd:
                assert (mask >= expected).all()  # outlines fill holes
                assert isinstance(annotation["segmentation"], list)
            else:
                assert np.array_equal(mask, expected)


@pytest.mark.data
@pytest.mark.parametrize(("split", "count", "crowds"), [("train", 705, 6), ("val", 815, 11)])
def test_real_images(split: str, count: int, crowds: int) -> None:
    root = real("coco_tiny")
    source = opened(root)[split]
    assert len(source) == 80 and len(source.space.classes) == 80
    assert source.space.original_ids is not None and source.space.original_ids[-1] == 90
    file = root / "annotations" / f"instances_{split}2017.json"
    assert equal_to_pycocotools(source, file) == count
    found = [one for index in range(80) for one in objects(source, index)]
    assert sum(one.crowd for one in found) == crowds


@pytest.mark.data
@pytest.mark.parametrize("options", [ENCODINGS[0], UNCOMPRESSED], ids=str)
def test_real_images_written_and_read_by_pycocotools(
    options: dict[str, Any], tmp_path: Path
) -> None:
    root = real("coco_tiny")
    folder = written(opened(root)["val"], tmp_path / "b", **options)
    before = COCO(str(root / "annotations" / "instances_val2017.json"))
    after = COCO(str(folder / "annotations" / "instances_train.json"))
    assert set(before.anns) == set(after.anns) and set(before.imgs) == set(after.imgs)
    for number, annotation in before.anns.items():
        copy = after.anns[number]
        assert np.array_equal(theirs(before, annotation), theirs(after, copy))
        for key in ("image_id", "category_id", "iscrowd", "area"):
            assert copy[key] == annotation[key]
        assert copy["bbox"] == annotation["bbox"]
        if options["encoding"] == "auto" and not annotation["iscrowd"]:
            assert copy["segmentation"] == annotation["segmentation"]


# supervision -------------------------------------------------------------------------------------


def read_by_supervision(folder: Path) -> supervision.DetectionDataset:
    return supervision.DetectionDataset.from_coco(
        images_directory_path=str(folder / "images" / "train"),
        annotations_path=str(folder / "annotations" / "instances_train.json"),
        force_masks=True,
    )


@pytest.mark.parametrize("options", [*ENCODINGS, UNCOMPRESSED], ids=str)
def test_supervision_reads_what_is_written(options: dict[str, Any], tmp_path: Path) -> None:
    source = DrawnObjects()
    found = read_by_supervision(written(source, tmp_path / "b", **options))
    assert (found.classes, len(found)) == (list(source.space.classes), 8)
    by_name = {Path(path).stem: (pixels, made) for path, pixels, made in found}
    for index, name in enumerate(source.ids):
        pixels, made = by_name[name]
        assert np.array_equal(pixels[..., ::-1], source[index].image)
        ours = objects(source, index)
        assert len(made) == len(ours), SUPERVISION
        for number, one in enumerate(ours):
            assert made.class_id is not None and made.mask is not None
            assert made.class_id[number] == one.class_id
            assert made.xyxy[number] == pytest.approx(one.box, abs=1e-4)
            assert made.data["iscrowd"][number] == one.crowd
            if one.mask is None:
                assert not made.mask[number].any()
            elif options["encoding"] != "polygon" or one.crowd:
                assert np.array_equal(made.mask[number], dense(one))
            else:
                # It fills polygons with OpenCV, which takes in the far edge's pixels too.
                assert (made.mask[number] >= dense(one)).all()


def test_what_supervision_writes_is_read(tmp_path: Path) -> None:
    dataset = read_by_supervision(written(DrawnObjects(), tmp_path / "a", encoding="rle"))
    dataset.as_coco(
        images_directory_path=str(tmp_path / "b" / "images"),
        annotations_path=str(tmp_path / "b" / "annotations.json"),
    )
    source = opened(tmp_path / "b")["all"]
    assert list(source.space.classes) == dataset.classes
    expected = {Path(path).stem: made for path, _, made in dataset}
    for index, name in enumerate(source.ids):
        assert len(objects(source, index)) == len(expected[name]), SUPERVISION
    assert equal_to_pycocotools(source, tmp_path / "b" / "annotations.json") > 10


# Datumaro ----------------------------------------------------------------------------------------


def check_datumaro(item: Any, ours: list[Instance], names: list[str], labels: Any) -> None:
    """Datumaro makes annotations of one group of each object: its box, and parts or mask."""
    groups: dict[int, list[Any]] = {}
    for annotation in item.annotations:
        groups.setdefault(annotation.group, []).append(annotation)
    assert len(groups) == len(ours), DATUMARO
    for one, (_, parts) in zip(ours, sorted(groups.items()), strict=True):
        assert {labels[part.label].name for part in parts} == {names[one.class_id]}
        assert {part.attributes["is_crowd"] for part in parts} == {one.crowd}
        (box,) = (part for part in parts if isinstance(part, Bbox))
        x1, y1, x2, y2 = one.box
        assert box.get_bbox() == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=0.02)
        rings = [np.reshape(part.points, (-1, 2)) for part in parts if isinstance(part, Polygon)]
        masks = [np.asarray(part.image).astype(bool) for part in parts if isinstance(part, Mask)]
        if rings:
            assert np.array_equal(rasterise(rings, one.size).dense()[0], dense(one))
        elif masks:
            assert np.array_equal(masks[0], dense(one))
        else:
            assert one.mask is None


@pytest.mark.parametrize("options", [ENCODINGS[0], ENCODINGS[2], UNCOMPRESSED], ids=str)
@pytest.mark.parametrize("importer", ["coco_instances", "coco"])
def test_datumaro_reads_what_is_written(
    importer: str, options: dict[str, Any], tmp_path: Path
) -> None:
    source = DrawnObjects()
    folder = written(source, tmp_path / "b", **options)
    found = datumaro.Dataset.import_from(str(folder), importer)
    labels: Any = found.categories()[datumaro.AnnotationType.label]
    names = list(source.space.classes)
    assert [label.name for label in labels] == names
    items: dict[str, Any] = {item.id: item for item in found}
    assert sorted(items) == list(source.ids)
    for index, name in enumerate(source.ids):
        assert items[name].subset == "train"
        assert items[name].media.size == source[index].size
        check_datumaro(items[name], objects(source, index), names, labels)


def test_what_datumaro_writes_is_read(tmp_path: Path) -> None:
    drawn = DrawnObjects()
    folder = written(drawn, tmp_path / "a", encoding="rle")
    found = datumaro.Dataset.import_from(str(folder), "coco_instances")
    # As run lengths: its outlines run through pixel centres, and lose half a pixel all round.
    found.export(str(tmp_path / "b"), "coco_instances", save_media=True, segmentation_mode="mask")
    source = opened(tmp_path / "b")["train"]
    assert source.space.classes == drawn.space.classes
    assert list(source.ids) == list(drawn.ids)
    for index in range(len(drawn)):
        before = [one for one in objects(drawn, index) if one.mask is not None]
        after = [one for one in objects(source, index) if one.mask is not None]
        assert len(before) == len(after), DATUMARO
        for one in before:
            assert any(one.mask == other.mask for other in after)


# Panoptic ----------------------------------------------------------------------------------------


def test_datumaro_reads_panoptic(tmp_path: Path) -> None:
    """Of the set drawn, and of what vitrail writes of it."""
    source = open_panoptic(write_panoptic(tmp_path / "a"))["train"]
    folder = written(source, tmp_path / "b", coco_panoptic.FORMAT)
    found = datumaro.Dataset.import_from(str(folder), "coco_panoptic")
    labels: Any = found.categories()[datumaro.AnnotationType.label]
    assert {label.name for label in labels} == set(source.space.classes)
    items: dict[str, Any] = {item.id: item for item in found}
    for index, name in enumerate(source.ids):
        sample = source[index]
        painted = np.full(sample.size, 255)
        masks = {one.id: one for one in items[name].annotations}
        for one in masks.values():
            class_id = source.space.classes.index(labels[one.label].name)
            painted[np.asarray(one.image).astype(bool)] = class_id
        assert sample.labels is not None and np.array_equal(painted, sample.labels), DATUMARO
        for one in sample.instances or ():
            other = masks[int(one.id)]
            assert np.array_equal(np.asarray(other.image).astype(bool), dense(one))
            assert other.attributes["is_crowd"] == one.crowd


def test_what_datumaro_writes_as_panoptic_is_read(tmp_path: Path) -> None:
    source = open_panoptic(write_panoptic(tmp_path / "a"))["train"]
    folder = written(source, tmp_path / "b", coco_panoptic.FORMAT)
    found = datumaro.Dataset.import_from(str(folder), "coco_panoptic")
    found.export(str(tmp_path / "c"), "coco_panoptic", save_media=True)
    copy = opened(tmp_path / "c", coco_panoptic.FORMAT)["train"]
    assert list(copy.ids) == list(source.ids)
    for index in range(len(source)):
        ours, labels = source[index].labels, copy[index].labels
        assert ours is not None and labels is not None
        names = np.array([*copy.space.classes, *[""] * 200, "void"])
        expected = np.array([*source.space.classes, *[""] * 200, "void"])
        assert np.array_equal(
            names[np.minimum(labels, len(names) - 1)],
            expected[np.minimum(ours, len(expected) - 1)],
        )


def test_the_panoptic_json_is_that_of_the_format(tmp_path: Path) -> None:
    """Fields as https://cocodataset.org/#format-data lists them."""
    source = open_panoptic(write_panoptic(tmp_path / "a"))["train"]
    folder = written(source, tmp_path / "b", coco_panoptic.FORMAT)
    content = json.loads((folder / "annotations" / "panoptic_train.json").read_text("utf-8"))
    for annotation in content["annotations"]:
        assert set(annotation) == {"image_id", "file_name", "segments_info"}
        for info in annotation["segments_info"]:
            assert set(info) == {"id", "category_id", "area", "bbox", "iscrowd"}
    for category in content["categories"]:
        assert set(category) == {"id", "name", "supercategory", "isthing", "color"}
