"""What a plain folder holds is told by the values of its masks, and never guessed wrong."""

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from numpy.typing import DTypeLike

from tests.data.formats.folder_sets import as_palette, pairs, photo, save, truncate
from vitrail.data.formats.binary_masks import FORMAT as BINARY
from vitrail.data.formats.colour_masks import FORMAT as COLOUR
from vitrail.data.formats.folders_look import look
from vitrail.data.formats.index_masks import FORMAT as INDEX
from vitrail.data.formats.instance_ids import FORMAT as INSTANCES

FORMATS = (INSTANCES, COLOUR, BINARY, INDEX)
"""In the order in which they are asked."""


def recognised(root: Path) -> list[str]:
    return [format.name for format in FORMATS if format.recognise(root)]


def blobs(*values: int, dtype: DTypeLike = np.uint8) -> np.ndarray:
    """A square of each value in a row, 0 around them."""
    mask = np.zeros((8, 6 * len(values)), dtype)
    for place, value in enumerate(values):
        mask[2:6, 6 * place + 1 : 6 * place + 5] = value
    return mask


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ([blobs(255), blobs(0)], ["binary-masks"]),
        ([blobs(1), blobs(0)], ["binary-masks", "index-masks"]),
        ([blobs(65535, dtype=np.uint16)], ["binary-masks"]),
        ([blobs(1, 2), blobs(2), blobs(1, 255)], ["index-masks"]),
        ([blobs(5, 3), blobs(0)], ["index-masks"]),
        ([blobs(1, 2), blobs(1, 2, 255)], ["index-masks"]),
        ([blobs(1, 2, 3), blobs(1, 2), blobs(1)], ["instance-ids", "index-masks"]),
        (
            [blobs(1, 2, dtype=np.uint16), blobs(1, dtype=np.uint16)],
            ["instance-ids", "index-masks"],
        ),
        ([blobs(*range(1, 300), dtype=np.uint16)], ["instance-ids"]),
        ([blobs(7, 700, 701, dtype=np.uint16)], ["instance-ids"]),
        # Classes without gaps, but in several parts each.
        ([blobs(1, 2, 3, 1, 2, 3), blobs(1, 2, 1, 2)], ["index-masks"]),
        # Always the same three.
        ([blobs(1, 2, 3), blobs(2, 1, 3)], ["index-masks"]),
        ([blobs(0), blobs(0)], ["index-masks"]),
    ],
)
def test_grey_masks(tmp_path: Path, masks: list[np.ndarray], expected: list[str]) -> None:
    pairs(tmp_path, {f"m{number}": mask for number, mask in enumerate(masks)})
    assert recognised(tmp_path) == expected


@pytest.mark.parametrize(
    ("masks", "hint"),
    [
        ([blobs(1, 5 + i, 40) for i in range(4)], True),
        ([blobs(1, 2, 3 + i, dtype=np.uint16) for i in range(4)], True),
        ([blobs(1, 5, 40)] * 4, False),  # the same classes everywhere
        ([blobs(1, 5 + i, 40, 255) for i in range(4)], False),  # void
        ([blobs(1, 5 + i, 40, 1, 5 + i, 40) for i in range(4)], False),  # in two parts
    ],
)
def test_few_objects_with_gaps_are_told_as_an_alternative(
    tmp_path: Path, masks: list[np.ndarray], hint: bool
) -> None:
    pairs(tmp_path, {f"m{number}": mask for number, mask in enumerate(masks)})
    assert recognised(tmp_path) == ["index-masks"]
    found = look(tmp_path)
    assert found and ("could also be instance-ids" in found.reason) == hint


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_numbers_of_objects_with_gaps(tmp_path: Path, suffix: str) -> None:
    """Objects that others hide leave gaps; 16 bits in PNG, 32 in TIFF, however small they are."""
    for number, values in enumerate([(1, 2, 4, 5, 7), (1, 3, 4, 6), (2, 5, 6, 8, 9, 11)]):
        mask = blobs(*values, dtype=np.int32)
        photo(tmp_path / "images" / f"{number}.jpg", *mask.shape, seed=number)
        (tmp_path / "masks").mkdir(exist_ok=True)
        stored = mask if suffix == ".tif" else mask.astype(np.uint16)
        PIL.Image.fromarray(stored).save(tmp_path / "masks" / f"{number}{suffix}")
    assert recognised(tmp_path) == ["instance-ids", "index-masks"]
    assert INSTANCES.open(tmp_path, INSTANCES.options())["all"][1].instances is not None


