"""InstanceResult: consistent arrays, filters, and a COCO data set that pycocotools reads."""

from __future__ import annotations

import contextlib
import io
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from vitrail.errors import ParameterError
from vitrail.image import Image
from vitrail.result import InstanceResult, Masks, Segment

CLASSES = ("person", "dog", "cat")


def stack() -> np.ndarray:
    stack = np.zeros((4, 50, 80), bool)
    stack[0, 10:30, 10:40] = True
    stack[0, 15:20, 15:20] = False
    stack[1, 20:45, 30:60] = True
    stack[2, 49, 79] = True
    return stack  # the last mask is empty


def result(**options) -> InstanceResult:
    boxes = [[9.5, 9.5, 40.25, 30], [30, 20, 60, 45], [79, 49, 80, 50], [1, 1, 2, 2]]
    return InstanceResult(
        boxes, [0.9, 0.8, 0.7, 0.6], [2, 1, 2, 0], Masks.from_dense(stack()), CLASSES,
        size=(50, 80), **options,
    )  # fmt: skip


def test_types_and_lengths() -> None:
    found = result()
    assert len(found) == 4
    assert (found.boxes.dtype, found.scores.dtype) == (np.float32, np.float32)
    assert (found.class_ids.dtype, found.size) == (np.int64, (50, 80))
    assert found.counts() == {"person": 1, "dog": 1, "cat": 2}
    assert repr(found) == "InstanceResult(50 x 80 px: 1 person, 1 dog, 2 cat)"


def test_iterates_over_segments() -> None:
    segments = list(result())
    assert all(isinstance(segment, Segment) for segment in segments)
    assert [segment.class_name for segment in segments] == ["cat", "dog", "cat", "person"]
    assert segments[0].score == pytest.approx(0.9)
    assert segments[0].bbox == (10, 10, 40, 30)  # the mask's, not the detector's
    assert [segment.area for segment in segments] == [575, 750, 1, 0]


def test_filters() -> None:
    found = result()
    sure = found[found.scores > 0.75]
    assert isinstance(sure, InstanceResult) and len(sure) == 2
    np.testing.assert_array_equal(sure.masks.dense(), stack()[:2])
    cats = found[found.class_ids == CLASSES.index("cat")]
    np.testing.assert_array_equal(cats.boxes, found.boxes[[0, 2]])
    assert [len(found[index]) for index in (1, -1, slice(None, None, 2), [3, 0], [])] == [
        1,
        1,
        2,
        2,
        0,
    ]
    assert found[[]].segments() == []
    with pytest.raises(IndexError):
        found[4]


def test_no_objects_is_a_result_too(tmp_path: Path) -> None:
    image = Image(np.full((50, 80, 3), 7, np.uint8))
    empty = InstanceResult(
        np.zeros((0, 4)),
        [],
        [],
        Masks.from_crops([], (50, 80)),
        CLASSES,
        size=(50, 80),
        image=image,
    )
    assert (len(empty), empty.counts(), list(empty)) == (0, {}, [])
    assert (empty.plot() == 7).all()
    assert json.loads(empty.to_json())["annotations"] == []
    assert len(empty.save(tmp_path, crops=True)) == 3


