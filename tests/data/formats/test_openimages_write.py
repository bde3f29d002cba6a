"""Open Images: what is written; Datumaro reads it, and what Datumaro writes is read."""

import csv
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datumaro
import numpy as np
import pytest
from datumaro.components.annotation import AnnotationType, Bbox, Mask
from datumaro.components.media import Image

from tests.data.formats.drawn_openimages import (
    CAR,
    CAT,
    CAT_MASK,
    CLASSES,
    DOG,
    DOG_MASK,
    SIZE,
    by_id,
    faults,
    objects,
    opened,
    oval,
    write,
    write_set,
)
from tests.data.formats.drawn_voc import same
from tests.data.listed import Listed, drawn, mapped, sample
from vitrail.data.convert import suited
from vitrail.data.formats.base import Splits
from vitrail.data.formats.openimages import FORMAT
from vitrail.data.formats.writing import samples
from vitrail.data.matching import has_mask
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError

DATUMARO = f"datumaro-{version('datumaro')}"


def told(one: Sample) -> list[tuple]:
    return [
        (o.class_id, o.crowd, o.id, o.attributes, o.mask, [round(v, 9) for v in o.box])
        for o in one.instances or ()
    ]


def test_open_images_comes_back_as_it_was(tmp_path: Path) -> None:
    """Labels, ids, flags and clicks; through the views that conversion looks through, too."""
    source = opened(write_set(tmp_path / "in"))
    parts = {"train": suited(source["train"], FORMAT)}
    again = write(parts, tmp_path / "out")
    old, new = by_id(source), by_id(again)
    assert again.space == source.space and list(old) == list(new)
    for id, one in old.items():
        assert told(new[id]) == told(one)
        path = new[id].path
        assert path is not None and one.path is not None
        assert path.read_bytes() == one.path.read_bytes()
    home = tmp_path / "out" / "annotations"
    assert (home / "class-descriptions-boxable.csv").read_text() == CLASSES
    with (home / "train-annotations-object-segmentation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["MaskPath"], row["LabelName"]) for row in rows] == [
        (CAT_MASK, CAT),
        (DOG_MASK, DOG),
    ]


def test_ids_names_and_classes_of_other_sets(tmp_path: Path) -> None:
    rows = ("##....", "##..##", "....##", "......")
    other = ("......", "#.....", "##....", "......")
    space = LabelSpace(('traffic "light", red', "straße/weg"))
    parts = {
        "train-a": Listed(
            [
                sample("a/b", (4, 6), drawn(0, rows, id="7"), drawn(0, rows, id="7"), seed=1),
                sample("a_b", (4, 6), drawn(0, other, id="7", crowd=True), seed=2),
            ],
            space,
        ),
        "val": Listed([sample("a/b", (4, 6), drawn(1, other, id="ü"), seed=3)], space),
    }
    again = write(parts, tmp_path / "out")
    assert again.space == space and set(again.splits) == {"train-a", "val"}
    for split, given in parts.items():
        assert list(again[split].ids) == given.ids
        for one, back in zip(given.samples, samples(again[split]), strict=True):
            assert same(back.image, one.image)
            assert [(o.class_id, o.crowd, o.mask) for o in back.instances or ()] == [
                (o.class_id, o.crowd, o.mask) for o in one.instances or ()
            ]
    ids = [one.id for one in again["train-a"][0].instances or ()]
    assert ids == ["7", "00000001"]


def test_a_bare_box_does_not_take_the_flags_of_a_mask(tmp_path: Path) -> None:
    """Both have one box, and the bare one comes first."""
    rows = ("......", ".####.", ".####.", "......")
    bare = Instance.from_box(0, (1.0, 1.0, 5.0, 3.0), (4, 6), crowd=True)
    parts = {"train": Listed([sample("a", (4, 6), bare, drawn(0, rows))], LabelSpace(("p",)))}
    found = objects(write(parts, tmp_path / "out")["train"][0])
    assert [(has_mask(one), one.crowd) for one in found] == [(True, False), (False, True)]


