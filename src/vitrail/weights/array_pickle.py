"""NumPy arrays out of a pickle, as detectron2's model zoo has them; no code in it runs.

Python's own unpickler can be told to import and call anything. The one here cannot, which is why it
is used instead of ``pickle.Unpickler`` with a list of what is allowed:

- It imports nothing and calls nothing that a file names. The few names that a pickled array needs
  (:data:`_NAMES`, compared whole, so that ``numpy.core`` with ``os.system`` is none of them) become
  members of an enumeration, and what is made of those is written out below.
- Of the machine's instructions (:mod:`vitrail.weights.pickle_machine`) those are missing that make
  objects of classes, or ask for extension codes, persistent ids or buffers kept elsewhere.
- Objects get no state: only an array's shell, a dtype and a dictionary may be given one, and what
  each takes is spelt out.
- An array is a view of bytes that are in the file, of a numeric dtype, with a shape that these
  bytes fill exactly. No array can hold objects, and none is larger than the file.

What arrays write into a pickle is in NumPy's ``array_reduce`` and ``array_reduce_ex_picklebuffer``
(numpy/_core/src/multiarray/methods.c).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from vitrail.errors import WeightsError
from vitrail.weights.pickle_machine import Machine, RefusedError, shown

_MOST_DIMENSIONS = 8
_MOST_ELEMENTS = 1 << 40


class _Name(Enum):
    """What a pickle may name; nothing of it is imported or called."""

    RECONSTRUCT = "numpy.core.multiarray._reconstruct"
    FROM_BUFFER = "numpy.core.numeric._frombuffer"
    SCALAR = "numpy.core.multiarray.scalar"
    ARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"
    ENCODE = "_codecs.encode"
    BYTES = "builtins.bytes"
    ORDERED = "collections.OrderedDict"


_NAMES: dict[tuple[str, str], _Name] = {
    ("numpy.core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _Name.FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _Name.FROM_BUFFER,
    ("numpy.core.multiarray", "scalar"): _Name.SCALAR,
    ("numpy._core.multiarray", "scalar"): _Name.SCALAR,
    ("numpy", "ndarray"): _Name.ARRAY,
    ("numpy", "dtype"): _Name.DTYPE,
    ("_codecs", "encode"): _Name.ENCODE,
    ("__builtin__", "bytes"): _Name.BYTES,
    ("builtins", "bytes"): _Name.BYTES,
    ("collections", "OrderedDict"): _Name.ORDERED,
}


@dataclass(slots=True, eq=False)
class _DType:
    """A numeric dtype; its byte order comes later, as its state."""

    code: str
    order: str = "="

    def numpy(self) -> np.dtype:
        return np.dtype(self.order + self.code)


@dataclass(slots=True, eq=False)
class _Shell:
    """An array: empty until it is given its state."""

    value: np.ndarray | None = None


_CODE = re.compile(r"f[248]|[iu][1248]")
"""Numbers; Python objects (O), structures (V), text and dates are none."""


def read_array_pickle(path: Path) -> object:
    """What a pickle of arrays, strings, numbers, lists, tuples and dictionaries holds.

    Arrays are read-only views of one buffer with the file's bytes, in the file's byte order; bytes
    are memoryviews of it.

    Raises
    ------
    WeightsError
        the file is missing, cut short or of another kind, or asks for anything else; whatever it
        asks for is named, and was neither imported nor called.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    except MemoryError:
        raise WeightsError(
            f"{path}: there is not enough memory to read its {path.stat().st_size / 1e6:,.0f} MB"
        ) from None
    try:
        return _ArrayMachine(content).run()
    except RefusedError as error:
        raise WeightsError(f"{path}: {error}") from None
    except MemoryError:
        raise WeightsError(f"{path}: there is not enough memory for what it holds") from None


