"""Checkpoints: exact round trips, and clear refusals of everything else."""

import errno
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from vitrail.errors import OutputError, WeightsError
from vitrail.models.registry import build
from vitrail.weights.card import Card
from vitrail.weights.files import load_state, read_tensors, write_checkpoint, write_tensors
from vitrail.weights.header import read_card, read_metadata

ARGUMENTS = {"encoder": "mobilenetv2_035", "classes": 2, "decoder_channels": [16, 16, 8, 8, 8]}


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return build("unet", ARGUMENTS).eval()


@pytest.fixture
def card() -> Card:
    return Card.model_validate(
        {
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
    )


def test_round_trip_gives_identical_outputs(model, card, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tiny.safetensors"
    write_checkpoint(path, model, card)
    assert read_card(path) == card
    other = build("unet", ARGUMENTS).eval()
    load_state(other, read_tensors(path), path)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(other(images).logits, model(images).logits)


def test_half_precision_keeps_statistics_whole(model, card, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    write_checkpoint(path, model, card, dtype=torch.float16)
    tensors = read_tensors(path)
    kinds = {tensor.ndim > 1: tensor.dtype for tensor in tensors.values()}
    assert kinds == {True: torch.float16, False: torch.float32}
    assert path.stat().st_size < 0.6 * sum(4 * p.numel() for p in model.parameters())


def test_a_failed_write_leaves_the_old_file(
    model, card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=r"tiny.safetensors: No space left"):
        write_checkpoint(path, model, card)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


class Bomb:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("/tmp/vitrail-was-exploited",)


@pytest.mark.parametrize("how", ["pickle", "torch.save"])
def test_a_pickle_is_refused_and_never_run(how: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({"weight": Bomb()}, path)
    with pytest.raises(WeightsError, match=r"pickled.*refused"):
        read_tensors(path)
    assert not Path("/tmp/vitrail-was-exploited").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"abc", "not a safetensors file"),
        (b"This is only some text, though rather long.", "not a safetensors file"),
        (struct.pack("<Q", 1 << 60) + b"{}", "not a safetensors file"),
        (struct.pack("<Q", 2) + b"[]", "not a safetensors file"),
        (struct.pack("<Q", 2) + b"{}" + b"tail", "damaged or cut short"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_metadata(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_checkpoint_is_refused(model, card, tmp_path: Path, share: float) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, model, card)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"model.safetensors: "):
        read_tensors(path)


def test_a_missing_file_and_a_file_without_card(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such checkpoint"):
        read_card(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(WeightsError, match="no vitrail card"):
        read_card(tmp_path / "bare.safetensors")


def test_what_does_not_fit_is_listed(model) -> None:
    state = dict(model.state_dict())
    state["extra.weight"] = state.pop("head.weight")
    state["head.bias"] = torch.zeros(7)
    with pytest.raises(WeightsError) as caught:
        load_state(model, state, "some.safetensors")
    message = str(caught.value)
    assert message.startswith("some.safetensors: does not fit the model: ")
    assert "lacks head.weight" in message
    assert "has too much extra.weight" in message
    assert "head.bias (7,) where the model has (2,)" in message


def test_a_header_as_long_as_a_pickle_s_first_byte(tmp_path: Path) -> None:
    """Its length is the file's first byte: 128 is also where a pickle begins."""
    path = tmp_path / "a.safetensors"
    for padding in range(256):
        content = save({"a": torch.zeros(2)}, {"note": "x" * padding})
        if content[0] == 0x80:
            break
    assert content[0] == 0x80
    path.write_bytes(content)
    assert read_metadata(path) == {"note": "x" * padding}
    path.write_bytes(content[:100])
    with pytest.raises(WeightsError, match="not a safetensors file"):
        read_metadata(path)


def test_tensors_that_share_memory_are_written_apart(card, tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    tensors = {"a": whole, "b": whole, "c": whole.T, "d": whole[1], "e": torch.zeros(0)}
    write_tensors(tmp_path / "x.safetensors", tensors | {"f": torch.zeros(0)}, card)
    found = read_tensors(tmp_path / "x.safetensors")
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