def test_label_maps_become_objects(tmp_path: Path) -> None:
    one = mapped("a", ["0110", "0112", "0000"])
    again = write({"train": Listed([one], LabelSpace(("none", "p", "q"), 0))}, tmp_path / "out")
    assert again.space == LabelSpace(("p", "q"))
    assert [o.class_id for o in again["train"][0].instances or ()] == [0, 1]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([sample(" a", (4, 6))], "ImageID=' a'"),
        ([sample("../a", (4, 6))], "inside"),
        ([sample("a", (4, 6)), sample("a", (4, 6))], "two images would be written"),
    ],
)
def test_ids_that_cannot_be_written(parts: list[Sample], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        write({"train": Listed(parts, LabelSpace(("p",)))}, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


# Datumaro 1.13.12, the exporter of CVAT ----------------------------------------------------------


@pytest.mark.parametrize("reference", [DATUMARO])
@pytest.mark.parametrize("nested", [False, True])
def test_datumaro_reads_what_is_written(reference: str, nested: bool, tmp_path: Path) -> None:
    source = opened(write_set(tmp_path / "in"))["train"]
    parts: Splits = {"train": source}
    if nested:
        space = LabelSpace(("p", "q"))
        found = [
            drawn(1, ("#.#...", "......", "...##.", "......")),
            drawn(0, ("......", "......", ".####.", "..##..")),
            Instance.from_box(1, (1.5, 0.25, 4.0, 3.0), (4, 6), crowd=True),
        ]
        parts = {"train": Listed([sample("a/b", (4, 6), *found)], space)}
    write(parts, tmp_path / "out")
    theirs: Any = datumaro.Dataset.import_from(str(tmp_path / "out"), "open_images")
    names = [one.name for one in theirs.categories()[AnnotationType.label]]
    assert names == (["p", "q"] if nested else [CAT, DOG, CAR])
    assert len(theirs) == len(parts["train"])
    for one in samples(parts["train"]):
        item = theirs.get(one.id, "train")
        assert same(item.media.data[..., ::-1], one.image)
        boxes = [a for a in item.annotations if a.type == AnnotationType.bbox]
        masks = [a for a in item.annotations if a.type == AnnotationType.mask]
        instances = one.instances or ()
        assert [b.label for b in boxes] == [o.class_id for o in instances]
        for box, object in zip(boxes, instances, strict=True):
            assert [*box.points] == pytest.approx(object.box, abs=0.02)  # they are rounded there
            assert box.attributes["is_group_of"] == object.crowd
            assert box.attributes.get("occluded") == object.attributes.get("occluded")
        drawn_objects = [o for o in instances if o.mask is not None]
        assert len(masks) == len(drawn_objects)
        for mask, object in zip(masks, drawn_objects, strict=True):
            assert object.mask is not None and mask.label == object.class_id
            assert same(mask.image, object.mask.dense()[0])
            assert mask.group and mask.group in {box.group for box in boxes}


@pytest.mark.parametrize("reference", [DATUMARO])
def test_what_datumaro_writes_is_read(reference: str, tmp_path: Path) -> None:
    shape = oval(*SIZE) > 0
    items = [
        datumaro.DatasetItem(
            f"x{number}",
            subset=split,
            media=Image.from_numpy(np.full((*SIZE, 3), 90 + number, np.uint8)),
            annotations=[
                Bbox(2, 3, 20, 10, label=1, group=1, attributes={"occluded": True}),
                Mask(shape, label=1, group=1, attributes={"box_id": "01234567"}),
                Mask(~shape, label=0, attributes={"box_id": "89abcdef"}),
                Bbox(1, 1, 5, 5, label=0, group=2, attributes={"is_group_of": True}),
            ],
        )
        for number, split in enumerate(("train", "validation"))
    ]
    theirs: Any = datumaro.Dataset.from_iterable(items, categories=["dog", "cat"])
    theirs.export(str(tmp_path / "out"), "open_images", save_media=True)
    dataset = opened(tmp_path / "out")
    assert dataset.splits == ("train", "validation") and not faults(dataset)
    assert dataset.space.classes == ("dog", "cat")
    for one in by_id(dataset).values():
        cat, dog, group = sorted(one.instances or (), key=lambda o: o.id or "z")
        assert (cat.class_id, cat.id, cat.box) == (1, "01234567", pytest.approx((2, 3, 22, 13)))
        assert cat.attributes["occluded"] is True
        assert cat.mask is not None and same(cat.mask.dense()[0], shape)
        assert dog.mask is not None and same(dog.mask.dense()[0], np.asarray(~shape))
        assert group.crowd and group.box == pytest.approx((1, 1, 6, 6))
