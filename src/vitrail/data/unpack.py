"""Unpack zip and tar archives that nobody here packed: within limits, inside one folder, or not.

Refused are names that lead out of the folder (absolute, ``..``, drive letters, back slashes), links
and devices, a name that comes twice, encrypted members, and archives that grow beyond limits.
Owners, permissions and times of an archive are not taken over.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import secrets
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vitrail.atomic import make_folder, output_error
from vitrail.errors import DataError, OutputError, VitrailError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""Endings of what :func:`unpack` takes."""
_MARK = ".unpacking"
_CHUNK = 1 << 18
_DEPTH = 32
_HEADER = 8 << 20
"""Bytes that tarfile may ask for at once; longer are only headers made to fill the memory."""

Progress = Callable[[int, int | None], None]
"""Told bytes done and in all: of a zip unpacked, of a tar packed ones."""


@dataclass(frozen=True)
class Limits:
    """What an archive may become."""

    total: int = 2 << 40
    """Bytes unpacked."""
    members: int = 4_000_000
    """Files and folders."""
    ratio: float = 200.0
    """Bytes unpacked for each packed one; deflate reaches 1032, photographs about 1."""
    slack: int = 64 << 20
    """Bytes unpacked up to which the ratio does not matter."""

    def allowed(self, packed: int) -> int:
        """Bytes that an archive of so many bytes may unpack to."""
        return min(self.total, max(self.slack, int(packed * self.ratio)))


def is_archive(name: str) -> bool:
    """Whether a file's name ends as those of archives do."""
    return name.lower().endswith(SUFFIXES)


def unpack(
    archive: Path,
    folder: Path,
    *,
    limits: Limits | None = None,
    progress: Progress = lambda done, total: None,
) -> int:
    """Unpack an archive into a new folder, which appears when all of it is there.

    Parameters
    ----------
    archive
        a zip, or a tar as it is or packed by gzip, bzip2 or xz; told by content, not by name.
    folder
        does not exist yet, or is empty; the folder it lies in is made if missing.
    limits
        how large it may become.
    progress
        told how far it is.

    Returns
    -------
    The number of files.

    Raises
    ------
    DataError
        it is no such archive, damaged, encrypted, too large, or has a member that is refused;
        nothing of it is left.
    OutputError
        it cannot be written; nothing of it is left.
    """
    limits = limits or Limits()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder}: exists and is not empty; remove it or choose another folder")
    make_folder(folder.parent)
    staging = folder.parent / f".{folder.name}.{secrets.token_hex(4)}{_MARK}"
    try:
        with _faults(archive):
            kind = _kind(archive)
        make_folder(staging)
        target = _Target(archive, staging, limits)
        with _faults(archive):
            if kind == "zip":
                _unzip(archive, target, progress)
            else:
                _untar(archive, kind, target, progress)
        if folder.exists():
            folder.rmdir()
        staging.replace(folder)
    except OSError as error:
        if isinstance(error, VitrailError):
            raise
        raise output_error(folder, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target.files


def remove_leftovers(folder: Path) -> None:
    """Remove what unpackings left in a folder that were ended by force."""
    for left in folder.glob(f".*{_MARK}"):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _faults(archive: Path) -> Iterator[None]:
    """Every way in which a damaged archive fails, as one error."""
    try:
        yield
    except VitrailError:
        raise
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        gzip.BadGzipFile,
        EOFError,
        NotImplementedError,  # a compression that zipfile does not know
        RuntimeError,  # encrypted
        ValueError,
        OverflowError,
        MemoryError,
    ) as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{archive}: damaged archive ({reason}); fetch it again") from None
    except OSError as error:
        if error.errno is None:  # how bz2 tells of damage
            raise DataError(f"{archive}: damaged archive ({error}); fetch it again") from None
        raise


def _kind(archive: Path) -> str:
    """Told by the first bytes."""
    try:
        with archive.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise DataError(f"{archive}: cannot be read ({error.strerror or error})") from None
    for magic, kind in (
        (b"PK\x03\x04", "zip"),
        (b"PK\x05\x06", "zip"),
        (b"\x1f\x8b", "gz"),
        (b"BZh", "bz2"),
        (b"\xfd7zXZ\x00", "xz"),
    ):
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar" or (len(head) == 512 and not any(head)):
        return "tar"
    start = head[:200].lstrip().lower()
    page = ", it is a web page" if start.startswith((b"<!doctype", b"<html")) else ""
    raise DataError(f"{archive}: is no zip or tar archive{page}; fetch it again")


