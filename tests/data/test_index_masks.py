"""Folders of images and index PNGs: what is read, and what is refused."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.drawn import discs, write_discs
from vitrail.data.formats.index_masks import IndexMasks, read_index_png
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ImageError

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
