"""What the user names -> what there is to read: files, folders, patterns and URLs."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import IO

from vitrail.download import is_url
from vitrail.errors import ImageTooLargeError, SourceError, VitrailError

IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "tif", "tiff", "bmp", "dib", "gif"),
        *("ppm", "pgm", "pbm", "pnm", "jp2", "avif", "ico"),
    )
)
"""What is taken from folders and patterns; a file that is named outright may have any suffix."""

# What `vitrail predict` writes beside the pictures; running it twice must not feed on itself.
_OUTPUT = re.compile(
    r"(.+)\.(?:overlay|labels|instances|edges|boundary)\.(?:jpg|png)|contact-sheet\.jpg",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):(//|(?<=file:))", re.IGNORECASE)


def find_sources(
    items: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, recursive: bool = False
) -> list[str]:
    """The files and URLs that ``items`` name, in order, each once.

    Parameters
    ----------
    items
        files, folders, patterns (``photos/*.jpg``, ``photos/**/*.png``) and http(s) URLs. A name
        with pattern characters that exists is that file or folder.
    recursive
        look into the folders inside of folders, too (hidden ones excepted).

    Returns
    -------
    list of str
        paths and URLs, in the order of ``items``; within a folder or pattern in natural order
        (``img2`` before ``img10``). From folders and patterns only files with an image suffix are
        taken; hidden files, and what vitrail itself writes (``*.overlay.jpg``, ``*.labels.png``,
        ``*.instances.png``, ``*.edges.png``, ``contact-sheet.jpg``), are not. A pattern that
        spells out another suffix (``*.raw``) takes those files. A file named outright is always
        taken, except for an output whose picture is named, too: shells expand ``*.png`` to both.

    Raises
    ------
    SourceError
        an item does not exist, holds no images, or is a ``file:`` or other URL that is not http(s).
    """
    if isinstance(items, str | os.PathLike):
        items = [items]
    found: dict[str, str] = {}
    for item in items:
        for source in _expand(os.fspath(item), recursive):
            key = source if is_url(source) else os.path.normcase(Path(source).absolute())
            found.setdefault(key, source)
    if not found:
        raise SourceError("nothing to read: name at least one image, folder, pattern or URL")
    originals = {str(Path(key).with_suffix("")) for key in found}
    return [source for key, source in found.items() if not _beside(key, originals)]


def _beside(key: str, originals: set[str]) -> bool:
    """Whether it is an output of another source: the shell expands ``*.png`` to both."""
    path = Path(key)
    output = None if is_url(key) else _OUTPUT.fullmatch(path.name)
    return output is not None and bool(output[1]) and str(path.with_name(output[1])) in originals


def refuse_other_schemes(source: str) -> None:
    """Raise SourceError for ``file:``, ``ftp://``, ``s3://`` and the like."""
    match = _SCHEME.match(source)
    if match is None or is_url(source):
        return
    scheme = match[1].lower()
    advice = "give the path itself" if scheme == "file" else "download the file first"
    raise SourceError(f"{source}: {scheme}: addresses are not read, only http(s); {advice}")


def open_file(path: str, max_bytes: int) -> IO[bytes]:
    """Open a file for reading.

    Raises
    ------
    SourceError
        it is missing (the message holds the nearest name in that folder), may not be read, is a
        folder, a device or a pipe, or a URL other than http(s).
    ImageTooLargeError
        it has more than ``max_bytes``.
    """
    refuse_other_schemes(path)
    try:
        found = Path(path).stat()
        if stat.S_ISDIR(found.st_mode):
            raise SourceError(f"{path}: is a folder, expected an image file; name the files in it")
        if not stat.S_ISREG(found.st_mode):  # opening a pipe could wait for ever
            raise SourceError(f"{path}: is a device or a pipe; save it to a file first")
        if found.st_size > max_bytes:
            raise ImageTooLargeError(
                f"{path}: has {found.st_size:,} bytes, more than the limit of {max_bytes:,}; raise "
                "it with max_bytes=... or the environment variable VITRAIL_MAX_BYTES"
            )
        return Path(path).open("rb")
    except VitrailError:
        raise
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null byte in it
        raise SourceError(missing(path)) from None
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: str, error: OSError) -> SourceError:
    """The error for a file that exists and cannot be read."""
    if isinstance(error, PermissionError):
        return SourceError(f"{path}: permission denied; make it readable for this user")
    return SourceError(f"{path}: cannot be read ({error.strerror or error})")


