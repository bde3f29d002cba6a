"""One image file: whole or damaged, how it lies, and a small grey picture of it.

The file is read once. Of a JPEG only a reduced picture is computed (the Huffman codes are decoded
to the end all the same, which is where damage shows), of other kinds the whole one. Damage that
leaves valid codes cannot be seen: a JPEG holds no checksum.
"""

from __future__ import annotations

import io
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image

from vitrail.codecs import Limits
from vitrail.codecs.arrays import ORIENTATION, orient
from vitrail.codecs.pillow import open_pillow
from vitrail.data.checks.finding import Pen
from vitrail.data.checks.fingerprint import Fingerprint, fingerprint
from vitrail.data.checks.native import DecoderMessages
from vitrail.errors import ImageError, ImageTooLargeError, VitrailError
from vitrail.image import read_image

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
}
_REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}
HASHED_SIDE = 32
"""px; a picture is not reduced below that before it is hashed."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What one image file is."""

    size: tuple[int, int]
    """``(H, W)`` upright, as EXIF says, px."""
    orientation: int
    """EXIF's, 1 to 8; 1 where it says nothing."""
    nbytes: int
    print: Fingerprint | None
    """None where it is too flat to have one."""

    @property
    def stored(self) -> tuple[int, int]:
        """``(H, W)`` without EXIF, px."""
        height, width = self.size
        return (width, height) if self.orientation >= 5 else (height, width)


def read_file(path: Path, pen: Pen, limits: Limits, kind: str) -> bytes | None:
    """The bytes of a file; None, and a finding, where there are none or too many.

    ``kind`` is "image" or "mask", for the code.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe could wait for ever
            pen.note(f"corrupt-{kind}", "no regular file", f"{_a(kind)} {kind}", file=path)
            return None
        size = status.st_size
        if size > limits.max_bytes:
            expected = f"at most {limits.max_bytes:,}"
            pen.note("image-too-large", f"{size:,} bytes", expected, file=path)
            return None
        data = path.read_bytes()
    except FileNotFoundError:
        pen.note(f"missing-{kind}", "no such file", f"the {kind} of this sample", file=path)
        return None
    except OSError as error:
        pen.note(f"corrupt-{kind}", error.strerror or str(error), "a file to read", file=path)
        return None
    if not data:
        pen.note("empty-file", "0 bytes", f"{_a(kind)} {kind}", file=path)
        return None
    return data


def look(path: Path, pen: Pen, messages: DecoderMessages, limits: Limits) -> Picture | None:
    """Read an image file and judge it; None, with findings, where it cannot be used."""
    data = read_file(path, pen, limits, "image")
    if data is None:
        return None
    try:
        found = _decode(data, path, messages, limits)
    except ImageTooLargeError as error:
        pen.note("image-too-large", _without(error, path), "an image within the limits", file=path)
        return None
    except VitrailError as error:
        pen.note("corrupt-image", _without(error, path), "a whole image", file=path)
        return None
    if found.kind == "PNG" and not png_is_whole(data):
        pen.note("damaged-image", "a chunk with a wrong checksum", "a whole PNG", file=path)
    if found.said:
        # Half a picture can still end in a proper marker; what is lost shows as "premature end".
        lost = "extraneous" not in found.said
        code = "corrupt-image" if lost else "damaged-image"
        value = f"the decoder says: {found.said}"
        pen.note(code, value, "a whole JPEG", file=path, weight=float(lost))
    suffixes = _SUFFIXES.get(found.kind)
    if suffixes and path.suffix.lower() not in suffixes:
        named = path.suffix or "no suffix"
        pen.note("wrong-suffix", f"{found.kind} data, named {named}", suffixes[0], file=path)
    return Picture(found.size, found.orientation, len(data), fingerprint(found.grey))


class _Decoded(NamedTuple):
    """An image file that could be decoded."""

    kind: str
    """Pillow's name of its format; "" for one that only vitrail reads."""
    size: tuple[int, int]
    orientation: int
    grey: np.ndarray
    """Upright, perhaps reduced."""
    said: str
    """libjpeg's words on damage."""


def _decode(data: bytes, path: Path, messages: DecoderMessages, limits: Limits) -> _Decoded:
    try:
        header = open_header(data, path, limits)
    except ImageTooLargeError:
        raise
    except ImageError:
        header = None  # some TIFF, and .npy: read_image has decoders of its own
    if header is None:
        orientation, grey, said, kind = 1, None, "", ""
    else:
        orientation, kind = exif_orientation(header), header.format or ""
        grey, said = reduced_grey(data, header, HASHED_SIDE, messages)
    if header is not None and grey is not None:
        if said or not _ends_whole(data, header):
            messages.during(lambda: read_image(path))  # it has the last word
        width, height = header.size
        size = (width, height) if orientation >= 5 else (height, width)
        return _Decoded(kind, size, orientation, orient(grey, orientation), said)
    image, _ = messages.during(lambda: read_image(path))
    grey = cv2.cvtColor(image.rgb(), cv2.COLOR_RGB2GRAY)
    return _Decoded(kind, image.size, orientation, grey, said)


def open_header(data: bytes, path: Path, limits: Limits) -> PIL.Image.Image:
    """The header of an image file; :class:`ImageError` where it is none, or claims too much."""
    header = open_pillow(io.BytesIO(data), str(path))
    if header is None:
        raise ImageError(f"{path}: no image of a known kind")
    limits.check(str(path), *header.size, len(header.getbands()))
    return header


def reduced_grey(
    data: bytes, header: PIL.Image.Image, side: int, messages: DecoderMessages
) -> tuple[np.ndarray | None, str]:
    """``(h, w)`` uint8 or uint16 as stored, and libjpeg's complaints.

    The shorter side is reduced by up to 8, to no less than ``side`` px. None where OpenCV is not
    right for this kind of file, or fails; PNG checksums are verified.
    """
    flags = cv2.IMREAD_GRAYSCALE
    if header.format in ("JPEG", "MPO"):
        if header.mode not in ("L", "RGB"):
            return None, ""
        factor = next((f for f in _REDUCED if min(header.size) // f >= side), 0)
        flags = _REDUCED.get(factor, flags)
    elif header.format == "PNG":
        if not png_is_whole(data):
            return None, ""
        flags |= cv2.IMREAD_ANYDEPTH
    else:
        return None, ""
    buffer = np.frombuffer(data, np.uint8)

    def decode() -> np.ndarray | None:
        try:
            return cv2.imdecode(buffer, flags | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:
            return None

    return messages.during(decode)


def png_is_whole(data: bytes) -> bool:
    """Whether every chunk of a PNG has its right checksum, and the last one is IEND."""
    at, view = 8, memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            return False
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
            return False
        if kind == b"IEND":
            return True
        at = end + 4
    return False


def _ends_whole(data: bytes, header: PIL.Image.Image) -> bool:
    """False where a JPEG has no end marker (trailers of cameras may follow it)."""
    return header.format not in ("JPEG", "MPO") or b"\xff\xd9" in data[-(1 << 16) :]


def exif_orientation(header: PIL.Image.Image) -> int:
    # A PNG is asked only for an eXIf chunk at its front: more would decode it all.
    if header.format == "PNG" and "exif" not in header.info:
        return 1
    try:
        found = header.getexif().get(ORIENTATION, 1)
    except Exception as error:  # damaged EXIF raises many kinds
        raise ImageError(f"its EXIF data is damaged ({error})") from None
    return found if found in range(1, 9) else 1


def _without(error: Exception, path: Path) -> str:
    """The message without the path, which findings name anyway."""
    return str(error).removeprefix(f"{path}: ")


def _a(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
