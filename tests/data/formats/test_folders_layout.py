"""Layouts of plain folders: which splits there are, and which mask is whose."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.data.formats.folder_sets import photo, save
from vitrail.data.formats.base import Problems
from vitrail.data.formats.folders_layout import find_layouts
from vitrail.data.formats.folders_pairs import Pairs, pair
from vitrail.data.formats.folders_space import FolderOptions

ZEROS = np.zeros((12, 16), np.uint8)


def put(root: Path, *names: str) -> None:
    """Touch files; a layout is told by names alone."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (("images/a.jpg", "masks/a.png"), {"all": ("images", "masks")}),
        (("JPEGImages/a.jpg", "Annotations/a.png"), {"all": ("JPEGImages", "Annotations")}),
        (("imgs/a.jpg", "GT/a.png"), {"all": ("imgs", "GT")}),
        (
            ("val/image/a.jpg", "val/label/a.png", "train/image/a.jpg", "train/label/a.png"),
            {"train": ("train/image", "train/label"), "val": ("val/image", "val/label")},
        ),
        (
            ("images/test/a.jpg", "labels/test/a.png", "images/train/a.jpg", "labels/train/a.png"),
            {"train": ("images/train", "labels/train"), "test": ("images/test", "labels/test")},
        ),
        (
            ("images/city/a.jpg", "labels/city/a.png"),
            {"all": ("images", "labels")},
        ),
        (
            ("train/a.jpg", "trainannot/a.png", "valannot/a.png", "val/a.jpg"),
            {"train": ("train", "trainannot"), "val": ("val", "valannot")},
        ),
        (
            ("train/a.png", "train_labels/a.png", "test/a.png", "test_labels/a.png"),
            {"train": ("train", "train_labels"), "test": ("test", "test_labels")},
        ),
        (
            ("train_images/a.png", "train_masks/a.png"),
            {"train": ("train_images", "train_masks")},
        ),
        (("a.jpg", "a_mask.png"), {"all": (".", ".")}),
        (
            ("train/a.jpg", "train/a_mask.png", "test/a.jpg", "test/a_mask.png"),
            {"train": ("train", "train"), "test": ("test", "test")},
        ),
    ],
)
def test_usual_layouts(tmp_path: Path, files: tuple[str, ...], splits: dict) -> None:
    put(tmp_path, *files)
    found = find_layouts(tmp_path)
    shown = {
        one.split: tuple(p.relative_to(tmp_path).as_posix() for p in (one.images, one.masks))
        for one in found
    }
    assert shown == splits
    assert list(shown) == list(splits), "training comes first"
    assert all(len(pair(one)) == 1 for one in found)


def test_folders_by_option(tmp_path: Path) -> None:
    put(tmp_path, "data/photos/a.jpg", "data/drawn/a.png", "images/b.jpg", "masks/b.png")
    options = FolderOptions(images="data/photos", masks="data/drawn")
    (found,) = find_layouts(tmp_path, options)
    assert pair(found, options).ids == ["a"]
    assert find_layouts(tmp_path, FolderOptions(images="images", masks="nothing")) == []


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a.jpg", "a.png"),
        ("a.JPG", "a.PNG"),
        ("a.png", "a_mask.png"),
        ("a.png", "a_L.png"),
        ("a_sat.jpg", "a_mask.png"),
        ("a.jpg", "a_segmentation.png"),
        ("a.b.c.jpg", "a.b.c.png"),
        ("a.tif", "a_mask.tif"),
        ("a.jpg", "a_mask.gif"),
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_naming_rules(tmp_path: Path, image: str, mask: str, beside: bool) -> None:
    images, masks = ("", "") if beside else ("images/", "masks/")
    put(tmp_path, images + image, masks + mask)
    (layout,) = find_layouts(tmp_path)
    problems = Problems()
    found = pair(layout, problems=problems)
    assert (found.image_names, found.mask_names) == ([image], [mask])
    assert found.ids == [image.rpartition(".")[0]]
    assert not problems.found


