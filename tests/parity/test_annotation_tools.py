"""What we write for annotation tools, read by programs that others wrote, and the other way.

supervision 0.31 (YOLO segmentation, labelme), datumaro 1.13 (CVAT for images; YOLO boxes, which is
all of YOLO that it reads). Neither labelme nor Label Studio has a reader that installs without its
program: labelme's way of painting shapes is set against Pillow, with which labelme 5.9 paints them
(``labelme/_utils/shape.py``), and Label Studio's brush code against its description
(tests/data/formats/test_labelstudio_rle.py).
"""

import base64
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from tests.data.formats.annotation_tools import (
    SPACE,
    ListSource,
    blob,
    picture,
    sources,
    star,
    write_picture,
)
from tests.real_data import real
from vitrail.data.formats import coco, cvat, labelme, labelstudio, yolo
from vitrail.data.formats.labelme_write import LabelmeWriteOptions
from vitrail.data.sample import Instance, Sample
from vitrail.result.masks import Masks

SIZE = (96, 128)
HEXAGON = np.array([[20.25, 50.5], [40, 10], [90.75, 5.1], [120, 40], [88.2, 91.3], [35.5, 80]])
"""An outline without spikes, which programs round in their own ways."""


def shapes() -> list[Sample]:
    """Outlines, and masks in one part without holes: what every program can hold."""
    first = (
        Instance.from_polygons(0, [HEXAGON], SIZE),
        Instance.from_polygons(1, [HEXAGON * 0.4 + (5.5, 7.25)], SIZE),
    )
    second = (Instance.from_masks(2, blob(SIZE)),)
    return [
        Sample(name, picture(SIZE, seed), SIZE, instances=found)
        for seed, (name, found) in enumerate([("a", first), ("b", second), ("c", ())])
    ]


def painted(ring: np.ndarray) -> np.ndarray:
    """As OpenCV paints an outline, edge included, which is what supervision does."""
    canvas = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(canvas, [np.round(ring).astype(np.int32)], 1)
    return canvas.astype(bool)


