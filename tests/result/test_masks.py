"""Masks: lossless through every form, and equal to pycocotools."""

from __future__ import annotations

from importlib.metadata import version

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco
from scipy import ndimage

from vitrail.errors import ParameterError
from vitrail.result import Masks
from vitrail.result import rle as own_rle
from vitrail.result.masks import box_crop

REFERENCE = f"pycocotools {version('pycocotools')}"


@st.composite
def stacks(draw: st.DrawFn) -> np.ndarray:
    """(N, H, W) bool: noise, so holes and parts abound, with empty, full and one-pixel masks."""
    shape = draw(st.tuples(st.integers(0, 4), st.integers(1, 40), st.integers(1, 40)))
    stack = draw(hnp.arrays(bool, shape, elements=st.booleans(), fill=st.booleans()))
    for mask in stack:
        kind = draw(st.sampled_from(["as is", "empty", "full", "pixel", "ring", "columns"]))
        if kind != "as is":
            mask[:] = kind == "full"
        y, x = draw(st.integers(0, shape[1] - 1)), draw(st.integers(0, shape[2] - 1))
        if kind == "pixel":
            mask[y, x] = True
        elif kind == "ring":
            mask[y:, x:] = True
            mask[y + 1 : -1, x + 1 : -1] = False
        elif kind == "columns":
            mask[:, x:] = True
            mask[:y, x] = False
    return stack


def by_pycocotools(stack: np.ndarray) -> list[bytes]:
    return [coco.encode(np.asfortranarray(mask.view(np.uint8)))["counts"] for mask in stack]


HOLES_AND_PARTS = np.zeros((1, 9, 12), bool)
HOLES_AND_PARTS[0, 1:6, 1:6] = True
HOLES_AND_PARTS[0, 3, 3] = False
HOLES_AND_PARTS[0, 7:, 8:] = True
HOLES_AND_PARTS[0, 0, 11] = True


@given(stacks())
@example(HOLES_AND_PARTS)
@example(np.ones((1, 1, 1), bool))
@example(np.zeros((1, 1, 1), bool))
@settings(deadline=None)
def test_every_form_comes_back_whole_and_equals_pycocotools(stack: np.ndarray) -> None:
    """Dense -> crops -> RLE and back, against the reference in ``REFERENCE``."""
    masks = Masks.from_dense(stack)
    reference = by_pycocotools(stack)
    np.testing.assert_array_equal(masks.dense(), stack)
    assert [item["counts"].encode() for item in masks.rle()] == reference
    size = stack.shape[1:]
    crops = (masks.crop(i) for i in range(len(masks)))
    assert Masks.from_crops(crops, size) == masks
    for counts in (reference, [item["counts"] for item in masks.rle()]):
        items = [{"size": list(size), "counts": each} for each in counts]
        assert Masks.from_rle(items, size) == masks
    plain = [{"size": size, "counts": own_rle.decompress(counts).tolist()} for counts in reference]
    assert Masks.from_rle(plain, size) == masks


@given(stacks())
@settings(deadline=None, max_examples=50)
def test_areas_and_boxes_equal_those_of_pycocotools(stack: np.ndarray) -> None:
    masks = Masks.from_dense(stack)
    items = [{"size": list(stack.shape[1:]), "counts": counts} for counts in by_pycocotools(stack)]
    boxes = masks.boxes().copy()
    boxes[:, 2:] -= boxes[:, :2]
    expected = np.array([coco.toBbox(item) for item in items]).reshape(-1, 4)
    filled = stack.any(axis=(1, 2))
    np.testing.assert_array_equal(boxes[filled], expected[filled])
    np.testing.assert_array_equal(boxes[~filled], 0)
    np.testing.assert_array_equal(masks.areas(), [coco.area(item) for item in items])


@pytest.mark.parametrize("reference", [REFERENCE])
def test_large_masks_have_equal_codes(reference: str) -> None:
    """Counts beyond 2^20, where the code takes five letters and more, negative steps included."""
    stack = np.zeros((3, 3000, 2000), np.uint8)
    cv2.circle(stack[0], (900, 1500), 700, 1, cv2.FILLED)
    cv2.circle(stack[0], (1000, 1500), 100, 0, cv2.FILLED)
    stack[1, -1, -1] = 1
    stack[2, 17:, 3] = stack[2, :, 4:900] = stack[2, 2999, 1999] = 1
    masks = Masks.from_dense(stack)
    assert [item["counts"].encode() for item in masks.rle()] == by_pycocotools(stack)
    assert Masks.from_rle(masks.rle()) == masks


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=50))
def test_any_counts_survive_the_string(counts: list[int]) -> None:
    assert own_rle.decompress(own_rle.compress(np.array(counts))).tolist() == counts


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int32, np.int64]),
        st.tuples(st.integers(1, 20), st.integers(1, 20)),
        elements=st.integers(0, 9),
    )
)
def test_labels_give_one_mask_per_id(labels: np.ndarray) -> None:
    masks = Masks.from_labels(labels)
    ids = [i for i in np.unique(labels) if i != 0]
    np.testing.assert_array_equal(
        masks.dense(), np.array([labels == i for i in ids]).reshape(-1, *labels.shape)
    )
    asked = Masks.from_labels(labels, range(11))
    np.testing.assert_array_equal(asked.dense(), np.array([labels == i for i in range(11)]))