def test_suffixes_by_option(tmp_path: Path) -> None:
    put(tmp_path, "images/a-photo.jpg", "masks/a-drawn.png")
    options = FolderOptions(image_suffix="-photo", mask_suffix="-drawn")
    (layout,) = find_layouts(tmp_path)
    assert pair(layout, options).mask_names == ["a-drawn.png"]


def test_the_rule_that_finds_most_pairs_is_taken_for_all(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "images/b.png", "masks/a_mask.png", "masks/b_mask.png")
    put(tmp_path, "images/a_mask.png")  # pairs by equal names, but is the odd one
    problems = Problems()
    found = pair(find_layouts(tmp_path)[0], problems=problems)
    assert found.ids == ["a", "b"]
    assert [one.code for one in problems.found] == ["missing-mask"]


def faults(root: Path) -> tuple[Pairs, dict[str, tuple[str, str]]]:
    problems = Problems("all")
    found = pair(find_layouts(root)[0], problems=problems)
    return found, {one.code: (one.severity, str(one)) for one in problems.found}


def test_missing_and_orphan_masks(tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg", "images/b.jpg", "masks/a.png", "masks/c.png")
    found, told = faults(tmp_path)
    assert found.ids == ["a"]
    assert told["missing-mask"][0] == "error"
    assert "b.jpg: b: has no mask" in told["missing-mask"][1]
    assert told["orphan-mask"][0] == "warning"
    assert "c.png: c: a mask without image" in told["orphan-mask"][1]
    assert len(told) == 2


def test_jpeg_masks_and_two_files_of_a_name(tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg", "images/b.jpg", "images/b.png", "images/c.jpg")
    put(tmp_path, "masks/a.jpg", "masks/b.png", "masks/c.jpg", "masks/c.png")
    found, told = faults(tmp_path)
    assert found.ids == ["b", "c"]
    assert found.mask_names == ["b.png", "c.png"]
    assert "a.jpg: a: the mask is a JPEG" in told["jpeg-mask"][1]
    assert "b.png: b: another image of the same name as b.jpg" in told["duplicate-id"][1]
    assert told["duplicate-mask"][0] == "warning"
    assert {told["jpeg-mask"][0], told["duplicate-id"][0]} == {"error"}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_that_run_in_circles(tmp_path: Path) -> None:
    put(tmp_path, "images/in/a.jpg", "masks/in/a.png")
    (tmp_path / "images" / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "masks" / "self").symlink_to("self")
    (tmp_path / "train").symlink_to("train")
    (tmp_path / "images" / "gone.jpg").symlink_to("nowhere.jpg")
    found, told = faults(tmp_path)
    assert found.ids == ["in/a"]
    assert "up: a link to a folder, which is not followed" in told["folder-link"][1]
    assert "gone.jpg: a link to a file that is not there" in told["broken-link"][1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg", "masks/a.png")
    odd = os.fsdecode(b"caf\xe9")
    put(tmp_path, f"images/{odd}.jpg", f"masks/{odd}.png")
    found, told = faults(tmp_path)
    assert found.ids == ["a"]
    severity, text = told["file-name"]
    assert severity == "error"
    assert r"'caf\udce9.png' is not UTF-8" in text
    text.encode()  # can be printed


def test_decomposed_letters_on_one_side(tmp_path: Path) -> None:
    put(tmp_path, "images/cafe\N{COMBINING ACUTE ACCENT}.jpg", "masks/caf\xe9.png")
    found, told = faults(tmp_path)
    assert len(found) == 1
    assert not told


def test_hidden_files_and_other_files_are_passed_over(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    save(tmp_path / "masks" / "a.png", ZEROS)
    put(tmp_path, "images/._a.jpg", "images/Thumbs.db", "masks/a.json", "masks/.hidden/b.png")
    found, told = faults(tmp_path)
    assert found.ids == ["a"]
    assert not told
