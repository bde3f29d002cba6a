"""A file for a named network: its own card must not say that it is another one."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import vitrail
from tests.weights.test_files import ARGUMENTS
from vitrail.errors import WeightsError
from vitrail.models.registry import build
from vitrail.weights import catalog as names
from vitrail.weights.card import Card
from vitrail.weights.catalog import Entry
from vitrail.weights.files import write_checkpoint
from vitrail.weights.importers import tensors_for

VALUES = {
    "name": "tiny",
    "summary": "for tests",
    "architecture": "unet",
    "arguments": ARGUMENTS,
    "classes": ["background", "object"],
    "background": 0,
    "preprocessing": {"image_size": 64},
    "training_data": "none",
    "training_command": "none",
    "licences": {"code": "Apache-2.0", "weights": "Apache-2.0", "training_data": "none"},
}


def card(**changes: object) -> Card:
    return Card.model_validate(VALUES | changes)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return build("unet", ARGUMENTS)


def test_another_training_of_the_same_network_fits(model, tmp_path: Path) -> None:
    """Defaults that are spelt out, lists for tuples, other sizes and names are no difference."""
    path = tmp_path / "mine.safetensors"
    arguments = {**ARGUMENTS, "in_channels": 3, "decoder_channels": (16, 16, 8, 8, 8)}
    own = card(name="mine", arguments=arguments, preprocessing={"image_size": 128})
    write_checkpoint(path, model, own)
    assert tensors_for(card(), path).keys() == tensors_for(own, path).keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "fpn"}, "the architecture is 'fpn', expected 'unet'"),
        ({"arguments": {**ARGUMENTS, "encoder": "resnet18"}}, "encoder is 'resnet18', expected"),
        ({"classes": ["object", "background"]}, "class 0 is 'object', expected 'background'"),
        ({"classes": ["background"]}, "class 1 is None, expected 'object'"),
        ({"background": None}, "the background is None, expected 0"),
        ({"preprocessing": {"image_size": 64, "std": (1, 1, 1)}}, r"std is \(1.0, 1.0, 1.0\)"),
        ({"architecture": "nothing"}, "the architecture is 'nothing'"),
        ({"arguments": {**ARGUMENTS, "x": 1}}, "its card describes no network we know: unet: x=1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_another_network_is_refused_by_what_differs(
    changes: dict[str, object], message: str, model, tmp_path: Path
) -> None:
    path = tmp_path / "mine.safetensors"
    write_checkpoint(path, model, card(name="mine", **changes))
    with pytest.raises(WeightsError, match=rf"mine\.safetensors: .*{message}") as caught:
        tensors_for(card(), path)
    if "no network we know" not in message:
        assert f"vitrail.load({str(path)!r})" in str(caught.value)


def test_load_refuses_it_too(model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.safetensors"
    write_checkpoint(path, model, card(name="mine", classes=["cat", "dog"], background=None))
    known = tmp_path / "known.safetensors"
    write_checkpoint(known, model, card())
    monkeypatch.setitem(names.catalog(), "tiny", Entry(card(), known))
    with pytest.raises(WeightsError, match="is another network than tiny: class 0 is 'cat'"):
        vitrail.load("tiny", weights=path, device="cpu")
    assert vitrail.load(path, device="cpu").card.classes == ("cat", "dog")  # pyright: ignore


def test_tensors_without_a_card_are_taken_by_their_shapes(model, tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    assert tensors_for(card(), path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="does not fit the model"):
        tensors_for(card(), path)


def test_thresholds_make_no_other_network(tmp_path: Path) -> None:
    """Neither tensors nor classes hang on them."""
    arguments = {"encoder": "resnet18", "classes": 2, "box_width": 8, "pyramid_channels": 8}
    values = {"architecture": "mask-rcnn", "background": None, "arguments": arguments}
    own = card(name="mine", **values | {"arguments": {**arguments, "detection": {"nms": 0.1}}})
    path = tmp_path / "mine.safetensors"
    write_checkpoint(path, build("mask-rcnn", own.arguments), own)
    assert tensors_for(card(**values), path)
