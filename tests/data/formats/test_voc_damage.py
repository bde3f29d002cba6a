"""PASCAL VOC: damaged, missing and hostile files."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.formats.drawn_voc import (
    SPLITS,
    draw,
    same,
    save_mask,
    write_voc,
)
from tests.data.formats.open_voc import box_of, codes, home_of, opened
from vitrail.data.formats.base import refuse
from vitrail.data.formats.voc import FORMAT
from vitrail.errors import DataError, ImageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_voc(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def home(root: Path) -> Path:
    return home_of(root)


BOMB = (
    '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    "<annotation><object><name>&b;</name></object></annotation>"
)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"<annotation><object><name>cat</na", "not valid XML"),
        (b"", "not valid XML"),
        (b"<annotation>\0</annotation>", "not valid XML"),
        (BOMB.encode(), "document type or entities"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "document type or entities"),
        (BOMB.encode("utf-16"), "byte 0 is 0xff, which is not UTF-8"),
        (b"<annotation><object><name>caf\xe9</name></object></annotation>", "not UTF-8"),
        (b"<images/>", "its root is <images>, expected <annotation>"),
        (b"<annotation><object/></annotation>", "object 1 has no <name>"),
        (b"<annotation>" + box_of("unicorn", 1, 1, 2, 2).encode() + b"</annotation>", "'unicorn'"),
        (b"<a>" * 50_000, "not valid XML"),
        *(
            (f"<annotation>{box_of('cat', value, 1, 2, 2)}</annotation>".encode(), "a number")
            for value in ("NaN", "inf", "1e999", "", "left", "1,5")
        ),
        (b"<annotation><object><name>cat</name><bndbox/></object></annotation>", "a number"),
    ],
)  # fmt: skip
def test_damaged_xml(content: bytes, fault: str, home: Path, root: Path) -> None:
    (home / "Annotations" / "2011_3.xml").write_bytes(content)
    source = opened(root)["val"]
    with pytest.raises(DataError, match=fault) as raised:
        source[1]
    assert "2011_3.xml" in str(raised.value)


def test_deep_xml_does_no_harm(home: Path, root: Path) -> None:
    deep = "<a>" * 100_000 + "</a>" * 100_000
    (home / "Annotations" / "2011_3.xml").write_text(f"<annotation>{deep}</annotation>")
    assert len(opened(root)["val"][1].instances or ()) == 2


@pytest.mark.parametrize("folder", ["SegmentationClass", "SegmentationObject"])
@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "bomb", "16 bits", "size"])
def test_damaged_masks(folder: str, damage: str, home: Path, root: Path) -> None:
    path = home / folder / "2011_3.png"
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) - 40])
    elif damage == "bomb":  # claims 60000 x 60000 px
        path.write_bytes(content[:16] + b"\0\0\xea\x60" * 2 + content[24:])
    elif damage == "16 bits":
        cv2.imwrite(str(path), np.zeros((48, 64), np.uint16))
    elif damage == "size":
        save_mask(path, np.zeros((48, 63), np.uint8))
    else:
        path.write_bytes(b"" if damage == "empty" else b"not a picture")
    source = opened(root)["val"]
    with pytest.raises((DataError, ImageError), match=r"2011_3.png"):
        source[1].labels  # noqa: B018


def test_what_is_missing_is_reported_and_left_out(home: Path, root: Path) -> None:
    (home / "JPEGImages" / "2007_000032.jpg").unlink()
    (home / "SegmentationClass" / "2007_000039.png").unlink()
    (home / "SegmentationObject" / "2007_000033.png").unlink()
    (home / "Annotations" / "2008_000008.xml").unlink()
    dataset = opened(root)
    assert [list(source.ids) for _, source in dataset.items()] == [["2008_000008"], ["2011_3"]]
    assert codes(dataset) == [
        ("error", "missing-image"),
        ("error", "missing-mask"),
        ("error", "missing-mask"),
    ]
    assert {p.split for p in dataset.problems} == {"train", "val"}
    with pytest.raises(DataError, match=r"2007_000032.jpg: .*no such image.*2 more"):
        refuse(dataset.problems)
    assert opened(root, objects=False)["val"].ids == list(SPLITS["val"])


def test_an_image_without_its_xml(home: Path, root: Path) -> None:
    (home / "Annotations" / "2007_000039.xml").unlink()
    dataset = opened(root)
    assert codes(dataset) == [("warning", "missing-annotation")]
    assert "1 of 3 images have no XML" in str(dataset.problems[0])
    found = dataset["train"][1].instances
    assert found is not None
    assert {len(one.attributes) for one in found} == {0}


def test_a_mask_in_no_list(home: Path, root: Path) -> None:
    save_mask(home / "SegmentationClass" / "stray.png", np.zeros((4, 4), np.uint8))
    (home / "SegmentationClass" / "._2011_3.png").write_bytes(b"left by another system")
    dataset = opened(root)
    assert codes(dataset) == [("warning", "orphan-mask")]
    assert "1 masks are in no list" in str(dataset.problems[0])
    assert dataset.problems[0].id == "stray"


def test_missing_lists(home: Path, root: Path) -> None:
    for path in (home / "ImageSets" / "Segmentation").iterdir():
        path.unlink()
    dataset = opened(root)
    assert dataset.splits == ("all",)
    assert dataset["all"].ids == sorted(sum(SPLITS.values(), ()))
    assert codes(dataset) == [("warning", "missing-splits")]
    for path in (home / "SegmentationClass").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="holds no PNG masks"):
        opened(root)


def test_an_export_without_images(home: Path, root: Path) -> None:
    (home / "JPEGImages").rename(home / "elsewhere")
    assert FORMAT.recognise(root)
    with pytest.raises(DataError, match=r"has no JPEGImages; .* export the set with its images"):
        opened(root)


def test_lists_of_other_systems(home: Path, root: Path) -> None:
    path = home / "ImageSets" / "Segmentation" / "train.txt"
    path.write_bytes(
        b"\xef\xbb\xbf2007_000032\r\n\r\n 2008_000008 \r\n2007_000032\r\n../../secret\r\n"
        b"C:\\2007_000039\r\n/etc/passwd\r\n"
    )
    dataset = opened(root, splits="train")
    assert dataset["train"].ids == ["2007_000032", "2008_000008"]
    faults = [code for code in codes(dataset) if code[1] != "orphan-mask"]
    assert faults == [("warning", "duplicate-id")] + [("error", "unsafe-name")] * 3
    path.write_bytes(b"2007_000032\nn\xe4h\n")
    with pytest.raises(DataError, match=r"train.txt: byte 13 is 0xe4, which is not UTF-8"):
        opened(root)


def test_listed_names_that_are_too_long_for_a_file(home: Path, root: Path) -> None:
    path = home / "ImageSets" / "Segmentation" / "train.txt"
    path.write_text(f"2007_000032\n{'a' * 5000}\n{'b' * 253}\n")
    dataset = opened(root, splits="train")
    assert dataset["train"].ids == ["2007_000032"]
    told = [one for one in dataset.problems if one.severity == "error"]
    assert told[0].code == "unsafe-name" and "too long" in told[0].value
    assert [one.id for one in told[1:]] == ["b" * 253] * len(told[1:]) and told[1:]


def test_an_empty_list(home: Path, root: Path) -> None:
    (home / "ImageSets" / "Segmentation" / "val.txt").write_text("\n \n")
    dataset = opened(root)
    assert len(dataset["val"]) == 0
    assert ("warning", "empty-split") in codes(dataset)


def test_ids_with_folders(home: Path, root: Path) -> None:
    for folder, suffix in (
        ("JPEGImages", "jpg"),
        ("SegmentationClass", "png"),
        ("SegmentationObject", "png"),
    ):
        (home / folder / "cam").mkdir()
        (home / folder / f"2011_3.{suffix}").rename(home / folder / "cam" / f"2011_3.{suffix}")
    lists = home / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text("2007_000033\ncam\\2011_3\n")
    sample = opened(root, splits="val")["val"][1]
    assert sample.id == "cam/2011_3"
    assert same(sample.labels, draw(4).labels)
    assert sample.image.shape == (48, 64, 3)


def test_folders_that_link_to_themselves(home: Path, root: Path) -> None:
    (home / "JPEGImages" / "loop").symlink_to(home, target_is_directory=True)
    (root / "VOCdevkit" / "VOC2013").symlink_to(root, target_is_directory=True)
    assert opened(root)["val"].ids == list(SPLITS["val"])
