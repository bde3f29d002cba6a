"""What was recorded from matterport's Mask R-CNN (commit 3deaec5, TensorFlow 2.15).

It lies in a folder ``matterport`` below the one that the environment variable VITRAIL_REFERENCE
names; tests that need it are skipped without it.
"""

import os
from pathlib import Path

import numpy as np
import pytest


def recorded_folder() -> Path:
    """Where the recordings lie; skips the test without them."""
    root = os.environ.get("VITRAIL_REFERENCE")
    if not root:
        pytest.skip("set VITRAIL_REFERENCE to the folder that holds the recorded references")
    found = Path(root) / "matterport"
    if not found.exists():
        pytest.skip(f"{found} is absent")
    return found


def unpacked(bits: np.ndarray, height: int, width: int) -> np.ndarray:
    """Masks ``(N, H, W)`` bool, of which the recording holds a row of bits each."""
    return np.unpackbits(bits, axis=1, count=height * width).reshape(-1, height, width).astype(bool)


def recorded_masks(stages: dict[str, np.ndarray]) -> np.ndarray:
    """``(N, H, W)`` bool of the objects of an image."""
    height, width, _ = stages["masks_shape"]
    return unpacked(stages["masks_packed"], height, width)


def share_equal(
    stages: dict[str, np.ndarray],
    class_ids: np.ndarray,
    rois: np.ndarray,
    scores: np.ndarray,
    masks: np.ndarray,
) -> float:
    """Objects that are also among the recorded ones of an image, of all that either has.

    Equal are class, box, score to 1e-3 and mask to an IoU of 0.999. The original against itself,
    computed by other kernels, reaches 50 of 51.

    Parameters
    ----------
    stages : the recording
    class_ids, rois : ``(N,)`` with 0 the background, and ``(N, 4)`` y1 x1 y2 x2, as the original's
    masks : ``(N, H, W)`` bool
    """
    rest = list(range(len(rois)))
    expected = zip(
        stages["class_ids"],
        stages["rois"],
        stages["scores"],
        recorded_masks(stages),
        strict=True,
    )
    for class_id, roi, score, mask in expected:
        for at in rest:
            same = class_ids[at] == class_id and np.array_equal(rois[at], roi)
            if not same or abs(scores[at] - score) >= 1e-3:
                continue
            if (masks[at] & mask).sum() >= 0.999 * (masks[at] | mask).sum():
                rest.remove(at)
                break
    return (len(rois) - len(rest)) / max(len(rois), len(stages["rois"]))
