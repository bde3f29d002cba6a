"""Files: exact when read back, and whole or not there at all."""

from __future__ import annotations

import dataclasses
import errno
import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from skimage import data

from vitrail.errors import OutputError, ParameterError
from vitrail.image import Image
from vitrail.result import EdgeResult, InstanceResult, Masks, RegionResult, SemanticResult
from vitrail.result import write as module
from vitrail.result.draw import class_colours
from vitrail.result.write import instance_map, write, write_bytes, write_picture

CLASSES = ("background", "person", "wild animal/cat")


def semantic() -> SemanticResult:
    pixels = data.chelsea()[:201, :301]
    labels = np.zeros(pixels.shape[:2], np.uint8)
    labels[20:120, 30:200] = 2
    labels[50:60, 50:60] = 1
    labels[-3:] = 255
    image = Image(np.ascontiguousarray(pixels), source="photos/chelsea.jpg")
    return SemanticResult(labels, CLASSES, background=0, ignore=255, image=image)


def instances() -> InstanceResult:
    square = np.ones((40, 40), bool)
    masks = Masks.from_crops([(10, 10, square), (30, 30, square), (0, 0, square[:0])], (90, 120))
    return InstanceResult(
        masks.boxes(), [0.6, 0.9, 0.8], [1, 2, 1], masks, CLASSES, size=(90, 120),
        image=Image(np.full((90, 120, 3), 100, np.uint8)),
    )  # fmt: skip


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_semantic_files(tmp_path: Path) -> None:
    found = semantic()
    paths = found.save(tmp_path / "new" / "folder", crops=True)
    assert [path.name for path in paths] == [
        "chelsea.overlay.jpg",
        "chelsea.labels.png",
        "001_person.png",
        "002_wild_animal_cat.png",
        "chelsea.json",
    ]
    assert all(path.is_file() for path in paths)
    with PIL.Image.open(paths[1]) as labels:
        assert labels.mode == "P"
        np.testing.assert_array_equal(np.asarray(labels), found.labels)
        shown = np.asarray(labels.convert("RGB"))
    np.testing.assert_array_equal(shown[100, 100], class_colours(found)[2])
    assert (shown[0, 0] == 0).all()
    assert json.loads(paths[4].read_text("utf-8")) == json.loads(found.to_json())


def test_a_boundary_is_a_grey_picture(tmp_path: Path) -> None:
    plain = semantic()
    boundary = np.linspace(0, 1, plain.labels.size, dtype=np.float32).reshape(plain.size)
    found = dataclasses.replace(plain, boundary=boundary)
    paths = found.save(tmp_path, overlay=False)
    assert [path.name for path in paths] == [
        "chelsea.labels.png",
        "chelsea.boundary.png",
        "chelsea.json",
    ]
    with PIL.Image.open(paths[1]) as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), np.rint(boundary * 255))


def test_the_overlay_is_the_plot(tmp_path: Path) -> None:
    overlay = semantic().save(tmp_path, quality=100)[0]
    read = np.asarray(PIL.Image.open(overlay)).astype(int)
    assert np.abs(read - semantic().plot()).mean() < 2.5  # JPEG's own loss; swapped channels: > 20


def test_crops_are_cut_outs_of_the_image(tmp_path: Path) -> None:
    found = semantic()
    crop = found.save(tmp_path, crops=True)[3]
    with PIL.Image.open(crop) as image:
        assert image.mode == "RGBA"
        rgba = np.asarray(image)
    assert found.image is not None
    np.testing.assert_array_equal(rgba, found.segments()[1].cutout(found.image))
    inside = rgba[..., 3] > 0
    np.testing.assert_array_equal(rgba[inside, :3], found.image.pixels[found.labels == 2])


def test_instances_file_has_the_higher_score_on_top(tmp_path: Path) -> None:
    paths = instances().save(tmp_path, "x", crops=True)
    assert [path.name for path in paths] == [
        "x.overlay.jpg",
        "x.instances.png",
        "001_person.png",
        "002_wild_animal_cat.png",
        "x.json",
    ]
    ids = np.asarray(PIL.Image.open(paths[1]))
    assert ids.dtype == np.uint16
    np.testing.assert_array_equal(ids, instance_map(instances()))
    assert (ids[10, 10], ids[40, 40], ids[60, 60], ids[0, 0]) == (1, 2, 2, 0)


@pytest.mark.parametrize(
    ("count", "name", "dtype"),
    [(3, "r.labels.png", np.uint8), (256, "r.labels.png", np.uint8),
     (257, "r.labels.png", np.uint16), (70_000, "r.labels.tif", np.uint32)],
)  # fmt: skip
def test_region_ids_come_back_whatever_their_number(
    tmp_path: Path, count: int, name: str, dtype: type
) -> None:
    labels = np.linspace(0, count - 1, 30 * 31).astype(int).reshape(30, 31)
    path = RegionResult(labels).save(tmp_path, "r", overlay=False)[0]
    assert path.name == name
    read = tifffile.imread(path) if path.suffix == ".tif" else np.asarray(PIL.Image.open(path))
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, labels)


