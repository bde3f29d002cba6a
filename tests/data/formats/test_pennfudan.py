"""The Penn-Fudan pedestrians."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.formats.folder_sets import gone_around, opened, photo, save
from tests.real_data import real
from vitrail.data.formats.pennfudan import FORMAT
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError

MASK = np.zeros((6, 8), np.uint8)
MASK[1:4, 2:5] = 1
MASK[2:6, 6:8] = 2

TEXT = """# Compatible with PASCAL Annotation Version 1.00
Image filename : "PennFudanPed/PNGImages/FudanPed00001.png"
Image size (X x Y x C) : 8 x 6 x 3
Objects with ground truth : 2 { "PASpersonWalking" "PASpersonStanding" }
# Top left pixel co-ordinates : (1, 1)

# Details for pedestrian 1 ("PASpersonWalking")
Original label for object 1 "PASpersonWalking" : "PennFudanPed"
Bounding box for object 1 "PASpersonWalking" (Xmin, Ymin) - (Xmax, Ymax) : (3, 2) - (5, 4)
Pixel mask for object 1 "PASpersonWalking" : "PennFudanPed/PedMasks/FudanPed00001_mask.png"

# Details for pedestrian 2 ("PASpersonStanding")
Bounding box for object 2 "PASpersonStanding" (Xmin, Ymin) - (Xmax, Ymax) : (6, 2) - (8, 6)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    photo(tmp_path / "PNGImages" / "FudanPed00001.png", 6, 8)
    photo(tmp_path / "PNGImages" / "PennPed00002.jpg", 6, 8)
    for name in ("FudanPed00001", "PennPed00002"):
        save(tmp_path / "PedMasks" / f"{name}_mask.png", MASK)
    return tmp_path


def test_people_by_number(root: Path) -> None:
    assert FORMAT.recognise(root) == "has PNGImages/ and PedMasks/"
    source = opened(FORMAT, root)["all"]
    assert source.space == LabelSpace(("person",))
    assert source.ids == ["FudanPed00001", "PennPed00002"]
    one, two = source[1].instances
    assert (one.id, one.box, two.id, two.box) == ("1", (2, 1, 5, 4), "2", (6, 2, 8, 6))
    assert np.array_equal(two.mask.dense()[0], MASK == 2)
    assert source[0].image.shape == source[1].image.shape == (6, 8, 3)


def test_annotated_boxes_count_pixels_from_one_and_include_both_ends(root: Path) -> None:
    (root / "Annotation").mkdir()
    (root / "Annotation" / "FudanPed00001.txt").write_text(TEXT, "utf-8")
    source = opened(FORMAT, root)["all"]
    one, two = source[0].instances
    assert one.box == (2, 1, 5, 4) == tuple(one.mask.boxes()[0])
    assert two.box == (5, 1, 8, 6), "as annotated, not as the mask has it"
    assert one.attributes == {"label": "PASpersonWalking"}
    assert two.attributes == {"label": "PASpersonStanding"}
    assert source[1].instances[0].attributes == {}, "an image without annotation"


@pytest.mark.parametrize("box", ["(3, 2) - (5, x)", "(3, 2)", "(nan, 2) - (5, 4)", ""])
def test_a_faulty_box(root: Path, box: str) -> None:
    (root / "Annotation").mkdir()
    text = TEXT.replace("(3, 2) - (5, 4)", box)
    (root / "Annotation" / "FudanPed00001.txt").write_text(text, "utf-8")
    with pytest.raises(DataError, match=r"FudanPed00001.txt: line 9 is 'Bounding box for object 1"):
        _ = opened(FORMAT, root)["all"][0]


def test_text_that_is_not_utf8(root: Path) -> None:
    (root / "Annotation").mkdir()
    (root / "Annotation" / "FudanPed00001.txt").write_bytes(b"Bounding box \xff")
    with pytest.raises(DataError, match=r"FudanPed00001.txt: byte 13 is 0xff"):
        _ = opened(FORMAT, root)["all"][0]


def test_missing_files(root: Path) -> None:
    (root / "PedMasks" / "PennPed00002_mask.png").unlink()
    with pytest.raises(DataError, match=r"PennPed00002.jpg: PennPed00002: has no mask"):
        opened(FORMAT, root)
    assert gone_around(FORMAT, root)["all"].ids == ["FudanPed00001"]
    with pytest.raises(DataError, match=r"PNGImages: no such folder; Penn-Fudan has"):
        opened(FORMAT, root / "PedMasks")


@pytest.mark.data
def test_penn_fudan() -> None:
    source = opened(FORMAT, real("PennFudanPed"))["all"]
    assert len(source) == 130
    assert sum(len(source[index].instances) for index in range(130)) == 341
