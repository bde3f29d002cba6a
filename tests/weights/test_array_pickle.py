"""Pickles of arrays: what NumPy writes comes out as it went in, and nothing else does anything."""

import builtins
import collections
import copyreg
import os
import pickle
import random
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from vitrail.errors import WeightsError
from vitrail.weights.array_pickle import read_array_pickle

STATE = {
    "plain": np.arange(60, dtype="f4").reshape(3, 4, 5),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "permuted": np.arange(60, dtype="i2").reshape(3, 4, 5).transpose(1, 2, 0),
    "strided": np.arange(60, dtype="u1").reshape(3, 20)[:, ::3],
    "big-endian": np.arange(5, dtype=">i4"),
    "half": np.arange(5, dtype="f2"),
    "single number": np.array(7, "i8"),
    "scalar": np.float32(1.5),
    "empty": np.zeros((0, 3), "f4"),
}


def read(content: bytes, folder: Path) -> object:
    path = folder / "x.pkl"
    path.write_bytes(content)
    return read_array_pickle(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
def test_what_numpy_writes_comes_out(protocol: int, kind: type, tmp_path: Path) -> None:
    content = {
        "model": kind(STATE),
        "__author__": "Größe",
        "matching_heuristics": True,
        "others": [1, -5, 300, 2**40, -(2**40), 1.5, None, False, ("a", (1, 2)), "x" * 300, {}],
    }
    found = read(pickle.dumps(content, protocol=protocol), tmp_path)
    assert isinstance(found, dict)
    assert {**found, "model": None} == {**content, "model": None}
    for name, value in STATE.items():
        got, expected = found["model"][name], np.asarray(value)
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape), name
        assert np.array_equal(got, expected), name
        assert not got.flags.writeable or not got.size


def test_torchs_attributes_of_a_state_are_left_out(tmp_path: Path) -> None:
    state = collections.OrderedDict(STATE)
    state._metadata = {"": {"version": 1}}  # pyright: ignore[reportAttributeAccessIssue]
    found = read(pickle.dumps(state), tmp_path)
    assert isinstance(found, dict) and list(found) == list(STATE)


def test_strings_of_python_2(tmp_path: Path) -> None:
    """As ``cPickle.dumps(..., 2)`` wrote them: strings are bytes, and an array's data are one."""
    data = np.array([1.0, -2.0], "<f4").tobytes()
    content = (
        b"\x80\x02}U\x01a"
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + b"U\x08" + data + b"tbs."
    )
    found = read(content, tmp_path)
    assert isinstance(found, dict) and found["a"].tolist() == [1, -2]


# Hostile files. Each would make the folder MARKER if Python's own unpickler read it (those that
# can: some are for the memory), which is checked where that is safe to do.

MARKER = b"was-run"


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def short(value: bytes) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value


def stack_global(module: bytes, name: bytes) -> bytes:
    return short(module) + short(name) + b"\x93"


ARGUMENTS = text(MARKER) + b"\x85"
MKDIR = b"cos\nmkdir\n"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
F4 = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R"


class Bomb:
    def __reduce__(self) -> tuple:
        return os.mkdir, (MARKER.decode(),)


class Setter:
    def __setstate__(self, state: object) -> None:
        Path(os.fsdecode(MARKER)).mkdir()


