"""Keras's .h5 files: plain arrays come out of them, whatever else they hold is refused."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from vitrail.errors import WeightsError
from vitrail.weights import h5_tensors
from vitrail.weights.h5_tensors import open_h5

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)
NAME = ("conv1", "conv1", "kernel:0")


def written(path: Path, fill: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def put(values: object, **options: object) -> Callable[[h5py.File], object]:
    return lambda file: file.create_dataset("/".join(NAME), data=values, **options)


def read(path: Path, shape: tuple[int, ...] = (3, 4)) -> np.ndarray:
    with open_h5(path) as file:
        return file.read(NAME, shape)


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_arrays_come_out_as_they_went_in(dtype: str, tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5", put(VALUES.astype(dtype)))
    with open_h5(path) as file:
        assert file.shapes == {NAME: (3, 4)}
        values = file.read(NAME, (3, 4))
    assert values.dtype == np.float32 and values.dtype.isnative
    np.testing.assert_array_equal(values, VALUES)


def test_a_single_number_is_an_array_too(tmp_path: Path) -> None:
    assert read(written(tmp_path / "x.h5", put(np.float32(3))), ()) == 3


def test_attributes_are_not_looked_at(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        put(VALUES)(file)
        file.attrs["layer_names"] = file.ref  # Keras would have names here

    np.testing.assert_array_equal(read(written(tmp_path / "x.h5", fill)), VALUES)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5", put(VALUES))
    with pytest.raises(WeightsError, match=r"x\.h5: conv1/.*\(3, 4\), expected \(4, 3\)"):
        read(path, (4, 3))


def huge(file: h5py.File) -> None:
    file.create_dataset("/".join(NAME), (1 << 20, 1 << 20), "f4")


def test_a_huge_array_takes_no_memory(tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5", huge)
    with pytest.raises(WeightsError, match="expected"):
        read(path)
    with pytest.raises(WeightsError, match="4,398,046,511,104 bytes that are not all in the file"):
        read(path, (1 << 20, 1 << 20))


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "values", (3, 4))
    file.create_virtual_dataset("/".join(NAME), layout)


def outside(file: h5py.File) -> None:
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(VALUES.tobytes())
    file.create_dataset("/".join(NAME), (3, 4), "f4", external=[(str(secret), 0, VALUES.nbytes)])


@pytest.mark.parametrize(
    "fill, message",
    [
        (put(np.zeros((3, 4), np.float32), compression="gzip"), "is compressed, in pieces or in"),
        (put(VALUES, chunks=(1, 4)), "is compressed, in pieces or in another file"),
        (virtual, "is compressed, in pieces or in another file"),
        (outside, "is compressed, in pieces or in another file"),
        (put(VALUES.astype(np.float64)), "has type float64, expected float32"),
        (put(VALUES.astype(np.int32)), "has type int32, expected float32"),
        (put(VALUES.astype(np.complex64)), "has type complex64, expected float32"),
        (put(np.full((3, 4), b"name")), r"has type \|S4, expected float32"),
        (put(None, shape=(3, 4), dtype=h5py.string_dtype()), "has type object, expected float32"),
        (put(None, shape=(3, 4), dtype=h5py.ref_dtype), "has type object, expected float32"),
        (put(np.full((3, 4), np.nan, np.float32)), "no finite numbers"),
        (put(np.full((3, 4), np.inf, np.float32)), "no finite numbers"),
        (put(np.zeros((0, 4), np.float32)), r"\(0, 4\), expected \(3, 4\)"),
    ],
)
def test_what_keras_does_not_write_is_refused(
    fill: Callable[[h5py.File], object], message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "x.h5", fill)
    with pytest.raises(WeightsError, match=rf"x\.h5: conv1/conv1/kernel:0: .*{message}"):
        read(path)


def loop(file: h5py.File) -> None:
    group = file.create_group("a")
    group["b"], group["c"] = group, group


def link(target: object) -> Callable[[h5py.File], object]:
    return lambda file: file.create_group("conv1").__setitem__("conv1", target)


def many(file: h5py.File) -> None:
    group = file.create_group("a")
    for number in range(200):
        group[str(number)] = file
    file.create_group("b")


@pytest.mark.parametrize(
    "fill, message",
    [
        (link(h5py.ExternalLink("other.h5", "/values")), "conv1/conv1: is a link .ExternalLink"),
        (link(h5py.SoftLink("/conv1/conv1")), "conv1/conv1: is a link .SoftLink"),
        (loop, "more groups than a network's weights have"),
        (many, "more groups than a network's weights have"),
        (put(h5py.Empty("f4")), "conv1/conv1/kernel:0: has no values"),
        (link(np.dtype("f4")), "conv1/conv1: is neither a group nor an array"),
    ],
    ids=["external link", "soft link", "loop", "many", "empty", "type"],
)
def test_files_that_lead_astray_are_refused(
    fill: Callable[[h5py.File], object], message: str, tmp_path: Path
) -> None:
    written(tmp_path / "other.h5", lambda file: file.__setitem__("values", VALUES))
    path = written(tmp_path / "x.h5", fill)
    with pytest.raises(WeightsError, match=rf"x\.h5: .*{message}"), open_h5(path):
        pass


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.7, 0.99])
def test_a_file_cut_short_is_refused(kept: float, tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5", put(np.zeros((50, 50), np.float32)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(WeightsError, match=r"x\.h5: damaged, cut short"):
        read(path, (50, 50))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04 something", "not an HDF5 file; expected a .h5 file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(4000), "damaged, cut short, or not a file of Keras"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"x\.h5: {message}"):
        read(tmp_path / "x.h5")


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such checkpoint"):
        read(tmp_path / "x.h5")
    with pytest.raises(WeightsError, match=r"cannot be read \(Is a directory\)"):
        read(tmp_path)


def test_too_little_memory_is_not_called_damage(tmp_path: Path) -> None:
    path = tmp_path / "large.h5"
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="not enough memory"), h5_tensors._refusing(path):
        raise MemoryError
