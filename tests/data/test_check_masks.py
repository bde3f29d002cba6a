"""Faults of mask files: each planted into a clean set, and nothing else found."""

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.data.check_sets import SPACE, check, kinds, only, pairs, read, reopened, write_image
from vitrail.codecs import Limits
from vitrail.data.checks.finding import Pen
from vitrail.data.checks.masks import edge_values, histogram, look_at_mask
from vitrail.data.checks.native import DecoderMessages
from vitrail.data.formats.index_masks import IndexMasks
from vitrail.data.sample import LabelSpace


def _mask(source: IndexMasks, index: int) -> Path:
    return source.mask_paths(index)[0]


def _change(source: IndexMasks, index: int, change) -> Path:
    """Rewrite one mask as ``change`` makes it of its labels."""
    path = _mask(source, index)
    labels = read(path)
    return write_image(path, change(labels))


def test_unknown_id(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    path = _change(source, 4, lambda labels: np.where(labels == 0, 7, labels).astype(np.uint8))
    report = check(source, tmp_path)
    problem = only(report, "unknown-class-id").problem
    assert problem.severity == "error" and problem.file == path and problem.id == "train_4"
    assert problem.value.startswith("ids 7 in ") and "0..2 or 255" in problem.expected
    (ignore,) = (advice for advice in report.advice if advice.about == "ignore")
    assert ignore.value == 7


def test_16_bits_made_of_8(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    _change(source, 1, lambda labels: labels.astype(np.uint16) * 257)
    problem = only(check(source, tmp_path), "unknown-class-id").problem
    assert "divide every value by 257" in problem.advice


def test_off_by_one(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    for index in range(len(source)):
        _change(source, index, lambda labels: labels + 1)
    report = check(source, tmp_path)
    found = {p.code: p for p in report.problems}
    # Masks of discs alone hold 1 and 2, which are classes; those of squares show the fault.
    assert set(found) == {"unknown-class-id", "off-by-one-ids"}
    assert found["off-by-one-ids"].value == "0 in no mask, 3 in 3"
    assert report.findings.counts["unknown-class-id", "error"] == 3
    assert not [advice for advice in report.advice if advice.about == "ignore"]


def test_binary_masks_as_unknown_255(tmp_path: Path) -> None:
    source = reopened(pairs(tmp_path), LabelSpace(("ground", "disc"), 0, ignore=254))
    for index in range(len(source)):
        _change(source, index, lambda labels: (labels > 0).astype(np.uint8) * 255)
    report = check(source, tmp_path)
    assert kinds(report) == {"binary-mask": 6}
    assert "0 and 255" in report.problems[0].value


@pytest.mark.parametrize("classes", [2, 256])
def test_binary_masks_read_without_complaint(tmp_path: Path, classes: int) -> None:
    """255 as ignore, or as the last of 256 classes: no mask alone is wrong."""
    names = tuple(f"class {number}" for number in range(classes))
    source = reopened(pairs(tmp_path), LabelSpace(names, 0, 255 if classes == 2 else 65535))
    for index in range(len(source)):
        _change(source, index, lambda labels: (labels > 0).astype(np.uint8) * 255)
    problem = only(check(source, tmp_path), "binary-mask").problem
    assert problem.split == "train" and problem.severity == "error"
    assert ("ignore" if classes == 2 else "256 classes") in problem.value


def test_palette_turned_into_rgb(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
    path = _change(source, 3, lambda labels: colours[labels])
    problem = only(check(source, tmp_path), "colour-mask").problem
    assert problem.file == path and "RGB with 2 colours: (0, 0, 0), (128, 0, 0)" in problem.value
    assert "colour-masks" in problem.advice


def test_grey_saved_as_rgb(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    _change(source, 3, lambda labels: np.dstack([labels] * 3))
    problem = only(check(source, tmp_path), "colour-mask").problem
    assert problem.value == "grey saved as RGB, with the values 0, 1"


def test_photograph_as_mask(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    write_image(_mask(source, 2), read(source.images[2], cv2.IMREAD_COLOR))
    problem = only(check(source, tmp_path), "colour-mask").problem
    assert "distinct colours" in problem.value and "this is a picture" in problem.advice


@pytest.mark.parametrize("as_png", [False, True])
def test_mask_that_went_through_jpeg(tmp_path: Path, as_png: bool) -> None:
    source = pairs(tmp_path)
    path = _mask(source, 1)
    labels = read(path)
    data = cv2.imencode(
        ".jpg", (labels > 0).astype(np.uint8) * 255, [cv2.IMWRITE_JPEG_QUALITY, 80]
    )[1]
    if as_png:
        ringing = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        assert ringing is not None
        write_image(path, ringing)
    else:
        path.write_bytes(data.tobytes())
    problem = only(check(source, tmp_path), "jpeg-mask").problem
    assert problem.severity == "error" and problem.file == path


def _soft(labels: np.ndarray) -> np.ndarray:
    large = cv2.resize((labels > 0).astype(np.uint8) * 255, None, fx=4, fy=4)
    return cv2.resize(
        cv2.GaussianBlur(large, (0, 0), 3), labels.shape[::-1], interpolation=cv2.INTER_AREA
    )


def test_anti_aliased_mask(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    path = _change(source, 3, _soft)
    problem = only(check(source, tmp_path), "anti-aliased-mask").problem
    assert problem.severity == "error" and problem.file == path
    assert "occur at edges only" in problem.value and "areas of 0, 255" in problem.value


def test_mask_resized_with_interpolation(tmp_path: Path) -> None:
    """In-between ids that are classes themselves: the reader sees nothing wrong."""
    names = tuple(f"class {number}" for number in range(21))
    source = reopened(pairs(tmp_path), LabelSpace(names, 0))
    for index in range(len(source)):
        _change(source, index, lambda labels: (labels > 0).astype(np.uint8) * 20)

    def resized(labels: np.ndarray) -> np.ndarray:
        return cv2.resize(cv2.resize(labels, (61, 61)), (96, 96), interpolation=cv2.INTER_LINEAR)

    path = _change(source, 0, resized)
    found = [p for p in check(source, tmp_path).problems if p.code != "unused-class"]
    assert [(p.code, p.severity, p.file) for p in found if p.code != "class-imbalance"] == [
        ("anti-aliased-mask", "warning", path)
    ]


def test_cut_mask(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    path = _mask(source, 5)
    path.write_bytes(path.read_bytes()[:-40])
    assert only(check(source, tmp_path), "corrupt-mask").problem.file == path


def test_mask_that_went_missing(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    _mask(source, 5).unlink()
    assert only(check(source, tmp_path), "missing-mask").problem.file == _mask(source, 5)


def test_all_ignore(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    _change(source, 0, lambda labels: np.full_like(labels, 255))
    problem = only(check(source, tmp_path), "nothing-labelled").problem
    assert problem.severity == "warning" and problem.id == "train_0"


def _as_palette(path: Path, table: list[int]) -> None:
    picture = PIL.Image.fromarray(np.asarray(PIL.Image.open(path)))
    picture.putpalette(table)
    picture.save(path)


def test_palettes(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    table = [0, 0, 0, 200, 0, 0, 0, 200, 0]
    for index in range(len(source)):
        _as_palette(_mask(source, index), table)
    assert not check(source, tmp_path).problems
    _as_palette(_mask(source, 3), [0, 0, 0, 0, 200, 0, 200, 0, 0])
    problem = only(check(source, tmp_path), "palette-conflict").problem
    assert problem.file == _mask(source, 3) and problem.id == "1"
    assert problem.value == "index 1 is (0, 200, 0)"


@pytest.mark.parametrize("bits", [1, 2, 4, 16])
def test_other_depths_are_fine(tmp_path: Path, bits: int) -> None:
    space = SPACE if bits > 1 else LabelSpace(("ground", "thing"), 0)
    source = reopened(pairs(tmp_path), space)
    for index in range(len(source)):
        path = _mask(source, index)
        labels = read(path)
        if bits == 16:
            write_image(path, labels.astype(np.uint16))
        elif bits == 1:
            PIL.Image.fromarray(labels > 0).save(path)
        else:
            _as_palette(path, [0, 0, 0, 9, 9, 9, 8, 8, 8])
            PIL.Image.open(path).save(path, bits=bits)
    assert not check(source, tmp_path).problems


def test_thin_classes_and_many_instances_are_not_smoothed() -> None:
    """Poles of two pixels, and nuclei of all sizes with 16-bit ids."""
    rng = np.random.default_rng(0)
    street = np.full((120, 160), 3, np.uint8)
    street[80:] = 5
    for number, x in enumerate(range(5, 150, 12)):
        street[20:80, x : x + 2] = (1, 2, 4, 6, 7, 8)[number % 6]
    nuclei = np.zeros((200, 200), np.uint16)
    for number in range(1, 150):
        x, y = rng.integers(0, 200, 2).tolist()
        cv2.circle(nuclei, (x, y), int(rng.integers(0, 9)), number, -1)
    for labels in (street, nuclei):
        values, counts = histogram(labels)
        assert len(values) > 6 and edge_values(labels, values, counts) is None


def test_smoothed_colours(tmp_path: Path) -> None:
    """An RGB mask with soft edges has many colours that no table lists."""
    labels = np.zeros((96, 96), np.uint8)
    cv2.circle(labels, (40, 50), 25, 255, -1)
    soft = cv2.GaussianBlur(labels, (0, 0), 1.5)
    packed = soft.astype(np.int32) << 16 | (255 - soft.astype(np.int32)) << 8
    values, counts = histogram(packed)
    assert edge_values(packed, values, counts) is not None
    hard = np.where(labels > 0, 0xFF0000, 0x00FF00).astype(np.int32)
    assert edge_values(hard, *histogram(hard)) is None


def test_masks_that_only_vitrail_reads(tmp_path: Path) -> None:
    labels = np.zeros((60, 80), np.uint16)
    labels[:20], labels[30:] = 1, 2
    np.save(tmp_path / "grey.npy", labels)
    np.save(tmp_path / "colours.npy", np.dstack([labels.astype(np.uint8) * 9] * 3))
    messages = DecoderMessages()
    for name, values in (("grey", [0, 1, 2]), ("colours", [0, 0x090909, 0x121212])):
        pen = Pen("train")
        raw = look_at_mask(tmp_path / f"{name}.npy", pen, messages, Limits.of())
        assert raw is not None and not pen.found
        assert raw.values.tolist() == values and raw.size == (60, 80)
        assert raw.coloured == (name == "colours")
    messages.close()