RUNNING = {
    "reduce": b"\x80\x02" + MKDIR + ARGUMENTS + b"R.",
    "reduce, named on the stack": b"\x80\x04" + stack_global(b"os", b"mkdir") + ARGUMENTS + b"R.",
    "reduce, by its own module": b"\x80\x04"
    + stack_global(os.mkdir.__module__.encode(), b"mkdir")
    + ARGUMENTS
    + b"R.",
    "dotted name": b"\x80\x04" + stack_global(b"shutil", b"os.mkdir") + ARGUMENTS + b"R.",
    "instance": b"\x80\x02(" + text(MARKER) + b"ios\nmkdir\n.",
    "object": b"\x80\x02(" + MKDIR + text(MARKER) + b"o.",
    "built": b"\x80\x04"
    + stack_global(__name__.encode(), b"Setter")
    + b")\x81}"
    + text(b"a")
    + b"K\x01sb.",
    "eval": b"\x80\x02cbuiltins\neval\n" + text(b"__import__('os').mkdir('was-run')") + b"\x85R.",
    "protocol 0": b"cos\nmkdir\n(S'was-run'\ntR.",
    "protocol 1": b"cos\nmkdir\n(U\x07was-runtR.",
    "array of objects": pickle.dumps(np.array([Bomb()], dtype=object), protocol=3),
    "structured array of objects": pickle.dumps(
        np.array([(Bomb(),)], dtype=[("a", object)]), protocol=3
    ),
    "object among arrays": pickle.dumps({"model": {"a": np.ones(2)}, "b": Bomb()}),
    "behind an array": b"\x80\x02" + ARRAY + b"0" + MKDIR + ARGUMENTS + b"R.",
}


