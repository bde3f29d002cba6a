"""Decoding logits to labels at the original size."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vitrail.models import base
from vitrail.models.base import labels_at


@pytest.mark.parametrize("classes", [2, 3, 21])
@pytest.mark.parametrize("size", [(48, 64), (97, 131), (13, 200), (30, 41), (1, 5)])
def test_equals_argmax_of_torch_interpolation(
    classes: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_STRIP_VALUES", 7 * size[1] * classes)  # several strips
    logits = np.random.default_rng(0).normal(size=(classes, 30, 41)).astype(np.float32)
    wide = F.interpolate(torch.from_numpy(logits)[None], size, mode="bilinear", align_corners=False)
    labels = labels_at(logits, size)
    top = wide[0].topk(2, dim=0).values
    clear = (top[0] - top[1] > 1e-4).numpy()  # elsewhere rounding decides
    assert clear.mean() > 0.99
    assert np.array_equal(labels[clear], wide[0].argmax(0).numpy()[clear])


def test_one_logit_is_thresholded_at_zero() -> None:
    logits = np.array([[[-1.0, 2.0], [0.0, 3.0]]], np.float32)
    assert labels_at(logits, (2, 2)).tolist() == [[0, 1], [0, 1]]


def test_a_tie_goes_to_the_lower_class() -> None:
    assert labels_at(np.zeros((4, 3, 3), np.float32), (6, 6)).max() == 0


def test_many_classes_need_sixteen_bits() -> None:
    logits = np.zeros((300, 2, 2), np.float32)
    logits[299] = 1
    labels = labels_at(logits, (4, 4))
    assert labels.dtype == np.uint16
    assert (labels == 299).all()
