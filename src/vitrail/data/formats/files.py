"""What every format does with files: bounded JSON, safe names, sizes from headers, copies."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import cv2
import numpy as np
import PIL.Image

from vitrail.atomic import output_error
from vitrail.codecs.arrays import ORIENTATION
from vitrail.codecs.pillow import open_pillow
from vitrail.data.sample import Sample
from vitrail.errors import DataError, ImageError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
MAX_TEXT_BYTES = 4 * 1024**3
"""Largest annotation file that is read; COCO's largest is half a gigabyte."""
_NAME_BYTES, _PATH_BYTES = 255, 4096
"""Longest name of a file, and of one with its folders, on the usual file systems."""


def list_images(folder: Path) -> list[Path]:
    """Image files directly in a folder, by suffix, sorted by name; hidden files are left out.

    Raises
    ------
    DataError
        no such folder, or it cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if Path(entry.name).suffix.lower() in IMAGE_SUFFIXES
                and not entry.name.startswith(".")
                and _is_file(entry)
            ]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from None
    return [folder / name for name in sorted(names)]


def _is_file(entry: os.DirEntry[str]) -> bool:
    """A file or a link to one; a link that leads in a circle is neither."""
    try:
        return entry.is_file()
    except OSError:
        return False


def read_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """A UTF-8 text file, with or without a byte order mark.

    Raises
    ------
    DataError
        it cannot be read, is too large, or is not UTF-8 (says at which byte).
    """
    try:
        status = path.stat()
        if stat.S_ISFIFO(status.st_mode):
            raise DataError(f"{path}: is a pipe; expected a file")
        size = status.st_size
        if size > max_bytes:
            raise DataError(f"{path}: has {size:,} bytes, more than the limit of {max_bytes:,}")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start} is {path.read_bytes()[error.start]:#04x}, which is not "
            "UTF-8; save the file as UTF-8"
        ) from None


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises
    ------
    DataError
        it cannot be read or is not valid JSON (says the line and column).
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}; "
            "the file may be cut short"
        ) from None
    except ValueError as error:  # a whole number of thousands of digits
        raise DataError(f"{path}: its JSON cannot be read ({error})") from None
    except RecursionError:
        raise DataError(f"{path}: its JSON is nested too deeply to be annotations") from None


def file_exists(path: Path) -> bool:
    """Whether there is a file; False, too, for a name that the system refuses, as a long one."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def folder_exists(path: Path) -> bool:
    """Whether there is a folder; False, too, for a name that the system refuses."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_too_long(name: str) -> bool:
    """Whether no file can have this name: a part of more than 255 bytes, or 4096 in all."""
    data = name.encode("utf-8", "replace")
    parts = data.replace(b"\\", b"/").split(b"/")
    return len(data) > _PATH_BYTES or any(len(part) > _NAME_BYTES for part in parts)


def inside(root: Path, name: str) -> Path:
    """A file that an annotation names, as a path under ``root``; Windows separators are accepted.

    Raises
    ------
    DataError
        the name is empty or absolute, climbs out of the folder, or is too long for a file.
    """
    if is_too_long(name):
        raise DataError(
            f"{name[:60]!r}...: is too long, expected at most {_NAME_BYTES} bytes for a file or "
            "folder"
        )
    windows = PureWindowsPath(name)
    parts = windows.parts if "\\" in name else PurePosixPath(name).parts
    climbs = ".." in parts or windows.drive or windows.root or name.startswith("/")
    if not parts or climbs or "\0" in name:
        raise DataError(f"{name!r}: expected the name of a file inside {root}")
    return root.joinpath(*parts)


def header_size(path: Path) -> tuple[tuple[int, int], bool]:
    """``(H, W)`` of an image file as it is shown, and whether EXIF turns it by a quarter.

    Only the header is read.

    Raises
    ------
    ImageError
        it is not an image, or its header is damaged.
    """
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise ImageError(f"{path}: the file is empty (0 bytes)")
            picture = open_pillow(file, str(path))
            if picture is None:
                raise ImageError(f"{path}: not an image of a known kind")
            width, height = picture.size
            # A PNG is asked only for an eXIf chunk at its front: more would decode it all.
            exif = picture.info.get("exif") if picture.format == "PNG" else picture.getexif()
            turned = bool(exif) and picture.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # damaged EXIF raises many kinds
        raise ImageError(f"{path}: its header is damaged ({error})") from None
    return ((width, height) if turned else (height, width)), turned


def copy_image(sample: Sample, folder: Path, stem: str | None = None) -> Path:
    """Put a sample's image into a folder: its file byte for byte, or an array as PNG.

    ``stem`` defaults to the last part of the sample's id. Returns where it lies.

    Raises
    ------
    OutputError
        it cannot be written, or another image already has that name.
    DataError, ImageError
        the picture cannot be read.
    """
    name = stem or PurePosixPath(sample.id).name or "image"
    path = folder / (name + (sample.path.suffix if sample.path else ".png"))
    if path.exists():
        raise DataError(f"two images would be written as {path}; give one of them another name")
    if sample.path is None:
        write_png(path, sample.image)
        return path
    try:
        shutil.copyfile(sample.path, path)
    except FileNotFoundError:
        raise DataError(f"{sample.path}: the image is missing") from None
    except OSError as error:
        raise output_error(path, error) from None
    return path


def write_png(
    path: Path, pixels: np.ndarray, palette: Iterable[tuple[int, int, int]] | None = None
) -> None:
    """Write ``(H, W)`` uint8 / uint16 or ``(H, W, 3)`` uint8 RGB as PNG, lossless.

    With a ``palette``, an uint8 label map becomes a palette PNG whose indices are the values.

    Raises
    ------
    OutputError
        it cannot be written.
    """
    try:
        if palette is not None:
            picture = PIL.Image.fromarray(np.ascontiguousarray(pixels, np.uint8))
            picture.putpalette([value for colour in palette for value in colour])
            picture.save(path, optimize=False)
            return
        bgr = pixels[..., ::-1] if pixels.ndim == 3 else pixels
        done, data = cv2.imencode(".png", np.ascontiguousarray(bgr))
        assert done
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise output_error(path, error) from None
