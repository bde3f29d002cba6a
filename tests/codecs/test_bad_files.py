"""What is not a whole, honest image: one clear line each, and nothing decoded past the limits."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from skimage import data

from vitrail.errors import ImageError, ImageTooLargeError, ParameterError, SourceError
from vitrail.image import read_image

PHOTO = data.astronaut()[:120, :160]


def _encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(PHOTO).save(buffer, kind, **options)
    return buffer.getvalue()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_that_claims(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IEND", b"")


def _refused(path: Path, error: type[Exception] = ImageError) -> str:
    """The message, checked to be one line that begins with the file's name."""
    with pytest.raises(error) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("BMP", {}),
        ("PPM", {}),
    ],
)
def test_truncated(tmp_path: Path, kind: str, options: dict[str, object], part: float) -> None:
    whole = _encoded(kind, **options)
    path = tmp_path / "a.jpg"
    path.write_bytes(whole[: int(len(whole) * part)])
    _refused(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("part", [0.2, 0.9])
def test_truncated_deep_tiff(tmp_path: Path, compression: str | None, part: float) -> None:
    path = tmp_path / "a.tif"
    deep = PHOTO.astype(np.uint16) * 257
    tifffile.imwrite(path, deep, photometric="rgb", compression=compression)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    assert "damaged or cut short" in _refused(path)


def test_truncated_jpeg_with_a_whole_thumbnail(tmp_path: Path) -> None:
    """The end marker of the thumbnail in its EXIF must not be taken for the picture's."""
    thumbnail = io.BytesIO()
    PIL.Image.fromarray(PHOTO[::8, ::8]).save(thumbnail, "JPEG")
    whole = _encoded("JPEG", exif=b"Exif\0\0" + thumbnail.getvalue())
    path = tmp_path / "a.jpg"
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged or cut short" in _refused(path)


def test_png_with_a_flipped_byte(tmp_path: Path) -> None:
    for array in (PHOTO, PHOTO.astype(np.uint16) * 257):
        raw = bytearray(cv2.imencode(".png", array)[1])
        raw[len(raw) // 2] ^= 0x55
        (tmp_path / "a.png").write_bytes(raw)
        assert "damaged" in _refused(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.npy"])
def test_zero_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert "empty (0 bytes)" in _refused(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"Dear diary,\nno picture today.\n", "this is text"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "export it as PNG"),
        (b"\0\0\0\x18ftypheic" + bytes(64), "pip install pillow-heif"),
        (b"\0\0\0\x18ftypisom" + bytes(64), "video"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"PK\x03\x04" + bytes(64), "ZIP"),
        (b"\x80\x04\x95" + bytes(64), "not an image"),
        (bytes(128) + b"DICM", "pydicom"),
        (b"\xff\xd8\xff\xe0" + bytes(64), "JPEG data is damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "PNG data is damaged"),
        (b"II*\0" + bytes(64), "TIFF data is damaged"),
        (b"\x93NUMPY" + bytes(64), "NumPy data is damaged"),
    ],
)
def test_not_an_image(tmp_path: Path, content: bytes, answer: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(content)
    assert answer in _refused(tmp_path / "photo.jpg")


@pytest.mark.parametrize("content", [bytes(n) for n in range(1, 20)] + [b"BM", b"II", b"\xff\xd8"])
def test_too_short_for_any_signature(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.jpg: "):
        read_image(tmp_path / "a.jpg")


def test_camera_raw_is_not_taken_for_its_thumbnail(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.nef", PHOTO[::8, ::8], photometric="rgb")
    assert "camera raw" in _refused(tmp_path / "a.nef")


def test_missing_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "Kitten.JPG").touch()
    assert "did you mean 'Kitten.JPG'?" in _refused(tmp_path / "kitten.jpg", SourceError)
    _refused(tmp_path / "quite-different.png", SourceError)
    assert "nor does the folder" in _refused(tmp_path / "no" / "a.jpg", SourceError)
    assert "does not exist" in _refused(tmp_path / "Kitten.JPG" / "a.jpg", SourceError)


def test_folder(tmp_path: Path) -> None:
    assert "is a folder" in _refused(tmp_path, SourceError)


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    PIL.Image.fromarray(PHOTO).save(path)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # root may read everything, so chmod proves nothing
    assert "permission denied" in _refused(path, SourceError)


def test_reading_fails_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    PIL.Image.fromarray(PHOTO).save(path)

    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", lambda *_, **__: Broken())
    assert "Input/output error" in _refused(path, SourceError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert "pipe" in _refused(tmp_path / "a.png", SourceError)


def test_null_byte_in_the_name() -> None:
    with pytest.raises(SourceError, match="does not exist"):
        read_image("a\0.png")


@pytest.mark.parametrize("depth", [8, 16])
def test_png_that_claims_too_many_pixels(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_that_claims(100_000, 100_000, depth))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = _refused(path, ImageTooLargeError)
    assert "100,000 x 100,000" in message
    assert "VITRAIL_MAX_PIXELS" in message


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "JPEG", "npy"])
def test_other_formats_that_claim_too_many_pixels(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bomb"
    if kind == "BMP":
        path.write_bytes(
            b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, 0, 0, 1, 1, 0, 0)
        )  # fmt: skip
    elif kind == "GIF":
        path.write_bytes(
            b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0x80, 0, 0) + bytes(6)
            + b"," + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0) + b"\x02\x02L\x01\0;"
        )  # fmt: skip
    elif kind == "TIFF":
        tifffile.imwrite(path, PHOTO, photometric="rgb")
        with tifffile.TiffFile(path) as tiff:
            tags = tiff.pages[0].tags
            at = [(tags[name].valueoffset, tags[name].dtype) for name in (256, 257)]
        raw = bytearray(path.read_bytes())
        for offset, dtype in at:
            struct.pack_into("<I" if dtype == 4 else "<H", raw, offset, 60_000)
        path.write_bytes(raw)
    elif kind == "JPEG":
        raw = bytearray(_encoded("JPEG"))
        at_size = raw.index(b"\xff\xc0") + 5
        struct.pack_into(">HH", raw, at_size, 60_000, 60_000)
        path.write_bytes(raw)
    else:
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 60000, 3), }\n"
        path.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header)
    assert "60,000 x 60,000" in _refused(path, ImageTooLargeError)


