"""VOC, SBD and Oxford-IIIT Pet against torchvision (0.29.2) and Datumaro (1.13.12).

``torchvision.datasets.VOCSegmentation``, ``VOCDetection``, ``SBDataset`` and ``OxfordIIITPet`` read
the same folders, drawn here or written by vitrail; Datumaro's importer "voc" reads what vitrail
writes, and vitrail reads what Datumaro's exporter "voc" (that of CVAT's exports) writes.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import datumaro
import numpy as np
import PIL.Image
import pytest
from datumaro.components.annotation import AnnotationType, Bbox, Mask
from datumaro.components.media import Image
from datumaro.util.mask_tools import generate_colormap
from torchvision import datasets

from tests.data.formats.drawn_pet import write_pets
from tests.data.formats.drawn_sbd import write_sbd
from tests.data.formats.drawn_voc import same, write_voc
from tests.data.listed import Listed
from vitrail.data.formats import pet, sbd, voc
from vitrail.data.formats.base import Dataset, Options
from vitrail.data.formats.voc_coding import PALETTE
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.result.masks import Masks

TORCHVISION = f"torchvision-{version('torchvision')}"
DATUMARO = f"datumaro-{version('datumaro')}"


def opened_voc(root: Path, **options) -> Dataset:
    return voc.FORMAT.open(root, voc.VocOptions(**options))


def write(dataset: Dataset, folder: Path) -> Path:
    folder.mkdir()
    assert voc.FORMAT.write is not None
    voc.FORMAT.write(dict(dataset.items()), folder, Options())
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_voc(tmp_path / "drawn")
    return tmp_path / "drawn"


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("split", ["train", "val", "trainval"], ids=lambda s: f"{TORCHVISION}-{s}")
def test_torchvision_reads_the_same_classes(
    split: str, ours: bool, root: Path, tmp_path: Path
) -> None:
    dataset = opened_voc(root, splits=split)
    if ours:
        root = write(opened_voc(root), tmp_path / "out")
        dataset = opened_voc(root, splits=split)
    reference = datasets.VOCSegmentation(str(root), year="2012", image_set=split)
    source = dataset[split]
    assert [Path(path).stem for path in reference.images] == source.ids
    for index in range(len(source)):
        image, target = reference[index]
        assert same(source[index].image, np.asarray(image))
        assert same(source[index].labels, np.asarray(target))


def test_torchvision_reads_the_xml_that_is_written(root: Path, tmp_path: Path) -> None:
    out = write(opened_voc(root), tmp_path / "out")
    for split in ("train", "val"):
        old = datasets.VOCSegmentation(str(root), year="2012", image_set=split)
        new = datasets.VOCDetection(str(out), year="2012", image_set=split)
        for index in range(len(new)):
            name = Path(old.images[index]).stem
            xml = root / "VOCdevkit" / "VOC2012" / "Annotations" / f"{name}.xml"
            before = new.parse_voc_xml(ElementTree.parse(xml).getroot())["annotation"]["object"]
            after = new[index][1]["annotation"]["object"]
            for one, other in zip(before, after, strict=True):
                assert {**one, "occluded": "0"} == other


@pytest.mark.parametrize(
    "split", ["train", "val", "train_noval"], ids=lambda s: f"{TORCHVISION}-{s}"
)
def test_torchvision_reads_the_same_sbd(split: str, tmp_path: Path) -> None:
    write_sbd(tmp_path)
    home = tmp_path / "benchmark_RELEASE" / "dataset"
    (home / "train_noval.txt").write_text("2008_000195\n")
    source = sbd.FORMAT.open(tmp_path, sbd.SbdOptions(splits=(split,)))[split]
    reference = datasets.SBDataset(str(home), image_set=split, mode="segmentation")
    assert [Path(path).stem for path in reference.images] == source.ids
    for index in range(len(source)):
        image, target = reference[index]
        assert same(source[index].image, np.asarray(image))
        assert same(source[index].labels, np.asarray(target))


@pytest.mark.parametrize("split", ["trainval", "test"], ids=lambda s: f"{TORCHVISION}-{s}")
def test_torchvision_reads_the_same_pets(split: str, tmp_path: Path) -> None:
    write_pets(tmp_path)
    kinds = ["category", "binary-category", "segmentation"]
    reference = datasets.OxfordIIITPet(str(tmp_path), split=split, target_types=kinds)
    sources = {
        task: pet.FORMAT.open(tmp_path, pet.PetOptions(task=task))[split]
        for task in ("trimap", "species", "breed")
    }
    assert len(reference) == len(sources["trimap"])
    names = reference.classes  # of the breeds in the split
    for index in range(len(reference)):
        image, (breed, species, trimap) = reference[index]
        trimap = np.asarray(trimap)
        labels = {task: source[index].labels for task, source in sources.items()}
        # Pillow's own conversion of CMYK is another than vitrail's; the pixels are not compared.
        if image.mode == "RGB" and "Mau" not in sources["trimap"].ids[index]:
            assert same(sources["trimap"][index].image, np.asarray(image))
        assert same(labels["trimap"], trimap - 1)
        assert labels["species"] is not None
        assert set(labels["species"][trimap == 1].tolist()) == {species + 1}
        assert labels["breed"] is not None
        assert set(labels["breed"][trimap == 1].tolist()) == {breed + 1}
        assert sources["breed"].space.classes[breed + 1] in names


# Datumaro -----------------------------------------------------------------------------------------


def imported(folder: Path) -> Any:
    """As Datumaro reads it, with boxes of VOC's convention."""
    return datumaro.Dataset.import_from(str(folder), "voc", coordinate_mode="voc-one-based")


