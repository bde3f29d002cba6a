"""Sets whose ids were written in another way than their classes say: 0 and 255, or from 1."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.check_sets import (
    OBJECTS,
    Memory,
    check,
    kinds,
    objects,
    only,
    pairs,
    photo,
    read,
    reopened,
    write_image,
)
from vitrail.data.check import check_dataset
from vitrail.data.checks.report import Report
from vitrail.data.formats.index_masks import IndexMasks
from vitrail.data.sample import Instance, LabelSpace, Sample

TWO = LabelSpace(("background", "thing"), 0)


def _recoded(root: Path, change, few: int, space: LabelSpace = TWO) -> IndexMasks:
    """Six masks of 0 and 1, of which the first few are changed."""
    source = reopened(pairs(root), space)
    for index in range(len(source)):
        path = source.mask_paths(index)[0]
        plain = (read(path) > 0).astype(np.uint8)
        write_image(path, change(plain) if index < few else plain)
    return source


def _full(labels: np.ndarray) -> np.ndarray:
    return labels * 255


@pytest.mark.parametrize("few", [1, 5])
def test_some_masks_of_0_and_255(tmp_path: Path, few: int) -> None:
    """255 beside no class in any mask: it is none that was left open, but another program's 1."""
    source = _recoded(tmp_path, _full, few)
    problem = only(check(source, tmp_path), "binary-mask").problem
    assert problem.severity == "error" and problem.split == "train"
    assert problem.file == source.mask_paths(0)[0]
    assert problem.value == f"only 0 and 255 in {few} of 6 masks, read as class 0 and ignore"
    assert "write the id of their class" in problem.advice


def test_what_is_found_and_advised_of_a_folder_without_classes(tmp_path: Path) -> None:
    _recoded(tmp_path, _full, 3)
    report = check_dataset(tmp_path / "train")
    assert report.format == "index-masks"
    assert kinds(report) == {"binary-mask": 1, "unnamed-classes": 1}
    assert [a.about for a in report.advice if a.about != "class-weights"] == ["binary-mask"]


def test_all_masks_of_0_and_255_read_as_ids_without_a_list(tmp_path: Path) -> None:
    _recoded(tmp_path, _full, 6)
    report = check_dataset(tmp_path / "train", "index-masks")
    assert kinds(report) == {"binary-mask": 1, "unnamed-classes": 1}
    assert report.problems[0].value.startswith("only 0 and 255 in all 6 masks")


def _bordered(labels: np.ndarray) -> np.ndarray:
    """A seam of void around the object."""
    seam = cv2.dilate(labels, np.ones((5, 5), np.uint8)) - labels
    return np.where(seam > 0, 255, labels).astype(np.uint8)


def test_void_around_objects_is_no_fault(tmp_path: Path) -> None:
    assert not check(_recoded(tmp_path, _bordered, 6), tmp_path).problems


@pytest.mark.parametrize("classes", [("background", "thing"), ("class 0", "class 1")])
def test_masks_of_0_and_255_in_a_set_with_void(tmp_path: Path, classes: tuple[str, ...]) -> None:
    space = LabelSpace(classes, 0 if classes == TWO.classes else None)
    source = _recoded(tmp_path, _bordered, 6, space)
    path = source.mask_paths(2)[0]
    write_image(path, np.where(read(path) > 0, 255, 0).astype(np.uint8))
    problem = only(check(source, tmp_path), "binary-mask").problem
    assert problem.severity == "warning" and problem.file == path
    assert problem.value.endswith("; 5 have 255 beside another class")


def test_a_road_and_void_alone_are_no_fault(tmp_path: Path) -> None:
    """Where 0 is a class like others, a picture may show it and nothing else that is known."""
    source = _recoded(tmp_path, _bordered, 6, LabelSpace(("road", "car")))
    path = source.mask_paths(2)[0]
    write_image(path, np.where(read(path) > 0, 255, 0).astype(np.uint8))
    assert not check(source, tmp_path).problems


def test_colours_that_mean_ignore_are_no_255(tmp_path: Path) -> None:
    """A reader made 255 of them: the file holds something else."""

    class Recoded(IndexMasks):
        def __getitem__(self, index: int) -> Sample:
            one = super().__getitem__(index)
            assert one.labels is not None
            labels = one.labels * np.uint8(255 if index % 2 else 1)
            return Sample(one.id, one.picture, one.size, labels)

    source = _recoded(tmp_path, _full, 0)
    changed = Recoded(source.images[0].parent, source.mask_paths(0)[0].parent, TWO)
    assert not check(changed, tmp_path).problems


