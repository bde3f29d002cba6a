"""Black and white masks of one class."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given

from tests.data.formats.folder_sets import (
    as_palette,
    claim,
    label_sets,
    opened,
    pairs,
    photo,
    quick,
    same_labels,
    save,
    truncate,
    written,
)
from tests.data.listed import Listed, mapped
from vitrail.data.formats.binary_masks import FORMAT
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ImageError, ImageTooLargeError

LABELS = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)


@pytest.mark.parametrize(
    "mask",
    [
        LABELS,
        LABELS * np.uint8(255),
        LABELS.astype(np.uint16) * np.uint16(65535),
        np.repeat(LABELS[..., None] * np.uint8(255), 3, axis=2),
        np.dstack([*[LABELS] * 3, np.full_like(LABELS, 255)]),
    ],
    ids=["0/1", "0/255", "0/65535", "RGB", "RGBA of 0/1"],
)
def test_codings_of_black_and_white(tmp_path: Path, mask: np.ndarray) -> None:
    pairs(tmp_path, {"a": mask})
    source = opened(FORMAT, tmp_path, name="crack")["all"]
    assert source.space == LabelSpace(("background", "crack"), 0, 255)
    assert source[0].labels.dtype == np.uint8
    assert np.array_equal(source[0].labels, LABELS)


@pytest.mark.parametrize("fill", [0, 1, 255])
def test_masks_of_one_value(tmp_path: Path, fill: int) -> None:
    pairs(tmp_path, {"a": np.full((2, 3), fill, np.uint8)})
    assert opened(FORMAT, tmp_path)["all"][0].labels.tolist() == [[min(fill, 1)] * 3] * 2


@pytest.mark.parametrize("suffix", [".gif", ".png", ".bmp", ".tif"])
def test_one_bit_pictures(tmp_path: Path, suffix: str) -> None:
    """Carvana's masks are GIFs."""
    photo(tmp_path / "images" / "a.jpg", 2, 3)
    (tmp_path / "masks").mkdir()
    PIL.Image.fromarray(LABELS.astype(bool)).save(tmp_path / "masks" / f"a_mask{suffix}")
    assert np.array_equal(opened(FORMAT, tmp_path)["all"][0].labels, LABELS)


@pytest.mark.parametrize(
    "colours",
    [
        [(0, 0, 0), (255, 255, 255)],
        [(0, 0, 0), (128, 0, 0)],
        [(0, 0, 0), (0, 0, 0)],
        [(40, 40, 40), (90, 90, 90)],
    ],
)
def test_palettes_of_two_entries(tmp_path: Path, colours: list[tuple[int, int, int]]) -> None:
    pairs(tmp_path, {"a": LABELS})
    as_palette(tmp_path / "masks" / "a.png", LABELS, colours)
    assert np.array_equal(opened(FORMAT, tmp_path)["all"][0].labels, LABELS)


def test_white_first_in_the_palette(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": LABELS})
    as_palette(tmp_path / "masks" / "a.png", 1 - LABELS, [(255, 255, 255), (0, 0, 0)])
    assert np.array_equal(opened(FORMAT, tmp_path)["all"][0].labels, LABELS)


def test_values_between_need_a_threshold(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": np.array([[0, 127, 128], [255, 3, 255]], np.uint8)})
    with pytest.raises(
        DataError, match=r"a.png: holds the value 127 \(3 px .*\), expected 0 and 1.* threshold=128"
    ):
        _ = opened(FORMAT, tmp_path)["all"][0].labels
    labels = opened(FORMAT, tmp_path, threshold=128)["all"][0].labels
    assert labels.tolist() == [[0, 0, 1], [1, 0, 1]]


def test_jpeg_masks_are_read_with_a_threshold(tmp_path: Path) -> None:
    labels = cv2.circle(np.zeros((64, 64), np.uint8), (32, 32), 20, 1, -1)
    photo(tmp_path / "images" / "a.jpg", 64, 64)
    save(tmp_path / "masks" / "a.jpg", labels * 255)
    reason = FORMAT.recognise(tmp_path)
    assert reason is not None
    assert "soft edges (threshold=128 reads them)" in reason
    with pytest.raises(DataError, match="JPEG alters values near edges"):
        _ = opened(FORMAT, tmp_path)["all"][0].labels
    assert np.array_equal(opened(FORMAT, tmp_path, threshold=128)["all"][0].labels, labels)


def test_three_levels_with_one_ignored(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": np.array([[0, 100, 255]], np.uint8)})
    assert opened(FORMAT, tmp_path, ignore=100)["all"][0].labels.tolist() == [[0, 255, 1]]
    with pytest.raises(DataError, match=r"holds the value 100, expected 0, 90 or 255"):
        _ = opened(FORMAT, tmp_path, ignore=90)["all"][0].labels


def test_two_names_beside_are_the_classes(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": LABELS * np.uint8(255)})
    (tmp_path / "classes.txt").write_text("healthy\nlesion\n", "utf-8")
    assert FORMAT.recognise(tmp_path)
    assert opened(FORMAT, tmp_path).space == LabelSpace(("healthy", "lesion"), 0)


def test_masks_that_are_not_black_and_white(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": np.zeros((2, 3, 3), np.uint8)})
    path = tmp_path / "masks" / "a.png"
    source = opened(FORMAT, tmp_path)["all"]
    save(path, np.array([[[255, 0, 0]] * 3] * 2, np.uint8))
    with pytest.raises(DataError, match=r"a.png: has 3 channels that differ.*colour-masks"):
        _ = source[0].labels
    save(path, np.array([[0, 1, 2]], np.uint8))
    with pytest.raises(DataError, match=r"a.png: holds the value 1 .*index-masks"):
        _ = source[0].labels
    save(path, np.random.default_rng(0).integers(0, 2, (64, 64)).astype(np.uint8))
    truncate(path, 0.7)
    with pytest.raises(ImageError, match=r"a.png: the PNG data is damaged or cut short"):
        _ = source[0].labels
    claim(path, 40_000, 40_000)
    with pytest.raises(ImageTooLargeError, match=r"a.png: its header claims 40,000"):
        _ = source[0].labels
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"a.png: the file is empty"):
        _ = source[0]


SPACE = LabelSpace(("sky", "bird"), background=1, original_ids=(5, 3))


@quick
@given(label_sets(SPACE))
def test_what_is_written_is_read_again(splits: dict[str, Listed]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        back = written(FORMAT, splits, Path(folder) / "set")
        assert back.space == SPACE
        same_labels(back, splits)


def test_opencv_sees_black_white_and_what_is_ignored_below_half(tmp_path: Path) -> None:
    splits = {"val": Listed([mapped("a", ["01x"])], LabelSpace(("ground", "car"), 0))}
    written(FORMAT, splits, tmp_path / "set")
    mask = cv2.imread(str(tmp_path / "set" / "val" / "masks" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert mask.tolist() == [[0, 255, 127]]


def test_the_written_name_can_be_overruled(tmp_path: Path) -> None:
    splits = {"all": Listed([mapped("a", ["01"])], LabelSpace(("ground", "car"), 0))}
    written(FORMAT, splits, tmp_path / "set")
    assert opened(FORMAT, tmp_path / "set", name="van").space.classes == ("ground", "van")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (LabelSpace(("background", "a", "b"), 0), "this set has a, b; keep one class"),
        (LabelSpace(("a", "b")), "this set has a, b and no background"),
    ],
)
def test_more_classes_than_one_are_not_written(
    tmp_path: Path, space: LabelSpace, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        written(FORMAT, {"all": Listed([mapped("x", ["01"])], space)}, tmp_path / "set")
