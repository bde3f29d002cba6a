"""The mean of checkpoints: right numbers, one architecture, honest card."""

from pathlib import Path

import pytest
import torch

from tests.weights.test_files import ARGUMENTS, card, model  # noqa: F401  (fixtures)
from vitrail.errors import ParameterError, WeightsError
from vitrail.models.registry import build
from vitrail.weights.average import average_checkpoints
from vitrail.weights.files import read_tensors, write_checkpoint
from vitrail.weights.header import read_card


@pytest.fixture
def two(card, tmp_path: Path) -> list[Path]:  # noqa: F811
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        write_checkpoint(path, build("unet", ARGUMENTS), card)
    return paths


def test_the_mean_is_weighted(two: list[Path], tmp_path: Path) -> None:
    made = average_checkpoints(two, tmp_path / "mean.safetensors", shares=[3, 1])
    first, second, mean = (read_tensors(p) for p in (*two, tmp_path / "mean.safetensors"))
    name = "head.weight"
    expected = first[name] * 0.75 + second[name] * 0.25
    assert not torch.equal(first[name], second[name])
    torch.testing.assert_close(mean[name].float(), expected, rtol=1e-3, atol=1e-5)
    assert read_card(tmp_path / "mean.safetensors") == made
    assert "--shares 3,1" in made.training_command
    assert made.scores == ()


def test_what_does_not_belong_together(two: list[Path], card, tmp_path: Path) -> None:  # noqa: F811
    other = tmp_path / "other.safetensors"
    changed = card.model_copy(update={"classes": ("background", "cell")})
    write_checkpoint(other, build("unet", ARGUMENTS), changed)
    with pytest.raises(WeightsError, match=r"other.safetensors: its classes is .*cell"):
        average_checkpoints([two[0], other], tmp_path / "mean.safetensors")
    for shares in ([1.0], [1.0, -1.0], [0.0, 0.0]):
        with pytest.raises(ParameterError, match="shares="):
            average_checkpoints(two, tmp_path / "mean.safetensors", shares=shares)
    with pytest.raises(ParameterError, match="at least two"):
        average_checkpoints(two[:1], tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()