@pytest.mark.parametrize("name", RUNNING)
def test_code_is_refused_and_never_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=r"x\.pkl: .*(refused|protocol 2)"):
        read(RUNNING[name], tmp_path)
    marker = Path(os.fsdecode(MARKER))
    assert not marker.exists()
    pickle.loads(RUNNING[name])
    assert marker.is_dir(), "this file harms nobody, and so proves nothing"


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        (b"\x80\x02cos\nsystem\n" + ARGUMENTS + b"R.", r"os\.system"),
        (
            b"\x80\x04" + stack_global(b"numpy.core", b"os.system") + b".",
            r"numpy\.core\.os\.system",
        ),
        (
            b"\x80\x04"
            + stack_global(b"numpy.core.multiarray", b"_reconstruct.__globals__.get")
            + b".",
            r"numpy\.core\.multiarray\._reconstruct\.__globals__\.get",
        ),
        (b"\x80\x04" + stack_global(b"numpy", b"ndarray.tofile") + b".", r"numpy\.ndarray\.tofile"),
        (b"\x80\x02cnumpy\nload\n.", r"numpy\.load"),
        (b"\x80\x02cnumpy\nmemmap\n.", r"numpy\.memmap"),
        (b"\x80\x02cnumpy.f2py\ncompile\n.", r"numpy\.f2py\.compile"),
        (b"\x80\x02cbuiltins\ngetattr\n.", r"builtins\.getattr"),
        (b"\x80\x02cfunctools\npartial\n.", r"functools\.partial"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n.", r"torch\._utils\._rebuild_tensor_v2"),
        (b"\x80\x02ccopyreg\n_reconstructor\n.", r"copyreg\._reconstructor"),
        (b"\x80\x02cos\n\x1b[2J\x07\n.", r"os\.\\x1b\[2J\\x07"),
        (b"\x80\x02c" + b"o" * 5000 + b"\nsystem\n.", r"ooo"),
        (b"\x80\x04K\x01K\x02\x93.", r"<int>\.<int>"),
        (b"\x80\x04" + F4 + short(b"system") + b"\x93.", r"<_DType>\.system"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value,
)
def test_a_name_is_refused_by_name(content: bytes, asked: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"asks for {asked}") as caught:
        read(content, tmp_path)
    assert len(str(caught.value)) < len(str(tmp_path)) + 700
    assert str(caught.value).isprintable()


OTHER = {
    "persistent id": b"\x80\x02Pabc\n.",
    "binary persistent id": b"\x80\x02K\x01Q.",
    "buffer elsewhere": b"\x80\x05\x97.",
    "read-only buffer elsewhere": b"\x80\x05\x97\x98.",
    "new object": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "new object with keywords": b"\x80\x04cnumpy\nndarray\n)}\x92.",
    "set": b"\x80\x04\x8f.",
    "frozen set": b"\x80\x04(\x91.",
    "state for a name": b"\x80\x02cnumpy\nndarray\n}" + text(b"__setstate__") + b"Nsb.",
    "slots for a name": b"\x80\x02cnumpy\ndtype\nN}" + text(b"fields") + b"Ns\x86b.",
    "state for a list": b"\x80\x02]}b.",
    "state for a string": b"\x80\x02" + text(b"a") + b"}b.",
    "dictionary for an array": b"\x80\x02" + ARRAY + b"}b.",
    "dictionary for a dtype": b"\x80\x02" + F4 + b"}b.",
    "list for a dictionary": b"\x80\x02}]b.",
    "second state of an array": b"\x80\x02"
    + ARRAY
    + 2 * (b"(K\x01K\x01\x85" + F4 + b"\x89C\x04\0\0\0\0tb")
    + b".",
    "array for an array": b"\x80\x02" + ARRAY + b"(K\x01K\x01\x85" + F4 + b"\x89" + ARRAY + b"tb.",
    "append to a name": b"\x80\x02cnumpy\nndarray\nK\x01a.",
    "append to a dictionary": b"\x80\x02}K\x01a.",
    "key in a list": b"\x80\x02]K\x01K\x01s.",
    "key in a name": b"\x80\x02cnumpy\ndtype\n" + text(b"fields") + b"Ns.",
    "key without a value": b"\x80\x02}(" + text(b"a") + b"u.",
    "key that is no string": b"\x80\x02}K\x01K\x01s.",
    "call of a string": b"\x80\x02" + text(b"a") + b")R.",
    "call of an array": b"\x80\x02" + ARRAY + b")R.",
    "call of a class": b"\x80\x02cnumpy\nndarray\nK\x02\x85R.",
    "call without a tuple": b"\x80\x02ccollections\nOrderedDict\n]R.",
    "pairs for a dictionary": b"\x80\x02ccollections\nOrderedDict\n]\x85R.",
    "bytes by the million million": b"\x80\x02cbuiltins\nbytes\n\x8a\x06\0\0\0\0\0\x01\x85R.",
    "codec": b"\x80\x02c_codecs\nencode\n" + text(b"a") + text(b"zlib") + b"\x86R.",
    "codec in a module": b"\x80\x02c_codecs\nencode\n" + text(b"a") + text(b"idna") + b"\x86R.",
    "array of another class": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n"
    b"ccollections\nOrderedDict\nK\x00\x85C\x01b\x87R.",
    "array with a size at once": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
    b"J\xff\xff\xff\x7f\x85C\x01b\x87R.",
    "array in a tuple": b"\x80\x02" + ARRAY + b"\x85.",
    "nothing in an array": b"\x80\x02" + ARRAY + b".",
    "axes twice": b"\x80\x05cnumpy.core.numeric\n_frombuffer\n(C\x04\0\0\0\0" + F4
    + b"K\x01K\x01\x86" + text(b"K") + b"K\x00K\x00\x86tR.",
    **{
        f"dtype {code}": b"\x80\x02cnumpy\ndtype\n" + text(code.encode()) + b"\x89\x88\x87R."
        for code in ("O", "O8", "V8", "U4", "S4", "M8", "f4,O", "(2,)O", "{'a': 'O'}", "f3", "")
    },
    "dtype of a list": b"\x80\x02cnumpy\ndtype\n(" + text(b"a") + text(b"O") + b"tl\x85R.",
    "fields of a dtype": b"\x80\x02" + F4 + b"(K\x03" + text(b"<")
    + b"N(" + text(b"a") + b"t}J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.",
    "unknown instruction": b"\x80\x02\xff.",
    "string of protocol 0": b"\x80\x02S'a'\n.",
    "protocol 6": b"\x80\x06N.",
    "protocol 1 said": b"\x80\x01N.",
    "something behind": b"\x80\x02N.N",
    "something below": b"\x80\x02NN.",
    "a mark left": b"\x80\x02(N.",
    "nothing": b"\x80\x02.",
    "below a mark": b"\x80\x02](K\x01a.",
    "no mark": b"\x80\x02]e.",
    "unknown memo": b"\x80\x02h\x05.",
    "no text": b"\x80\x02" + text(b"\xff\xfe") + b".",
    "no bytes": b"\x80\x02c_codecs\nencode\n" + text("€".encode()) + text(b"latin1") + b"\x86R.",
    "text": b"only text",
    "empty": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_what_arrays_do_not_need_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def spy(module: str, *rest: object, **more: object) -> object:
        imported.append(module)
        return real(module, *rest, **more)  # pyright: ignore[reportArgumentType]

    imported: list[str] = []
    path = tmp_path / "x.pkl"
    path.write_bytes(OTHER[name])
    monkeypatch.setattr(builtins, "__import__", spy)
    with pytest.raises(WeightsError, match=r"x\.pkl: ."):
        read_array_pickle(path)
    monkeypatch.undo()
    assert not imported


def test_extension_codes_are_refused_even_if_they_are_known(tmp_path: Path) -> None:
    """Python's machine asks nobody about a code that it has met before."""
    code = 0x7EADBEEF
    content = b"\x80\x02\x84" + struct.pack("<i", code) + ARGUMENTS + b"R."
    copyreg.add_extension("os", "mkdir", code)
    try:
        with pytest.raises(WeightsError, match="extension code"):
            read(content, tmp_path)
    finally:
        copyreg.remove_extension("os", "mkdir", code)
    for short_code in (b"\x82\x01", b"\x83\x01\x01"):
        with pytest.raises(WeightsError, match="extension code"):
            read(b"\x80\x02" + short_code + b".", tmp_path)


def array(sides: bytes, data: bytes, dtype: bytes = F4) -> bytes:
    return ARRAY + b"(K\x01(" + sides + b"t" + dtype + b"\x89" + data + b"tb"


def wide(number: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", number)


LARGE = {
    "memo index": (b"\x80\x02Nr\xff\xff\xff\xff.", None),
    "length of a string": (b"\x80\x04\x8d" + struct.pack("<Q", 2**63 + 7) + b"a.", "cut short"),
    "length of bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"a.", "cut short"),
    "length of an integer": (b"\x80\x02\x8b\xff\xff\xff\x7fa.", "refused"),
    "integer": (b"\x80\x02\x8a\xff" + b"\x01" * 255 + b".", "integer of 255 bytes"),
    "frame": (b"\x80\x04\x95" + b"\xff" * 8 + b"N.", None),
    "shape": (b"\x80\x02" + array(wide(2**38), b"C\x04\0\0\0\0") + b".", "takes 1,099,511,627,776"),
    "shape beyond all": (b"\x80\x02" + array(wide(2**62), b"C\x04\0\0\0\0") + b".", "refused"),
    "shape beside 0": (b"\x80\x02" + array(b"K\x00" + wide(2**62), b"C\x00") + b".", "refused"),
    "negative side": (b"\x80\x02" + array(b"J\xff\xff\xff\xff", b"C\x04\0\0\0\0") + b".", "whole"),
    "side of True": (b"\x80\x02" + array(b"\x88", b"C\x04\0\0\0\0") + b".", "whole"),
    "dimensions": (b"\x80\x02" + array(b"K\x01" * 60, b"C\x04\0\0\0\0") + b".", "60 sides"),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_a_number_costs_nothing(name: str, tmp_path: Path) -> None:
    content, message = LARGE[name]
    start = time.process_time()
    if message is None:
        read(content, tmp_path)
    else:
        with pytest.raises(WeightsError, match=message):
            read(content, tmp_path)
    assert time.process_time() - start < 1


def test_bytes_count_once(tmp_path: Path) -> None:
    """A hundred arrays of the same bytes would take a hundred times the file."""
    data = b"B" + struct.pack("<I", 40_000) + b"\0" * 40_000 + b"q\x01"
    one = array(b"M\x10\x27", b"h\x01")
    content = b"\x80\x02" + data + b"0]" + 100 * (one + b"a") + b"."
    with pytest.raises(WeightsError, match="refused"):
        read(content, tmp_path)  # POP is not needed
    content = b"\x80\x02](" + data + 100 * one + b"e."
    with pytest.raises(WeightsError, match="larger than the file"):
        read(content, tmp_path)
    encoded = b"c_codecs\nencode\n" + b"h\x01" + text(b"latin1") + b"\x86R"
    content = b"\x80\x02](" + text(b"a" * 40_000) + b"q\x01" + 100 * encoded + b"e."
    with pytest.raises(WeightsError, match="larger than the file"):
        read(content, tmp_path)


def test_containers_of_containers_are_not_unfolded(tmp_path: Path) -> None:
    """Each level holds the one below ten times: two hundred levels, 10**200 innermost values."""
    content = b"](" + b"]q\x00"
    for level in range(200):
        content += b"]q" + bytes([level + 1]) + b"(" + 10 * (b"h" + bytes([level])) + b"e"
    begin = time.process_time()
    assert isinstance(read(b"\x80\x02" + content + b"e.", tmp_path), list)
    doubled = b")q\x00" + 200 * b"h\x00\x86q\x00"
    assert isinstance(read(b"\x80\x02" + doubled + b".", tmp_path), tuple)
    with pytest.raises(WeightsError, match="a key is no string but tuple"):
        read(b"\x80\x02}" + doubled + b"K\x01s.", tmp_path)  # its hash would never be ready
    assert time.process_time() - begin < 5


def test_deep_containers(tmp_path: Path) -> None:
    """They are also taken apart again without a crash."""
    assert isinstance(read(b"\x80\x02)" + 100_000 * b"\x85" + b".", tmp_path), tuple)
    lists = b"\x80\x02" + 100_000 * b"]" + 99_999 * b"a" + b"."
    assert isinstance(read(lists, tmp_path), list)


def test_a_list_in_itself(tmp_path: Path) -> None:
    found = read(b"\x80\x02]q\x00h\x00a.", tmp_path)
    assert isinstance(found, list) and found[0] is found


def test_instructions_are_counted(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="more than 1,000,000 instructions"):
        read(b"\x80\x02" + b"}" * 1_000_001, tmp_path)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_cut_file_is_refused(protocol: int, tmp_path: Path) -> None:
    whole = pickle.dumps({"model": {"a": np.arange(3, dtype="f4")}}, protocol=protocol)
    for length in range(len(whole)):
        with pytest.raises(WeightsError, match=r"x\.pkl: "):
            read(whole[:length], tmp_path)


@pytest.mark.parametrize("protocol", [2, 3, 5])
def test_damage_ends_in_an_error_of_ours_or_in_data(protocol: int, tmp_path: Path) -> None:
    whole = pickle.dumps(
        {"model": {"a": np.ones((2, 3), "f4"), "b": np.float64(1)}, "c": [1, (2.0, "x")]},
        protocol=protocol,
    )
    dice = random.Random(protocol)
    refused = 0
    for _ in range(1500):
        content = bytearray(whole)
        for _ in range(dice.choice((1, 1, 2, 5))):
            place = dice.randrange(2, len(content))
            if dice.random() < 0.5:
                content[place] = dice.randrange(256)
            else:  # a stretch from elsewhere
                other, length = dice.randrange(2, len(content)), dice.randrange(1, 40)
                content[place:place] = content[other : other + length]
        try:
            read(bytes(content), tmp_path)
        except WeightsError:
            refused += 1
    assert 500 < refused < 1500


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pkl: no such checkpoint"):
        read_array_pickle(tmp_path / "none.pkl")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_array_pickle(tmp_path)


def test_memory_that_does_not_suffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise MemoryError

    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(STATE))
    monkeypatch.setattr(np, "frombuffer", fails)
    with pytest.raises(WeightsError, match="not enough memory"):
        read_array_pickle(path)
