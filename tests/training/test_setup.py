"""The network that a training begins with."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vitrail.errors import WeightsError
from vitrail.models.registry import build
from vitrail.training.config import Recipe, make_recipe
from vitrail.training.setup import start_weights

SMALL = {"encoder": "mobilenetv2_035"}


def recipe(architecture: str, start: Path, **arguments: object) -> Recipe:
    model = {"architecture": architecture, "arguments": {**SMALL, **arguments}, "start": start}
    return make_recipe(
        {
            **{"name": "x", "summary": "x", "data": {"root": "x", "val": "val"}, "model": model},
            "preprocessing": {"image_size": 64},
            "train": {"epochs": 1, "image_size": 64, "batch_size": 2},
        }
    )


@pytest.mark.parametrize(
    ("architecture", "fresh"),
    [
        ("unet", {"head.weight", "head.bias"}),
        (
            "fcn",  # classes are its channels from the scores on
            {
                *("score.weight", "score.bias", "doublings.0.1.weight", "doublings.1.1.weight"),
                *(f"skip_scores.{n}.{kind}" for n in (0, 1) for kind in ("weight", "bias")),
            },
        ),
        ("pspnet", {"head.weight", "head.bias", "auxiliary.4.weight", "auxiliary.4.bias"}),
    ],
)
def test_what_depends_on_the_classes_starts_afresh(
    architecture: str, fresh: set[str], tmp_path: Path
) -> None:
    start = tmp_path / "start.safetensors"
    given = build(architecture, {**SMALL, "classes": 5}).state_dict()
    save_file({name: value.contiguous() for name, value in given.items()}, start)
    model = build(architecture, {**SMALL, "classes": 3})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    said: list[str] = []
    start_weights(model, recipe(architecture, start), said.append)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] if name in fresh else given[name])
    assert len(said) == 1 and all(name in said[0] for name in fresh)


def test_other_differences_are_refused(tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_file(build("unet", {**SMALL, "classes": 5}).state_dict(), start)
    widths = [32, 16, 16, 8, 8]
    model = build("unet", {**SMALL, "classes": 3, "decoder_channels": widths})
    with pytest.raises(WeightsError, match=r"does not fit"):
        start_weights(model, recipe("unet", start, decoder_channels=widths))