def test_labels_may_be_negative_sparse_or_bool() -> None:
    labels = np.array([[-5, 0, 2_000_000_000], [-5, 7, 7]])
    np.testing.assert_array_equal(
        Masks.from_labels(labels).dense(), [labels == i for i in (-5, 7, 2_000_000_000)]
    )
    np.testing.assert_array_equal(Masks.from_labels(labels > 0).dense(), [labels > 0])
    assert len(Masks.from_labels(np.zeros((3, 3), int))) == 0


def test_crops_are_cut_to_the_object() -> None:
    crop = np.zeros((20, 30), bool)
    crop[4:6, 7] = True
    masks = Masks.from_crops([(10, 50, crop)], (100, 100))
    y, x, tight = masks.crop(0)
    assert (y, x, tight.shape, tight.all()) == (14, 57, (2, 1), True)
    np.testing.assert_array_equal(masks.boxes(), [[57, 14, 58, 16]])


def test_index_picks_and_never_changes_type() -> None:
    stack = np.random.default_rng(0).random((5, 7, 9)) < 0.5
    masks = Masks.from_dense(stack)
    for index in (2, -1, slice(1, 4), [4, 0], [], np.array([True, False] * 2 + [True])):
        chosen = masks[index]
        assert isinstance(chosen, Masks)
        picked = stack[np.asarray(index, int) if isinstance(index, list) else index]
        np.testing.assert_array_equal(chosen.dense(), picked.reshape(-1, 7, 9))
    assert len(list(masks)) == 5
    with pytest.raises(IndexError):
        masks[5]
    with pytest.raises(IndexError):
        masks[np.array([True, False])]
    assert masks[:3] != masks and masks[:3] != masks[1:4]


def test_storage_is_an_eighth_of_the_boxes() -> None:
    stack = np.zeros((10, 1000, 1000), bool)
    for i, mask in enumerate(stack):
        mask[i * 50 : i * 50 + 80, 100:180] = True
    assert Masks.from_dense(stack).nbytes == 10 * (80 * 80 // 8 + 16)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Masks.from_dense(np.zeros((3, 3), bool)), r"expected \(N, H, W\)"),
        (lambda: Masks.from_crops([(0, 0, np.ones(3))], (3, 3)), r"expected \(h, w\)"),
        (lambda: Masks.from_crops([(2, 0, np.ones((2, 2)))], (3, 3)), "outside its frame"),
        (lambda: Masks.from_crops([(0, -1, np.ones((2, 2)))], (3, 3)), "outside its frame"),
        (lambda: Masks.from_crops([], (3,)), r"expected \(height, width\)"),
        (lambda: Masks.from_rle([]), "size is unknown"),
        (lambda: Masks.from_rle([{"size": [2, 2], "counts": [3]}]), "sum to 3, expected 4"),
        (lambda: Masks.from_rle([{"size": [2, 2], "counts": [5, -1]}]), "expected 4"),
        (lambda: Masks.from_rle([{"size": [2, 2], "counts": "~"}]), "ASCII"),
        (lambda: Masks.from_rle([{"size": [2, 2], "counts": "4é"}]), "ASCII"),
        (lambda: Masks.from_rle([{"size": [2, 2], "counts": "P"}]), "cut short"),
        (lambda: Masks.from_rle([{"size": [2, 2], "counts": "o" * 13 + "0"}]), "60 bits"),
        (lambda: Masks.from_labels(np.zeros((2, 2))), "expected integers"),
    ],
)
def test_what_does_not_fit_is_refused(build, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        build()


def test_rle_of_several_sizes_is_refused() -> None:
    items = [{"size": [2, 2], "counts": [4]}, {"size": [2, 3], "counts": [6]}]
    with pytest.raises(ParameterError, match="RLE 1"):
        Masks.from_rle(items)


@given(stacks())
@settings(deadline=None)
def test_polygons_fill_to_the_mask_without_its_holes(stack: np.ndarray) -> None:
    """Filled by the reference in ``REFERENCE``; the reported loss is the true one."""
    height, width = stack.shape[1:]
    masks = Masks.from_dense(stack)
    for i, mask in enumerate(stack):
        view = masks.polygons(i)
        parts = ndimage.label(mask, np.ones((3, 3)))[1]
        if not mask.any():
            assert (view.rings, view.parts, view.holes, view.iou) == ([], 0, 0, 0.0)
            continue
        filled = ndimage.binary_fill_holes(mask)
        painted = coco.decode(coco.merge(coco.frPyObjects(view.coco(), height, width)))
        np.testing.assert_array_equal(painted.astype(bool), filled)
        holes = ndimage.label(filled & ~mask)[1]
        assert (view.parts, view.holes) == (parts, holes)
        assert view.iou == pytest.approx(mask.sum() / filled.sum(), abs=1e-12)


@pytest.mark.parametrize(
    ("box", "least", "expected"),
    [
        ((1.4, 2.6, 4.6, 3.4), 0, (3, 1, 0, 4)),
        ((1.4, 2.6, 4.6, 3.4), 1, (3, 1, 1, 4)),
        ((-3.0, -2.0, 4.4, 2.6), 0, (0, 0, 3, 4)),
        ((9.9, 4.9, 12.0, 7.0), 1, (4, 9, 1, 1)),
        ((20.0, 1.0, 30.0, 3.0), 0, (1, 10, 2, 0)),
        ((-9.0, 1.0, -4.0, 3.0), 0, (1, 0, 2, 0)),
    ],
)
def test_the_pixels_of_a_box_lie_in_the_image(
    box: tuple[float, ...], least: int, expected: tuple[int, ...]
) -> None:
    y, x, crop = box_crop(box, (5, 10), least=least)
    assert (y, x, *crop.shape) == expected and crop.all()
