"""Cityscapes against torchvision (0.29.2) and Datumaro (1.13.12).

``torchvision.datasets.Cityscapes`` reads the same folders, drawn here or written by vitrail;
Datumaro's importer "cityscapes" reads what vitrail writes, and vitrail reads what Datumaro's
exporter "cityscapes" (that of CVAT's exports) writes.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import datumaro
import numpy as np
import pytest
from datumaro.components.annotation import Mask
from datumaro.components.media import Image
from datumaro.plugins.data_formats import cityscapes
from datumaro.util.image import save_image
from torchvision import datasets

from tests.data.formats.drawn_cityscapes import polygons, scene, write_cityscapes
from tests.data.formats.drawn_voc import same
from tests.data.listed import Listed, mapped
from vitrail.data.formats.base import Dataset, Options
from vitrail.data.formats.cityscapes import FORMAT, CityscapesOptions
from vitrail.data.formats.cityscapes_labels import LABELS
from vitrail.data.sample import LabelSpace

TORCHVISION = f"torchvision-{version('torchvision')}"
DATUMARO = f"datumaro-{version('datumaro')}"


def opened(root: Path, **options) -> Dataset:
    return FORMAT.open(root, CityscapesOptions(**options))


def write(dataset: Dataset, folder: Path) -> Path:
    folder.mkdir()
    assert FORMAT.write is not None
    FORMAT.write(dict(dataset.items()), folder, Options())
    return folder


@pytest.mark.parametrize("reference", [TORCHVISION])
def test_torchvision_has_the_same_labels(reference: str) -> None:
    theirs = [tuple(one) for one in datasets.Cityscapes.classes]
    assert [tuple(one) for one in LABELS] == theirs


@pytest.mark.parametrize("ours", [False, True], ids=["drawn", "written"])
@pytest.mark.parametrize("split", ["train", "val"], ids=lambda s: f"{TORCHVISION}-{s}")
def test_torchvision_reads_the_same(split: str, ours: bool, tmp_path: Path) -> None:
    write_cityscapes(tmp_path / "drawn")
    root = tmp_path / "drawn"
    dataset = opened(root, labels="all34")
    if ours:
        root = write(opened(root), tmp_path / "out")
    kinds = ["semantic", "instance", "color", "polygon"]
    reference = datasets.Cityscapes(str(root), split=split, mode="fine", target_type=kinds)
    names = [f"{Path(p).parent.name}/{Path(p).name}" for p in reference.images]
    source = dataset[split]
    assert sorted(names) == [f"{id}_leftImg8bit.png" for id in source.ids]
    nineteen = opened(tmp_path / "drawn")[split]
    for index, id in enumerate(source.ids):
        place = names.index(f"{id}_leftImg8bit.png")
        image, (semantic, instance, colour, drawing) = reference[place]
        one = source[index]
        assert same(np.asarray(image), one.image)
        labels = np.asarray(semantic)
        found = {int(o.id): o for o in (nineteen[index] if ours else one).instances or ()}
        values = np.asarray(instance)
        if ours:
            # The labels that the benchmark ignores are "unlabeled" once written.
            assert one.labels is not None and nineteen.space.original_ids is not None
            kept = np.isin(one.labels, nineteen.space.original_ids)
            assert same(labels, np.where(kept, one.labels, 0))
            table = {label.id: label.colour for label in LABELS}
            shown = np.asarray(colour)[..., :3]
            assert all((shown[labels == i] == table[i]).all() for i in np.unique(labels))
        else:
            assert same(labels, one.labels)
            seed = {"zurich": 1, "frankfurt": 0}.get(id.split("/")[0], 2 if "_000001_" in id else 3)
            assert drawing == polygons(scene(seed))
        things = [label.id for label in LABELS if label.has_instances]
        expected = [v for v in np.unique(values).tolist() if v >= 1000 or v in things]
        assert sorted(found) == expected
        for value, object in found.items():
            assert object.mask is not None
            assert same(object.mask.dense()[0], values == value)
        assert (drawing["imgHeight"], drawing["imgWidth"]) == one.size


@pytest.mark.parametrize("reference", [DATUMARO])
def test_datumaro_reads_the_same_classes(reference: str, tmp_path: Path) -> None:
    """Its masks are by value of labelTrainIds, 0 being its background."""
    write_cityscapes(tmp_path / "drawn")
    dataset = opened(tmp_path / "drawn")
    root = write(dataset, tmp_path / "out")
    theirs: Any = datumaro.Dataset.import_from(str(root), "cityscapes")
    seen = 0
    for split, source in dataset.items():
        for index, id in enumerate(source.ids):
            item = theirs.get(id, split)
            assert item is not None and item.media.data.shape[:2] == source[index].size
            assert same(item.media.data[..., ::-1], source[index].image)
            labels = source[index].labels
            masks = {one.label: one.image for one in item.annotations}
            assert labels is not None
            assert set(masks) == {v for v in np.unique(labels).tolist() if 0 < v < 20}
            for value, mask in masks.items():
                assert same(mask, labels == value)
                seen += 1
    assert seen > 12


@pytest.mark.parametrize("reference", [DATUMARO])
def test_datumaro_reads_other_classes_by_name(reference: str, tmp_path: Path) -> None:
    space = LabelSpace(("background", "cell", "wall"), 0, colours=((0, 0, 0), (9, 9, 9), (7, 0, 0)))
    one = mapped("a", ["0012", "2211"])
    (tmp_path / "out").mkdir()
    assert FORMAT.write is not None
    FORMAT.write({"train": Listed([one], space)}, tmp_path / "out", Options())
    names = "".join(
        f"{r} {g} {b} {name}\n"
        for name, (r, g, b) in zip(space.classes, space.colours or (), strict=True)
    )
    (tmp_path / "out" / "label_colors.txt").write_text(names)
    theirs: Any = datumaro.Dataset.import_from(str(tmp_path / "out"), "cityscapes")
    labels = theirs.categories()[datumaro.AnnotationType.label]
    item = theirs.get("default/a", "train")
    found = {labels[mask.label].name: mask.image for mask in item.annotations}
    assert set(found) == {"cell", "wall"}
    assert same(found["cell"], one.labels == 1)
    assert same(found["wall"], one.labels == 2)


def save_wide(path: str, image: np.ndarray, dtype=np.uint8, **more) -> None:
    """Datumaro writes instanceIds as pictures of 32 bits, which Pillow 13 refuses; 16 are meant."""
    dtype = np.uint16 if dtype == np.int32 else dtype
    save_image(path, image.astype(dtype), dtype=dtype, **more)


@pytest.mark.parametrize("black", [True, False], ids=lambda b: f"{DATUMARO}-{b}")
def test_what_datumaro_writes_is_read(
    black: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cityscapes, "save_image", save_wide)
    names = ["none", "wall", "cell"]
    colours = {0: (0, 0, 0) if black else (3, 3, 3), 1: (9, 9, 9), 2: (7, 0, 0)}
    made = np.zeros((2, 4, 5), bool)
    made[0, :2], made[1, 2:, :3] = True, True
    categories: Any = {
        datumaro.AnnotationType.label: datumaro.LabelCategories.from_iterable(names),
        datumaro.AnnotationType.mask: datumaro.MaskCategories(colours),
    }
    item = datumaro.DatasetItem(
        "some/a",
        subset="train",
        media=Image.from_numpy(np.full((4, 5, 3), 90, np.uint8)),
        annotations=[
            Mask(made[0], label=1, id=1, group=1),
            Mask(made[1], label=2, id=2, group=2),
        ],
    )
    theirs: Any = datumaro.Dataset.from_iterable([item], categories=categories)
    theirs.export(str(tmp_path / "out"), "cityscapes", save_media=True)
    dataset = opened(tmp_path / "out")
    one = dataset["train"][0]
    assert one.id == "some/a" and one.instances is None and one.labels is not None
    shown = np.array(dataset.space.classes)[one.labels]
    assert same(shown == "wall", made[0])
    assert same(shown == "cell", made[1])
    ground = dataset.space.classes[dataset.space.background or 0]
    assert ground == ("none" if black else "background")
    assert (shown[~made.any(axis=0)] == ground).all()
