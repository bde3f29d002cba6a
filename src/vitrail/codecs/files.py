"""One open image file -> pixels: finds out what it is, and who decodes it."""

from __future__ import annotations

import io
from typing import IO

import numpy as np

from vitrail.codecs.arrays import Decoded, split_alpha
from vitrail.codecs.fast import decode_fast
from vitrail.codecs.limits import Limits, damaged
from vitrail.codecs.pillow import from_pillow, open_pillow
from vitrail.codecs.tiff import decode_tiff
from vitrail.errors import ImageError


def decode(file: IO[bytes], name: str, limits: Limits) -> Decoded:
    """Decode an image file from where it stands, oriented as its EXIF says.

    Parameters
    ----------
    file
        open for reading in binary. A TIFF is not read whole, and must be seekable.
    name
        what messages call it.

    Raises
    ------
    ImageError
        empty, not an image, an image of an unsupported kind, damaged, or cut short.
    ImageTooLargeError
        more pixels or bytes than ``limits``.
    OSError
        the file cannot be read.
    """
    if file.seekable():
        start = file.tell()
        prefix = file.read(4)
        file.seek(start)
        if is_tiff(prefix):
            return decode_tiff(file, name, limits)
    data = read_bounded(file, limits.max_bytes)
    if not data:
        raise ImageError(f"{name}: the file is empty (0 bytes)")
    limits.check_bytes(name, len(data))
    if is_tiff(data[:4]):
        return decode_tiff(io.BytesIO(data), name, limits)
    if data.startswith(b"\x93NUMPY"):
        return _decode_npy(data, name, limits)
    image = open_pillow(io.BytesIO(data), name)
    if image is None:
        raise ImageError(f"{name}: {_what_is_it(data[:4096])}")
    limits.check(name, *image.size, len(image.getbands()))
    return decode_fast(image, data) or from_pillow(image, name)


def read_bounded(file: IO[bytes], max_bytes: int) -> bytes:
    """Up to ``max_bytes + 1`` bytes, in parts: ``read(n)`` itself would reserve all n at once.

    Raises
    ------
    TypeError
        the file was opened as text.
    """
    parts = bytearray()
    while len(parts) <= max_bytes:
        part = file.read(min(1 << 24, max_bytes + 1 - len(parts)))
        if not part:
            break
        parts += part
    return bytes(parts)


def is_tiff(prefix: bytes) -> bool:
    return prefix in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _decode_npy(data: bytes, name: str, limits: Limits) -> Decoded:
    """An array saved by ``np.save``: (H, W) or (H, W, C). Pickled objects are refused."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except Exception as error:
        raise damaged(name, "NumPy", error) from None
    if dtype.hasobject:
        raise ImageError(f"{name}: holds pickled Python objects, which are never loaded")
    if len(shape) not in (2, 3):
        raise ImageError(f"{name}: an image array is (H, W) or (H, W, C), got shape {shape}")
    bands = shape[2] if len(shape) == 3 else 1
    limits.check(name, shape[1], shape[0], dtype.itemsize * bands)
    file.seek(0)
    try:
        array = np.load(file, allow_pickle=False)
    except Exception as error:
        raise damaged(name, "NumPy", error) from None
    return split_alpha(array[:, :, None] if array.ndim == 2 else array, name)


def _what_is_it(head: bytes) -> str:
    """Why a file that no decoder takes is refused, and what to do."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")) or b"<html" in text[:512]:
        return "this is a web page, not an image; give the address of the image itself"
    if b"<svg" in text:
        return "SVG is a drawing, not pixels; export it as PNG first"
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"):
            return (
                "HEIC is not supported; convert it to JPEG, or pip install pillow-heif, open it "
                "with that and pass the PIL image"
            )
        if head[8:12] in (b"avif", b"avis"):
            return "this AVIF cannot be opened by the installed Pillow; convert it to PNG or JPEG"
        return "this is a video; extract its frames first"
    if head[128:132] == b"DICM":
        return "DICOM is not supported; read it with pydicom and pass its pixel_array"
    known = {
        b"%PDF": "this is a PDF; export its pages as PNG first",
        b"%!PS": "this is PostScript; export it as PNG first",
        b"PK\x03\x04": "this is a ZIP archive; unpack it first",
        b"\x1f\x8b": "this is a gzip archive; unpack it first",
        b"\x89HDF": "this is HDF5; read the array with h5py and pass it",
        b"8BPS": "this is a Photoshop file; export it as PNG or TIFF first",
    }
    for magic, answer in known.items():
        if head.startswith(magic):
            return answer
    readable = bool(head) and not any(byte < 9 or 13 < byte < 32 for byte in head)
    what = "this is text, not an image" if readable else "this is not an image vitrail can read"
    return f"{what}; expected JPEG, PNG, WebP, TIFF, BMP, GIF, PNM, JPEG 2000, AVIF, ICO or .npy"
