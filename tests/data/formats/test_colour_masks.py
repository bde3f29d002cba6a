"""Masks whose colours stand for classes."""

import csv
import pickle
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.data.formats.folder_sets import (
    as_palette,
    claim,
    gone_around,
    label_sets,
    opened,
    pairs,
    photo,
    quick,
    same_labels,
    save,
    spaces,
    truncate,
    written,
)
from tests.data.listed import Listed, mapped
from vitrail.data.formats.colour_masks import FORMAT, ColourTable
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ImageError, ImageTooLargeError, ParameterError

COLOURS = np.array([(128, 128, 128), (128, 0, 0), (192, 192, 128)], np.uint8)
CSV = "name,r,g,b\nSky,128,128,128\nBuilding,128,0,0\nPole,192,192,128\n"
LABELS = np.array([[0, 1, 2], [2, 2, 0]], np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """As CamVid lies on Kaggle, but for the endings of names."""
    pairs(tmp_path, {"a": COLOURS[LABELS], "b": COLOURS[LABELS[::-1]]}, "train", "train_labels")
    (tmp_path / "class_dict.csv").write_text(CSV, "utf-8")
    return tmp_path


def test_colours_become_class_ids(root: Path) -> None:
    reason = FORMAT.recognise(root)
    assert reason is not None
    assert "train/ and train_labels/; 3 colours in 2 masks" in reason
    assert "class_dict.csv" in reason
    source = opened(FORMAT, root)["train"]
    assert source.space.classes == ("Sky", "Building", "Pole")
    assert source.space.colours == tuple(map(tuple, COLOURS.tolist()))
    assert source[0].labels.dtype == np.uint8
    assert np.array_equal(source[0].labels, LABELS)
    assert np.array_equal(source[1].labels, LABELS[::-1])


@pytest.mark.parametrize("text", ["\ufeff" + CSV.replace(",", ";"), CSV.replace(",", "\t")])
def test_other_delimiters_and_a_byte_order_mark(root: Path, text: str) -> None:
    (root / "class_dict.csv").write_text(text, "utf-8")
    assert np.array_equal(opened(FORMAT, root)["train"][0].labels, LABELS)


def test_palette_and_grey_masks_have_colours_too(root: Path) -> None:
    as_palette(root / "train_labels" / "a.png", LABELS, [tuple(c) for c in COLOURS.tolist()])
    save(root / "train_labels" / "b.png", np.full((2, 3), 128, np.uint8))
    source = opened(FORMAT, root)["train"]
    assert np.array_equal(source[0].labels, LABELS)
    assert source[1].labels.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_background_and_ignore_by_name(root: Path) -> None:
    source = opened(FORMAT, root, background="Building", ignore="Sky")["train"]
    assert source.space == LabelSpace(
        ("Building", "Pole"), 0, 255, None, ((128, 0, 0), (192, 192, 128))
    )
    assert source[0].labels.tolist() == [[255, 0, 1], [1, 1, 255]]


def test_an_unknown_colour_is_named_with_the_nearest_class_and_counted(root: Path) -> None:
    mask = COLOURS[LABELS].copy()
    mask[0, 0] = mask[1, 1] = (190, 190, 120)
    mask[0, 1] = (1, 2, 3)
    save(root / "train_labels" / "a.png", mask)
    with pytest.raises(
        DataError,
        match=r"a.png: holds the colour \(190, 190, 120\) \(2 px\) and 1 other colours of no class;"
        r" the nearest class is 'Pole', \(192, 192, 128\)",
    ):
        _ = opened(FORMAT, root)["train"][0].labels
    ignored = opened(FORMAT, root, unknown="ignore")["train"][0].labels
    assert ignored.tolist() == [[255, 255, 2], [2, 255, 0]]
    nearest = opened(FORMAT, root, unknown="nearest")["train"][0].labels
    assert nearest.tolist() == [[2, 1, 2], [2, 2, 0]]


def test_jpeg_masks_without_a_list_are_called_jpeg(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg", 32, 32)
    save(tmp_path / "masks" / "a.png", np.full((32, 32, 3), (128, 0, 0), np.uint8))
    with pytest.raises(DataError, match="no list of classes and colours") as caught:
        opened(FORMAT, tmp_path)
    assert "JPEG" not in str(caught.value)
    (tmp_path / "masks" / "a.png").unlink()
    save(tmp_path / "masks" / "a.jpg", np.full((32, 32, 3), (128, 0, 0), np.uint8))
    with pytest.raises(DataError, match=r"the masks are JPEG \(a\.jpg\).*export them as PNG"):
        opened(FORMAT, tmp_path)


def test_nearest_reads_jpeg_masks_which_are_refused_otherwise(root: Path) -> None:
    (root / "train_labels" / "a.png").unlink()
    labels = np.zeros((32, 32), np.uint8)
    labels[:, 16:] = 1
    photo(root / "train" / "a.jpg", 32, 32)
    save(root / "train_labels" / "a.jpg", COLOURS[labels])
    with pytest.raises(DataError, match=r"a.jpg: a: the mask is a JPEG"):
        opened(FORMAT, root)
    assert gone_around(FORMAT, root)["train"].ids == ["b"]
    read = opened(FORMAT, root, unknown="nearest")["train"][0].labels
    assert np.array_equal(read, labels)


@given(
    arrays.arrays(np.uint8, (7, 5, 3)),
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=9, unique=True),
)
@quick
def test_the_table_equals_a_loop_over_classes(mask: np.ndarray, colours: list[tuple]) -> None:
    mask[0, : len(colours)] = colours[:5]
    space = LabelSpace(tuple(map(str, range(len(colours)))), colours=tuple(colours))
    expected = np.full(mask.shape[:2], space.ignore, np.uint8)
    for number, colour in enumerate(colours):
        expected[(mask == colour).all(axis=2)] = number
    made = ColourTable(space, unknown="ignore").decode(mask, Path("x.png"))
    assert np.array_equal(made, expected)


def test_thirty_two_classes_take_hardly_longer_than_one() -> None:
    rng = np.random.default_rng(0)
    colours = tuple(map(tuple, rng.integers(0, 256, (32, 3)).tolist()))
    mask = np.array(colours, np.uint8)[rng.integers(0, 32, (1024, 1024))]
    table = ColourTable(LabelSpace(tuple(map(str, range(32))), colours=colours))
    table.decode(mask, Path("x.png"))

    def fastest(function, *arguments) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            function(*arguments)
            times.append(time.perf_counter() - start)
        return min(times)

    def compare() -> None:
        for colour in colours:
            _ = (mask == colour).all(axis=2)

    assert fastest(table.decode, mask, Path("x.png")) < fastest(compare) / 5


def test_the_table_is_not_sent_to_worker_processes(root: Path) -> None:
    source = opened(FORMAT, root)["train"]
    _ = source[0].labels
    sent = pickle.dumps(source)
    assert len(sent) < 4000
    assert np.array_equal(pickle.loads(sent)[0].labels, LABELS)


def test_two_classes_of_one_colour_and_classes_without_any(root: Path) -> None:
    (root / "class_dict.csv").write_text(CSV + "Wall,128,0,0\n", "utf-8")
    with pytest.raises(DataError, match=r"'Building' and 'Wall' have one colour, \(128, 0, 0\)"):
        opened(FORMAT, root)
    (root / "class_dict.csv").unlink()
    with pytest.raises(DataError, match=r"no list of classes and colours; .*class_file=FILE"):
        opened(FORMAT, root)
    (root / "names.txt").write_text("Sky\nBuilding\nPole", "utf-8")
    with pytest.raises(DataError, match=r"names.txt: gives no colour for 'Sky'"):
        opened(FORMAT, root, class_file="names.txt")
    with pytest.raises(ParameterError, match="ignore='Sea'"):
        (root / "class_dict.csv").write_text(CSV, "utf-8")
        opened(FORMAT, root, ignore="Sea")


def test_masks_that_cannot_be_read(root: Path) -> None:
    path = root / "train_labels" / "a.png"
    save(path, np.zeros((2, 3, 4), np.uint8))
    source = opened(FORMAT, root)["train"]
    with pytest.raises(DataError, match=r"a.png: 6 of its pixels are transparent"):
        _ = source[0].labels
    save(path, np.zeros((2, 3, 3), np.uint16))
    with pytest.raises(DataError, match=r"a.png: has 3 channels of uint16"):
        _ = source[0].labels
    save(path, np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"a.jpg: the image is 3x2 px, its annotations .* 3x3"):
        _ = source[0].image
    save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    truncate(path)
    with pytest.raises(ImageError, match=r"a.png: the PNG data is damaged or cut short"):
        _ = source[0].labels
    claim(path, 50_000, 50_000)
    with pytest.raises(ImageTooLargeError, match=r"a.png: its header claims 50,000"):
        _ = source[0].labels


@quick
@given(st.data())
def test_what_is_written_is_read_again(data: st.DataObject) -> None:
    space = data.draw(spaces())
    splits = data.draw(label_sets(space))
    with tempfile.TemporaryDirectory() as folder:
        back = written(FORMAT, splits, Path(folder) / "set")
        same_labels(back, splits)
        found = back.space
        assert (found.classes, found.background, found.ignore, found.original_ids) == (
            space.classes,
            space.background,
            space.ignore,
            space.original_ids,
        )
        if space.colours is not None and len(set(space.colours)) == len(space.classes):
            assert found.colours == space.colours


def test_python_and_pillow_read_what_is_written(tmp_path: Path) -> None:
    """As a script does that knows class_dict.csv only."""
    space = LabelSpace(("background", "cat", "void"), 0)
    splits = {"all": Listed([mapped("a", ["01x", "220"])], space)}
    written(FORMAT, splits, tmp_path / "set")
    with (tmp_path / "set" / "class_dict.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = {tuple(int(row[c]) for c in "rgb"): row["name"] for row in rows}
    assert list(names.values()) == ["background", "cat", "void", "(void)"]
    with PIL.Image.open(tmp_path / "set" / "masks" / "a.png") as picture:
        assert picture.mode == "RGB"
        pixels = np.asarray(picture)
    assert [[names[tuple(c)] for c in row] for row in pixels.tolist()] == [
        ["background", "cat", "(void)"],
        ["void", "void", "background"],
    ]
