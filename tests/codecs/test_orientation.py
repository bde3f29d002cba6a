"""EXIF orientation: all eight, in every format that carries it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from PIL import ImageOps

from vitrail.codecs.arrays import orient
from vitrail.image import read_image

UPRIGHT = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3) * 3
# What a camera stores when the upright picture is UPRIGHT; EXIF 2.32, tag 0x0112.
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT),
    7: UPRIGHT.transpose(1, 0, 2)[::-1, ::-1],
    8: np.rot90(UPRIGHT, -1),
}


def _exif(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", STORED)
def test_stored_is_what_pillow_takes_it_for(orientation: int) -> None:
    """The table above against Pillow 13.0's exif_transpose."""
    image = PIL.Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(image)), UPRIGHT)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_files(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    stored = PIL.Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    stored.save(path, exif=_exif(orientation), **options)
    np.testing.assert_array_equal(read_image(path).pixels, UPRIGHT)


@pytest.mark.parametrize("orientation", STORED)
def test_jpeg(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((48, 32, 3), np.uint8)
    upright[:24, :16], upright[:24, 16:], upright[24:, :16] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    back = orient_inverse(upright, orientation)
    PIL.Image.fromarray(back).save(tmp_path / "a.jpg", exif=_exif(orientation), quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert image.size == (48, 32)
    expected = ImageOps.exif_transpose(PIL.Image.open(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(image.pixels, np.asarray(expected))
    assert np.abs(image.pixels.astype(int) - upright).mean() < 5


def orient_inverse(upright: np.ndarray, orientation: int) -> np.ndarray:
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    return orient(upright, inverse)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["deep", "lzw", "alpha", "palette"])
def test_tiff_of_every_decoder(tmp_path: Path, orientation: int, kind: str) -> None:
    stored = np.ascontiguousarray(STORED[orientation])
    path = tmp_path / "a.tif"
    expected = UPRIGHT
    if kind == "deep":
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(path, stored.astype(np.uint16), photometric="rgb", extratags=[tag])
    elif kind == "alpha":
        stored = np.dstack([stored, stored[:, :, 0]])
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(path, stored, photometric="rgb", extratags=[tag])
    else:
        image = PIL.Image.fromarray(stored)
        image = image.quantize(64) if kind == "palette" else image
        image.save(path, compression="tiff_lzw", tiffinfo={274: orientation})
        if kind == "palette":
            expected = orient(np.asarray(image.convert("RGB")), orientation)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, expected)
    if kind == "alpha":
        np.testing.assert_array_equal(image.alpha, UPRIGHT[:, :, 0])


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_png_chunk_before_and_behind_the_pixels(
    tmp_path: Path, orientation: int, late: bool, deep: bool
) -> None:
    stored = np.ascontiguousarray(STORED[orientation]).astype(np.uint16 if deep else np.uint8)
    plain = bytes(cv2.imencode(".png", stored[:, :, ::-1])[1])
    body = _exif(orientation).tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + body))
    at = len(plain) - 12 if late else 33
    (tmp_path / "a.png").write_bytes(plain[:at] + chunk + plain[at:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, UPRIGHT)


@pytest.mark.parametrize("orientation", STORED)
def test_pil_images_passed_in(orientation: int) -> None:
    image = PIL.Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(read_image(image).pixels, UPRIGHT)


def test_alpha_turns_with_the_pixels(tmp_path: Path) -> None:
    stored = np.dstack([STORED[6], STORED[6][:, :, 0]])
    PIL.Image.fromarray(stored).save(tmp_path / "a.png", exif=_exif(6))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").alpha, UPRIGHT[:, :, 0])


def test_nonsense_orientation_is_ignored(tmp_path: Path) -> None:
    PIL.Image.fromarray(UPRIGHT).save(tmp_path / "a.png", exif=_exif(99))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, UPRIGHT)