def test_many_classes_take_sixteen_bits(tmp_path: Path) -> None:
    labels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    path = SemanticResult(labels, [str(i) for i in range(600)]).save(tmp_path, overlay=False)[0]
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(path)), labels)
    assert path.name == "image.labels.png"


def test_edges_file_is_the_strength_in_sixteen_bits(tmp_path: Path) -> None:
    strength = np.random.default_rng(0).random((30, 40), np.float32) * 7
    paths = EdgeResult(strength).save(tmp_path, "e", crops=False)
    assert names(tmp_path) == ["e.edges.png", "e.json", "e.overlay.jpg"]
    largest = json.loads(paths[2].read_text())["vitrail"]["strength_max"]
    read = np.asarray(PIL.Image.open(paths[1])).astype(float) / 65_535 * largest
    np.testing.assert_allclose(read, strength, atol=largest / 65_535)


def test_a_side_beyond_jpeg_s_limit_gives_a_png(tmp_path: Path) -> None:
    long = SemanticResult(np.zeros((1, 65_536), np.uint8), CLASSES)
    assert long.save(tmp_path)[0].name == "image.overlay.png"


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 17), (101, 203)])
def test_write_picture_is_exact_and_gives_the_picture_back(tmp_path, size, channels) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, channels)).astype(np.uint8)
    before = picture.copy()
    path = write_picture(tmp_path / "p.png", picture)
    np.testing.assert_array_equal(picture, before)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(path)), before)
    frozen = np.ascontiguousarray(before)
    frozen.flags.writeable = False
    for odd in (frozen, np.repeat(before, 2, axis=1)[:, ::2]):
        write_picture(path, odd)
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(path)), before)


def fill_the_disk(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """From now on, writing the file with this ending stops half-way: no space left."""
    atomically = module.write_atomically

    def full(path: Path, fill):
        def half(file) -> None:
            fill(file)
            file.truncate(file.tell() // 2)
            raise OSError(errno.ENOSPC, "No space left on device")

        return atomically(path, half if path.name.endswith(suffix) else fill)

    monkeypatch.setattr(module, "write_atomically", full)


@pytest.mark.parametrize(
    ("suffix", "left"),
    [
        (".overlay.jpg", []),
        (".labels.png", ["chelsea.overlay.jpg"]),
        (".json", ["chelsea.labels.png", "chelsea.overlay.jpg"]),
    ],
)
def test_a_full_disk_leaves_only_whole_files(tmp_path, monkeypatch, suffix, left) -> None:
    fill_the_disk(monkeypatch, suffix)
    with pytest.raises(OutputError, match=f"chelsea{re.escape(suffix)}: No space left on device"):
        semantic().save(tmp_path)
    assert names(tmp_path) == left


def test_a_full_disk_while_writing_crops(tmp_path, monkeypatch) -> None:
    fill_the_disk(monkeypatch, "cat.png")
    with pytest.raises(OutputError, match="002_wild_animal_cat"):
        semantic().save(tmp_path, crops=True)
    assert names(tmp_path / "chelsea.crops") == ["001_person.png"]


def test_what_was_there_before_a_failure_is_still_there(tmp_path, monkeypatch) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(b"old")

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match=r"old\.json: Read-only file system"):
        write_bytes(path, b"new")
    assert names(tmp_path) == ["old.json"] and path.read_bytes() == b"old"


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch) -> None:
    def interrupt(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "x", b"data")
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=r"cannot write .*choose another folder"):
            semantic().save(folder)
    assert names(tmp_path) == ["file"]


def test_a_file_name_the_system_refuses_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"):
        write_bytes(tmp_path / ("x" * 300), b"")
    assert names(tmp_path) == []


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    written = write_bytes(tmp_path / "written", b"")
    assert written.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_saving_again_replaces(tmp_path: Path) -> None:
    semantic().save(tmp_path, "s")
    other = SemanticResult(np.ones((4, 5), np.uint8), CLASSES)
    paths = other.save(tmp_path, "s")
    assert np.asarray(PIL.Image.open(paths[1])).shape == (4, 5)
    assert len(names(tmp_path)) == 3


@pytest.mark.parametrize("stem", ["", ".", "..", "a/b", "a\\b", "a\0b"])
def test_a_stem_that_is_no_file_name_is_refused(tmp_path: Path, stem: str) -> None:
    with pytest.raises(ParameterError, match="expected a file name"):
        semantic().save(tmp_path, stem)
    assert names(tmp_path) == []


def test_other_wrong_parameters_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    plain = SemanticResult(np.ones((4, 5), np.uint8), CLASSES)
    with pytest.raises(ParameterError, match="this result has none"):
        write(plain, tmp_path, crops=True)
    with pytest.raises(ParameterError, match="quality is 0"):
        write(plain, tmp_path, quality=0)
    with pytest.raises(ParameterError, match="did you mean 'alpha'"):
        plain.save(tmp_path, alhpa=1)
    assert names(tmp_path) == []