# Objects ----------------------------------------------------------------------------------------


def _yolo(root: Path, *files: str, names: str = "[a, b, c]") -> Report:
    """The report on a YOLO set with these label files."""
    (root / "images").mkdir()
    (root / "labels").mkdir()
    (root / "data.yaml").write_text(f"train: images\nnames: {names}\n")
    for number, text in enumerate(files):
        write_image(root / "images" / f"{number}.jpg", photo(number))
        (root / "labels" / f"{number}.txt").write_text(text)
    return check_dataset(root, "yolo")


def _line(class_id: int, x: float = 0.1) -> str:
    return f"{class_id} {x} 0.1 {x + 0.2} 0.1 {x + 0.2} 0.4 {x} 0.4\n"


def test_yolo_classes_from_1(tmp_path: Path) -> None:
    report = _yolo(tmp_path, _line(1) + _line(2, 0.5), _line(3), _line(3) + _line(1, 0.4))
    assert kinds(report) == {"unknown-category": 2, "off-by-one-ids": 1}
    problem = next(p for p in report.problems if p.code == "off-by-one-ids")
    assert (problem.split, problem.value) == ("train", "0 in no object, 3 in 2")
    assert problem.expected == "class ids 0..2" and "subtract 1" in problem.advice


def test_one_yolo_class_called_1(tmp_path: Path) -> None:
    report = _yolo(tmp_path, _line(1), _line(1, 0.5), names="[a]")
    assert kinds(report) == {"unknown-category": 2, "off-by-one-ids": 1}


@pytest.mark.parametrize(
    "lines",
    [
        (0, 1, 2, 3),  # the first class is in use
        (1, 2, 4),  # another number
        (1, 2, 3, 7),  # two numbers
    ],
)
def test_other_unknown_yolo_classes(tmp_path: Path, lines: tuple[int, ...]) -> None:
    text = "".join(_line(class_id, 0.05 * place) for place, class_id in enumerate(lines))
    assert "off-by-one-ids" not in kinds(_yolo(tmp_path, text))


def test_one_slip_among_many_classes_is_no_shift(tmp_path: Path) -> None:
    report = _yolo(tmp_path, _line(4) + _line(2, 0.5), names="[a, b, c, d]")
    assert "off-by-one-ids" not in kinds(report)


def _coco(root: Path, categories: list[int], used: list[int]) -> Report:
    names = [f"{number}.jpg" for number in range(len(used))]
    content = {
        "images": [
            {"id": number, "file_name": name, "width": 128, "height": 96}
            for number, name in enumerate(names)
        ],
        "categories": [{"id": number, "name": f"c{number}"} for number in categories],
        "annotations": [
            {
                "id": number,
                "image_id": number,
                "category_id": category,
                "bbox": [10, 10, 20, 30],
                "segmentation": [[10, 10, 30, 10, 30, 40, 10, 40]],
                "area": 600,
                "iscrowd": 0,
            }
            for number, category in enumerate(used)
        ],
    }
    for number, name in enumerate(names):
        write_image(root / name, photo(number))
    (root / "annotations.json").write_text(json.dumps(content))
    return check_dataset(root, "coco")


@pytest.mark.parametrize(
    ("categories", "used", "value", "advice"),
    [
        ([0, 1, 2], [1, 2, 3, 3], "0 in no object, 3 in 2", "subtract 1"),
        ([1, 2, 3], [0, 1, 2, 0], "3 in no object, 0 in 2", "add 1"),
    ],
)
def test_coco_categories_shifted(
    tmp_path: Path, categories: list[int], used: list[int], value: str, advice: str
) -> None:
    report = _coco(tmp_path, categories, used)
    assert kinds(report) == {"unknown-category": 2, "off-by-one-ids": 1}
    problem = next(p for p in report.problems if p.code == "off-by-one-ids")
    assert problem.value == value and problem.advice.startswith(advice)


def test_gaps_in_coco_numbers_are_usual(tmp_path: Path) -> None:
    assert "off-by-one-ids" not in kinds(_coco(tmp_path, [1, 2, 4], [2, 4, 5]))


def test_objects_of_a_source_shifted() -> None:
    samples = [
        replace(one, instances=tuple(_shifted(thing) for thing in one.instances or ()))
        for one in objects()
    ]
    report = check(Memory(samples, OBJECTS))
    assert kinds(report) == {"unknown-class-id": 6, "off-by-one-ids": 1}


def _shifted(thing: Instance) -> Instance:
    return replace(thing, class_id=thing.class_id + 1)
