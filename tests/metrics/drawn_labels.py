"""Label maps drawn by code, and what every metric must do."""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

SIZE = (40, 52)


def smooth_labels(rng: np.random.Generator, classes: int, sigma: float = 4.0) -> np.ndarray:
    """One (H, W) map of blobs."""
    fields = rng.normal(size=(classes, *SIZE)).astype(np.float32)
    return np.argmax([cv2.GaussianBlur(one, (0, 0), sigma) for one in fields], axis=0)


def label_maps(
    number: int, *, classes: int, absent_from_truth: int | None = None, void: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction (N, H, W) uint8: the prediction moved, and wrong here and there."""
    rng = np.random.default_rng(number)
    truth = np.stack([smooth_labels(rng, classes) for _ in range(number)])
    predicted = np.roll(truth, 2, axis=2)
    wrong = rng.random(truth.shape) < 0.1
    predicted[wrong] = rng.integers(0, classes, wrong.sum())
    if absent_from_truth is not None:
        truth[truth == absent_from_truth] = 0
    if void is not None:
        truth[:, :4] = void
    return truth.astype(np.uint8), predicted.astype(np.uint8)


def check_contract(make: Callable[[], Any], updates: Sequence[tuple[Any, ...]]) -> None:
    """Images in any order, split in any way, saved and loaded: the very same numbers."""
    whole = make()
    for one in updates:
        whole.update(*one)
    wanted = whole.compute()
    backwards, first, second = make(), make(), make()
    for one in reversed(updates):
        backwards.update(*one)
    same(backwards.compute(), wanted)
    for i, one in enumerate(updates):
        (second if i % 3 else first).update(*one)
    second.merge(first)
    same(second.compute(), wanted)
    loaded = make()
    loaded.update(*updates[0])
    loaded.load(whole.state())
    same(loaded.compute(), wanted)
    # The state is a copy: what is counted later does not change it.
    kept = whole.state()
    whole.reset()
    same(whole.compute(), make().compute())
    loaded.load(kept)
    same(loaded.compute(), wanted)


def same(one: dict[str, float], other: dict[str, float]) -> None:
    """Equal to the last bit, NaN equal to NaN."""
    assert list(one) == list(other)
    np.testing.assert_array_equal(list(one.values()), list(other.values()))
