"""Faults of image files: each planted into a clean set, and nothing else found."""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile

from tests.data.check_sets import (
    SPACE,
    Memory,
    check,
    kinds,
    only,
    pairs,
    photo,
    planted,
    read,
    reopened,
    write_image,
)
from vitrail.data.checks.native import DecoderMessages
from vitrail.data.sample import Sample


def test_a_clean_set_is_silent(tmp_path: Path) -> None:
    report = check(pairs(tmp_path), tmp_path)
    assert not report.problems
    assert report.ok(strict=True) and report.files == 12


def test_cut_jpeg(tmp_path: Path) -> None:
    def cut(source) -> None:
        data = source.images[2].read_bytes()
        source.images[2].write_bytes(data[: len(data) // 2])

    problem = only(planted(tmp_path, cut), "corrupt-image").problem
    assert problem.severity == "error"
    assert problem.id == "train_2" and problem.file is not None
    assert problem.file.name == "train_2.jpg" and "cut short" in problem.value


def test_cut_jpeg_with_an_end_marker(tmp_path: Path) -> None:
    """A copy program that closes the file properly: only the decoder can tell."""

    def cut(source) -> None:
        data = source.images[2].read_bytes()
        source.images[2].write_bytes(data[: len(data) // 2] + b"\xff\xd9")

    problem = only(planted(tmp_path, cut), "corrupt-image").problem
    assert "premature end" in problem.value


def test_jpeg_with_a_gap(tmp_path: Path) -> None:
    def gap(source) -> None:
        data = source.images[1].read_bytes()
        half = len(data) // 2
        source.images[1].write_bytes(data[:half] + bytes(400) + data[half + 400 :])

    report = planted(tmp_path, gap)
    assert set(kinds(report)) <= {"corrupt-image", "damaged-image"} and report.problems


def test_trailers_after_a_jpeg_are_fine(tmp_path: Path) -> None:
    def extend(source) -> None:
        source.images[1].write_bytes(source.images[1].read_bytes() + b"camera trailer" * 50)

    assert not planted(tmp_path, extend).problems


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("grey", [False, True])
def test_other_whole_jpegs_are_fine(tmp_path: Path, progressive: int, grey: bool) -> None:
    def rewrite(source) -> None:
        pixels = read(source.images[0], 0 if grey else 1)
        cv2.imwrite(str(source.images[0]), pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])

    assert not planted(tmp_path, rewrite).problems


def test_cmyk_and_16_bits_are_fine(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    PIL.Image.open(source.images[0]).convert("CMYK").save(source.images[0])
    deep = photo(3, (96, 96))[..., 0].astype(np.uint16) * 16
    source.images[1].unlink()
    cv2.imwrite(str(source.images[1].with_suffix(".png")), deep)
    assert not check(reopened(source), tmp_path).problems


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tif"])
def test_cut_files_of_other_kinds(tmp_path: Path, suffix: str) -> None:
    source = pairs(tmp_path)
    path = write_image(source.images[3].with_suffix(suffix), photo(7, (96, 96)))
    source.images[3].unlink()
    assert not check(reopened(source), tmp_path).problems
    path.write_bytes(path.read_bytes()[:-2000])
    problem = only(check(reopened(source), tmp_path), "corrupt-image").problem
    assert problem.file == path


def test_png_with_a_wrong_checksum(tmp_path: Path, capfd) -> None:
    source = pairs(tmp_path)
    path = write_image(source.images[3].with_suffix(".png"), photo(7, (96, 96)))
    source.images[3].unlink()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)
    assert only(check(reopened(source), tmp_path), "corrupt-image").problem.file == path
    assert "libpng" not in capfd.readouterr().err


def test_empty_file_and_text(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    source.images[0].write_bytes(b"")
    source.images[4].write_text("<html>404 not found</html>")
    report = check(source, tmp_path)
    assert kinds(report) == {"empty-file": 1, "corrupt-image": 1}
    assert [p.file for p in report.problems] == [source.images[0], source.images[4]]


def test_missing_image(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    source.images[5].unlink()
    problem = only(check(source, tmp_path), "missing-image").problem
    assert problem.file == source.images[5] and problem.id == "train_5"


def test_bomb_is_not_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    source = pairs(tmp_path)
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    source.images[0].write_bytes(bomb)
    problem = only(check(source, tmp_path), "image-too-large").problem
    assert "100,000" in problem.value


def test_wrong_suffix_is_a_note(tmp_path: Path) -> None:
    def rename(source) -> None:
        pixels = read(source.images[0], cv2.IMREAD_COLOR)
        source.images[0].write_bytes(cv2.imencode(".png", pixels)[1].tobytes())

    problem = only(planted(tmp_path, rename), "wrong-suffix").problem
    assert problem.severity == "note" and problem.value == "PNG data, named .jpg"


def test_image_resized_but_not_its_mask(tmp_path: Path) -> None:
    def resize(source) -> None:
        pixels = read(source.images[0], cv2.IMREAD_COLOR)
        cv2.imwrite(str(source.images[0]), cv2.resize(pixels, (48, 48)))

    problem = only(planted(tmp_path, resize), "size-mismatch").problem
    assert problem.id == "train_0" and "48x48" in problem.value and "96x96" in problem.expected
    assert "resized by 2" in problem.advice


def test_exchanged_width_and_height() -> None:
    samples = [Sample("a", photo(0), (128, 96), np.zeros((128, 96), np.uint8))]
    report = check(Memory(samples, SPACE))
    (problem,) = (p for p in report.problems if p.code == "size-mismatch")
    assert "exchanged" in problem.advice


def _turned(path: Path, size: tuple[int, int], orientation: int) -> Path:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(photo(1, size)).save(path, exif=exif, quality=90)
    return path


@pytest.mark.parametrize(
    ("stored", "frame", "orientation", "code"),
    [
        ((60, 80), (60, 80), 6, "exif-rotated"),
        ((60, 80), (80, 60), 6, "exif-orientation"),
        ((60, 80), (60, 80), 3, "exif-ambiguous"),
        ((60, 60), (60, 60), 8, "exif-ambiguous"),
        ((60, 80), (60, 80), 1, None),
        ((60, 80), (70, 80), 6, "size-mismatch"),
    ],
)
def test_exif(tmp_path: Path, stored, frame, orientation: int, code: str | None) -> None:
    path = _turned(tmp_path / "a.jpg", stored, orientation)
    labels = np.zeros(frame, np.uint8)
    labels[:20, :20], labels[20:40, 20:40] = 1, 2
    report = check(Memory([Sample("a", path, frame, labels)], SPACE))
    if code is None:
        assert not report.problems
    else:
        problem = only(report, code).problem
        assert problem.file == path
        assert (f"orientation {orientation}" in problem.value) == code.startswith("exif")


def test_orphans(tmp_path: Path) -> None:
    source = pairs(tmp_path, number=12)
    stray = write_image(source.images[0].with_name("train_99.jpg"), photo(99))
    masks = source.mask_paths(0)[0].parent
    lonely = write_image(masks / "train_98.png", np.zeros((9, 9), np.uint8))
    (source.images[0].parent / "Thumbs.db").write_text("no picture")
    report = check(source, tmp_path)
    assert {(p.code, p.file) for p in report.problems} == {
        ("orphan-image", stray),
        ("orphan-mask", lonely),
    }


def test_many_unused_files_are_one_note(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    for number in range(100, 120):
        write_image(source.images[0].with_name(f"train_{number}.jpg"), photo(number))
    problem = only(check(source, tmp_path), "unused-files").problem
    assert problem.severity == "note" and problem.file == source.images[0].parent
    assert problem.value.startswith("20 images")


def test_companions_of_masks_are_no_orphans(tmp_path: Path) -> None:
    """Cityscapes keeps several pictures beside each mask, told apart by what their names end in."""
    samples = []
    for number in range(5):
        path = write_image(tmp_path / f"a_{number}_leftImg8bit.png", photo(number))
        write_image(tmp_path / f"a_{number}_gtFine_color.png", photo(number))
        samples.append(Sample(str(number), path, (96, 128), instances=()))
    assert "orphan-image" not in kinds(check(Memory(samples, SPACE), tmp_path))


def test_part_of_the_splits_says_nothing_of_orphans(tmp_path: Path) -> None:
    from tests.data.check_sets import dataset
    from vitrail.data.check import check_dataset

    source = pairs(tmp_path)
    write_image(source.images[0].with_name("train_99.jpg"), photo(99))
    data = dataset(tmp_path, train=source, val=pairs(tmp_path, "val", seed=1))
    assert kinds(check_dataset(data)) == {"orphan-image": 1}
    assert not check_dataset(data, splits=["train"]).problems


def test_files_that_only_vitrail_reads(tmp_path: Path) -> None:
    """Scientific TIFF and NumPy arrays, as images and as masks."""
    rng = np.random.default_rng(0)
    bands = tmp_path / "bands.tif"
    pixels = rng.integers(0, 256, (60, 80, 5)).astype(np.uint8)
    tifffile.imwrite(bands, pixels, planarconfig="contig")
    deep = tmp_path / "deep.tif"
    tifffile.imwrite(deep, np.ascontiguousarray(photo(1, (60, 80))[..., 0] / np.float32(255)))
    labels = np.zeros((60, 80), np.uint8)
    labels[:20], labels[30:] = 1, 2
    np.save(tmp_path / "array.npy", photo(2, (60, 80)))
    files = bands, deep, tmp_path / "array.npy"
    samples = [Sample(path.stem, path, (60, 80), labels) for path in files]
    assert not check(Memory(samples, SPACE)).problems


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    sample = Sample("a", tmp_path / "a.jpg", (60, 80), instances=())
    (problem,) = (p for p in check(Memory([sample], SPACE)).problems if p.id == "a")
    assert (problem.code, problem.value) == ("corrupt-image", "no regular file")


def test_decoder_messages_are_kept_apart(capfd) -> None:
    """libjpeg's words are returned; what another thread prints meanwhile is handed on."""
    messages = DecoderMessages()

    def decode() -> int:
        os.write(2, b"Corrupt JPEG data: bad Huffman code\nanother thread\nlibpng warning: x\n")
        return 7

    assert messages.during(decode) == (7, "Corrupt JPEG data: bad Huffman code")
    assert messages.during(lambda: 8) == (8, "")
    messages.close()
    assert capfd.readouterr().err == "another thread\n"
