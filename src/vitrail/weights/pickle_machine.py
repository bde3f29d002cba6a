"""A reader of pickles that can only build plain values: the stack machine without its calls.

A pickle is a program for a small stack machine, and Python's own machine can be told to import and
call anything. This one cannot: it knows only the instructions that Python writes for strings,
numbers, bytes and containers, and hands the three that name, call and give a state to
:mod:`vitrail.weights.array_pickle`, where they build arrays and nothing else.

What is built is bounded: an instruction makes one object at most and there are
:data:`MOST_STEPS` of them at most, what is decoded takes at most twice the file's size however
often the same bytes are referred to, keys are strings, and nothing walks through containers that
contain each other.

The format: https://docs.python.org/3/library/pickletools.html.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum
from typing import Any, NoReturn

MOST_STEPS = 1_000_000
"""Instructions; a network of 500 tensors takes about 20 thousand."""
LONGEST_NAME = 200
"""Characters of a module's or object's name."""


class RefusedError(Exception):
    """Why a pickle is not read; the path is added outside."""


class Machine:
    """One run through a pickle.

    Subclasses say what :meth:`name`, :meth:`reduce` and :meth:`build` make.
    """

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._at = 0
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        # Protocol 2 has each array's bytes as text: they are decoded, and become an array.
        self._left = 2 * len(content)
        """Bytes that may still become arrays or be decoded."""

    def run(self) -> object:
        if self._take(1) != b"\x80":
            raise RefusedError(
                "not a pickle of protocol 2 or above; expected a .pkl file as detectron2's model "
                "zoo has them"
            )
        if not 2 <= (protocol := self._number("<B")) <= 5:
            raise RefusedError(
                f"a pickle of protocol {protocol}; those from 2 to 5 are read: have it saved again"
            )
        for _ in range(MOST_STEPS):
            code = bytes(self._take(1))
            if code == b".":
                return self._end()
            step = _STEPS.get(code)
            if step is None:
                other = f"has the instruction {ascii(code)[1:]}, which arrays do not need"
                raise RefusedError(f"this pickle {_REFUSED.get(code, other)}; refused")
            step(self)
        raise RefusedError(f"this pickle has more than {MOST_STEPS:,} instructions; refused")

    def _end(self) -> object:
        value = self.pop()
        if self._stack or self._marks or self._at != len(self._content):
            raise RefusedError("damaged: something is left over behind the pickle's end")
        return self.plain(value)

    # What the instructions read.

    def _take(self, count: int) -> memoryview:
        end = self._at + count
        if end > len(self._content):
            raise RefusedError(
                f"cut short or damaged: ends at byte {len(self._content):,}, and at least "
                f"{end - len(self._content):,} more belong to it"
            )
        part = self._content[self._at : end]
        self._at = end
        return part

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        """A name, ended by a line feed."""
        start = bytes(self._content[self._at : self._at + LONGEST_NAME + 1])
        length = start.find(b"\n")
        if length < 0:
            raise RefusedError(f"asks for {shown(start)}..., which is no name; refused")
        self._at += length + 1
        return start[:length].decode("utf-8", "backslashreplace")

    def _text(self, count: int, encoding: str) -> None:
        try:
            self.push(str(self._take(count), encoding))
        except UnicodeDecodeError:
            raise RefusedError("damaged: a string in it is not valid text") from None

    def _frame(self) -> None:
        """Protocol 4 says ahead how much can be read at once; what is read says it again."""
        self._number("<Q")

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise RefusedError("this pickle would become larger than the file it is in; refused")

    def encoded(self, text: str) -> memoryview:
        """The bytes that a string of Python 2, or of protocol 2, stands for."""
        self.spend(len(text))
        try:
            return memoryview(text.encode("latin-1"))
        except UnicodeEncodeError:
            raise RefusedError("damaged: bytes in it are not valid") from None

    # The stack.

    def push(self, value: object) -> None:
        self._stack.append(value)

    def pop(self) -> object:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise RefusedError("damaged: an instruction finds nothing on the stack")
        return self._stack.pop()

    def top(self) -> object:
        value = self.pop()
        self.push(value)
        return value

    def _since_mark(self) -> list[object]:
        if not self._marks:
            raise RefusedError("damaged: an instruction finds no mark on the stack")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    # The memo.

    def _put(self, index: int) -> None:
        # A dictionary: an index of four thousand million costs no more than one of zero.
        self._memo[index] = self.top()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise RefusedError("damaged: refers to something that is not in it")
        self.push(self._memo[index])

    # Containers.

    def _tuple(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self._tuple_of(values[::-1])

    def _tuple_of(self, values: list[object]) -> None:
        self.push(tuple(self.argument(value) for value in values))

    def _append(self, values: list[object]) -> None:
        into = self.top()
        if type(into) is not list:
            self.wrong(into, "something is appended to")
        into.extend(self.plain(value) for value in values)

    def _set(self, pairs: list[object]) -> None:
        into = self.top()
        if type(into) is not dict or len(pairs) % 2:
            self.wrong(into, "a key is set in")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if type(key) is not str:
                self.wrong(key, "a key is no string but")
            into[key] = self.plain(value)

    def _long(self, count: int) -> None:
        if count > 8:
            raise RefusedError(f"holds an integer of {count:,} bytes; expected at most 8; refused")
        self.push(int.from_bytes(self._take(count), "little", signed=True))

    # What subclasses do.

    def name(self, module: object, name: object) -> None:
        """Push what a name stands for; nothing is imported."""
        raise NotImplementedError

    def reduce(self) -> None:
        """Push what calling a name with arguments would make; nothing is called."""
        raise NotImplementedError

    def build(self) -> None:
        """Give the object on top of the stack its state."""
        raise NotImplementedError

    def plain(self, value: object) -> object:
        """What goes into a list or dictionary instead of a value."""
        raise NotImplementedError

    def argument(self, value: object) -> object:
        """What goes into a tuple instead of a value."""
        raise NotImplementedError

    def _stack_name(self) -> None:
        name = self.pop()
        self.name(self.pop(), name)

    def wrong(self, value: object, what: str) -> NoReturn:
        """Refuse a value of the wrong type."""
        kind = value.value if isinstance(value, Enum) else type(value).__name__.strip("_").lower()
        raise RefusedError(f"this pickle is no plain one of arrays: {what} {kind}; refused")


def shown(name: object) -> str:
    """Something that the file says, made fit for a message."""
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    if not isinstance(text, str):
        return f"<{type(name).__name__}>"
    return ascii(text[:LONGEST_NAME])[1:-1]


_Step = Callable[[Machine], None]


def _constant(value: object) -> _Step:
    return lambda machine: machine.push(value)


def _numeric(form: str) -> _Step:
    return lambda machine: machine.push(machine._number(form))


def _bytes(form: str) -> _Step:
    return lambda machine: machine.push(machine._take(machine._number(form)))


def _string(form: str, encoding: str) -> _Step:
    return lambda machine: machine._text(machine._number(form), encoding)


_STEPS: dict[bytes, _Step] = {
    b"\x95": lambda m: m._frame(),
    b"(": lambda m: m._marks.append(len(m._stack)),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"J": _numeric("<i"),
    b"K": _numeric("<B"),
    b"M": _numeric("<H"),
    b"\x8a": lambda m: m._long(m._number("<B")),
    b"G": _numeric(">d"),
    b"X": _string("<I", "utf-8"),
    b"\x8c": _string("<B", "utf-8"),
    b"\x8d": _string("<Q", "utf-8"),
    b"U": _string("<B", "latin-1"),  # strings of Python 2: text or bytes
    b"T": _string("<I", "latin-1"),
    b"B": _bytes("<I"),
    b"C": _bytes("<B"),
    b"\x8e": _bytes("<Q"),
    b"\x96": _bytes("<Q"),
    b")": lambda m: m.push(()),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"t": lambda m: m._tuple_of(m._since_mark()),
    b"]": lambda m: m.push([]),
    b"a": lambda m: m._append([m.pop()]),
    b"e": lambda m: m._append(m._since_mark()),
    b"}": lambda m: m.push({}),
    b"s": lambda m: m._set([m.pop(), m.pop()][::-1]),
    b"u": lambda m: m._set(m._since_mark()),
    b"q": lambda m: m._put(m._number("<B")),
    b"r": lambda m: m._put(m._number("<I")),
    b"\x94": lambda m: m._put(len(m._memo)),
    b"h": lambda m: m._get(m._number("<B")),
    b"j": lambda m: m._get(m._number("<I")),
    b"c": lambda m: m.name(m._line(), m._line()),
    b"\x93": lambda m: m._stack_name(),
    b"R": lambda m: m.reduce(),
    b"b": lambda m: m.build(),
}
"""All instructions that are followed, by their byte."""

_REFUSED = {
    b"P": "asks for an object by a persistent id",
    b"Q": "asks for an object by a persistent id",
    b"\x82": "asks for an object by an extension code",
    b"\x83": "asks for an object by an extension code",
    b"\x84": "asks for an object by an extension code",
    b"i": "makes an object of a class (INST)",
    b"o": "makes an object of a class (OBJ)",
    b"\x81": "makes an object of a class (NEWOBJ)",
    b"\x92": "makes an object of a class (NEWOBJ_EX)",
    b"\x97": "asks for a buffer that is not in the file",
    b"\x98": "asks for a buffer that is not in the file",
}
"""Why others are not."""
