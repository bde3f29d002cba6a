"""Open Images as it is published: drawn sets of its layouts."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.data.formats.drawn_openimages import (
    BOX_ROWS,
    BOXES,
    CAR,
    CAT,
    CAT_MASK,
    CLASSES,
    DOG,
    DOG_MASK,
    SIZE,
    A,
    B,
    C,
    by_id,
    faults,
    objects,
    opened,
    oval,
    write_set,
)
from tests.data.formats.drawn_voc import same
from vitrail.data.formats.openimages import OpenImagesSource
from vitrail.data.formats.openimages_files import Names
from vitrail.data.formats.writing import samples
from vitrail.data.matching import has_mask
from vitrail.data.sample import LabelSpace
from vitrail.errors import VitrailError


def test_masks_and_boxes_of_an_image(tmp_path: Path) -> None:
    dataset = opened(write_set(tmp_path))
    source = dataset["train"]
    assert dataset.space == LabelSpace(("Cat", "Dog", "Car"))
    assert list(source.ids) == [A, B, C] and not dataset.problems
    cat, car, group = objects(source[0])
    assert (cat.class_id, car.class_id, group.class_id) == (0, 2, 0)
    assert cat.id == "b01e5c6a" and cat.mask is not None and cat.mask.size == SIZE
    # What is seen of the box with more digits, with its flags, and what the mask's row adds.
    assert cat.box == pytest.approx((4, 6, 20.0000196, 18), abs=1e-9)
    assert dict(cat.attributes) == {
        **{"occluded": True, "truncated": False, "depiction": False, "inside": False},
        **{"source": "xclick", "predicted_iou": 0.84, "clicks": "0.2 0.3 1;0.4 0.4 0"},
    }
    assert car.box == (20, -3, 30, 36) and car.mask is None and not has_mask(car)
    assert dict(car.attributes) == {
        **{"truncated": True, "depiction": False, "inside": False, "source": "xclick"},
    }
    assert group.crowd and not cat.crowd
    assert group.attributes["confidence"] == 0.5 and group.attributes["source"] == "activemil"
    (dog,) = objects(source[1])
    assert dog.mask is not None and same(dog.mask.dense()[0], oval(*SIZE) > 0)
    assert dog.box == (0, 0, 40, 24) and not dog.attributes
    assert source[2].instances == () and source[2].image.shape == (*SIZE, 3)


def test_masks_of_another_size_are_scaled_by_nearest_neighbours(tmp_path: Path) -> None:
    found, *_ = objects(opened(write_set(tmp_path))["train"][0])
    small = oval(12, 20) > 0
    assert found.mask is not None
    assert same(found.mask.dense()[0], small.repeat(2, axis=0).repeat(2, axis=1))


def test_masks_are_read_on_access_only(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    path = root / "masks" / "train" / CAT_MASK
    path.write_bytes(path.read_bytes()[:50])
    one, *_ = objects(opened(root)["train"][0])
    assert one.box[0] == pytest.approx(4)
    with pytest.raises(VitrailError, match=CAT_MASK):
        _ = one.mask


def test_mask_files_are_named(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    source = opened(root)["train"]
    assert isinstance(source, OpenImagesSource)
    masks = root / "masks" / "train"
    assert [source.mask_paths(i) for i in range(3)] == [[masks / CAT_MASK], [masks / DOG_MASK], []]
    (root / "train-annotations-object-segmentation.csv").unlink()
    boxes = opened(root)["train"]
    assert isinstance(boxes, OpenImagesSource) and boxes.mask_paths(0) == []


def test_boxes_may_be_left_out(tmp_path: Path) -> None:
    found = by_id(opened(write_set(tmp_path), boxes=False))
    assert [len(one.instances or ()) for one in found.values()] == [1, 1, 0]
    assert objects(found[A])[0].attributes["occluded"] is True


@pytest.mark.parametrize("kind", ["bbox", "object-segmentation"])
def test_boxes_or_masks_alone(kind: str, tmp_path: Path) -> None:
    root = write_set(tmp_path)
    (root / f"train-annotations-{kind}.csv").unlink()
    found = by_id(opened(root))
    counts = [len(one.instances or ()) for one in found.values()]
    assert counts == ([1, 1, 0] if kind == "bbox" else [3, 0, 0])


def test_masks_without_a_box_have_that_around_them(tmp_path: Path) -> None:
    root = write_set(tmp_path, masks=[f"{DOG_MASK},{B},{DOG},0fcd2b3e,,,,,,"])
    (one,) = objects(opened(root)["train"][1])
    rows, columns = np.nonzero(oval(*SIZE))
    assert one.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_each_mask_takes_a_box_of_its_own(tmp_path: Path) -> None:
    """Two cats in one box, one of which is a group: the order of both files agrees."""
    rows = [f"{A},x,{CAT},1,0,1,0,1,0,0,{group},0,0" for group in (0, 1, 0)]
    masks = [f"{CAT_MASK},{A},{CAT},a{n},0,1,0,1,," for n in (1, 2)]
    found = opened(write_set(tmp_path, masks=masks, boxes=rows))["train"][0].instances or ()
    assert [(one.id, one.crowd, has_mask(one)) for one in found] == [
        ("a1", False, True),
        ("a2", True, True),
        ("", False, False),
    ]


@pytest.mark.parametrize("place", ["train-masks-{}", "masks/train-masks-{}", "masks/train/{}"])
def test_masks_in_sixteen_folders(place: str, tmp_path: Path) -> None:
    root = write_set(tmp_path)
    for letter, name in (("0", CAT_MASK), ("f", DOG_MASK)):
        folder = root / place.format(letter)
        folder.mkdir(parents=True)
        (root / "masks" / "train" / name).rename(folder / name)
    dataset = opened(root)
    assert not faults(dataset)
    assert all(one.mask is not None for one in dataset["train"][1].instances or ())


def test_masks_of_all_splits_in_one_folder(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    for name in (CAT_MASK, DOG_MASK):
        (root / "masks" / "train" / name).rename(root / "masks" / name)
    (root / "masks" / "train").rmdir()
    assert not faults(opened(root))


def test_images_in_several_folders_of_a_split(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    for letter, id in (("0", A), ("f", C)):
        folder = root / f"train_{letter}"
        folder.mkdir()
        (root / "train" / f"{id}.jpg").rename(folder / f"{id}.jpg")
    (root / "images").mkdir()
    (root / "train").rename(root / "images" / "train")
    source = opened(root)["train"]
    assert list(source.ids) == [A, B, C]
    assert [len(one.instances or ()) for one in samples(source)] == [3, 1, 0]
    assert all(one.image.shape == (*SIZE, 3) for one in samples(source))


def test_files_of_version_6_in_annotations(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    (root / "annotations").mkdir()
    old = root / "train-annotations-bbox.csv"
    (root / "annotations" / "oidv6-train-annotations-bbox.csv").write_text(
        "\n".join([BOXES + ",XClick1X", *(f"{row},0.5" for row in BOX_ROWS[:2])])
    )
    (root / "class-descriptions-boxable.csv").unlink()
    old.rename(root / "annotations" / old.name)
    (root / "annotations" / "oidv7-class-descriptions-boxable.csv").write_text(
        "LabelName,DisplayName\n" + CLASSES
    )
    dataset = opened(root)
    assert dataset.space.classes == ("Cat", "Dog", "Car")
    assert len(dataset["train"][0].instances or ()) == 2 and not dataset.problems


def test_splits_without_images_are_left_out(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    (root / "validation-annotations-bbox.csv").write_text(BOXES + "\n")
    dataset = opened(root)
    assert dataset.splits == ("train",)
    assert [(one.code, one.severity, one.split) for one in dataset.problems] == [
        ("missing-image", "warning", "validation")
    ]


def test_rows_of_images_that_are_not_there(tmp_path: Path) -> None:
    dataset = opened(write_set(tmp_path), missing_images="report")
    assert faults(dataset) == [("missing-image", "9" * 16)] * 2
    assert [len(one.instances or ()) for one in by_id(dataset).values()] == [3, 1, 0]


def test_rows_that_name_no_image_at_all_are_told(tmp_path: Path) -> None:
    root = write_set(tmp_path, boxes=[row.replace(A, f"{A}.jpg") for row in BOX_ROWS])
    assert faults(opened(root)) == [("orphan-annotation", "")]


def test_class_names_that_come_twice_are_told_apart(tmp_path: Path) -> None:
    dataset = opened(write_set(tmp_path, classes=f'{CAT},"Cat, big"\n{DOG},Dog\n{CAR},Dog\n'))
    assert dataset.space.classes == ("Cat, big", f"Dog ({DOG})", f"Dog ({CAR})")


def test_sources_travel_to_worker_processes(tmp_path: Path) -> None:
    source = opened(write_set(tmp_path))["train"]
    again = pickle.loads(pickle.dumps(source))
    one = pickle.loads(pickle.dumps(again[0]))
    assert one.instances[0].mask == objects(source[0])[0].mask
    assert pickle.loads(pickle.dumps(one)).instances[0].mask == one.instances[0].mask


def test_names_in_one_piece_of_memory() -> None:
    made = ["", "a", "ü/ç", "", "0001eeaf4aed83f9"]
    names = Names(made)
    assert list(names) == made and names[1:4] == made[1:4] and names[-1] == made[-1]
    assert "ü/ç" in names and len(Names([])) == 0
    with pytest.raises(IndexError):
        names[5]
    many = Names(f"{i:016x}" for i in range(1000))
    assert len(pickle.dumps(many)) < 25_000