class _Target:
    """The folder being filled, and what has gone into it."""

    def __init__(self, archive: Path, folder: Path, limits: Limits) -> None:
        self.archive, self._folder, self._limits = archive, folder, limits
        self.allowed = limits.allowed(archive.stat().st_size)
        self.files = self._members = self._written = 0
        self._seen: dict[str, bool] = {}

    def refuse(self, name: str, why: str) -> DataError:
        return DataError(
            f"{self.archive}: member {name[:200]!r} {why}; nothing was unpacked: "
            "do not trust this archive"
        )

    def too_large(self) -> DataError:
        packed = self.archive.stat().st_size
        return DataError(
            f"{self.archive}: unpacks to more than {self.allowed:,} bytes, the limit for one of "
            f"{packed:,} bytes; nothing was unpacked: do not trust this archive"
        )

    def place(self, name: str, is_folder: bool) -> Path | None:
        """Where a member goes; None for the folder itself and folders seen before."""
        self._members += 1
        if self._members > self._limits.members:
            raise DataError(f"{self.archive}: has more than {self._limits.members:,} members")
        if "\\" in name or ":" in name or not all(char >= " " and char != "\x7f" for char in name):
            raise self.refuse(name, "has a character that does not belong in a name")
        if name.startswith("/"):
            raise self.refuse(name, "is an absolute path")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self.refuse(name, "leads out of the folder")
        if len(parts) > _DEPTH or any(len(part.encode("utf-8", "replace")) > 255 for part in parts):
            raise self.refuse(name, "is too long or too deep")
        if not parts:
            return None
        clean = "/".join(parts)
        known = self._seen.get(clean)
        if known is not None and not (known and is_folder):
            raise self.refuse(name, "comes twice")
        for depth in range(1, len(parts)):
            if not self._seen.setdefault("/".join(parts[:depth]), True):
                raise self.refuse(name, "lies below a file")
        self._seen[clean] = is_folder
        return None if known else self._folder.joinpath(*parts)

    def add(self, path: Path, content: IO[bytes], told: Callable[[int], None]) -> None:
        """Copy a file's content, counting bytes as they come: sizes in headers may lie."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            while chunk := content.read(_CHUNK):
                self._written += len(chunk)
                if self._written > self.allowed:
                    raise self.too_large()
                file.write(chunk)
                told(self._written)
        self.files += 1


def _unzip(archive: Path, target: _Target, progress: Progress) -> None:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        total = sum(member.file_size for member in members)
        if total > target.allowed:
            raise target.too_large()
        free = shutil.disk_usage(archive.parent).free
        if total > free and archive.stat().st_dev == target._folder.stat().st_dev:
            raise OutputError(
                f"{archive}: unpacks to {total:,} bytes, {free:,} are free; free space"
            )
        for member in members:
            mode = stat.S_IFMT(member.external_attr >> 16)
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise target.refuse(member.filename, "is a link or a device")
            if member.flag_bits & 1:
                raise target.refuse(member.filename, "is encrypted")
            # Its name as stored: zipfile cuts it at a zero byte, and changes separators.
            path = target.place(member.orig_filename, member.is_dir())
            if path is None:
                continue
            if member.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            with packed.open(member) as content:
                target.add(path, content, lambda done: progress(done, total))


class _Bounded(io.RawIOBase):
    """An unpacked stream that ends with an error where the archive grows beyond its limit.

    tarfile reads the headers of its extensions whole, however long they say they are.
    """

    def __init__(self, stream: Any, target: _Target) -> None:
        self._stream, self._target = stream, target

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _HEADER:
            raise DataError(
                f"{self._target.archive}: has a header of {size:,} bytes; do not trust this archive"
            )
        block = self._stream.read(size)
        self._check()
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset > self._limit():
            raise self._target.too_large()
        place = self._stream.seek(offset, whence)
        self._check()
        return place

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def _limit(self) -> int:
        return self._target.allowed * 2  # contents, and 512 bytes of header for each of them

    def _check(self) -> None:
        if self._stream.tell() > self._limit():
            raise self._target.too_large()


_OPENERS: dict[str, Callable[[Any], Any]] = {
    "gz": lambda raw: gzip.GzipFile(fileobj=raw),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "tar": lambda raw: raw,
}


def _untar(archive: Path, kind: str, target: _Target, progress: Progress) -> None:
    size = archive.stat().st_size
    with archive.open("rb") as raw, _OPENERS[kind](raw) as stream:
        bounded: Any = _Bounded(stream, target)
        with tarfile.open(fileobj=bounded, mode="r:", errorlevel=1) as packed:
            for member in packed:
                if not (member.isreg() or member.isdir()):
                    raise target.refuse(member.name, "is a link or a device")
                path = target.place(member.name, member.isdir())
                packed.members = []  # tarfile keeps them all otherwise # pyright: ignore
                if path is None:
                    continue
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                content = packed.extractfile(member)
                assert content is not None
                target.add(path, content, lambda done: progress(raw.tell(), size))
                written = path.stat().st_size
                if written != member.size:
                    raise tarfile.ReadError(f"{member.name} has {written} of {member.size} bytes")
            end = packed.offset
        # tarfile takes a damaged header for the end; the true end is a block of zeros.
        bounded.seek(end)
        block = bounded.read(512)
        if len(block) < 512 or any(block):
            raise tarfile.ReadError("it ends early, or a header is damaged")
        while bounded.read(_CHUNK):  # the checksum of what packs it comes last
            pass