def equal_but_for_edges(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Assert that two masks differ along their edges only: vertices are rounded, edges painted."""
    square = np.ones((5, 5), np.uint8)
    outer, inner = (f(ours.astype(np.uint8), square).astype(bool) for f in (cv2.dilate, cv2.erode))
    assert ours.any() and not (theirs & ~outer).any() and not (inner & ~theirs).any()


def dense(instance: Instance) -> np.ndarray:
    assert instance.mask is not None
    return instance.mask.dense()[0]


def outlines(instance: Instance) -> list[np.ndarray]:
    if instance.polygons is not None:
        return list(instance.polygons)
    assert instance.mask is not None
    return list(instance.mask.polygons(0).rings)


def by_supervision(dataset: Any, samples: list[Sample], classes: tuple[str, ...]) -> None:
    """Assert that supervision has our classes, images, boxes and masks, as it paints them."""
    assert tuple(dataset.classes) == classes
    assert len(dataset) == len(samples)
    for path, image, found in dataset:
        (sample,) = [one for one in samples if one.id == Path(path).stem]
        np.testing.assert_array_equal(image[..., ::-1], sample.image)
        assert sample.instances is not None and len(found) == len(sample.instances)
        for index, instance in enumerate(sample.instances):
            assert classes[found.class_id[index]] == SPACE.classes[instance.class_id]
            (ring,) = outlines(instance)
            corners = [*ring.min(axis=0), *ring.max(axis=0)]
            np.testing.assert_allclose(found.xyxy[index], corners, atol=1e-3)
            np.testing.assert_array_equal(found.mask[index], painted(ring))
            equal_but_for_edges(dense(instance), found.mask[index])


def test_supervision_reads_our_yolo(tmp_path):
    sv = pytest.importorskip("supervision", "0.31")
    samples = shapes()
    yolo.write(sources(train=samples), tmp_path, yolo.FORMAT.write_options())
    dataset = sv.DetectionDataset.from_yolo(
        str(tmp_path / "images/train"),
        str(tmp_path / "labels/train"),
        str(tmp_path / "data.yaml"),
        force_masks=True,
    )
    # PyYAML reads the class "no" as it was written because we put it in quotes.
    by_supervision(dataset, samples, SPACE.classes)


def test_supervision_sees_parts_and_holes_through_our_seams(tmp_path):
    sv = pytest.importorskip("supervision", "0.31")
    mask = blob(SIZE, hole=True, parts=2)
    sample = Sample("a", picture(SIZE), SIZE, instances=(Instance.from_masks(0, mask),))
    yolo.write(sources(train=[sample]), tmp_path, yolo.FORMAT.write_options())
    dataset = sv.DetectionDataset.from_yolo(
        str(tmp_path / "images/train"),
        str(tmp_path / "labels/train"),
        str(tmp_path / "data.yaml"),
        force_masks=True,
    )
    ((_, _, found),) = dataset
    assert len(found) == 1
    # It paints the seams as well, one pixel wide.
    seen = found.mask[0] & ~painted(np.array([[0, 48], [127, 48]]))
    assert (seen & ~mask.dense()[0]).sum() < 0.1 * mask.areas()[0]
    count, _ = cv2.connectedComponents(1 - found.mask[0].astype(np.uint8))
    assert count - 1 >= 3  # the outside and the two holes


def test_we_read_what_supervision_writes_as_yolo(tmp_path):
    sv = pytest.importorskip("supervision", "0.31")
    samples = shapes()[:2]
    dataset = as_supervision(sv, samples, tmp_path)
    dataset.as_yolo(
        str(tmp_path / "set/images/train"),
        str(tmp_path / "set/labels/train"),
        str(tmp_path / "set/data.yaml"),
    )
    config = (tmp_path / "set/data.yaml").read_text()
    (tmp_path / "set/data.yaml").write_text(config + "train: images/train\n")
    back = yolo.open_yolo(tmp_path / "set", yolo.YoloOptions())
    assert back.space.classes == SPACE.classes
    same_as(back["train"], samples)


def as_supervision(sv: Any, samples: list[Sample], folder: Path) -> Any:
    images: list[str] = []
    annotations: dict[str, Any] = {}
    for sample in samples:
        path = str(write_picture(folder / f"{sample.id}.png", SIZE))
        found = sample.instances or ()
        annotations[path] = sv.Detections(
            xyxy=np.array([one.box for one in found], np.float32),
            class_id=np.array([one.class_id for one in found]),
            mask=np.stack([dense(one) for one in found]),
        )
        images.append(path)
    return sv.DetectionDataset(list(SPACE.classes), images, annotations)


def same_as(source: Any, samples: list[Sample]) -> None:
    """Assert that objects came through outlines on pixel centres, as supervision writes them."""
    assert source.ids == [sample.id for sample in samples]
    for index, sample in enumerate(samples):
        found = source[index].instances
        assert [one.class_id for one in found] == [one.class_id for one in sample.instances or ()]
        for one, ours in zip(found, sample.instances or (), strict=True):
            equal_but_for_edges(dense(ours), dense(one))


def test_supervision_reads_our_labelme(tmp_path):
    sv = pytest.importorskip("supervision", "0.31")
    samples = shapes()
    labelme.write(sources(all=samples), tmp_path, LabelmeWriteOptions())
    folder = str(tmp_path / "all")
    dataset = sv.DetectionDataset.from_labelme(folder, folder, force_masks=True)
    by_supervision(dataset, samples, tuple(sorted(SPACE.classes)))


def test_supervision_joins_our_groups(tmp_path):
    sv = pytest.importorskip("supervision", "0.31")
    mask = blob(SIZE, parts=3)
    sample = Sample("a", picture(SIZE), SIZE, instances=(Instance.from_masks(0, mask),))
    labelme.write(sources(all=[sample]), tmp_path, LabelmeWriteOptions())
    folder = str(tmp_path / "all")
    ((_, _, found),) = sv.DetectionDataset.from_labelme(folder, folder, force_masks=True)
    assert len(found) == 1
    equal_but_for_edges(mask.dense()[0], found.mask[0])


def test_we_read_what_supervision_writes_as_labelme(tmp_path):
    sv = pytest.importorskip("supervision", "0.31")
    samples = shapes()[:2]
    as_supervision(sv, samples, tmp_path / "in").as_labelme(
        str(tmp_path / "set/img"), str(tmp_path / "set/json")
    )
    back = labelme.open_labelme(tmp_path / "set", labelme.LabelmeOptions())
    assert back.problems == [] and back.space.classes == tuple(sorted(SPACE.classes))
    assert back["all"].ids == ["json/a", "json/b"]
    for index, sample in enumerate(samples):
        found = back["all"][index].instances or ()
        for one, ours in zip(found, sample.instances or (), strict=True):
            equal_but_for_edges(dense(ours), dense(one))


def pillow_polygon(draw: PIL.ImageDraw.ImageDraw, points: list) -> None:
    draw.polygon([tuple(point) for point in points], outline=1, fill=1)


def pillow_rectangle(draw: PIL.ImageDraw.ImageDraw, points: list) -> None:
    (x1, y1), (x2, y2) = points
    draw.rectangle(((min(x1, x2), min(y1, y2)), (max(x1, x2), max(y1, y2))), outline=1, fill=1)


def pillow_circle(draw: PIL.ImageDraw.ImageDraw, points: list) -> None:
    (x, y), edge = points
    radius = math.dist((x, y), edge)
    draw.ellipse(((x - radius, y - radius), (x + radius, y + radius)), outline=1, fill=1)


@pytest.mark.parametrize(
    ("kind", "points", "paint"),
    [
        ("polygon", HEXAGON.tolist(), pillow_polygon),
        ("oriented_rectangle", [[20, 30], [80, 10], [95, 55], [35, 75]], pillow_polygon),
        ("rectangle", [[90.5, 70.25], [10.5, 20]], pillow_rectangle),
        ("circle", [[60, 48], [60, 8]], pillow_circle),
    ],
)
def test_shapes_cover_what_labelme_paints(tmp_path, kind: str, points: list, paint: Callable):
    write_picture(tmp_path / "a.png", SIZE)
    shape = {"label": "cat", "points": points, "shape_type": kind}
    content = {"version": "5.9.1", "flags": {}, "shapes": [shape], "imagePath": "a.png"}
    content |= {"imageData": None, "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    source = labelme.open_labelme(tmp_path, labelme.LabelmeOptions())["all"]
    canvas = PIL.Image.fromarray(np.zeros(SIZE, np.uint8))
    paint(PIL.ImageDraw.Draw(canvas), points)
    (one,) = source[0].instances or ()  # pyright: ignore
    # Pillow paints the pixels that the outline runs through too.
    equal_but_for_edges(dense(one), np.asarray(canvas, bool))


def by_datumaro(folder: Path, kind: str) -> Any:
    dm = pytest.importorskip("datumaro", "1.13")
    return dm.Dataset.import_from(str(folder), kind)


def test_datumaro_reads_our_cvat(tmp_path):
    dm = pytest.importorskip("datumaro", "1.13")
    samples = shapes()
    about = {"occluded": True, "z_order": 3, "age": 7, "tail": True}
    samples[0] = Sample("sub/a", samples[0].picture, SIZE, instances=(
        Instance.from_polygons(0, [star(SIZE)], SIZE, attributes=about),
        Instance.from_masks(1, blob(SIZE, hole=True, parts=2)),
        Instance.from_box(2, (3.5, 4, 50.25, 60), SIZE),
    ))  # fmt: skip
    cvat.write(sources(all=samples), tmp_path, cvat.CvatWriteOptions())
    dataset = by_datumaro(tmp_path, "cvat")
    assert [label.name for label in dataset.categories()[dm.AnnotationType.label]] == list(
        SPACE.classes
    )
    items = {item.id: item for item in dataset}
    assert sorted(items) == sorted(sample.id for sample in samples)
    for sample in samples:
        item = items[sample.id]
        assert tuple(item.media.size) == SIZE
        assert len(item.annotations) == len(sample.instances or ())
        for theirs, ours in zip(item.annotations, sample.instances or (), strict=True):
            assert theirs.label == ours.class_id
            if ours.polygons is not None:
                # It keeps coordinates in single precision.
                np.testing.assert_allclose(theirs.points, ours.polygons[0].ravel(), rtol=1e-6)
            elif ours.mask is not None:
                np.testing.assert_array_equal(theirs.image, dense(ours))
            else:
                assert tuple(theirs.points) == ours.box
    first = items["sub/a"].annotations[0]
    assert first.attributes == {"occluded": True, "age": 7.0, "tail": True} and first.z_order == 3


def test_datumaro_reads_our_cvat_subsets(tmp_path):
    samples = shapes()
    splits = sources(train=samples[:2], val=samples[1:])
    cvat.write(splits, tmp_path, cvat.CvatWriteOptions())
    dataset = by_datumaro(tmp_path, "cvat")
    found = {(item.subset, item.id): len(item.annotations) for item in dataset}
    assert found == {("train", "a"): 2, ("train", "b"): 1, ("val", "b"): 1, ("val", "c"): 0}
    for item in dataset:
        assert Path(item.media.path) == tmp_path / "images" / item.subset / f"{item.id}.png"


def test_we_read_what_datumaro_writes_as_cvat(tmp_path):
    dm = pytest.importorskip("datumaro", "1.13")
    mask = blob(SIZE, hole=True, parts=2)
    ring = star(SIZE)
    items = [
        dm.DatasetItem(
            "a",
            subset="train",
            media=dm.Image.from_numpy(data=picture(SIZE)),
            annotations=[
                dm.Polygon(ring.ravel().tolist(), label=0, z_order=2),
                dm.Mask(dense(Instance.from_masks(1, mask)).astype(np.uint8), label=1, group=1),
                dm.Bbox(3.5, 4, 40.25, 50, label=2),
                dm.Points([1, 2, 3, 4], label=2),
            ],
        )
    ]
    dataset = dm.Dataset.from_iterable(items, categories=list(SPACE.classes))
    dataset.export(str(tmp_path), "cvat", save_media=True, image_ext=".png")
    back = cvat.open_cvat(tmp_path, cvat.CvatOptions())
    assert back.space.classes == SPACE.classes
    assert [problem.code for problem in back.problems] == ["unsupported-shape"]
    (split,) = back.splits
    found = {one.class_id: one for one in back[split][0].instances or ()}
    assert found[0].polygons is not None and found[1].mask == mask
    np.testing.assert_allclose(found[0].polygons[0], ring, atol=0.005)
    assert found[2].box == (3.5, 4, 43.75, 54)


def test_datumaro_reads_our_yolo_boxes(tmp_path):
    boxes = [(3.5, 4.0, 50.25, 60.0), (0.0, 0.0, 128.0, 96.0)]
    found = tuple(Instance.from_box(n, box, SIZE) for n, box in enumerate(boxes))
    samples = [Sample("a", picture(SIZE), SIZE, instances=found)]
    yolo.write({"train": ListSource(samples)}, tmp_path, yolo.FORMAT.write_options())
    (item,) = by_datumaro(tmp_path, "yolo")
    assert (item.id, item.subset) == ("a", "train")
    assert [one.label for one in item.annotations] == [0, 1]
    for one, box in zip(item.annotations, boxes, strict=True):
        np.testing.assert_allclose(one.points, box, atol=0.01)


@pytest.mark.data
@pytest.mark.parametrize(
    "module", [yolo, labelme, cvat, labelstudio], ids=lambda module: module.FORMAT.name
)
def test_real_objects_come_back_pixel_for_pixel(tmp_path, module):
    """80 photos of COCO with 815 objects: outlines in one part and in several, and RLE."""
    source = coco.FORMAT.open(real("coco_tiny"), coco.FORMAT.options())["val"]
    module.FORMAT.write({"val": source}, tmp_path, module.FORMAT.write_options())
    dataset = module.FORMAT.open(tmp_path, module.FORMAT.options())
    back = dataset["val"]
    assert dataset.problems == [] and back.space.classes == source.space.classes
    assert sorted(back.ids) == sorted(source.ids)
    count = 0
    for index, id in enumerate(back.ids):
        ours = source[list(source.ids).index(id)].instances or ()
        for one, other in zip(ours, back[index].instances or (), strict=True):
            assert other.class_id == one.class_id and other.mask == one.mask
            count += 1
    assert count == 815


def test_mask_shapes_lie_where_labelme_puts_them(tmp_path):
    """labelme's ``shapes_to_label``: the patch begins at the first corner, rounded."""
    mask = blob(SIZE, hole=True)
    sample = Sample("a", picture(SIZE), SIZE, instances=(Instance.from_masks(0, mask),))
    labelme.write(sources(all=[sample]), tmp_path, LabelmeWriteOptions(masks="masks"))
    (shape,) = json.loads((tmp_path / "all/a.json").read_text())["shapes"]
    (x, y), _ = shape["points"]
    patch = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(shape["mask"]))), bool)
    canvas = np.zeros(SIZE, bool)
    canvas[int(y) : int(y) + patch.shape[0], int(x) : int(x) + patch.shape[1]] = patch
    assert Masks.from_dense(canvas[None]) == mask
