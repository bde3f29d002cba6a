"""Every format and mode, read back and compared with the array it was written from."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from PIL import ImageCms
from skimage import data

from vitrail.errors import ImageError
from vitrail.image import read_image

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (33, 47, 3), dtype=np.uint8)
GREY = RGB[:, :, 0].copy()
ALPHA = RNG.integers(0, 256, (33, 47), dtype=np.uint8)
RGBA = np.dstack([RGB, ALPHA])
DEEP = RNG.integers(0, 65536, (33, 47, 3), dtype=np.uint16)
DEEP_ALPHA = RNG.integers(0, 65536, (33, 47), dtype=np.uint16)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(array: np.ndarray, colour: int, *extra: bytes) -> bytes:
    """A PNG of any depth and colour type, by hand: what Pillow and OpenCV do not write."""
    depth = array.dtype.itemsize * 8
    rows = array.astype(array.dtype.newbyteorder(">"))
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], depth, colour, 0, 0, 0)
    body = _chunk(b"IHDR", header) + b"".join(extra) + _chunk(b"IDAT", zlib.compress(raw))
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IEND", b"")


def _save(array: np.ndarray, path: Path, mode: str | None = None, **options: object) -> Path:
    image = PIL.Image.fromarray(array)
    image = image if mode is None else image.convert(mode)
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.webp", {"lossless": True, "exact": True}),
        ("a.tif", {}),
        ("a.tif", {"compression": "tiff_lzw"}),
        ("a.tif", {"compression": "tiff_deflate"}),
        ("a.tif", {"compression": "packbits"}),
        ("a.bmp", {}),
        ("a.ppm", {}),
        ("a.jp2", {}),
    ],
)
def test_lossless_rgb(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    image = read_image(_save(RGB, tmp_path / name, **options))
    assert image.pixels.dtype == np.uint8
    assert image.alpha is None
    np.testing.assert_array_equal(image.pixels, RGB)
    assert image.pixels.flags.c_contiguous
    assert np.shares_memory(image.rgb(), image.pixels)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.pgm", "a.gif"])
def test_lossless_grey(tmp_path: Path, name: str) -> None:
    image = read_image(_save(GREY, tmp_path / name))
    if name == "a.gif":  # a palette of greys
        np.testing.assert_array_equal(image.rgb(), np.repeat(GREY[:, :, None], 3, axis=2))
    else:
        np.testing.assert_array_equal(image.pixels, GREY[:, :, None])


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.png", {}), ("a.webp", {"lossless": True, "exact": True}), ("a.tif", {})],
)
def test_alpha(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    image = read_image(_save(RGBA, tmp_path / name, **options))
    np.testing.assert_array_equal(image.pixels, RGB)
    assert image.alpha is not None
    np.testing.assert_array_equal(image.alpha, ALPHA)


def test_grey_with_alpha(tmp_path: Path) -> None:
    image = read_image(_save(np.dstack([GREY, ALPHA]), tmp_path / "a.png"))
    np.testing.assert_array_equal(image.pixels, GREY[:, :, None])
    np.testing.assert_array_equal(image.alpha, ALPHA)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.pbm"])
def test_one_bit_is_black_and_white(tmp_path: Path, name: str) -> None:
    bits = GREY > 128
    image = read_image(_save(bits, tmp_path / name))
    np.testing.assert_array_equal(image.rgb(), np.repeat(bits[:, :, None] * 255, 3, axis=2))


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.tif", "a.bmp"])
def test_palette_becomes_rgb(tmp_path: Path, name: str) -> None:
    indexed = PIL.Image.fromarray(data.astronaut()[:64, :80]).quantize(17)
    indexed.save(tmp_path / name)
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.pixels, np.asarray(indexed.convert("RGB")))


def test_palette_with_transparency(tmp_path: Path) -> None:
    indexed = PIL.Image.fromarray(data.astronaut()[:64, :80]).quantize(17)
    indexed.save(tmp_path / "a.png", transparency=3)
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.alpha, np.where(np.asarray(indexed) == 3, 0, 255))


def test_gif_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (9, 5), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    image = read_image(tmp_path / "a.gif")
    assert image.size == (5, 9)
    assert (image.rgb() == [255, 0, 0]).all()


def test_animated_png_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (9, 5), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "a.png").rgb() == [255, 0, 0]).all()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_equals_pillow(tmp_path: Path, mode: str, options: dict[str, object]) -> None:
    """Parity with Pillow 13.0: the same libjpeg-turbo inside, so not one value differs."""
    path = _save(data.astronaut()[:201, :303], tmp_path / "a.jpg", mode, quality=85, **options)
    expected = np.asarray(PIL.Image.open(path)).reshape(201, 303, -1)
    np.testing.assert_array_equal(read_image(path).pixels, expected)


def test_jpeg_with_bytes_behind_its_end_is_whole(tmp_path: Path) -> None:
    path = _save(data.astronaut()[:64, :64], tmp_path / "a.jpg")
    expected = np.asarray(PIL.Image.open(path))
    path.write_bytes(path.read_bytes() + b"what a phone appends")
    np.testing.assert_array_equal(read_image(path).pixels, expected)


def test_cmyk_jpeg_has_the_right_colours(tmp_path: Path) -> None:
    """Adobe stores inks inverted; read wrongly, a photo comes out as its negative."""
    photo = data.astronaut()[:128, :128]
    path = _save(photo, tmp_path / "a.jpg", "CMYK", quality=95)
    image = read_image(path)
    assert image.pixels.shape == (128, 128, 3)
    assert np.abs(image.pixels.astype(int) - photo).mean() < 6


def test_cmyk_tiff(tmp_path: Path) -> None:
    inks = PIL.Image.fromarray(RGB).convert("CMYK")
    inks.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, RGB)
    deep = np.asarray(inks).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="separated")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.tif").pixels, RGB)


def test_cmyk_with_a_broken_profile_is_read_without_it(tmp_path: Path) -> None:
    path = _save(data.astronaut()[:64, :64], tmp_path / "a.jpg", "CMYK", icc_profile=b"broken")
    expected = np.asarray(PIL.Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(read_image(path).pixels, expected)


def test_lab_tiff(tmp_path: Path) -> None:
    photo = PIL.Image.fromarray(data.astronaut()[:64, :64])
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(photo, srgb, lab, outputMode="LAB")
    assert converted is not None
    converted.save(tmp_path / "a.tif")
    back = read_image(tmp_path / "a.tif").pixels
    assert np.abs(back.astype(int) - np.asarray(photo)).mean() < 3


def test_png_of_16_bits_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), DEEP[:, :, ::-1])
    np.testing.assert_array_equal(read_image(path).pixels, DEEP)
    path.write_bytes(_png(DEEP[:, :, 0], 0))
    np.testing.assert_array_equal(read_image(path).pixels, DEEP[:, :, :1])


@pytest.mark.parametrize(("colour", "bands"), [(4, 1), (6, 3)])
def test_png_of_16_bits_with_alpha(tmp_path: Path, colour: int, bands: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_png(np.dstack([DEEP[:, :, :bands], DEEP_ALPHA]), colour))
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, DEEP[:, :, :bands])
    np.testing.assert_array_equal(image.alpha, np.rint(DEEP_ALPHA / 257))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("colour", "bands"), [(0, 1), (2, 3)])
def test_png_with_a_transparent_colour(
    tmp_path: Path, dtype: type, colour: int, bands: int
) -> None:
    array = RNG.integers(0, 3, (20, 30, bands)).astype(dtype)
    key = struct.pack(f">{bands}H", *[2] * bands)
    path = tmp_path / "a.png"
    path.write_bytes(_png(array, colour, _chunk(b"tRNS", key)))
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, array)
    np.testing.assert_array_equal(image.alpha, np.where((array == 2).all(axis=2), 0, 255))


@pytest.mark.parametrize("compression", [None, "zlib", "lzma"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("bands", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_of_any_bands(
    tmp_path: Path, dtype: type, bands: int, planar: str, compression: str | None
) -> None:
    array = RNG.integers(0, 200, (30, 40, bands)).astype(dtype)
    stored = array if planar == "contig" else array.transpose(2, 0, 1)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored if bands > 1 else array[:, :, 0],
        photometric="rgb" if bands == 3 else "minisblack",
        planarconfig=planar if bands > 1 else None,
        compression=compression,
    )
    image = read_image(tmp_path / "a.tif")
    assert image.pixels.dtype == dtype
    assert image.alpha is None
    np.testing.assert_array_equal(image.pixels, array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("bands", [1, 3])
def test_tiff_with_lzw(tmp_path: Path, dtype: type, bands: int) -> None:
    """LZW is what tifffile leaves to another package."""
    array = RNG.integers(0, 200, (30, 40, bands)).astype(dtype)
    lzw = [cv2.IMWRITE_TIFF_COMPRESSION, 5]
    cv2.imwrite(str(tmp_path / "a.tif"), array[:, :, ::-1], lzw)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages[0].compression == 5
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, array)


def test_tiff_with_tiles_and_big_offsets(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", DEEP, tile=(16, 16), bigtiff=True, photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, DEEP)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_alpha(tmp_path: Path, dtype: type) -> None:
    top = np.iinfo(dtype).max
    color = RNG.integers(0, top, (20, 30, 3)).astype(dtype)
    alpha = np.repeat(np.linspace(0, top, 30).astype(dtype)[None], 20, axis=0)
    stored = np.dstack([color, alpha])
    tifffile.imwrite(tmp_path / "plain.tif", stored, photometric="rgb", extrasamples=["unassalpha"])
    image = read_image(tmp_path / "plain.tif")
    np.testing.assert_array_equal(image.pixels, color)
    np.testing.assert_array_equal(image.alpha, np.rint(alpha / (top // 255)))
    # Premultiplied: what was covered fully is lost, what was opaque comes back exactly.
    stored = np.dstack([np.rint(color * (alpha[:, :, None] / top)).astype(dtype), alpha])
    tifffile.imwrite(tmp_path / "pre.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    image = read_image(tmp_path / "pre.tif")
    assert (image.pixels[:, 0] == 0).all()
    np.testing.assert_array_equal(image.pixels[:, -1], color[:, -1])
    half = np.abs(image.pixels[:, 15].astype(int) - color[:, 15])
    assert half.max() <= 2


def test_tiff_min_is_white(tmp_path: Path) -> None:
    for array in (GREY, DEEP[:, :, 0]):
        tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite")
        top = np.iinfo(array.dtype).max
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels[:, :, 0], top - array)


@pytest.mark.parametrize(
    "kind",
    [
        {"imagej": True},
        {"ome": True},
        {"photometric": "minisblack"},
        {"photometric": "rgb", "planarconfig": "separate"},
    ],
)
def test_tiff_channels_in_pages_become_bands(tmp_path: Path, kind: dict[str, Any]) -> None:
    stack = RNG.integers(0, 4096, (2, 3, 30, 40), dtype=np.uint16)  # Z, C, Y, X
    tifffile.imwrite(tmp_path / "a.tif", stack, metadata={"axes": "ZCYX"}, **kind)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.tif").pixels, stack[0].transpose(1, 2, 0)
    )
    if "imagej" not in kind:  # ImageJ fixes the order of axes
        tifffile.imwrite(tmp_path / "b.tif", stack, metadata={"axes": "CZYX"}, **kind)
        np.testing.assert_array_equal(
            read_image(tmp_path / "b.tif").pixels, stack[:, 0].transpose(1, 2, 0)
        )


@pytest.mark.parametrize("kind", [{"imagej": True}, {"ome": True}, {}])
def test_tiff_of_several_pages_gives_the_first(tmp_path: Path, kind: dict[str, bool]) -> None:
    stack = RNG.integers(0, 4096, (6, 30, 40), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, metadata={"axes": "TYX"}, **kind)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels[:, :, 0], stack[0])


def test_tiff_that_tifffile_wrote_row_by_row(tmp_path: Path) -> None:
    """imwrite(array) without more makes a page of each row of (H, W, 5)."""
    array = RNG.integers(0, 65536, (30, 40, 5), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, array)


def test_tiff_of_signed_integers_becomes_float(tmp_path: Path) -> None:
    hounsfield = RNG.integers(-1024, 3000, (30, 40), dtype=np.int16)
    tifffile.imwrite(tmp_path / "a.tif", hounsfield)
    image = read_image(tmp_path / "a.tif")
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels[:, :, 0], hounsfield)


def _with_compression(array: np.ndarray, number: int) -> bytes:
    """A TIFF that only claims a compression."""
    buffer = io.BytesIO()
    photometric = "rgb" if array.shape[2] == 3 else "minisblack"
    tifffile.imwrite(buffer, array, photometric=photometric, planarconfig="contig")
    buffer.seek(0)
    with tifffile.TiffFile(buffer) as tiff:
        offset = tiff.pages[0].tags["Compression"].valueoffset
    raw = bytearray(buffer.getvalue())
    struct.pack_into("<H", raw, offset, number)
    return bytes(raw)


def test_tiff_that_needs_imagecodecs_says_so() -> None:
    six_bands = np.dstack([RGB, RGB])
    with pytest.raises(ImageError, match=r"6 x 8 bits .* LZW .* pip install imagecodecs"):
        read_image(_with_compression(six_bands, 5))


@pytest.mark.parametrize("array", [RGB, DEEP], ids=["uint8", "uint16"])
@pytest.mark.parametrize("number", [5, 50002], ids=["LZW", "JPEG XL"])
def test_tiff_whose_data_is_not_what_it_claims(array: np.ndarray, number: int) -> None:
    with pytest.raises(ImageError):
        read_image(_with_compression(array, number))


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_npy(tmp_path: Path, version: tuple[int, int]) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, np.asfortranarray(DEEP), version=version)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy").pixels, DEEP)


def test_npy_with_pickles_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match="never loaded"):
        read_image(tmp_path / "a.npy")


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1)])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_extreme_sizes(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    array = np.full((*size, 3), 200, np.uint8)
    image = read_image(_save(array, tmp_path / f"a.{suffix}"))
    assert image.size == size
    np.testing.assert_array_equal(image.rgb(), array)
    assert image.gray() == pytest.approx(200 / 255)


def test_suffix_does_not_matter(tmp_path: Path) -> None:
    _save(RGB, tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg").pixels, RGB)


def test_bytes_and_file_objects(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif"):
        path = _save(RGB, tmp_path / name)
        np.testing.assert_array_equal(read_image(path.read_bytes()).pixels, RGB)
        with path.open("rb") as file:
            image = read_image(file)
        np.testing.assert_array_equal(image.pixels, RGB)
        assert image.stem == "a"
    assert read_image(io.BytesIO(path.read_bytes())).source is None
    with path.open(errors="ignore") as file, pytest.raises(ImageError, match="'rb'"):
        read_image(file)  # pyright: ignore[reportArgumentType]
