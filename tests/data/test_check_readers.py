"""What readers make hard to see: images that fail with their annotation, mask files behind code."""

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.data.check_sets import kinds, only, photo, read, write_image
from tests.data.formats.drawn_sbd import write_sbd
from tests.data.test_check_formats import written
from vitrail.data.check import check_dataset

LINE = "0 0.1 0.1 0.6 0.1 0.6 0.5 0.1 0.5\n"


def _yolo(root: Path) -> Path:
    """A clean YOLO set of three images; returns the folder of images."""
    (root / "images").mkdir()
    (root / "labels").mkdir()
    (root / "data.yaml").write_text("train: images\nnames: [a]\n")
    for number in range(3):
        write_image(root / "images" / f"{number}.jpg", photo(number))
        (root / "labels" / f"{number}.txt").write_text(LINE)
    return root / "images"


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "empty-file"), (b"no picture", "corrupt-image")]
)
def test_an_image_without_a_header_in_a_yolo_set(tmp_path: Path, content: bytes, code: str) -> None:
    """Its outlines have no size to be multiplied by, but nothing is wrong with them."""
    path = _yolo(tmp_path) / "1.jpg"
    path.write_bytes(content)
    problem = only(check_dataset(tmp_path), code).problem
    assert (problem.file, problem.id, problem.severity) == (path, "1", "error")


def test_a_label_file_that_is_no_text_is_the_annotations_fault(tmp_path: Path) -> None:
    _yolo(tmp_path)
    (tmp_path / "labels" / "1.txt").write_bytes(b"\xff\xfe\x00")
    report = check_dataset(tmp_path)
    assert kinds(report) == {"malformed-file": 1, "unreadable-sample": 1}
    (finding,) = report.findings.of("unreadable-sample", "error")
    problem = finding.problem
    assert problem.file == tmp_path / "labels" / "1.txt"
    assert str(tmp_path) not in problem.value


@pytest.mark.parametrize("orientation", [3, 6])
def test_fractions_fit_however_exif_turns(tmp_path: Path, orientation: int) -> None:
    path = _yolo(tmp_path) / "2.jpg"
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.open(path).save(path, exif=exif, quality=95)
    problem = only(check_dataset(tmp_path), "exif-ambiguous").problem
    assert problem.severity == "warning" and problem.file == path
    assert f"EXIF orientation {orientation}" in problem.value and "fractions" in problem.value


def test_masks_saved_as_jpeg_are_all_that_is_said(tmp_path: Path) -> None:
    """A split from which every mask was left out for it is not empty by itself."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        labels = np.zeros((96, 128), np.uint8)
        cv2.circle(labels, (40 + number, 50), 30, 1, -1)
        write_image(tmp_path / "images" / f"{number}.png", photo(number))
        write_image(tmp_path / "masks" / f"{number}.jpg", labels * 90)
    (tmp_path / "classes.txt").write_text("ground\nthing\n")
    assert kinds(check_dataset(tmp_path)) == {"jpeg-mask": 3}


# Mask files -------------------------------------------------------------------------------------


def _panoptic(root: Path) -> tuple[Path, Path]:
    """A clean set, and the PNG of its second image."""
    folder = written("coco-panoptic", root)
    report = check_dataset(folder)
    assert report.ok() and report.files == 18, "9 images and their PNGs"
    source = report.sources["train"]
    (path,) = source.mask_paths(1)  # type: ignore[attr-defined]
    assert path.stem == source.ids[1]
    return folder, path


def test_a_cut_png_of_segments(tmp_path: Path) -> None:
    folder, path = _panoptic(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    assert only(check_dataset(folder), "corrupt-mask").problem.file == path


def test_segments_that_went_through_jpeg(tmp_path: Path) -> None:
    folder, path = _panoptic(tmp_path)
    done, data = cv2.imencode(".jpg", read(path) * 90)
    assert done
    path.write_bytes(data.tobytes())
    problem = only(check_dataset(folder), "jpeg-mask").problem
    assert (problem.file, problem.severity) == (path, "error")


def test_a_png_of_segments_that_no_annotation_names(tmp_path: Path) -> None:
    folder, path = _panoptic(tmp_path)
    other = path.with_name("more.png")
    other.write_bytes(path.read_bytes())
    assert only(check_dataset(folder), "orphan-mask").problem.file == other


def test_the_files_of_sbd_are_counted_and_missed(tmp_path: Path) -> None:
    write_sbd(tmp_path)
    report = check_dataset(tmp_path, "sbd")
    assert report.ok() and report.files == 9, "an image and two .mat files each"
    home = tmp_path / "benchmark_RELEASE" / "dataset"
    source = report.sources["val"]
    assert source.mask_paths(0) == [  # type: ignore[attr-defined]
        home / folder / f"{source.ids[0]}.mat" for folder in ("cls", "inst")
    ]
    path = home / "cls" / f"{source.ids[0]}.mat"
    path.write_bytes(b"")
    found = [p for p in check_dataset(tmp_path, "sbd").problems if p.severity == "error"]
    assert [(p.code, p.file) for p in found] == [("empty-file", path)]
