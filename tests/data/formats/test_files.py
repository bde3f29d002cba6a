"""What all formats share: bounded text and JSON, names that stay inside, sizes from headers."""

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from vitrail.data.formats.files import file_exists, header_size, inside, list_images, read_json
from vitrail.errors import DataError, ImageError


@pytest.mark.parametrize(
    "name", ["", "../a.jpg", "a/../../b.jpg", "/etc/a.jpg", "C:\\a.jpg", "\\\\host\\a.jpg", "a\0b"]
)
def test_names_that_lead_out(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the name of a file inside"):
        inside(tmp_path, name)


@pytest.mark.parametrize("name", ["a" * 256, "é" * 128 + "/a.jpg", "a\\" + "b" * 256, "a/" * 2049])
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is too long, expected at most 255 bytes"):
        inside(tmp_path, name)
    assert not file_exists(tmp_path / name)
    assert inside(tmp_path, "a" * 255) == tmp_path / ("a" * 255)


def test_names_from_windows(tmp_path: Path) -> None:
    assert inside(tmp_path, "images\\a b.jpg") == tmp_path / "images" / "a b.jpg"
    assert inside(tmp_path, "images/a.jpg") == tmp_path / "images" / "a.jpg"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [', "line 1, column 13"),
        (b'{"a": "\xff"}', "byte 7 is 0xff"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "cannot be read"),
    ],
)
def test_damaged_json(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_size_as_shown(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = PIL.Image.Exif()
    exif[274] = orientation
    PIL.Image.new("RGB", (40, 30)).save(path, exif=exif)
    turned = orientation in (6, 8)
    assert header_size(path) == ((40, 30) if turned else (30, 40), turned)


def test_sizes_of_what_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"a.png: the file is empty"):
        header_size(path)
    path.write_text("text", "utf-8")
    with pytest.raises(ImageError, match=r"a.png: not an image"):
        header_size(path)
    with pytest.raises(ImageError, match=r"b.png: cannot be read"):
        header_size(tmp_path / "b.png")


def test_listing_survives_a_circle_of_links(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((2, 2), np.uint8))
    cv2.imwrite(str(tmp_path / "a.PNG"), np.zeros((2, 2), np.uint8))
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / ".hidden.png").write_bytes(b"")
    assert [path.name for path in list_images(tmp_path)] == ["a.PNG", "b.png"]
