"""Oxford-IIIT Pet: its three codings, its official splits, its oddities."""

import pickle
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.data.formats.drawn_pet import PETS, write_pets
from tests.data.formats.drawn_voc import same
from vitrail.data.formats.base import Dataset
from vitrail.data.formats.pet import BREEDS, FORMAT, PetOptions
from vitrail.data.opening import parse_options
from vitrail.errors import DataError, ImageError, ParameterError, UnknownNameError


def opened(root: Path, **options) -> Dataset:
    return FORMAT.open(root, parse_options(PetOptions, options, "pet"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_pets(tmp_path)
    return tmp_path / "oxford-iiit-pet"


@pytest.mark.parametrize("below", ["", "oxford-iiit-pet"])
def test_trimaps_less_one(below: str, tmp_path: Path) -> None:
    truth = write_pets(tmp_path)
    dataset = opened(tmp_path / below)
    assert FORMAT.recognise(tmp_path / below) == "annotations/trimaps beside images"
    assert dataset.space.classes == ("pet", "background", "border")
    assert (dataset.space.background, dataset.space.original_ids) == (1, (1, 2, 3))
    for split, pets in PETS.items():
        source = dataset[split]
        assert source.ids == [name for name, *_ in pets]
        for index in range(len(source)):
            sample = source[index]
            assert same(sample.labels, truth[sample.id] - 1)
            assert sample.instances is None
            assert sample.image.shape == (30, 40, 3)  # GIF, PNG and CMYK in .jpg, too
    assert dataset.problems == []


@pytest.mark.parametrize("border", ["ignore", "foreground"])
def test_species(border: str, tmp_path: Path) -> None:
    truth = write_pets(tmp_path)
    dataset = opened(tmp_path, task="species", border=border)
    assert dataset.space.classes == ("background", "cat", "dog")
    assert dataset.space.background == 0
    for split, pets in PETS.items():
        for index, (name, _, species, *_) in enumerate(pets):
            edge = 255 if border == "ignore" else species
            expected = np.array([0, species, 0, edge], np.uint8)[truth[name]]
            assert same(dataset[split][index].labels, expected)


def test_breeds(tmp_path: Path) -> None:
    truth = write_pets(tmp_path)
    dataset = opened(tmp_path, task="breed")
    assert dataset.space.classes == ("background", *BREEDS)
    for split, pets in PETS.items():
        for index, (name, breed, *_) in enumerate(pets):
            expected = np.array([0, breed, 0, 255], np.uint8)[truth[name]]
            assert same(dataset[split][index].labels, expected)
            assert BREEDS[breed - 1].lower().replace(" ", "_") == name.rsplit("_", 1)[0].lower()


def test_options_and_splits(home: Path) -> None:
    assert opened(home, splits="test").splits == ("test",)
    with pytest.raises(UnknownNameError, match="'val'"):
        opened(home, splits="val")
    with pytest.raises(ParameterError, match="option task='breeds'"):
        opened(home, task="breeds")


def test_without_official_splits(home: Path) -> None:
    for name in PETS:
        (home / "annotations" / f"{name}.txt").unlink()
    dataset = opened(home)
    assert dataset.splits == ("all",)
    assert len(dataset["all"]) == 5
    assert dataset.problems == []
    (home / "annotations" / "list.txt").unlink()
    with pytest.raises(DataError, match=r"has none of trainval.txt, test.txt and list.txt"):
        opened(home)


def test_sources_go_to_worker_processes(home: Path) -> None:
    source = opened(home, task="breed")["test"]
    assert same(pickle.loads(pickle.dumps(source))[0].labels, source[0].labels)


def test_other_folders_are_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    assert FORMAT.recognise(tmp_path) is None
    with pytest.raises(DataError, match="has no annotations/trimaps beside images"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("line", "code", "value"),
    [
        (b"Abyssinian_100", "malformed-line", "'Abyssinian_100'"),
        (b"Abyssinian_100 1 1 1 1", "malformed-line", "'Abyssinian_100 1 1 1 1'"),
        (b"Abyssinian_100 one 1 1", "malformed-line", "'Abyssinian_100 one 1 1'"),
        (b"Abyssinian_100 -1 1 1", "malformed-line", "'Abyssinian_100 -1 1 1'"),
        (b"Abyssinian_100 " + b"9" * 5000 + b" 1 1", "malformed-line", "9999"),
        (b"Abyssinian_100 38 1 1", "unknown-category", "CLASS-ID 38"),
        (b"Abyssinian_100 0 1 1", "unknown-category", "CLASS-ID 0"),
        (b"Abyssinian_100 1 2 1", "unknown-category", "SPECIES 2 for CLASS-ID 1 (Abyssinian)"),
        (b"Abyssinian_100 6 1 1", "unknown-category", "CLASS-ID 6 is Bengal"),
        (b"../../passwd 1 1 1", "unsafe-name", "leads out"),
        (b"Abyssinian_7 1 1 1", "missing-image", "no such image"),
    ],
)
def test_lines_that_are_left_out(line: bytes, code: str, value: str, home: Path) -> None:
    path = home / "annotations" / "trainval.txt"
    path.write_bytes(b"\xef\xbb\xbf# comment\r\n" + line + b"\r\nEgyptian_Mau_14 12 1 6\r\n")
    dataset = opened(home)
    assert dataset["trainval"].ids == ["Egyptian_Mau_14"]
    (problem,) = dataset.problems
    assert (problem.severity, problem.code, problem.split) == ("error", code, "trainval")
    assert value in problem.value


def test_a_pet_listed_twice_and_one_without_trimap(home: Path) -> None:
    path = home / "annotations" / "test.txt"
    path.write_text(path.read_text() * 2)
    (home / "annotations" / "trimaps" / "Abyssinian_3.png").unlink()
    dataset = opened(home)
    assert dataset["test"].ids == ["yorkshire_terrier_9"]
    assert sorted((p.severity, p.code) for p in dataset.problems) == [
        ("error", "missing-mask"),
        ("error", "missing-mask"),
        ("warning", "duplicate-id"),
    ]


def test_a_list_that_is_not_utf8(home: Path) -> None:
    (home / "annotations" / "test.txt").write_bytes(b"caf\xe9_1 1 1 1\n")
    with pytest.raises(DataError, match=r"test.txt: byte 3 is 0xe9, which is not UTF-8"):
        opened(home)["test"]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (0, r"holds the value 0 \(at x=6, y=5\); expected a trimap: 1 pet, 2 background"),
        (255, r"holds the value 255 \(at x=6, y=5\)"),
    ],
)
def test_masks_that_are_no_trimaps(value: int, fault: str, home: Path) -> None:
    path = home / "annotations" / "trimaps" / "Abyssinian_3.png"
    with PIL.Image.open(path) as picture:
        trimap = np.array(picture)
    trimap[5, 6] = value
    PIL.Image.fromarray(trimap).save(path)
    sample = opened(home)["test"][1]
    with pytest.raises(DataError, match=f"Abyssinian_3.png: {fault}"):
        sample.labels  # noqa: B018


def test_damaged_trimaps(home: Path) -> None:
    path = home / "annotations" / "trimaps" / "Abyssinian_3.png"
    content = path.read_bytes()
    source = opened(home)["test"]
    path.write_bytes(content[:-30])
    with pytest.raises(ImageError, match=r"Abyssinian_3.png: .*damaged or cut short"):
        source[1].labels  # noqa: B018
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"Abyssinian_3.png"):
        source[1]
    with PIL.Image.open(home / "annotations" / "trimaps" / "yorkshire_terrier_9.png") as picture:
        picture.convert("RGB").save(path)
    with pytest.raises(DataError, match=r"Abyssinian_3.png: stores colours"):
        source[1].labels  # noqa: B018
