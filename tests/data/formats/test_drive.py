"""DRIVE: vessels of the retina."""

import pickle
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.data.formats.folder_sets import gone_around, opened, photo, save, truncate
from tests.real_data import real
from vitrail.data.formats.drive import FORMAT
from vitrail.errors import DataError, ImageError

VESSELS = np.array([[255, 0, 0], [0, 255, 0]], np.uint8)
FIELD = np.array([[255, 255, 0], [255, 255, 255]], np.uint8)
LABELS = [[1, 0, 255], [0, 1, 0]]


def put(root: Path, split: str, name: str, number: int, ends: tuple[str, str]) -> None:
    """One image with its drawing and field of view, by Pillow."""
    image, mask = ends
    photo(root / split / "images" / f"{number:02d}_{name}{image}", 2, 3)
    for path, pixels in (
        (root / split / "1st_manual" / f"{number:02d}_manual1{mask}", VESSELS),
        (root / split / "mask" / f"{number:02d}_{name}_mask{mask}", FIELD),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("test", "ends"), [("test", (".tif", ".gif")), ("testing", (".jpg", ".png"))]
)
def test_published_and_other_names(tmp_path: Path, test: str, ends: tuple[str, str]) -> None:
    for number in (22, 21):
        put(tmp_path, "training", "training", number, ends)
    put(tmp_path, test, "test", 1, ends)
    assert FORMAT.recognise(tmp_path) == f"training/1st_manual and {test}/1st_manual beside images/"
    dataset = opened(FORMAT, tmp_path)
    assert dataset.splits == ("train", "test")
    assert dataset["train"].ids == ["21_training", "22_training"]
    for split in dataset:
        source = dataset[split]
        assert source[0].labels.tolist() == LABELS
        assert source[0].image.shape == (2, 3, 3)
        assert pickle.loads(pickle.dumps(source))[0].labels.tolist() == LABELS
    assert dataset.space.classes == ("background", "vessel")
    assert (dataset.space.background, dataset.space.ignore) == (0, 255)


def test_the_second_annotator(tmp_path: Path) -> None:
    put(tmp_path, "training", "training", 21, (".tif", ".gif"))
    put(tmp_path, "test", "test", 1, (".tif", ".gif"))
    save(tmp_path / "test" / "2nd_manual" / "01_manual2.png", VESSELS[::-1])
    dataset = opened(FORMAT, tmp_path, annotator=2)
    assert dataset.splits == ("test",)
    assert dataset["test"][0].labels.tolist() == [[0, 1, 255], [1, 0, 0]]
    (note,) = dataset.problems
    assert (note.severity, note.split, note.expected) == ("note", "train", "training/2nd_manual")


def test_a_test_part_without_drawings(tmp_path: Path) -> None:
    """As the set is given out today."""
    put(tmp_path, "training", "training", 21, (".tif", ".gif"))
    photo(tmp_path / "test" / "images" / "01_test.tif", 2, 3)
    dataset = opened(FORMAT, tmp_path)
    assert dataset.splits == ("train",)
    (note,) = dataset.problems
    assert (note.code, note.severity, note.split) == ("unlabelled-split", "note", "test")


def test_missing_files(tmp_path: Path) -> None:
    for number in (21, 22, 23):
        put(tmp_path, "training", "training", number, (".tif", ".gif"))
    training = tmp_path / "training"
    (training / "mask" / "21_training_mask.gif").unlink()
    (training / "1st_manual" / "22_manual1.gif").unlink()
    (training / "images" / "23_training.tif").unlink()
    photo(training / "images" / "notes.png")
    with pytest.raises(DataError, match=r"22_training.tif: .* 1st_manual/22_manual1.gif"):
        opened(FORMAT, tmp_path)
    dataset = gone_around(FORMAT, tmp_path)
    assert dataset["train"].ids == ["21_training"]
    assert dataset["train"][0].labels.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert {one.code: one.severity for one in dataset.problems} == {
        "missing-mask": "error",
        "orphan-mask": "warning",
        "missing-field": "warning",
        "file-name": "warning",
    }


def test_masks_that_cannot_be_read(tmp_path: Path) -> None:
    put(tmp_path, "training", "training", 21, (".jpg", ".png"))
    source = opened(FORMAT, tmp_path)["train"]
    field = tmp_path / "training" / "mask" / "21_training_mask.png"
    save(field, FIELD.T)
    with pytest.raises(DataError, match=r"mask.png: is 2x3 px, expected 3x2 like 21_manual1.png"):
        _ = source[0].labels
    manual = tmp_path / "training" / "1st_manual" / "21_manual1.png"
    save(manual, np.random.default_rng(0).integers(0, 2, (64, 64)).astype(np.uint8))
    truncate(manual)
    with pytest.raises(ImageError, match=r"21_manual1.png: the PNG data is damaged"):
        _ = source[0].labels


def test_another_folder(tmp_path: Path) -> None:
    assert FORMAT.recognise(tmp_path) is None
    with pytest.raises(DataError, match=r"expected training/images/ and training/1st_manual/"):
        opened(FORMAT, tmp_path)


@pytest.mark.data
def test_drive() -> None:
    dataset = opened(FORMAT, real("DRIVE"))
    counted = {split: np.zeros(256, np.int64) for split in dataset}
    for split, source in dataset.items():
        assert len(source) == 20
        for index in range(20):
            sample = source[index]
            assert sample.image.shape[:2] == sample.labels.shape == (584, 565)
            counted[split] += np.bincount(sample.labels.ravel(), minlength=256)
    assert counted["train"][[0, 1, 255]].tolist() == [3971591, 569415, 2058194]
    assert counted["test"][[0, 1, 255]].tolist() == [3960494, 577649, 2061057]
