"""Files of torch.save: only tensors come out of them, and nothing in them runs."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vitrail.errors import WeightsError
from vitrail.weights.importers.tensors import read_any_tensors

TENSORS = {"a.weight": torch.arange(3000.0), "a.bias": torch.ones(2)}


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "older form"])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
def test_states_come_out_as_they_went_in(
    new: bool, wrapper: str | None, prefix: str, tmp_path: Path
) -> None:
    state = {prefix + name: value for name, value in TENSORS.items()}
    content = state if wrapper is None else {wrapper: state, "epoch": 3}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
    found = read_any_tensors(tmp_path / "x.pth")
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_safetensors_too(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "x.safetensors")
    assert torch.equal(read_any_tensors(tmp_path / "x.safetensors")["a.bias"], torch.ones(2))


@pytest.mark.parametrize("how", ["zip", "older form", "pickle"])
def test_code_is_refused_and_never_runs(how: str, tmp_path: Path) -> None:
    path, marker = tmp_path / "x.pth", tmp_path / "was-run"
    content = {"a": torch.zeros(1), "b": Bomb(marker)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(Bomb(marker)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(WeightsError, match=r"x.pth: this pickle asks for more than tensors"):
        read_any_tensors(path)
    assert not marker.exists()


def test_a_whole_network_is_refused_with_its_name(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict"):
        read_any_tensors(tmp_path / "x.pth")


@pytest.mark.parametrize("new", [True, False], ids=["zip", "older form"])
@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(new: bool, share: float, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=new)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"x.pth: damaged, cut short"):
        read_any_tensors(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"only text", "not a file of torch.save")],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"x.pth: {message}"):
        read_any_tensors(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(2), {"epoch": 3}, {}, {1: torch.ones(1)}])
def test_what_is_no_state_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="not a network's state"):
        read_any_tensors(tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="no such checkpoint"):
        read_any_tensors(tmp_path / "none.pth")
