"""PASCAL VOC: masks in palettes, greys and colours, and labelmap.txt."""

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.data.formats.drawn_voc import (
    colour_map,
    same,
    save_mask,
    write_voc,
)
from tests.data.formats.open_voc import (
    all_samples,
    codes,
    home_of,
    opened,
)
from vitrail.data.formats.voc_coding import read_labelmap
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ParameterError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_voc(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def home(root: Path) -> Path:
    return home_of(root)


def test_masks_in_colour_are_decoded_and_said(root: Path, home: Path) -> None:
    expected = [sample.labels for sample in all_samples(opened(root))]
    for folder in ("SegmentationClass", "SegmentationObject"):
        for path in (home / folder).iterdir():
            PIL.Image.open(path).convert("RGB").save(path)
    dataset = opened(root)
    for sample, labels in zip(all_samples(dataset), expected, strict=True):
        assert same(sample.labels, labels)
    assert codes(dataset) == [("note", "coloured-mask"), ("note", "coloured-mask")]
    assert "3 of 3 masks looked at store colours" in str(dataset.problems[0])


def test_a_palette_in_another_order_is_decoded_by_its_colours(root: Path, home: Path) -> None:
    path = home / "SegmentationClass" / "2011_3.png"
    labels = opened(root)["val"][1].labels
    PIL.Image.open(path).convert("RGB").quantize(16, dither=PIL.Image.Dither.NONE).save(path)
    with PIL.Image.open(path) as picture:
        assert picture.mode == "P"
        assert not same(np.asarray(picture), labels)  # other indices
    assert same(opened(root)["val"][1].labels, labels)


def test_grey_masks_and_palettes_of_other_colours_hold_ids(root: Path, home: Path) -> None:
    labels = opened(root)["val"][1].labels
    path = home / "SegmentationClass" / "2011_3.png"
    assert labels is not None
    PIL.Image.fromarray(labels).save(path)
    assert same(opened(root)["val"][1].labels, labels)
    save_mask(path, labels, colour_map()[::-1] // 2 + 3)
    assert same(opened(root)["val"][1].labels, labels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_is_not_stretched(bits: int, root: Path, home: Path) -> None:
    labels = np.zeros((48, 64), np.uint8)
    labels[:, ::2] = 2**bits - 1
    path = home / "SegmentationClass" / "2011_3.png"
    cv2.imwrite(str(path), labels)  # 8 bits; repacked by hand, as no library writes these
    import struct
    import zlib

    per = 8 // bits
    rows = labels.reshape(48, 64 // per, per).astype(np.uint16)
    packed = sum(rows[..., i] << (bits * (per - 1 - i)) for i in range(per))
    raw = b"".join(b"\0" + bytes(row.astype(np.uint8)) for row in np.asarray(packed))

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, bits, 0, 0, 0, 0))
    body = header + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert same(opened(root, objects=False)["val"][1].labels, labels)


def test_an_unknown_value_or_colour_is_named(root: Path, home: Path) -> None:
    path = home / "SegmentationClass" / "2011_3.png"
    labels = np.zeros((48, 64), np.uint8)
    labels[5, 7:9] = 21
    save_mask(path, labels)
    source = opened(root, objects=False)["val"]
    with pytest.raises(DataError, match=r"2011_3.png: holds the value 21 \(2 px.* x=7, y=5"):
        source[1].labels  # noqa: B018
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[3, 2] = (1, 2, 3)
    PIL.Image.fromarray(picture).save(path)
    with pytest.raises(DataError, match=r"holds the colour 1,2,3 \(1 px, the first at x=2, y=3"):
        source[1].labels  # noqa: B018


LABELMAP = """\
# label:color_rgb:parts:actions
background:0,0,0::
cat:250,50,83:head,tail:
dog:51,221,255::running,sitting
ignored:224,224,192::
"""


def test_an_export_of_cvat(tmp_path: Path) -> None:
    """Colours of its own, masks in colour, a list called default."""
    colours = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255)], np.uint8)
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets"):
        (tmp_path / folder).mkdir()
    (tmp_path / "labelmap.txt").write_text(LABELMAP, "utf-8")
    (tmp_path / "ImageSets" / "Segmentation").mkdir()
    (tmp_path / "ImageSets" / "Segmentation" / "default.txt").write_text("a b\n", "utf-8")
    labels = np.zeros((8, 10), np.uint8)
    labels[1:4, 1:4], labels[5:7, 2:9] = 2, 1
    objects = (labels > 0) * (3 - labels)
    cv2.imwrite(str(tmp_path / "JPEGImages" / "a b.png"), np.full((8, 10, 3), 99, np.uint8))
    PIL.Image.fromarray(colours[labels]).save(tmp_path / "SegmentationClass" / "a b.png")
    coloured = colour_map()[objects]
    PIL.Image.fromarray(coloured).save(tmp_path / "SegmentationObject" / "a b.png")
    dataset = opened(tmp_path)
    assert dataset.splits == ("default",)
    assert dataset.space == LabelSpace(
        ("background", "cat", "dog"), 0, 255, None, tuple(map(tuple, colours.tolist()))
    )
    sample = dataset["default"][0]
    assert sample.id == "a b"
    assert same(sample.labels, labels)
    assert [(one.id, one.class_id) for one in sample.instances or ()] == [("1", 2), ("2", 1)]


