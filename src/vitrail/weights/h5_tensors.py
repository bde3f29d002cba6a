"""The arrays of a Keras ``.h5`` file, without trusting anything that the file says of itself.

HDF5 can do far more than hold arrays: links into other files, raw data in other files, arrays made
up from pieces of others, filters that are loaded as plugins, references to objects, groups that
contain themselves. Keras writes none of that. Here only plain groups with plain float32 arrays are
read, each stored uncompressed in one piece that lies within the file, and each only once it is
known to have the shape that its reader expects: no file can ask for more memory than it has bytes.
Attributes are not read at all: the names of groups and arrays say everything, and are the same in
the files of Keras 2.0.8 (names as byte strings of fixed length) and 2.15 (variable length).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vitrail.errors import WeightsError
from vitrail.weights.files import no_memory

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""How HDF5 files begin."""

_MAX_LINKS = 20_000
"""In the whole file; a Mask R-CNN over ResNet-101 has about 1,500."""
_MAX_DEPTH = 8
"""Groups within groups; Keras needs five."""

Name = tuple[str, ...]
"""Of an array: its groups from the outermost to its own name."""


@dataclass(frozen=True)
class H5Tensors:
    """The arrays of an open file."""

    path: Path
    shapes: dict[Name, tuple[int, ...]]
    """Of each array, as declared; nothing of it has been read yet."""
    _file: h5py.File

    def read(self, name: Name, shape: tuple[int, ...]) -> np.ndarray:
        """An array, float32.

        Parameters
        ----------
        name
            one of :attr:`shapes`.
        shape
            that it must have.

        Raises
        ------
        WeightsError
            it has another shape or type, is not stored as Keras stores arrays, reaches beyond the
            end of the file, or holds a value that is no finite number.
        """
        said = f"{self.path}: {'/'.join(name)}"
        if self.shapes[name] != shape:
            raise WeightsError(f"{said}: has shape {self.shapes[name]}, expected {shape}")
        with _refusing(self.path):
            dataset = self._file["/".join(name)]
            assert isinstance(dataset, h5py.Dataset)  # it was when the file was opened
            values = self._read(dataset, shape, said)
        if not np.isfinite(values).all():
            raise WeightsError(f"{said}: holds values that are no finite numbers")
        return values

    def _read(self, dataset: h5py.Dataset, shape: tuple[int, ...], said: str) -> np.ndarray:
        if dataset.dtype.newbyteorder("=") != np.float32:
            raise WeightsError(f"{said}: has type {dataset.dtype}, expected float32")
        stored = dataset.id.get_create_plist()
        if stored.get_layout() != h5py.h5d.CONTIGUOUS or stored.get_external_count():
            raise WeightsError(
                f"{said}: is compressed, in pieces or in another file; Keras stores arrays whole, "
                "and only such are read"
            )
        offset, size = dataset.id.get_offset(), dataset.id.get_storage_size()
        wanted = 4 * math.prod(shape)
        if offset is None or size != wanted or offset + size > self.path.stat().st_size:
            raise WeightsError(
                f"{said}: declares {wanted:,} bytes that are not all in the file; it is damaged or "
                "cut short"
            )
        return np.asarray(dataset[()], np.float32)


@contextmanager
def open_h5(path: Path) -> Iterator[H5Tensors]:
    """Open a ``.h5`` file and list its arrays, reading none.

    Raises
    ------
    WeightsError
        the file is missing, is no HDF5, is cut short or damaged, or holds links, too many groups,
        or groups that contain themselves.
    """
    try:
        with path.open("rb") as plain:
            start = plain.read(len(SIGNATURE))
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    if start != SIGNATURE:
        what = "not an HDF5 file" if start else "the file is empty"
        raise WeightsError(f"{path}: {what}; expected a .h5 file with a Keras network's weights")
    with _refusing(path):
        file = h5py.File(path, "r", locking=False)
    with file:
        with _refusing(path):
            shapes = dict(_arrays(file, path))
        yield H5Tensors(path, shapes, file)


def _arrays(file: h5py.File, path: Path) -> Iterator[tuple[Name, tuple[int, ...]]]:
    """Every array's name and declared shape; links that lead elsewhere are refused unfollowed."""
    todo: list[Name] = [()]
    links = 0
    while todo:
        parents = todo.pop()
        group: Any = file["/".join(parents)] if parents else file
        for part in group:
            links += 1
            name = (*parents, part)
            said = f"{path}: {'/'.join(name)}"
            if links > _MAX_LINKS or len(name) > _MAX_DEPTH:
                raise WeightsError(
                    f"{said}: more groups than a network's weights have (over {_MAX_LINKS:,}, or "
                    f"more than {_MAX_DEPTH} within each other); the file is damaged or hostile"
                )
            link = group.get(part, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise WeightsError(
                    f"{said}: is a link ({type(link).__name__}); Keras writes none, and it is not "
                    "followed"
                )
            kind = group.get(part, getclass=True)
            if kind is h5py.Group:
                todo.append(name)
            elif kind is h5py.Dataset:
                shape = group[part].shape
                if shape is None:
                    raise WeightsError(f"{said}: has no values")
                yield name, tuple(int(side) for side in shape)
            else:
                raise WeightsError(f"{said}: is neither a group nor an array")


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Whatever a made-up file runs the HDF5 library into, as an error that names the file."""
    try:
        yield
    except WeightsError:
        raise
    except MemoryError:
        raise WeightsError(no_memory(path)) from None
    except Exception as error:
        reason = str(error).splitlines()[0][:150] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path}: damaged, cut short, or not a file of Keras ({reason})"
        ) from None