def test_datumaro_has_the_same_colours() -> None:
    theirs = {i: tuple(map(int, colour)) for i, colour in generate_colormap(256).items()}
    assert theirs == dict(enumerate(PALETTE))


def compare(source, items: dict, names: list[str]) -> None:
    """Masks, classes, boxes and attributes of a split as Datumaro has them."""
    assert sorted(items) == sorted(source.ids)
    for index in range(len(source)):
        sample = source[index]
        item = items[sample.id]
        masks = {a.group: a for a in item.annotations if a.type.name == "mask"}
        boxes = [a for a in item.annotations if a.type.name == "bbox"]
        assert same(sample.image[..., ::-1], item.media.data[..., :3])
        masks.pop(255, None)  # Datumaro takes void for one more object
        assert len(masks) == sum(one.mask is not None for one in sample.instances)
        assert len(boxes) == len(sample.instances)
        for one, box in zip(sample.instances, boxes, strict=True):
            assert names[box.label] == source.space.classes[one.class_id]
            x, y, width, height = box.get_bbox()
            assert np.allclose((x, y, x + width, y + height), one.box)
            for flag in ("truncated", "difficult", "occluded"):
                assert box.attributes[flag] == one.attributes.get(flag, False)
            if one.mask is not None:
                mask = masks[int(one.id)]
                assert same(mask.image, one.mask.dense()[0])
                assert names[mask.label] == source.space.classes[one.class_id]


def test_datumaro_reads_what_is_written_of_voc(root: Path, tmp_path: Path) -> None:
    out = write(opened_voc(root), tmp_path / "out")
    dataset, theirs = opened_voc(out), imported(out)
    names = [label.name for label in theirs.categories()[AnnotationType.label]]
    assert names[:21] == list(dataset.space.classes)
    for split, source in dataset.items():
        items = {item.id: item for item in theirs if item.subset == split}
        compare(source, items, names)


