"""Names on disk that are odd: what annotation tools' formats do with them."""

import os
from pathlib import Path

import pytest

from tests.data.formats.annotation_tools import (
    ListSource,
    blob,
    same_objects,
    sources,
    write_picture,
)
from vitrail.data.formats import coco, coco_panoptic, cvat, labelme, labelstudio, openimages, yolo
from vitrail.data.formats.base import Format
from vitrail.data.formats.image_index import ImageIndex, name_parts, sample_ids
from vitrail.data.sample import Instance, Sample
from vitrail.errors import DataError

FORMATS = [yolo.FORMAT, labelme.FORMAT, cvat.FORMAT, labelstudio.FORMAT]
SIZE = (12, 16)
NOT_UTF8 = os.fsdecode(b"caf\xe9")


def sample(folder: Path, name: str) -> Sample:
    """A sample of a file of that name; skips where the file system has no such names."""
    try:
        path = write_picture(folder / "plain.png", SIZE).rename(folder / f"{name}.png")
    except OSError:
        pytest.skip(f"this file system has no file named {name!a}")
    return Sample(name, path, SIZE, instances=(Instance.from_masks(0, blob(SIZE), id="1"),))


def written(format: Format, folder: Path, *samples: Sample):
    folder.mkdir()
    assert format.write is not None
    format.write(sources(train=samples), folder, format.write_options())
    return format.open(folder, format.options())


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
@pytest.mark.parametrize(
    "name", ["a b", "a.b", "ä", "images", "labels", "100%", "a#b", "a&b", "'a'", "a;b", "-", "0"]
)
def test_any_name_survives(tmp_path, format, name):
    ours = sample(tmp_path, name)
    back = written(format, tmp_path / "set", ours)
    assert back.problems == [] and list(back["train"].ids) == [name]
    same_objects(ours, back["train"][0])
    assert back["train"][0].image.shape == (*SIZE, 3)


@pytest.mark.parametrize(
    "format", [labelme.FORMAT, labelstudio.FORMAT], ids=lambda format: format.name
)
def test_names_that_are_not_utf8_survive(tmp_path, format):
    ours = sample(tmp_path, NOT_UTF8)
    back = written(format, tmp_path / "set", ours)
    assert back.problems == [] and list(back["train"].ids) == [NOT_UTF8]
    same_objects(ours, back["train"][0])


def test_xml_cannot_hold_names_that_are_not_utf8(tmp_path):
    with pytest.raises(DataError, match="cannot hold"):
        written(cvat.FORMAT, tmp_path / "set", sample(tmp_path, NOT_UTF8))


def test_yolo_tells_of_names_that_are_not_utf8(tmp_path):
    back = written(yolo.FORMAT, tmp_path / "set", sample(tmp_path, "a"))
    images = tmp_path / "set/images/train"
    write_picture(images / "b.png", SIZE).rename(images / f"{NOT_UTF8}.png")
    assert list(back["train"].ids) == ["a"]
    (fault,) = (problem for problem in back.problems if problem.severity == "error")
    assert (fault.code, fault.file) == ("file-name", images)
    assert "caf\\udce9.png' is not UTF-8" in fault.value and "rename" in fault.advice


@pytest.mark.parametrize(
    "format",
    [yolo.FORMAT, coco.FORMAT, coco_panoptic.FORMAT, openimages.FORMAT],
    ids=lambda format: format.name,
)
def test_writers_say_which_file_to_rename(tmp_path, format):
    ours = sample(tmp_path, NOT_UTF8)
    with pytest.raises(DataError, match="rename the file") as told:
        written(format, tmp_path / "set", ours)
    assert "caf\\udce9.png'" in str(told.value) and "not UTF-8" in str(told.value)
    assert "{" not in str(told.value)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_names_with_folders_and_two_suffixes_survive(tmp_path, format):
    names = ["x/images/a", "x/labels/a", "x/a", "a", "a-b", "a.png"]
    samples = [
        Sample(name, write_picture(tmp_path / f"{number}.png", SIZE), SIZE, instances=())
        for number, name in enumerate(names)
    ]
    back = written(format, tmp_path / "set", *samples)
    assert list(back["train"].ids) == sorted(names)


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_no_image_is_written_outside_the_folder(tmp_path, format):
    source = ListSource([Sample("../../out", write_picture(tmp_path / "a.png", SIZE), SIZE)])
    (tmp_path / "deep/set").mkdir(parents=True)
    with pytest.raises(DataError, match="inside"):
        format.write({"train": source}, tmp_path / "deep/set", format.write_options())
    assert not list(tmp_path.rglob("out*"))


def test_an_index_prefers_the_folders_that_agree(tmp_path):
    for place in ("a.png", "x/a.png", "y/x/a.png", "y/b.png", ".hidden/c.png", "x/.d.png"):
        write_picture(tmp_path / place, SIZE)
    (tmp_path / "x/loop").symlink_to(tmp_path, target_is_directory=True)
    index = ImageIndex(tmp_path)
    assert index.paths == ["a.png", "x/a.png", "y/b.png", "y/x/a.png"]
    assert index.find(("a.png",)) == ["a.png"]
    assert index.find(("x", "a.png")) == ["x/a.png"]
    assert index.find(("y", "x", "a.png")) == ["y/x/a.png"]
    assert index.find(("elsewhere", "b.png")) == ["y/b.png"]
    assert index.find(("c.png",)) == index.find(()) == []
    assert ImageIndex(tmp_path, deep=False).paths == ["a.png"]


def test_parts_of_names_climb_nowhere():
    assert name_parts("C:\\x\\..\\a.png") == ("x", "a.png")
    assert name_parts("/../x/./a.png") == ("x", "a.png")
    assert name_parts("..") == name_parts("") == ()


def test_ids_are_unique_whatever_the_suffixes():
    assert sample_ids(["a.png", "b.jpg"]) == ["a", "b"]
    assert sample_ids(["a.png", "a.jpg", "b.jpg"]) == ["a.png", "a.jpg", "b"]
    assert sample_ids(["a.png", "a.jpg", "a.png.jpg"]) == ["a.png", "a.jpg", "a.png.jpg"]
