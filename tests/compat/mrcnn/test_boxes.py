"""``utils``: boxes, against closed forms and the original's own numbers."""

import hashlib

import numpy as np
import pytest

from vitrail.compat.mrcnn import utils


def test_extract_bboxes_is_the_extent_with_exclusive_ends() -> None:
    mask = np.zeros((10, 12, 3), bool)
    mask[2:5, 3:9, 0] = True
    mask[9, 11, 1] = True
    boxes = utils.extract_bboxes(mask)
    assert boxes.dtype == np.int32
    assert boxes.tolist() == [[2, 3, 5, 9], [9, 11, 10, 12], [0, 0, 0, 0]]


def test_extract_bboxes_of_no_masks() -> None:
    assert utils.extract_bboxes(np.zeros((4, 4, 0))).shape == (0, 4)


def test_overlaps_of_boxes() -> None:
    one = np.array([[0, 0, 10, 10]])
    several = np.array([[0, 0, 10, 10], [5, 5, 15, 15], [20, 20, 30, 30], [0, 0, 10, 5]])
    expected = [1, 25 / 175, 0, 0.5]
    assert utils.compute_overlaps(one, several)[0] == pytest.approx(expected)
    areas = np.array([100, 100, 100, 50])
    assert utils.compute_iou(one[0], several, 100, areas) == pytest.approx(expected)


def test_overlaps_of_boxes_without_area_are_zero() -> None:
    assert utils.compute_overlaps(np.zeros((1, 4)), np.zeros((2, 4))).tolist() == [[0, 0]]


def test_overlaps_of_masks() -> None:
    masks = np.zeros((4, 4, 3))
    masks[:2, :, 0] = 1
    masks[1:3, :, 1] = 0.6
    masks[:, :, 2] = 0.5  # not above a half: empty
    assert utils.compute_overlaps_masks(masks, masks) == pytest.approx(
        np.array([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])
    )
    assert utils.compute_overlaps_masks(masks, masks[..., :0]).shape == (3, 0)


def test_suppression_keeps_the_best_of_those_that_overlap() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 1, 10, 11], [50, 50, 60, 60], [0, 4, 10, 14]])
    scores = np.array([0.5, 0.9, 0.7, 0.6])
    kept = utils.non_max_suppression(boxes, scores, 0.5)
    assert kept.dtype == np.int32
    # 3 overlaps 1 with 7/13, 0 with 6/14; 0 overlaps 1 with 9/11.
    assert kept.tolist() == [1, 2]
    assert utils.non_max_suppression(boxes, scores, 0.6).tolist() == [1, 2, 3]
    assert utils.non_max_suppression(boxes[:0], scores[:0], 0.5).size == 0


def test_deltas_lead_from_a_box_to_another_and_say_which() -> None:
    box = np.array([[10, 20, 30, 60]])
    other = np.array([[15, 20, 55, 40]])
    deltas = utils.box_refinement(box, other)
    assert deltas == pytest.approx(np.array([[15 / 20, -10 / 40, np.log(2), np.log(0.5)]]))
    assert utils.apply_box_deltas(box, deltas) == pytest.approx(other.astype(float))


def test_shares_of_the_frame() -> None:
    shares = utils.norm_boxes(np.array([[0, 0, 101, 201], [10, 20, 51, 101]]), (101, 201))
    assert shares.dtype == np.float32
    assert shares == pytest.approx(np.array([[0, 0, 1, 1], [0.1, 0.1, 0.5, 0.5]]))
    back = utils.denorm_boxes(shares, (101, 201))
    assert back.dtype == np.int32
    assert back.tolist() == [[0, 0, 101, 201], [10, 20, 51, 101]]


def test_anchors_go_row_by_row_and_all_ratios_at_each_place() -> None:
    anchors = utils.generate_anchors(8, [0.25, 1, 4], (2, 3), 16, 1)
    assert anchors.shape == (18, 4)
    # A ratio is width / height: the first is twice as high as the square, and half as wide.
    assert anchors[:3].tolist() == [[-8, -2, 8, 2], [-4, -4, 4, 4], [-2, -8, 2, 8]]
    assert (anchors[3:6] - anchors[:3]).tolist() == [[0, 16, 0, 16]] * 3
    assert (anchors[9:12] - anchors[:3]).tolist() == [[16, 0, 16, 0]] * 3
    assert utils.generate_anchors(8, [1], (4, 4), 16, 2).shape == (4, 4)


# Size of the input, number of anchors and sha256 of all of them (norm_boxes, float32), computed
# with matterport/Mask_RCNN, commit 3deaec5.
@pytest.mark.parametrize(
    ("size", "count", "digest"),
    [
        ((512, 512), 65472, "428230b832b2e3b7111156ab5e3b2363656a652180b05292a401aa8379828c4a"),
        ((1024, 1024), 261888, "7fcb95140ce3e405628a2c1bdb5c7f03a5fd7b9b1f6b1757f26929a3c92c66a6"),
        ((448, 640), 71610, "cbb932c38b4710d79e4c52ea5aac27406bec5af3f6008d9b27ff8b36f0e6aa11"),
    ],
)
def test_anchors_of_a_pyramid_are_the_original_s_bit_by_bit(
    size: tuple[int, int], count: int, digest: str
) -> None:
    strides = [4, 8, 16, 32, 64]
    shapes = [[side // stride for side in size] for stride in strides]
    scales = (32, 64, 128, 256, 512)
    anchors = utils.generate_pyramid_anchors(scales, [0.5, 1, 2], shapes, strides, 1)
    shares = utils.norm_boxes(anchors, size)
    assert len(shares) == count
    assert hashlib.sha256(np.ascontiguousarray(shares).tobytes()).hexdigest() == digest


def test_trim_zeros() -> None:
    boxes = np.array([[1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 5, 5]])
    assert utils.trim_zeros(boxes).tolist() == [[1, 2, 3, 4], [0, 0, 5, 5]]
