"""Folders of images and index PNGs: what is read, what is refused, and what comes back."""

import pickle
import struct
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from tests.data.formats.folder_sets import (
    claim,
    gone_around,
    label_sets,
    opened,
    pairs,
    photo,
    quick,
    same_labels,
    save,
    spaces,
    truncate,
    written,
)
from tests.data.listed import Listed, drawn, mapped, picture, sample
from tests.drawn import discs, write_discs
from tests.real_data import real
from vitrail.data.formats.index_masks import FORMAT, IndexMasks, read_index_png
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError, ImageError, ImageTooLargeError

SPACE = LabelSpace(("background", "disc", "square"), background=0, ignore=255)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_discs(tmp_path / "set", train=4, val=1) / "train"


def test_pairs_are_read_exactly(root: Path) -> None:
    source = IndexMasks(root / "images", root / "masks", SPACE)
    truth = {f"{'disc' if i % 2 else 'square'}_{i:03d}": pair for i, pair in enumerate(discs(4))}
    assert len(source) == 4
    for index in range(4):
        sample = source[index]
        image, labels = truth[sample.id]
        assert np.array_equal(sample.image, image)
        assert np.array_equal(sample.labels, labels)
        assert sample.unlabelled == frozenset()


def test_a_palette_png_gives_its_indices(tmp_path: Path) -> None:
    labels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    picture = PIL.Image.fromarray(labels, "P")
    picture.putpalette([v for i in range(256) for v in (255 - i, i, 7)])
    picture.save(tmp_path / "palette.png")
    assert np.array_equal(read_index_png(tmp_path / "palette.png"), labels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_ids_in_few_bits_are_not_stretched(bits: int, tmp_path: Path) -> None:
    """Written by hand: no library writes grey of 2 or 4 bits."""
    ids = [0, 1, 2**bits - 1, 0]
    packed = int("".join(f"{i:0{bits}b}" for i in ids).ljust(16, "0"), 2).to_bytes(2, "big")
    line = b"\0" + packed[: -(-4 * bits // 8)]

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0))
    body = header + chunk(b"IDAT", zlib.compress(line)) + chunk(b"IEND", b"")
    (tmp_path / "ids.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert read_index_png(tmp_path / "ids.png").tolist() == [ids]


def test_sixteen_bit_ids_survive(tmp_path: Path) -> None:
    labels = np.array([[0, 300], [65535, 1]], np.uint16)
    cv2.imwrite(str(tmp_path / "ids.png"), labels)
    assert np.array_equal(read_index_png(tmp_path / "ids.png"), labels)


def test_a_mask_without_its_image_size(root: Path) -> None:
    cv2.imwrite(str(root / "masks" / "disc_001.png"), np.zeros((64, 32), np.uint8))
    source = IndexMasks(root / "images", root / "masks", SPACE)
    with pytest.raises(
        DataError, match=r"disc_001.png: the image is 64x64 px, its annotations .*32x64"
    ):
        _ = source[0].image


def test_a_colour_mask(root: Path) -> None:
    cv2.imwrite(str(root / "masks" / "disc_001.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(DataError, match=r"disc_001.png: has 3 channels"):
        _ = IndexMasks(root / "images", root / "masks", SPACE)[0].labels


def test_a_mask_that_is_no_picture(root: Path) -> None:
    (root / "masks" / "disc_001.png").write_text("not a picture", "utf-8")
    with pytest.raises(ImageError, match=r"disc_001.png: not an image"):
        _ = IndexMasks(root / "images", root / "masks", SPACE)[0]


def test_a_missing_mask_and_a_missing_folder(root: Path) -> None:
    (root / "masks" / "disc_003.png").unlink()
    with pytest.raises(DataError, match=r"1 of 4 images have no mask.*disc_003.png"):
        IndexMasks(root / "images", root / "masks", SPACE)
    with pytest.raises(DataError, match="none: no such folder"):
        IndexMasks(root / "none", root / "masks", SPACE)
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no images"):
        IndexMasks(root / "empty", root / "masks", SPACE)


# The format -------------------------------------------------------------------------------------


def test_a_folder_of_index_masks(tmp_path: Path) -> None:
    masks = {"a": np.array([[0, 2], [255, 1]], np.uint8), "b": np.array([[2, 2]], np.uint8)}
    pairs(tmp_path, masks)
    (tmp_path / "classes.txt").write_text("background\ncar\nroad\n", "utf-8")
    reason = FORMAT.recognise(tmp_path)
    assert reason is not None
    assert "images/ and masks/; values 0, 1, 2, 255 in 2 masks looked at, classes.txt" in reason
    source = opened(FORMAT, tmp_path)["all"]
    assert source.space == LabelSpace(("background", "car", "road"), 0, 255)
    assert source.ids == ["a", "b"]
    for index, mask in enumerate(masks.values()):
        assert np.array_equal(source[index].labels, mask)
        assert source[index].image.shape[:2] == mask.shape


def test_classes_that_nobody_lists_are_counted_and_said(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": np.array([[0, 4], [255, 1]], np.uint8)})
    dataset = opened(FORMAT, tmp_path)
    assert dataset.space.classes == tuple(f"class {i}" for i in range(5))
    assert dataset.space.background is None
    (note,) = dataset.problems
    assert (note.code, note.severity) == ("unnamed-classes", "note")
    assert "1 mask holds values up to 4" in note.value


def test_classes_background_and_ignore_by_option(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": np.array([[0, 2], [11, 1]], np.uint8)})
    dataset = opened(FORMAT, tmp_path, classes="void, road,car", background="void", ignore=11)
    assert dataset.space == LabelSpace(("void", "road", "car"), 0, 11)
    assert dataset["all"][0].labels.tolist() == [[0, 2], [11, 1]]


def test_ignore_as_first_value_moves_the_others_down(tmp_path: Path) -> None:
    """As in ADE20K, where 0 is "other" and the 150 classes follow."""
    pairs(tmp_path, {"a": np.array([[0, 1], [2, 2]], np.uint8)})
    dataset = opened(FORMAT, tmp_path, classes=["other", "wall", "floor"], ignore=0)
    assert dataset.space == LabelSpace(("wall", "floor"), None, 255, (1, 2))
    assert dataset["all"][0].labels.tolist() == [[255, 0], [1, 1]]


def test_sixteen_bit_values_with_gaps(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": np.array([[1000, 7], [255, 40000]], np.uint16)})
    (tmp_path / "classes.json").write_text('{"7": "a", "1000": "b", "40000": "c"}', "utf-8")
    source = opened(FORMAT, tmp_path)["all"]
    assert source[0].labels.tolist() == [[1, 0], [255, 2]]
    assert source.space.original_ids == (7, 1000, 40000)


def test_an_unknown_value_names_mask_value_and_classes(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": np.array([[0, 9], [9, 1]], np.uint8)})
    source = opened(FORMAT, tmp_path, classes="x,y")["all"]
    with pytest.raises(
        DataError, match=r"a.png: holds the value 9; .* 0..1 or 255 \(ignore\); 2 px"
    ):
        _ = source[0].labels
    (tmp_path / "classes.json").write_text('{"x": 3, "y": 5}', "utf-8")
    source = opened(FORMAT, tmp_path)["all"]
    with pytest.raises(DataError, match=r"holds the value 0; .* one of 3, 5 or 255"):
        _ = source[0].labels


def test_a_tiff_of_whole_floats_and_one_of_others(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 300], [2, 1]], np.float32))
    assert read_index_png(tmp_path / "a.tif").tolist() == [[0, 300], [2, 1]]
    tifffile.imwrite(tmp_path / "b.tif", np.array([[0, 0.5]], np.float32))
    with pytest.raises(DataError, match=r"b.tif: holds the value 0.5, expected whole numbers"):
        read_index_png(tmp_path / "b.tif")


def test_a_mask_cut_short(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (64, 64)).astype(np.uint8)
    pairs(tmp_path, {"a": mask})
    truncate(tmp_path / "masks" / "a.png")
    source = opened(FORMAT, tmp_path, classes="x,y,z")["all"]
    with pytest.raises(ImageError, match=r"a.png: the PNG data is damaged or cut short"):
        _ = source[0].labels


def test_a_mask_that_claims_a_huge_size(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    claim(tmp_path / "masks" / "a.png", 60_000, 60_000)
    source = opened(FORMAT, tmp_path, classes="x,y")["all"]
    with pytest.raises(ImageTooLargeError, match=r"a.png: its header claims 60,000 x 60,000"):
        _ = source[0].labels


def test_the_limit_of_pixels_holds_for_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "a.png", np.zeros((20, 20), np.uint8))
    monkeypatch.setenv("VITRAIL_MAX_PIXELS", "399")
    with pytest.raises(ImageTooLargeError, match=r"a.png: .* the limit of 399"):
        read_index_png(tmp_path / "a.png")


def test_jpeg_masks_are_refused_and_can_be_gone_around(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": np.array([[0, 1]], np.uint8)})
    photo(tmp_path / "images" / "b.jpg")
    save(tmp_path / "masks" / "b.jpg", np.zeros((12, 16), np.uint8))
    with pytest.raises(DataError, match=r"b.jpg: b: the mask is a JPEG.* as PNG"):
        opened(FORMAT, tmp_path, classes="x,y")
    assert gone_around(FORMAT, tmp_path, classes="x,y")["all"].ids == ["a"]


def test_no_layout_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no image has a mask beside it .* images=FOLDER"):
        opened(FORMAT, tmp_path)
    with pytest.raises(DataError, match=r"looked for images='photos'\).* or set images=FOLDER"):
        opened(FORMAT, tmp_path, images="photos")
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    dataset = opened(FORMAT, tmp_path, classes="x,y")
    assert len(dataset["all"]) == 0
    assert [(one.code, one.severity) for one in dataset.problems] == [("empty-split", "warning")]


def test_sources_travel_to_worker_processes(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": np.array([[0, 1]], np.uint8)})
    source = opened(FORMAT, tmp_path, classes="x,y")["all"]
    copy = pickle.loads(pickle.dumps(source))
    assert copy[0].labels.tolist() == [[0, 1]]
    assert pickle.loads(pickle.dumps(copy[0])).labels.tolist() == [[0, 1]]


@quick
@given(st.data())
def test_what_is_written_is_read_again(data: st.DataObject) -> None:
    space = data.draw(spaces())
    splits = data.draw(label_sets(space))
    with tempfile.TemporaryDirectory() as folder:
        back = written(FORMAT, splits, Path(folder) / "set")
        assert back.space == space
        same_labels(back, splits)


def test_more_than_256_classes_take_16_bits(tmp_path: Path) -> None:
    space = LabelSpace(tuple(f"c{i}" for i in range(300)), 0, 65535)
    labels = np.array([[0, 299], [65535, 256]], np.uint16)
    splits = {"all": Listed([Sample("a", picture(2, 2), (2, 2), labels)], space)}
    back = written(FORMAT, splits, tmp_path / "set")
    assert back.space == space
    same_labels(back, splits)


def test_objects_are_painted_and_pillow_sees_their_ids_and_colours(tmp_path: Path) -> None:
    space = LabelSpace(("cat", "dog"), colours=((1, 2, 3), (4, 5, 6)))
    one = sample("a", (2, 3), drawn(0, ["##.", "##."]), drawn(1, ["#..", "..."]))
    written(FORMAT, {"all": Listed([one], space)}, tmp_path / "set")
    with PIL.Image.open(tmp_path / "set" / "masks" / "a.png") as found:
        assert found.mode == "P"
        assert np.asarray(found).tolist() == [[2, 1, 0], [1, 1, 0]]
        shown = np.asarray(found.convert("RGB"))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 3


def test_splits_of_other_classes_and_ids_that_leave_the_folder(tmp_path: Path) -> None:
    one, two = LabelSpace(("a", "b"), 0), LabelSpace(("a", "c"), 0)
    splits = {n: Listed([mapped("x", ["01"])], s) for n, s in (("train", one), ("val", two))}
    with pytest.raises(DataError, match="train and val have different classes"):
        written(FORMAT, splits, tmp_path / "set")
    climbing = {"all": Listed([mapped("../../x", ["01"])], one)}
    with pytest.raises(DataError, match=r"'../../x': expected the name of a file inside"):
        written(FORMAT, climbing, tmp_path / "other")


@pytest.mark.data
@pytest.mark.parametrize(("split", "count"), [("train", 2110), ("val", 355)])
def test_subjects(split: str, count: int) -> None:
    source = opened(FORMAT, real("subjects"), classes="background,person,animal")[split]
    assert len(source) == count
    for index in range(0, count, 97):
        assert source[index].image.shape[:2] == source[index].labels.shape
