"""Resizing, padding and normalising, and finding the way back."""

import cv2
import numpy as np
import pytest
import torch

from vitrail.models.base import labels_at
from vitrail.predict.preprocess import fit_size, normalise, to_batch
from vitrail.weights.card import Preprocessing

PLAIN = Preprocessing(image_size=64, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("size", "fitted"),
    [((480, 640), (48, 64)), ((640, 480), (64, 48)), ((1, 20000), (1, 64)), ((1, 1), (64, 64))],
)
def test_the_long_side_fits(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert fit_size(size, PLAIN) == fitted


@pytest.mark.parametrize(
    ("resize", "size", "fitted"),
    [
        ("short-side", (480, 640), (64, 85)),  # 85.3 rounded down
        ("short-side", (639, 480), (85, 64)),
        ("short-side", (100, 800), (64, 512)),
        ("short-side", (100, 20000), (3, 512)),  # bounded: its short side becomes shorter
        ("short-side", (1, 1), (64, 64)),
        ("stretch", (480, 640), (64, 64)),
        ("stretch", (1, 20000), (64, 64)),
    ],
)
def test_other_ways_to_resize(resize: str, size: tuple[int, int], fitted: tuple[int, int]) -> None:
    preprocessing = Preprocessing.model_validate({"image_size": 64, "resize": resize})
    assert fit_size(size, preprocessing) == fitted


def test_a_stretched_picture_fills_the_square_and_comes_back_in_its_shape() -> None:
    truth = np.zeros((100, 300), np.uint8)
    truth[20:70, 60:210] = 1
    stretch = PLAIN.model_copy(update={"resize": "stretch"})
    batch, frames = to_batch([np.dstack([truth * 255] * 3)], stretch, stride=32)
    assert batch.shape == (1, 3, 64, 64) and frames[0].resized == (64, 64)
    inside = batch[0, 0] > 0.5
    assert inside[14:44, 14:44].all() and not inside[:12].any() and not inside[:, 46:].any()
    logits = torch.stack([0.5 - batch[0, 0], batch[0, 0] - 0.5]).numpy()
    labels = labels_at(logits, frames[0].original)
    assert labels.shape == truth.shape
    assert (labels == truth).mean() > 0.98


def test_a_side_that_shrinks_is_averaged_while_the_other_grows() -> None:
    checks = ((np.indices((30, 512)).sum(0) % 2) * 255).astype(np.uint8)
    stretch = PLAIN.model_copy(update={"resize": "stretch"})
    batch, _ = to_batch([cv2.merge([checks] * 3)], stretch, stride=32)
    assert (batch - 0.5).abs().max() < 0.01


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_antialiasing_takes_any_number_of_bands(bands: int) -> None:
    preprocessing = Preprocessing(
        image_size=32, interpolation="antialias", mean=(0.0,) * bands, std=(1.0,) * bands
    )
    checks = ((np.indices((256, 256)).sum(0) % 2) * 255).astype(np.uint8)
    batch, _ = to_batch([np.stack([checks] * bands, axis=2)], preprocessing, stride=32)
    assert batch.shape == (1, bands, 32, 32)
    assert (batch - 0.5).abs().max() < 0.01


def test_pictures_lie_at_the_top_left_and_the_rest_is_black() -> None:
    pictures = [np.full((30, 60, 3), 200, np.uint8), np.full((50, 25, 3), 100, np.uint8)]
    batch, frames = to_batch(pictures, PLAIN, stride=32)
    assert batch.shape == (2, 3, 64, 64)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert [frame.original for frame in frames] == [(30, 60), (50, 25)]
    assert [frame.resized for frame in frames] == [(32, 64), (64, 32)]
    torch.testing.assert_close(batch[0, :, :32], torch.full((3, 32, 64), 200 / 255))
    torch.testing.assert_close(batch[1, :, :, :32], torch.full((3, 64, 32), 100 / 255))
    assert not batch[0, :, 32:].any() and not batch[1, :, :, 32:].any()


def test_normalisation_is_per_band() -> None:
    preprocessing = Preprocessing(image_size=32, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0))
    pixel = np.array([51, 102, 153], np.uint8)
    batch, _ = to_batch([np.tile(pixel, (32, 32, 1))], preprocessing, stride=32)
    expected = (pixel / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 1.0]
    np.testing.assert_allclose(batch[0, :, 5, 5].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("bands", [1, 3, 6])
def test_every_byte_becomes_what_normalise_makes_of_it(bands: int) -> None:
    preprocessing = Preprocessing(
        image_size=32,
        mean=tuple(np.linspace(0.1, 0.6, bands)),
        std=tuple(np.linspace(0.2, 0.3, bands)),
    )
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 256, (32, 32, bands), np.uint8) for _ in range(2)]
    batch, _ = to_batch(pictures, preprocessing, stride=32)
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    assert torch.equal(batch, normalise(pixels, preprocessing))


def test_shrinking_averages_instead_of_skipping() -> None:
    checks = ((np.indices((256, 256)).sum(0) % 2) * 255).astype(np.uint8)
    batch, _ = to_batch([cv2.merge([checks] * 3)], PLAIN, stride=32)
    assert (batch - 0.5).abs().max() < 0.01


@pytest.mark.parametrize(
    "values", [{"image_size": 8}, {"std": (0.5, 0.5)}, {"std": (0.5, 0.0, 0.5)}, {"size": 64}]
)
def test_a_card_cannot_ask_for_nonsense(values: dict) -> None:
    with pytest.raises(ValueError, match="1 validation error"):
        Preprocessing.model_validate({"image_size": 64, **values})