@pytest.mark.parametrize(
    ("text", "classes", "background"),
    [
        ("background:::\ncat:::\n", ("background", "cat"), 0),
        ("cat:1,2,3::\n_Background_:9,9,9::\n", ("cat", "_Background_"), 1),
        ("road:0,0,0::\ncar:0,0,142::\n", ("road", "car"), 0),
        ("# background:\nroad:0,0,0::\ncar:0,0,142::\n", ("road", "car"), None),
        ("\ufeffroad:1,0,0::\r\ncar:0,0,142::\r\n\r\n", ("road", "car"), None),
    ],
)
def test_label_maps(text: str, classes: tuple, background: int | None, tmp_path: Path) -> None:
    path = tmp_path / "labelmap.txt"
    path.write_bytes(text.encode("utf-8"))
    space = read_labelmap(path)
    assert (space.classes, space.background, space.ignore) == (classes, background, 255)
    assert space.colours is not None
    assert len(set(space.colours)) == len(classes)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"cat:1,2::\n", "entry 1 has the colour '1,2', expected red,green,blue"),
        (b"a:1,2,3::\ncat:1,2,300::\n", "entry 2 has the colour '1,2,300', expected 0 to 255"),
        (b"cat:1,2,3:::\n", "expected label:red,green,blue:parts:actions"),
        (b":1,2,3::\n", "expected label:red,green,blue:parts:actions"),
        (b"cat:1,2,3::\ncat:4,5,6::\n", "repeats a name or a colour"),
        (b"cat:1,2,3::\ndog:1,2,3::\n", "repeats a name or a colour"),
        (b"# nothing\n", "names 0 classes"),
        (b"# background: sky\ncat:1,2,3::\n", "background 'sky' is none of its classes"),
        (b"caf\xe9:1,2,3::\n", "byte 3 is 0xe9, which is not UTF-8"),
    ],
)
def test_label_maps_that_are_refused(text: bytes, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "labelmap.txt"
    path.write_bytes(text)
    with pytest.raises(DataError, match=fault):
        read_labelmap(path)


def test_classes_that_are_said(root: Path, home: Path) -> None:
    labels = np.zeros((48, 64), np.uint8)
    labels[:9] = 2
    for path in (home / "SegmentationClass").iterdir():
        save_mask(path, labels)
    dataset = opened(root, classes="nothing, cell, nucleus", objects=False)
    assert dataset.space.classes == ("nothing", "cell", "nucleus")
    assert same(dataset["val"][0].labels, labels)
    with pytest.raises(ParameterError, match=r"option classes=.*different names"):
        opened(root, classes="a, a")