class _ArrayMachine(Machine):
    """What the names of pickled arrays stand for."""

    def name(self, module: object, name: object) -> None:
        known = None
        if type(module) is str and type(name) is str:
            known = _NAMES.get((module, name))
        if known is None:
            raise RefusedError(
                f"this pickle asks for {shown(module)}.{shown(name)}, which could run code, and "
                "is refused; only NumPy arrays of numbers in plain containers are read: have "
                "whoever made it save those, or a .safetensors file"
            )
        self.push(known)

    def reduce(self) -> None:
        """What calling a name with arguments would make; nothing is called."""
        arguments, name = self.pop(), self.pop()
        if type(arguments) is not tuple or not isinstance(name, _Name):
            self.wrong(name, "calls")
        match name, arguments:
            case _Name.RECONSTRUCT, (_Name.ARRAY, (0,), _):
                self.push(_Shell())
            case _Name.FROM_BUFFER, (
                memoryview() as data,
                _DType() as dtype,
                tuple() as shape,
                "C" | "F" as order,
            ):
                self.push(_Shell(self._array(data, dtype, shape, order == "F")))
            case _Name.FROM_BUFFER, (
                memoryview() as data,
                _DType() as dtype,
                tuple() as shape,
                "K",
                tuple() as axes,
            ) if _is_permutation(axes, len(shape)):
                # Pickled in the order of its memory; axes as they were before.
                array = self._array(data, dtype, shape, False)
                self.push(_Shell(array.transpose(axes)))
            case _Name.SCALAR, (_DType() as dtype, memoryview() as data):
                self.push(_Shell(self._array(data, dtype, (), False)))
            case _Name.DTYPE, (str() as code, _, _) | (str() as code,):
                if not _CODE.fullmatch(code):
                    raise RefusedError(
                        f"holds an array of the dtype {shown(code)}; expected numbers (f4, i8 and "
                        "the like), since others could hold Python objects; refused"
                    )
                self.push(_DType(code))
            case _Name.ENCODE, (str() as text, "latin1" | "latin-1"):
                self.push(self.encoded(text))
            case _Name.BYTES, ():
                self.push(memoryview(b""))
            case _Name.ORDERED, ():
                self.push({})
            case _:
                raise RefusedError(
                    f"this pickle calls {name.value} with arguments that no array has; refused"
                )

    def build(self) -> None:
        """Give an object its state."""
        state, target = self.pop(), self.top()
        match target, state:
            case _DType(), (int(), "<" | ">" | "|" | "=" as order, None, None, None, -1, -1, 0):
                target.order = order
            case _Shell(value=None), (
                1,
                tuple() as shape,
                _DType() as dtype,
                bool() as fortran,
                memoryview() | str() as data,
            ):
                data = self.encoded(data) if isinstance(data, str) else data
                target.value = self._array(data, dtype, shape, fortran)
            case dict(), dict():
                pass  # what torch hangs on a state (_metadata) is not needed
            case _:
                self.wrong(target, "gives a state to")

    def _array(
        self, data: memoryview, dtype: _DType, shape: tuple[object, ...], fortran: bool
    ) -> np.ndarray:
        sides = [side for side in shape if type(side) is int and side >= 0]
        if len(sides) != len(shape) or len(shape) > _MOST_DIMENSIONS:
            raise RefusedError(f"holds an array with a shape of {len(shape)} sides, not all whole")
        kind = dtype.numpy()
        # Sides of 0 count as 1: beside one of them the others could be of any length.
        if math.prod(max(side, 1) for side in sides) > _MOST_ELEMENTS:
            raise RefusedError(f"holds an array of the shape {sides}; refused")
        wanted = math.prod(sides) * kind.itemsize
        if wanted != len(data):
            raise RefusedError(
                f"damaged: an array of the shape {tuple(sides)} and the dtype {kind} takes "
                f"{wanted:,} bytes, and {len(data):,} are there"
            )
        self.spend(wanted)
        flat = np.frombuffer(data, kind) if wanted else np.empty(0, kind)
        return flat.reshape(sides, order="F" if fortran else "C")

    def plain(self, value: object) -> object:
        """An array instead of its shell.

        Python writes an array's values before it puts it anywhere, so that shells need not be
        looked for in what is finished.
        """
        if not isinstance(value, _Shell):
            return value
        if value.value is None:
            raise RefusedError("damaged: an array in it has no values")
        return value.value

    def argument(self, value: object) -> object:
        """Tuples hold arguments and states, which are compared with what is expected of them: an
        array would answer that with an array."""
        if isinstance(value, _Shell):
            self.wrong(value, "a tuple holds the array")
        return value


def _is_permutation(axes: tuple[object, ...], count: int) -> bool:
    numbers = [axis for axis in axes if type(axis) is int]
    return len(axes) == count and sorted(numbers) == [*range(count)]