@pytest.mark.parametrize(
    "masks",
    [
        [blobs(1, 3, 1, 3, 1, 3, dtype=np.int32), blobs(1, 2, 1, 2, 1, 2, dtype=np.int32)],
        [blobs(2, 3, dtype=np.int32), blobs(1, 3, dtype=np.int32), blobs(3, dtype=np.int32)],
        [blobs(1, 2, 3, 1, 2, 3, dtype=np.int32), blobs(1, 2, 1, 2, dtype=np.int32)],
    ],
)
def test_class_ids_in_32_bits(tmp_path: Path, masks: list[np.ndarray]) -> None:
    """Several parts each, or few: what some programs write class ids with."""
    (tmp_path / "masks").mkdir()
    for number, mask in enumerate(masks):
        photo(tmp_path / "images" / f"{number}.jpg", *mask.shape, seed=number)
        PIL.Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.tif")
    assert recognised(tmp_path) == ["index-masks"]


def _as_jpeg(root: Path, mask: np.ndarray, quality: int = 80) -> Path:
    """``images/a.jpg`` and an RGB mask saved as JPEG, for which there are no colours to look up."""
    photo(root / "images" / "a.jpg", *mask.shape[:2])
    (root / "masks").mkdir()
    PIL.Image.fromarray(mask).save(root / "masks" / "a.jpg", quality=quality)
    return root


def _areas() -> np.ndarray:
    mask = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(mask, (50, 60), 35, (128, 0, 0), -1)
    cv2.rectangle(mask, (90, 30), (150, 95), (0, 128, 64), -1)
    return mask


def test_colour_masks_that_were_saved_as_jpeg(tmp_path: Path) -> None:
    """They are colour masks all the same, of which something can then be said."""
    _as_jpeg(tmp_path, _areas())
    assert len(np.unique(np.asarray(PIL.Image.open(tmp_path / "masks" / "a.jpg")))) > 100
    assert recognised(tmp_path) == ["colour-masks"]


def test_small_areas_in_jpeg_beside_a_table(tmp_path: Path) -> None:
    """Where no area is even any more, the table of colours says what the masks are."""
    tiles = np.random.default_rng(0).integers(0, 2, (30, 40, 3)).astype(np.uint8) * 128
    root = _as_jpeg(tmp_path, tiles.repeat(4, 0).repeat(4, 1))
    assert recognised(root) == []
    (root / "class_dict.csv").write_text("name,r,g,b\nground,0,0,0\nred,128,0,0\n")
    assert recognised(root) == ["colour-masks"]


@pytest.mark.parametrize("quality", [30, 80])
def test_photos_saved_as_jpeg_are_no_masks(tmp_path: Path, quality: int) -> None:
    """Not even smooth ones."""
    coarse = np.random.default_rng(1).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    smooth = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    assert recognised(_as_jpeg(tmp_path, smooth, quality)) == []


def test_forty_classes_and_void_are_not_a_blurred_mask(tmp_path: Path) -> None:
    """NYU's 40 classes: most ids are dark greys, void is white."""
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 41, (64, 64)).astype(np.uint8)
    mask[:4] = 255
    pairs(tmp_path, {"a": mask})
    assert recognised(tmp_path) == ["index-masks"]


