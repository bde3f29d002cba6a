"""Arrays of one struct in a MATLAB file of version 5, as SBD keeps its masks.

Format: "MAT-File Level 5 File Format", The MathWorks,
https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. Only numeric fields of a struct
are read; what is not asked for (SBD's sparse boundaries, most of a file) is stepped over.
``scipy.io.loadmat`` reads far more, but damaged files can crash the process in it (1.17.1), which
no caller can catch.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from vitrail.errors import DataError

MAX_MAT_BYTES = 256 * 1024**2
"""Of a file, and of what it unpacks to; those of SBD have some tens of kilobytes."""

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _NUMERIC = 2, range(6, 16)
_COMPLEX = 0x800
_KINDS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
"""NumPy's names of the file's types of numbers."""

Element = tuple[int, memoryview]
"""Type and content."""


class _DamagedError(ValueError):
    """The bytes are not what the format says they are."""


def read_struct(path: Path, variable: str, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Numeric fields of a struct, by name; those that it does not have are absent.

    Values have the type in which they are stored, which is the smallest that holds them.

    Raises
    ------
    DataError
        it is no such file, is damaged, is or unpacks to more than the limit, or the variable is
        not in it or is no struct.
    """
    try:
        size = path.stat().st_size
        if size > MAX_MAT_BYTES:
            raise DataError(f"{path}: has {size:,} bytes, more than the limit {MAX_MAT_BYTES:,}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if data.startswith(b"MATLAB 7.3") or data.startswith(b"\x89HDF"):
        raise DataError(f"{path}: is a MATLAB file of version 7.3; save it with -v7, as SBD's are")
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(data[124:_HEADER])
    if order is None:
        raise DataError(f"{path}: not a MATLAB file of version 5")
    try:
        return _find(memoryview(data)[_HEADER:], order, variable, wanted)
    except _DamagedError as error:
        raise DataError(f"{path}: {error}; expected a struct {variable} as in SBD") from None


def _find(
    data: memoryview, order: str, variable: str, wanted: Collection[str]
) -> dict[str, np.ndarray]:
    left = MAX_MAT_BYTES
    for kind, content in _elements(data, order):
        if kind == _COMPRESSED:
            unpacked = _unpack(content, left)
            left -= len(unpacked)
            kind, content = next(_elements(memoryview(unpacked), order), (0, content))
        if kind != _MATRIX:
            continue
        parts = _elements(content, order)
        shape, mx_class, _ = _describe(parts, order)
        if bytes(_next(parts)[1]) != variable.encode():
            continue
        if mx_class != _STRUCT or math.prod(shape) != 1:
            raise _DamagedError(f"{variable} is no single struct")
        return _fields(parts, order, wanted)
    raise _DamagedError(f"has no variable {variable}")


def _fields(parts: Iterator[Element], order: str, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Fields of a struct whose description has been read."""
    lengths = _numbers(_next(parts), order)
    names = bytes(_next(parts)[1])
    width = int(lengths[0]) if len(lengths) == 1 else 0
    if width < 1 or len(names) % width:
        raise _DamagedError("the names of its fields are damaged")
    found: dict[str, np.ndarray] = {}
    for start in range(0, len(names), width):
        name = names[start : start + width].split(b"\0")[0].decode("latin-1")
        kind, content = _next(parts)
        if name in wanted:
            if kind != _MATRIX:
                raise _DamagedError(f"its field {name} is damaged")
            found[name] = _array(content, order, name)
    return found


def _array(content: memoryview, order: str, name: str) -> np.ndarray:
    parts = _elements(content, order)
    shape, mx_class, flags = _describe(parts, order)
    if mx_class not in _NUMERIC or flags & _COMPLEX:
        raise _DamagedError(f"its field {name} holds no real numbers")
    _next(parts)  # the name, which fields do not have
    values = _numbers(_next(parts), order)
    if math.prod(shape) != len(values):
        raise _DamagedError(f"its field {name} has {len(values)} values for the shape {shape}")
    return values.reshape(shape, order="F")


def _describe(parts: Iterator[Element], order: str) -> tuple[tuple[int, ...], int, int]:
    """Shape, class and flags, the first two elements of each array."""
    flags = _numbers(_next(parts), order)
    shape = _numbers(_next(parts), order)
    if len(flags) != 2 or flags.dtype.kind != "u" or not 2 <= len(shape) <= 8:
        raise _DamagedError("an array is damaged")
    if shape.dtype.kind != "i" or (shape < 0).any():
        raise _DamagedError(f"an array has the shape {shape.tolist()}")
    first = int(flags[0])
    return tuple(shape.tolist()), first & 0xFF, first


def _numbers(element: Element, order: str) -> np.ndarray:
    kind, content = element
    if kind not in _KINDS:
        raise _DamagedError(f"holds type {kind} where numbers should be")
    dtype = np.dtype(order + _KINDS[kind])
    if len(content) % dtype.itemsize:
        raise _DamagedError(f"holds {len(content)} bytes of numbers of {dtype.itemsize} bytes each")
    return np.frombuffer(content, dtype).astype(dtype.newbyteorder("="))


def _next(parts: Iterator[Element]) -> Element:
    for part in parts:
        return part
    raise _DamagedError("it ends too early")


def _elements(data: memoryview, order: str) -> Iterator[Element]:
    """Elements one after another: type, length, content filled up to 8 bytes; small ones in 8."""
    byteorder = "little" if order == "<" else "big"
    place = 0
    while place < len(data):
        head = bytes(data[place : place + 8])
        if len(head) < 8:
            raise _DamagedError("it is cut short")
        first = int.from_bytes(head[:4], byteorder)
        kind, length, start = first, int.from_bytes(head[4:], byteorder), place + 8
        small = first >> 16
        if small:
            kind, length, start = first & 0xFFFF, small, place + 4
        if length > len(data) - start or (small and length > 4):
            raise _DamagedError("it is cut short")
        yield kind, data[start : start + length]
        # Packed elements alone are not filled up.
        place = (
            place + 8 if small else start + (length if kind == _COMPRESSED else -(-length // 8) * 8)
        )


def _unpack(packed: memoryview, limit: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(packed, limit + 1)
    except zlib.error as error:
        raise _DamagedError(f"its packed data is damaged ({error})") from None
    if len(unpacked) > limit:
        raise _DamagedError(f"unpacks to more than the limit of {MAX_MAT_BYTES:,} bytes")
    if not stream.eof:
        raise _DamagedError("its packed data is cut short")
    return unpacked