def missing(path: str) -> str:
    """One line about a path that is not there, with the nearest name in its folder."""
    where = Path(path)
    try:
        names = [entry.name for entry in os.scandir(where.parent)]
    except (OSError, ValueError):
        return f"{path}: does not exist, nor does the folder {str(where.parent)!r}; check the path"
    lower = {name.lower(): name for name in names}
    near = get_close_matches(where.name.lower(), lower, n=1, cutoff=0.6)
    hint = f"did you mean {lower[near[0]]!r}?" if near else "check the path"
    return f"{path}: does not exist; {hint}"


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts ``img2`` before ``img10``, and is never undecided."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p], name


def _expand(item: str, recursive: bool) -> Iterator[str]:
    if is_url(item):
        yield item
        return
    refuse_other_schemes(item)
    path = item
    if item.startswith("~") and not os.path.lexists(item):
        path = str(Path(item).expanduser())
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        yield from _in_folder(path, recursive)
    elif os.path.lexists(path):
        yield path
    elif glob.has_magic(path):
        yield from _matching(path)
    else:
        raise SourceError(missing(path))


def _in_folder(folder: str, recursive: bool) -> list[str]:
    names: list[str] = []
    try:
        for where, folders, files in os.walk(folder, onerror=_raise):
            names += [os.path.relpath(Path(where, name), folder) for name in files]
            folders[:] = [name for name in folders if recursive and not _is_ours(name)]
    except OSError as error:
        raise SourceError(f"{folder}: cannot be listed ({error.strerror or error})") from None
    taken = [name for name in names if _is_input(name)]
    if taken:
        return [str(Path(folder, name)) for name in sorted(taken, key=natural_key)]
    raise SourceError(f"{folder}: holds no images; {_instead(names)}")


def _is_ours(folder: str) -> bool:
    """Hidden, or where vitrail puts cut-outs: not for the user's pictures."""
    return folder.startswith(".") or folder.endswith(".crops")


def _raise(error: OSError) -> None:
    raise error


def _matching(pattern: str) -> list[str]:
    # Path.glob would take neither absolute patterns nor those with a drive.
    matches = glob.glob(pattern, recursive=True)  # noqa: PTH207
    files = [match for match in matches if not Path(match).is_dir()]
    suffix = Path(pattern).suffix
    if suffix and not glob.has_magic(suffix) and suffix.lower() not in IMAGE_SUFFIXES:
        taken = files  # another suffix was asked for by name
    else:
        taken = [match for match in files if _is_input(match)]
    if taken:
        return sorted(taken, key=natural_key)
    if not matches:
        raise SourceError(
            f"{pattern}: no file matches this pattern; check the folder and the suffix"
        )
    raise SourceError(f"{pattern}: no image matches this pattern; {_instead(files)}")


def _is_input(path: str) -> bool:
    name = Path(path).name
    image = Path(name).suffix.lower() in IMAGE_SUFFIXES
    return image and not name.startswith(".") and not _OUTPUT.fullmatch(name)


def _instead(names: list[str]) -> str:
    """What was there in place of images."""
    if any(_OUTPUT.fullmatch(Path(name).name) for name in names):
        return "only results that vitrail wrote (such as *.overlay.jpg), which are not read again"
    suffixes = sorted({Path(name).suffix.lower() for name in names} - {""})
    if not names:
        return "no files at all"
    return f"{len(names)} other files" + (f" ({', '.join(suffixes[:5])})" if suffixes else "")