@pytest.mark.parametrize("reference", [f"pycocotools {version('pycocotools')}"])
def test_pycocotools_loads_the_json(tmp_path: Path, reference: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(result().to_json(), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = COCO(str(path))
    rows = loaded.loadAnns(loaded.getAnnIds(imgIds=1))
    assert len(rows) == 4
    for row, mask, segment in zip(rows, stack(), result(), strict=True):
        np.testing.assert_array_equal(loaded.annToMask(row), mask)
        assert row["area"] == mask.sum()
        assert row["bbox"] == segment.coco_bbox
        assert row["score"] == segment.score
        assert loaded.loadCats(row["category_id"])[0]["name"] == segment.class_name
    assert loaded.imgs[1]["width"], loaded.imgs[1]["height"] == (80, 50)
    assert loaded.dataset["vitrail"]["boxes"][0] == [9.5, 9.5, 40.25, 30.0]


def test_a_hundred_large_objects_stay_small() -> None:
    crop = np.ones((400, 400), bool)
    masks = Masks.from_crops(((i * 30, i * 30, crop) for i in range(100)), (4096, 4096))
    boxes = masks.boxes()
    found = InstanceResult(
        boxes, np.ones(100), np.zeros(100), masks, CLASSES, size=(4096, 4096),
        image=Image(np.zeros((4096, 4096, 1), np.uint8)),
    )  # fmt: skip
    assert found.nbytes == 100 * (400 * 50 + 16 + 16 + 4 + 8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": [0.5] * 3}, "3 scores"),
        ({"boxes": [[0, 0, 1, 1]]}, "1 boxes"),
        ({"class_ids": [0, 1, 2, 3]}, "class id 3 has no name"),
        ({"class_ids": [0, 1, 2, -1]}, "class id -1"),
        ({"scores": [0.5, 0.5, 0.5, 1.5]}, r"outside \[0, 1\]"),
        ({"scores": [0.5, 0.5, 0.5, np.nan]}, r"outside \[0, 1\]"),
        ({"boxes": np.full((4, 4), np.nan)}, "finite"),
        ({"size": (80, 50)}, r"\(50, 80\)"),
        ({"image": Image(np.zeros((5, 8, 3), np.uint8))}, "5 x 8 pixels"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict, message: str) -> None:
    parts = {
        "boxes": np.zeros((4, 4)),
        "scores": [0.5] * 4,
        "class_ids": [0] * 4,
        "masks": Masks.from_dense(stack()),
        "classes": CLASSES,
        "size": (50, 80),
    }
    with pytest.raises(ParameterError, match=message):
        InstanceResult(**(parts | changed))


def boxes_only() -> InstanceResult:
    whole = Masks.from_crops([(10, 20, np.ones((20, 30), bool))], (50, 80))
    image = Image(np.full((50, 80, 3), 100, np.uint8))
    return InstanceResult(
        [[20.25, 9.5, 49.75, 30]], [0.9], [2], whole, CLASSES, size=(50, 80), image=image,
        outlined=False, capped=True,
    )  # fmt: skip


def test_boxes_alone_are_not_written_as_outlines(tmp_path: Path) -> None:
    found = boxes_only()
    (annotation,) = found.to_coco()["annotations"]
    assert "segmentation" not in annotation
    assert annotation["bbox"] == [20.25, 9.5, 29.5, 20.5]
    assert annotation["area"] == pytest.approx(29.5 * 20.5)
    block = json.loads(found.to_json())["vitrail"]
    assert (block["outlined"], block["capped"]) == (False, True)
    files = found.save(tmp_path, "one", crops=True)
    assert [path.name for path in files] == ["one.overlay.jpg", "001_cat.png", "one.json"]
    assert found[0].outlined is False and found[[]].capped is True


def test_boxes_alone_are_drawn_as_frames() -> None:
    drawn = boxes_only().plot(tags=False, legend=False)
    assert (drawn[15:25, 26:44] == 100).all()  # nothing is filled
    assert (drawn[9:11, 25:45] != 100).any()
    everything = result(image=Image(np.full((50, 80, 3), 100, np.uint8))).plot(tags=False)
    assert (everything[23:28, 15:25] != 100).any()


def test_masks_objects_first_or_last() -> None:
    found = result()
    last = found.masks.dense(objects_last=True)
    assert last.shape == (50, 80, 4) and last.dtype == bool and last.flags.c_contiguous
    np.testing.assert_array_equal(last.transpose(2, 0, 1), stack())
    assert found[[]].masks.dense(objects_last=True).shape == (50, 80, 0)
