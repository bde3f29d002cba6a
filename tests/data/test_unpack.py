"""Archives that are as they should be, and archives made to do harm."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from vitrail.data.unpack import Limits, is_archive, remove_leftovers, unpack
from vitrail.errors import DataError, OutputError

FILES = {"set/images/a.jpg": b"a" * 3000, "set/labels/a.png": b"b" * 500, "readme": b""}
KINDS = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz")


def _zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def _tar_bytes(files: dict[str, bytes], **changes: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in changes.items():
                setattr(member, key, value)
            packed.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


_PACK = {"tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}


def _archive(folder: Path, kind: str, files: dict[str, bytes] = FILES) -> Path:
    path = folder / f"a.{kind}"
    if kind == "zip":
        return _zip(path, files)
    path.write_bytes(_PACK[kind](_tar_bytes(files)))
    return path


def _content(folder: Path) -> dict[str, bytes]:
    files = (one for one in folder.rglob("*") if one.is_file())
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in files}


def _refused(archive: Path, limits: Limits | None = None) -> str:
    """It is refused as a whole, with a line that names it, and nothing of it stays."""
    before = sorted(one.name for one in archive.parent.iterdir())
    with pytest.raises(DataError) as caught:
        unpack(archive, archive.parent / "out", limits=limits)
    assert sorted(one.name for one in archive.parent.iterdir()) == before
    assert str(archive) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(tmp_path: Path, kind: str) -> None:
    archive = _archive(tmp_path, kind)
    told: list[tuple[int, int | None]] = []
    assert unpack(archive, tmp_path / "out", progress=lambda *a: told.append(a)) == 3
    assert _content(tmp_path / "out") == FILES
    assert told and all(total and done <= total for done, total in told)
    assert is_archive(archive.name)
    assert sorted(one.name for one in tmp_path.iterdir()) == [archive.name, "out"]


@pytest.mark.parametrize("kind", KINDS)
def test_truncated(tmp_path: Path, kind: str) -> None:
    files = {f"{number}.bin": os.urandom(3000) for number in range(8)}
    archive = _archive(tmp_path, kind, files)
    whole = archive.read_bytes()
    end = len(whole) - (10240 if kind == "tar" else 0)  # a tar may lack its last zeros
    for length in (600, len(whole) // 2, end - 2):
        archive.write_bytes(whole[:length])
        assert "damaged archive" in _refused(archive)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_byte(tmp_path: Path, kind: str) -> None:
    archive = _archive(tmp_path, kind, {"a.bin": os.urandom(9000), "b.bin": os.urandom(9000)})
    content = bytearray(archive.read_bytes())
    place = 512 + 9216 + 20 if kind == "tar" else len(content) // 4  # a tar: b's header
    content[place] ^= 0xFF
    archive.write_bytes(content)
    assert "damaged" in _refused(archive)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name",
    [
        "/etc/evil",
        "../evil",
        "a/../../evil",
        "C:/evil",
        "a\\..\\evil",
        "a\nb",
        "x/" * 40 + "y",
        "n" * 256,
    ],
)
def test_names_that_lead_elsewhere(tmp_path: Path, kind: str, name: str) -> None:
    message = _refused(_archive(tmp_path, kind, {"good.txt": b"1", name: b"2"}))
    assert "do not trust this archive" in message


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_come_twice(tmp_path: Path, kind: str) -> None:
    with pytest.warns(UserWarning) if kind == "zip" else nullcontext():
        path = tmp_path / f"a.{kind}"
        if kind == "zip":
            with zipfile.ZipFile(path, "w") as packed:
                packed.writestr("a", b"1")
                packed.writestr("a", b"2")
        else:
            path.write_bytes(_tar_bytes({"a": b"1", "./a": b"2"}))
    assert "comes twice" in _refused(path)


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_file_and_folder_of_one_name(tmp_path: Path, names: tuple[str, str]) -> None:
    _refused(_archive(tmp_path, "tar", dict.fromkeys(names, b"1")))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(_tar_bytes({"a": b""}, type=kind, linkname="/etc/passwd"))
    assert "link or a device" in _refused(archive)


def test_link_in_a_zip(tmp_path: Path) -> None:
    member = zipfile.ZipInfo("a")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(member, "/etc/passwd")
    assert "link or a device" in _refused(tmp_path / "a.zip")


def test_encrypted(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"a": b"1"}, zipfile.ZIP_STORED)
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert "encrypted" in _refused(archive)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
def test_bombs(tmp_path: Path, kind: str) -> None:
    archive = _archive(tmp_path, kind, {"zeros": bytes(4_000_000)})
    message = _refused(archive, Limits(slack=1_000_000))
    assert "unpacks to more than 1,000,000 bytes" in message
    assert unpack(archive, tmp_path / "out", limits=Limits(slack=5_000_000)) == 1


def test_zip_that_lies_about_its_sizes(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"zeros": bytes(4_000_000)})
    content = archive.read_bytes().replace((4_000_000).to_bytes(4, "little"), b"\x10\0\0\0")
    archive.write_bytes(content)
    assert "damaged" in _refused(archive, Limits(slack=1_000_000))


def test_header_that_fills_the_memory(tmp_path: Path) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 1 << 40
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(100_000)))
    assert "a header of 1,099,511,627,776 bytes" in _refused(archive)


def test_limits_of_members_and_bytes(tmp_path: Path) -> None:
    archive = _archive(tmp_path, "tar")
    assert "more than 2 members" in _refused(archive, Limits(members=2))
    assert "more than 2,000 bytes" in _refused(archive, Limits(total=2000))


@pytest.mark.parametrize("content", [b"", b"hello", b"<!DOCTYPE html><html>x", bytes(100)])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    message = _refused(path)
    assert "no zip or tar" in message
    assert ("web page" in message) == (b"html" in content)


def test_a_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_permissions_are_not_taken_over(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(_tar_bytes({"a": b"1"}, mode=0o6777))
    unpack(archive, tmp_path / "out")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "out" / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_with_content_is_left_alone(tmp_path: Path) -> None:
    archive = _archive(tmp_path, "zip")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        unpack(archive, tmp_path / "out")
    assert _content(tmp_path / "out") == {"mine": b"x"}


def test_interrupted(tmp_path: Path) -> None:
    archive = _archive(tmp_path, "tar")

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "out", progress=stop)
    assert [one.name for one in tmp_path.iterdir()] == ["a.tar"]


def test_what_a_killed_process_leaves(tmp_path: Path) -> None:
    (tmp_path / ".x.1234.unpacking" / "half").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    remove_leftovers(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]