def test_tiff_that_claims_too_many_bands(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 8, 5), np.uint8), photometric="minisblack",
                     planarconfig="contig")  # fmt: skip
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages[0].tags
        at = [tags[name].valueoffset for name in (256, 257)], tags[277].valueoffset
    raw = bytearray(path.read_bytes())
    for offset in at[0]:
        struct.pack_into("<H", raw, offset, 20_000)
    struct.pack_into("<H", raw, at[1], 60_000)
    path.write_bytes(raw)
    assert "VITRAIL_MAX_BYTES" in _refused(path, ImageTooLargeError)


def test_the_limit_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    PIL.Image.fromarray(PHOTO).save(path)
    assert read_image(path, max_pixels=160 * 120).size == (120, 160)
    with pytest.raises(ImageTooLargeError, match="19,199"):
        read_image(path, max_pixels=160 * 120 - 1)
    monkeypatch.setenv("VITRAIL_MAX_PIXELS", "19_199")
    with pytest.raises(ImageTooLargeError, match="19,199"):
        read_image(path)
    assert read_image(path, max_pixels=160 * 120).size == (120, 160)  # the argument wins
    monkeypatch.setenv("VITRAIL_MAX_PIXELS", "lots")
    with pytest.raises(ParameterError, match=r"VITRAIL_MAX_PIXELS must be .* got 'lots'"):
        read_image(path)
    with pytest.raises(ParameterError, match=r"max_pixels must be .* got 0"):
        read_image(path, max_pixels=0)


def test_too_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    PIL.Image.fromarray(PHOTO).save(path)
    with pytest.raises(ImageTooLargeError, match="max_bytes"):
        read_image(path, max_bytes=1000)
    with pytest.raises(ImageTooLargeError, match="max_bytes"):
        read_image(path.read_bytes(), max_bytes=1000)
    with path.open("rb") as file, pytest.raises(ImageTooLargeError, match="max_bytes"):
        read_image(file, max_bytes=1000)
    monkeypatch.setenv("VITRAIL_MAX_BYTES", "1000")
    with pytest.raises(ImageTooLargeError, match="VITRAIL_MAX_BYTES"):
        read_image(path)


def test_sparse_file_of_many_gigabytes(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(5 * 1024**3)
    assert "5,368,709,120 bytes" in _refused(tmp_path / "a.png", ImageTooLargeError)


def test_pillows_own_limit_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours counts, and what a program has set for its own use of Pillow stays as it is."""
    PIL.Image.fromarray(PHOTO).save(tmp_path / "a.png")
    PIL.Image.fromarray(PHOTO).save(tmp_path / "a.bmp")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    for name in ("a.png", "a.bmp"):
        np.testing.assert_array_equal(read_image(tmp_path / name).pixels, PHOTO)
    assert PIL.Image.MAX_IMAGE_PIXELS == 1000
    PIL.Image.fromarray(PHOTO).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert "MAX_IMAGE_PIXELS" in _refused(tmp_path / "a.tif", ImageTooLargeError)


def test_floats_that_are_not_finite(tmp_path: Path) -> None:
    floats = np.zeros((8, 8), np.float32)
    floats[2, 3], floats[4, 4] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "a.tif", floats)
    assert "2 of 64 values are NaN or infinite" in _refused(tmp_path / "a.tif")
