"""Augmentation: one draw for an image and its labels, and labels that stay labels."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.drawn import discs
from vitrail.data.sample import LabelSpace, Sample
from vitrail.data.transforms import TrainingSet, as_tensors, augmentation

SETTINGS = {"scale": (0.75, 1.75), "flip": 0.5, "rotate": 15, "colour": 0.3, "grey": 0.1}


SPACE = LabelSpace(("background", "disc", "square"), 0, 255)


class Drawn:
    space = SPACE
    ids = tuple("01234567")

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Sample:
        image, labels = discs(8)[index]
        return Sample(str(index), image, labels.shape, labels, unlabelled=frozenset({2}))


def test_image_and_labels_move_together() -> None:
    """The object is far brighter than the noise, so its pixels tell where the labels must be."""
    transform = augmentation(64, ignore=255, **{**SETTINGS, "colour": 0, "grey": 0})
    agreement = []
    for index in range(8):
        torch.manual_seed(index)
        image, labels = transform(*as_tensors(Drawn()[index], SPACE))
        bright = image.max(0).values > 130
        known = labels != 255
        agreement.append(((labels > 0) == bright)[known].float().mean().item())
    assert min(agreement) > 0.97


def test_labels_are_never_mixed() -> None:
    transform = augmentation(64, ignore=255, **SETTINGS)
    for index in range(8):
        torch.manual_seed(index)
        image, labels = transform(*as_tensors(Drawn()[index], SPACE))
        assert image.shape == (3, 64, 64) and image.dtype == torch.uint8
        assert labels.shape == (64, 64)
        assert set(labels.unique().tolist()) <= {0, 1 if index % 2 else 2, 255}


def test_what_lies_outside_is_ignored() -> None:
    transform = augmentation(64, ignore=255, **{**SETTINGS, "scale": (0.5, 0.5), "rotate": 0})
    image, labels = transform(*as_tensors(Drawn()[1], SPACE))
    outside = labels == 255
    assert 0.6 < outside.float().mean() < 0.85  # about three quarters of the crop
    assert not image[:, outside].any()


def test_the_scale_stays_in_its_range() -> None:
    transform = augmentation(100, ignore=255, **{**SETTINGS, "rotate": 0, "scale": (0.4, 0.8)})
    shares = []
    for seed in range(40):
        torch.manual_seed(seed)
        _, labels = transform(*as_tensors(Drawn()[1], SPACE))
        shares.append((labels != 255).float().mean().sqrt().item())
    assert min(shares) > 0.37
    assert max(shares) < 0.83
    assert np.ptp(shares) > 0.25


@pytest.mark.parametrize("workers", [0, 2])
def test_seeded_loading_repeats(workers: int) -> None:
    def epoch() -> list[torch.Tensor]:
        torch.manual_seed(3)
        loader = DataLoader(
            TrainingSet(Drawn(), augmentation(32, ignore=255, **SETTINGS)),
            batch_size=4,
            shuffle=True,
            num_workers=workers,
        )
        return [tensor for example in loader for tensor in example]

    first, second = epoch(), epoch()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert first[2].tolist() == [[False, False, True]] * 4
    assert not torch.equal(first[0][0], first[0][1])