def own_classes() -> tuple[LabelSpace, list[Sample]]:
    """Objects of three classes with an ignored stripe and a bare box."""
    space = LabelSpace(("background", "cell", "café", "no-go"), 0, 255, None, None)
    samples = []
    for number in range(3):
        rng = np.random.default_rng(number)
        size = (24 + number, 30)
        found = []
        labels = np.zeros(size, np.uint8)
        labels[:2] = 255
        for k in range(3):
            dense = np.zeros((1, *size), bool)
            x = 1 + 9 * k
            dense[0, 4 : 9 + int(rng.integers(0, 9)), x : x + 7] = True
            labels[dense[0]] = 1 + k
            mask = Masks.from_dense(dense)
            found.append(Instance.from_masks(1 + k, mask, attributes={"truncated": k == 1}))
        found.append(Instance.from_box(2, (1, 2, 9.5, 12), size))
        picture = rng.integers(0, 255, (*size, 3)).astype(np.uint8)
        samples.append(Sample(f"own_{number}", picture, size, labels, tuple(found)))
    return space, samples


def test_datumaro_reads_what_is_written_of_other_classes(tmp_path: Path) -> None:
    assert voc.FORMAT.write is not None
    (tmp_path / "out").mkdir()
    space, samples = own_classes()
    source = Listed(samples, space)
    voc.FORMAT.write({"train": source}, tmp_path / "out", Options())
    dataset, theirs = opened_voc(tmp_path / "out"), imported(tmp_path / "out")
    assert dataset.space.classes == source.space.classes
    names = [label.name for label in theirs.categories()[AnnotationType.label]]
    assert names[:4] == list(source.space.classes)
    compare(dataset["train"], {item.id: item for item in theirs}, names)
    for index, sample in enumerate(source.samples):
        assert same(dataset["train"][index].labels, sample.labels)


@pytest.mark.parametrize(
    "coloured", [True, False], ids=[f"{DATUMARO}-colours", f"{DATUMARO}-indices"]
)
def test_what_datumaro_writes_is_read(coloured: bool, tmp_path: Path) -> None:
    """Masks in colour and a labelmap.txt, as in CVAT's exports."""
    space, samples = own_classes()
    items = []
    for sample in samples:
        marks: list = []
        for number, one in enumerate(sample.instances or (), 1):
            label = one.class_id
            if one.mask is not None:
                dense = one.mask.dense()[0]
                marks.append(Mask(dense, label=label, group=number, id=number))
            x1, y1, x2, y2 = one.box
            marks.append(Bbox(x1, y1, x2 - x1, y2 - y1, label=label, group=number, id=number))
        image = Image.from_numpy(sample.image[..., ::-1].copy(), ext=".png")
        items.append(
            datumaro.DatasetItem(sample.id, subset="default", media=image, annotations=marks)
        )
    made = datumaro.Dataset.from_iterable(items, categories=list(space.classes))
    made.export(
        str(tmp_path / "out"),
        "voc",
        save_media=True,
        image_ext=".png",
        apply_colormap=coloured,
        coordinate_mode="voc-one-based",
    )
    dataset = opened_voc(tmp_path / "out")
    assert dataset.splits == ("default",)
    assert dataset.space.classes == space.classes
    assert dataset.space.background == 0
    source = dataset["default"]
    assert {p.code for p in dataset.problems} == ({"coloured-mask"} if coloured else set())
    assert source.ids == [sample.id for sample in samples]
    for index, sample in enumerate(samples):
        read = source[index]
        assert sample.labels is not None
        assert same(read.labels, np.where(sample.labels == 255, 0, sample.labels))
        assert same(read.image, sample.image)
        old, new = sample.instances or (), read.instances or ()
        assert sum(one.mask is not None for one in new) == 3
        for one in new[:3]:
            twin = next(o for o in old if o.class_id == one.class_id and o.mask is not None)
            assert one.mask == twin.mask
            assert np.allclose(one.box, twin.box)


def test_pillow_shows_the_published_palette(root: Path, tmp_path: Path) -> None:
    """What any viewer shows of a written mask is what it shows of the original."""
    out = write(opened_voc(root), tmp_path / "out")
    for path in sorted((root / "VOCdevkit" / "VOC2012" / "SegmentationClass").iterdir()):
        copy = out / path.relative_to(root)
        with PIL.Image.open(path) as old, PIL.Image.open(copy) as new:
            assert same(np.asarray(old.convert("RGB")), np.asarray(new.convert("RGB")))
