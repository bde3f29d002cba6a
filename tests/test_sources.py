"""Files, folders, patterns and URLs, and what is said when they hold nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vitrail.errors import SourceError
from vitrail.image import find_sources, read_image
from vitrail.sources import natural_key


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with images, their results, and other files."""
    for name in (
        *("img10.png", "img2.PNG", "a.jpg", "notes.txt", ".hidden.jpg"),
        *(
            "a.overlay.jpg",
            "a.labels.png",
            "img2.instances.png",
            "img10.edges.png",
            "a.boundary.png",
            "a.json",
        ),
        *("contact-sheet.jpg", "sub/deep.tif", "sub/.git/x.png", "a.crops/000_cat.png"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folder_in_natural_order_without_results(folder: Path) -> None:
    found = find_sources([folder])
    assert [Path(name).name for name in found] == ["a.jpg", "img2.PNG", "img10.png"]
    assert all(Path(name).parent == folder for name in found)


def test_folders_inside_on_request(folder: Path) -> None:
    found = find_sources(["."], recursive=True)
    assert [Path(n).as_posix() for n in found] == [
        "a.jpg", "img2.PNG", "img10.png", "sub/deep.tif"
    ]  # fmt: skip


def test_running_twice_in_one_folder_finds_the_same(folder: Path) -> None:
    before = find_sources(["."])
    for name in before:
        for output in ("overlay.jpg", "labels.png"):
            Path(name).with_suffix(f".{output}").touch()
    assert find_sources(["."]) == before
    assert find_sources(["*.*"]) == before


def test_patterns(folder: Path) -> None:
    assert find_sources(["img*"]) == ["img2.PNG", "img10.png"]
    assert find_sources(["*.jpg"]) == ["a.jpg"]
    assert find_sources([str(folder / "**" / "*.tif")]) == [str(folder / "sub" / "deep.tif")]
    assert find_sources(["*.txt"]) == ["notes.txt"]  # asked for by name


def test_order_is_that_of_the_items_and_each_comes_once(folder: Path) -> None:
    items = ["img10.png", folder, "./a.jpg", str(folder / "a.jpg"), "http://x.org/b.png"]
    found = find_sources([*items, "http://x.org/b.png"])
    assert [Path(name).name for name in found] == ["img10.png", "a.jpg", "img2.PNG", "b.png"]
    assert found[-1] == "http://x.org/b.png"


def test_one_item_needs_no_list(folder: Path) -> None:
    assert find_sources("a.jpg") == ["a.jpg"]
    assert find_sources(Path("a.jpg")) == ["a.jpg"]


def test_a_file_named_outright_is_taken(folder: Path) -> None:
    names = ["notes.txt", ".hidden.jpg", "a.labels.png"]
    assert find_sources(names) == names


def test_what_a_shell_expands_is_taken_like_the_pattern(folder: Path) -> None:
    """``*.png *.jpg`` comes as names, results among them."""
    shell = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".png"))
    found = find_sources(shell)
    assert "a.overlay.jpg" not in found
    assert "img2.instances.png" not in found
    assert {"a.jpg", "img2.PNG", "img10.png"} <= set(found)


def test_names_with_pattern_characters_that_exist(folder: Path) -> None:
    Path("shot[1].png").touch()
    Path("shot1.png").touch()
    Path("[x]").mkdir()
    Path("[x]", "in.png").touch()
    assert find_sources(["shot[1].png"]) == ["shot[1].png"]
    assert find_sources(["[x]"]) == [str(Path("[x]", "in.png"))]


def test_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    assert find_sources(["~/a.jpg"]) == [str(folder / "a.jpg")]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("imgg10.png", r"imgg10\.png: does not exist; did you mean 'img10\.png'\?"),
        ("no/where.png", r"no/where\.png: does not exist, nor does the folder 'no'"),
        ("*.webp", r"\*\.webp: no file matches this pattern"),
        ("a.j*n", r"a\.j\*n: no image matches this pattern; 1 other files \(\.json\)"),
        ("empty", "empty: holds no images; no files at all"),
        ("text", r"text: holds no images; 2 other files \(\.heic, \.txt\)"),
        ("done", "done: holds no images; only results that vitrail wrote"),
        ("file:///etc/passwd", r"file: addresses are not read, only http\(s\); give the path"),
        ("file:/etc/passwd", "file: addresses"),
        ("FILE:secret.png", "file: addresses"),
        ("ftp://example.org/a.png", "ftp: addresses are not read"),
        ("s3://bucket/a.png", "s3: addresses .* download the file first"),
    ],
)
def test_what_is_not_there(folder: Path, item: str, message: str) -> None:
    for name in ("text/a.txt", "text/b.heic", "done/a.overlay.jpg"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Path("empty").mkdir()
    with pytest.raises(SourceError, match=message) as caught:
        find_sources(["a.jpg", item])
    assert "\n" not in str(caught.value)


def test_nothing_at_all() -> None:
    with pytest.raises(SourceError, match="nothing to read"):
        find_sources([])


def test_folder_that_may_not_be_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(SourceError, match="cannot be listed"):
        find_sources(["."])


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://x.org/a.png", "file:a.jpg"])
def test_read_image_takes_no_other_addresses(folder: Path, address: str) -> None:
    with pytest.raises(SourceError, match="addresses are not read"):
        read_image(address)


def test_natural_key_is_total() -> None:
    names = ["b", "a10", "a2", "A2", "a02", "10", "9", "²", "x1y2", "x1y10", ""]
    expected = ["", "9", "10", "A2", "a02", "a2", "a10", "b", "x1y2", "x1y10", "²"]
    assert sorted(names, key=natural_key) == expected
    names.reverse()
    assert sorted(names, key=natural_key) == expected
