"""A folder a class, with black and white masks beside the images."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.data.formats.folder_sets import claim, gone_around, opened, photo, save, truncate
from tests.real_data import real
from vitrail.data.formats.class_folders import FORMAT
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ImageError, ImageTooLargeError

MASK = np.array([[0, 255, 0], [0, 255, 255]], np.uint8)


def put(root: Path, mask: np.ndarray, *names: str) -> Path:
    for name in names:
        photo(root / f"{name}.jpg", *mask.shape[:2])
        save(root / f"{name}.png", mask)
    return root


@pytest.mark.parametrize("inner", ["", "Imgs/"])
def test_white_is_of_the_folders_class(tmp_path: Path, inner: str) -> None:
    put(tmp_path, MASK, f"MT_Crack/{inner}b", f"MT_Crack/{inner}a")
    put(tmp_path, MASK // 255, f"MT_Blowhole/{inner}c")
    put(tmp_path, MASK * 0, f"MT_Free/{inner}d")
    reason = FORMAT.recognise(tmp_path)
    assert reason is not None
    assert "folders MT_Blowhole, MT_Crack, MT_Free" in reason
    source = opened(FORMAT, tmp_path)["all"]
    assert source.space == LabelSpace(("background", "MT_Blowhole", "MT_Crack"), 0, 255)
    assert source.ids == ["MT_Blowhole/c", "MT_Crack/a", "MT_Crack/b", "MT_Free/d"]
    assert source[0].labels.tolist() == [[0, 1, 0], [0, 1, 1]]
    assert source[2].labels.tolist() == [[0, 2, 0], [0, 2, 2]]
    assert not source[3].labels.any()
    assert source[1].image.shape == (2, 3, 3)
    assert np.array_equal(pickle.loads(pickle.dumps(source))[0].labels, source[0].labels)


def test_classes_and_free_folders_by_option(tmp_path: Path) -> None:
    put(tmp_path, MASK, "b/1", "a/2", "c/3")
    put(tmp_path, MASK * 0, "fine/4")
    source = opened(FORMAT, tmp_path, classes="c,a", free="fine")["all"]
    assert source.space.classes == ("background", "c", "a")
    assert source.ids == ["c/3", "a/2", "fine/4"]
    assert int(source[1].labels.max()) == 2
    with pytest.raises(DataError, match=r"has no folder 'z', expected one of a, b, c, fine"):
        opened(FORMAT, tmp_path, classes="a,z")


def test_an_object_where_none_should_be(tmp_path: Path) -> None:
    put(tmp_path, MASK, "Free/a", "Crack/b")
    source = opened(FORMAT, tmp_path)["all"]
    with pytest.raises(DataError, match=r"a.png: has 3 white pixels in a folder .* set free=OTHER"):
        _ = source[source.ids.index("Free/a")].labels


def test_soft_edges_need_a_threshold(tmp_path: Path) -> None:
    put(tmp_path, np.array([[0, 100, 200]], np.uint8), "A/a", "B/b")
    with pytest.raises(DataError, match=r"a.png: holds the value 100"):
        _ = opened(FORMAT, tmp_path)["all"][0].labels
    assert opened(FORMAT, tmp_path, threshold=150)["all"][0].labels.tolist() == [[0, 0, 1]]


def test_missing_and_faulty_masks(tmp_path: Path) -> None:
    put(tmp_path, MASK, "A/a", "B/b")
    photo(tmp_path / "A" / "alone.jpg")
    with pytest.raises(DataError, match=r"alone.jpg: alone: has no mask"):
        opened(FORMAT, tmp_path)
    source = gone_around(FORMAT, tmp_path)["all"]
    assert source.ids == ["A/a", "B/b"]
    path = tmp_path / "A" / "a.png"
    save(path, np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError, match=r"a.jpg: the image is 3x2 px, its annotations .* 5x5"):
        _ = source[0].image
    save(path, np.random.default_rng(0).integers(0, 2, (64, 64)).astype(np.uint8))
    truncate(path)
    with pytest.raises(ImageError, match=r"a.png: the PNG data is damaged"):
        _ = source[0].labels
    claim(path, 30_000, 30_000)
    with pytest.raises(ImageTooLargeError, match=r"a.png: its header claims 30,000"):
        _ = source[0].labels


def test_what_is_not_taken_for_it(tmp_path: Path) -> None:
    assert FORMAT.recognise(tmp_path) is None
    assert FORMAT.recognise(tmp_path / "nothing") is None
    put(tmp_path / "one", MASK, "A/a")
    assert FORMAT.recognise(tmp_path / "one") is None, "a single folder"
    put(tmp_path / "splits", MASK, "train/a", "val/b")
    assert FORMAT.recognise(tmp_path / "splits") is None, "splits are no classes"
    put(tmp_path / "ids", np.array([[1, 2]], np.uint8), "A/a", "B/b")
    assert FORMAT.recognise(tmp_path / "ids") is None, "not black and white"
    with pytest.raises(DataError, match="has no folders, expected one for each class"):
        opened(FORMAT, tmp_path / "one" / "A")
    (tmp_path / "empty" / "A").mkdir(parents=True)
    with pytest.raises(DataError, match=r"A: holds no pairs of NAME.jpg and NAME.png"):
        opened(FORMAT, tmp_path / "empty")


@pytest.mark.data
def test_magnetic_tile() -> None:
    source = opened(FORMAT, real("magnetic_tile"))["all"]
    assert source.space.classes[1:] == ("Blowhole", "Break", "Crack", "Fray", "Uneven")
    counts = [sum(id.startswith(name) for id in source.ids) for name in source.space.classes[1:]]
    assert counts == [92, 68, 46, 26, 82]
    empty = [index for index in range(len(source)) if not source[index].labels.any()]
    assert len(empty) == 3, "three photos of Uneven have black masks"