def test_soft_edges_are_still_black_and_white(tmp_path: Path) -> None:
    mask = cv2.circle(np.zeros((99, 99), np.uint8), (50, 50), 30, 255, -1, cv2.LINE_AA)
    pairs(tmp_path, {"a": mask})
    assert len(np.unique(mask)) > 20
    assert recognised(tmp_path) == ["binary-masks"]


def test_colours_of_a_list_beside_and_of_none(tmp_path: Path) -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[2:4] = 255, 0, 0
    pairs(tmp_path, {"a": red})
    assert recognised(tmp_path) == ["colour-masks"]
    (tmp_path / "classes.txt").write_text("background\nred\n", "utf-8")
    assert recognised(tmp_path) == ["colour-masks"]


def test_a_palette_is_ids_unless_its_colours_are_those_of_the_list(tmp_path: Path) -> None:
    colours = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    pairs(tmp_path, {"a": blobs(1, 2)})
    as_palette(tmp_path / "masks" / "a.png", blobs(1, 2), colours)
    assert recognised(tmp_path) == ["index-masks"]
    (tmp_path / "labelmap.txt").write_text("ground:0,0,0::\ncat:128,0,0::\ndog:0,128,0::\n")
    assert recognised(tmp_path) == ["colour-masks"]
    (tmp_path / "labelmap.txt").write_text("ground:9,9,9::\ncat:128,0,0::\ndog:0,128,0::\n")
    assert recognised(tmp_path) == ["index-masks"]


def test_a_list_of_names_says_that_values_are_classes(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": blobs(1, 2, 3), "b": blobs(1, 2)})
    assert recognised(tmp_path)[0] == "instance-ids"
    (tmp_path / "classes.txt").write_text("ground\ncat\ndog\ncow\n", "utf-8")
    assert recognised(tmp_path) == ["index-masks"]


def test_a_list_of_names_does_not_make_255_a_class(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": blobs(255)})
    (tmp_path / "masks" / "classes.txt").write_text("ground\ncat\n", "utf-8")
    assert recognised(tmp_path) == ["binary-masks"]


def test_folders_that_hold_no_masks(tmp_path: Path) -> None:
    assert recognised(tmp_path) == []
    assert recognised(tmp_path / "nothing") == []
    (tmp_path / "file.txt").write_text("x")
    assert recognised(tmp_path / "file.txt") == []
    photo(tmp_path / "images" / "a.jpg", 64, 64)
    assert recognised(tmp_path) == []
    photo(tmp_path / "labels" / "a.png", 64, 64, seed=1)
    assert recognised(tmp_path) == [], "photos are no masks"
    grey = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    save(tmp_path / "labels" / "a.png", grey)
    assert recognised(tmp_path) == [], "nor are grey ones"


def test_names_that_do_not_pair(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    save(tmp_path / "masks" / "b.png", blobs(255))
    assert recognised(tmp_path) == []


def test_damaged_masks_do_not_hide_the_layout(tmp_path: Path) -> None:
    pairs(tmp_path, {"a": np.random.default_rng(0).integers(0, 3, (64, 64)).astype(np.uint8)})
    truncate(tmp_path / "masks" / "a.png")
    found = look(tmp_path)
    assert found is not None
    assert (found.kind, found.reason) == (
        "index",
        "images/ and masks/; nothing that could be read in 0 masks looked at",
    )


def test_few_masks_of_many_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs(tmp_path, {f"m{number:03d}": blobs(255) for number in range(40)})
    from vitrail.data.formats import folders_look

    seen: list[str] = []
    whole = folders_look.peek

    def counted(path: Path, palettes: bool):
        seen.append(path.name)
        return whole(path, palettes)

    monkeypatch.setattr(folders_look, "peek", counted)
    assert folders_look.look(tmp_path) is not None
    assert len(seen) == folders_look.LOOKED_AT
    assert (seen[0], seen[-1]) == ("m000.png", "m039.png")
