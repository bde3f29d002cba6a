"""Files of torch.save: only tensors come out of them, and nothing in them runs."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
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


def test_arrays_become_tensors(tmp_path: Path) -> None:
    """As detectron2's model zoo has them, whatever the order of bytes and axes."""
    arrays = {
        "a": np.arange(6, dtype="f4").reshape(2, 3),
        "b": np.asfortranarray(np.arange(6, dtype="f8").reshape(2, 3)),
        "c": np.arange(3, dtype=">i8"),
        "d": np.array(2.5, ">f4"),
    }
    path = tmp_path / "x.pkl"
    content = {"model": arrays, "__author__": "somebody", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(content))
    found = read_any_tensors(path)
    assert found.keys() == arrays.keys()
    for name, value in arrays.items():
        own = found[name].numpy()
        assert own.dtype == value.dtype.newbyteorder("=") and np.array_equal(own, value), name
        assert found[name].is_contiguous()
    found["a"].add_(1)  # no view of the file's bytes
    path.write_bytes(pickle.dumps(arrays))
    assert read_any_tensors(path).keys() == arrays.keys()
    path.write_bytes(pickle.dumps({"model": {"a": Bomb(tmp_path / "was-run")}}))
    with pytest.raises(WeightsError, match=r"x\.pkl: this pickle asks for .*mkdir"):
        read_any_tensors(path)
    assert not (tmp_path / "was-run").exists()
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(WeightsError, match="not a network's state"):
        read_any_tensors(path)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "older form"])
def test_files_of_torch_may_be_called_pkl(new: bool, tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "x.pkl", _use_new_zipfile_serialization=new)
    assert torch.equal(read_any_tensors(tmp_path / "x.pkl")["a.weight"], TENSORS["a.weight"])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.zeros(1).expand(1 << 40), "of which the file holds only a part"),
        (lambda: torch.zeros(3, device="meta"), "without its values"),
        (lambda: torch.eye(3).to_sparse(), "sparse_coo"),
        (lambda: torch.eye(3).to_sparse_csr(), "sparse_csr"),
        (lambda: torch.zeros(3, dtype=torch.complex64), "complex"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantized"),
    ],
    ids=["expanded", "meta", "coo", "csr", "complex", "quantized"],
)
def test_tensors_that_are_no_weights(
    make: Callable[[], torch.Tensor], message: str, tmp_path: Path
) -> None:
    torch.save({"a": torch.zeros(2), "b.weight": make()}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=rf"x\.pth: b\.weight .*{message}"):
        read_any_tensors(tmp_path / "x.pth")


def test_views_come_out(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    torch.save({"a": whole, "b": whole.T, "c": whole[1], "d": whole}, tmp_path / "x.pth")
    found = read_any_tensors(tmp_path / "x.pth")
    assert torch.equal(found["b"], whole.T) and torch.equal(found["c"], whole[1])


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: x")],
)
def test_memory_that_does_not_suffice(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **more: object) -> None:
        raise error

    torch.save(TENSORS, tmp_path / "x.pth")
    monkeypatch.setattr(torch, "load", fails)
    with pytest.raises(WeightsError, match=r"x\.pth: there is not enough memory for its tensors"):
        read_any_tensors(tmp_path / "x.pth")
