"""Mask files to arrays: ids, black and white, or colours; bounded, and nothing guessed.

Decoding is Pillow's, because a cut file is an error there, ids of 2 and 4 bits can be told from
grey levels, and a palette's indices are kept; TIFF and colour go the way of every other picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image

from vitrail.codecs import Limits, decode
from vitrail.codecs.limits import damaged
from vitrail.codecs.pillow import open_pillow
from vitrail.data.formats.files import header_size
from vitrail.errors import DataError, ImageError

LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
"""Files whose values near edges are not those that were drawn."""


def mask_size(path: Path) -> tuple[int, int]:
    """``(H, W)`` of a mask as it is stored, from its header; EXIF does not turn masks.

    Raises
    ------
    ImageError
        it is not an image, or its header is damaged.
    """
    (height, width), turned = header_size(path)
    return (width, height) if turned else (height, width)


def is_wide(path: Path) -> bool:
    """Whether a picture stores more than 8 bits a channel, however small its values are.

    Raises
    ------
    ImageError
        it is not an image, or its header is damaged.
    """
    with _opened(path) as picture:
        return picture.mode.startswith(("I", "F"))


def read_index_png(path: Path) -> np.ndarray:
    """Pixel values of a grey or palette picture, ``(H, W)`` uint8 or uint16; a palette's indices.

    Raises
    ------
    DataError
        it has several channels, or (TIFF) values that are no ids.
    ImageError
        it cannot be read, is damaged or cut short, or exceeds a limit.
    """
    with _opened(path) as picture:
        if picture.mode in ("P", "1"):
            return _loaded(picture, path).astype(np.uint8)
        if picture.format != "TIFF":
            if len(picture.getbands()) > 1:
                raise DataError(_many_channels(path, len(picture.getbands()), picture.format))
            values = _loaded(picture, path)
            bits = _grey_bits(path)
            if values.dtype == np.uint8:
                # Grey of 2 or 4 bits is stretched to 0..255 by decoders; ids must stay ids.
                return values // np.uint8(255 // (2**bits - 1)) if bits < 8 else values
            return values.astype(np.uint16)
    pixels, _ = _decoded(path)
    if pixels.shape[2] != 1:
        raise DataError(_many_channels(path, pixels.shape[2], "TIFF"))
    return _whole(pixels[:, :, 0], path)


def read_binary(path: Path, threshold: int | None = None) -> np.ndarray:
    """A mask of one class, ``(H, W)`` bool.

    Without a ``threshold`` the values are 0 and 1, or 0 and 255 (65535 in 16 bits), in one channel
    or in equal ones. With one, what is as bright as it or brighter is the object: on the scale of
    0 to 255, for masks with soft edges.

    Raises
    ------
    DataError
        it holds another value; or its channels differ.
    ImageError
        it cannot be read.
    """
    grey = read_grey(path)
    if threshold is not None:
        return grey >= (threshold * 257 if grey.dtype == np.uint16 else threshold)
    highest = int(grey.max(initial=0))
    if highest <= 1:
        return grey.astype(bool)
    full = 65535 if highest > 255 else 255
    filled = grey == full
    if np.count_nonzero(filled) != np.count_nonzero(grey):
        odd = grey[(grey != 0) & ~filled]
        lossy = "; JPEG alters values near edges" if path.suffix.lower() in LOSSY_SUFFIXES else ""
        raise DataError(
            f"{path}: holds the value {int(odd[0])} ({len(odd):,} px are neither 0 nor {full}), "
            f"expected 0 and 1, or 0 and {full}{lossy}; for soft edges set threshold=128, for "
            "class ids use --format index-masks"
        )
    return filled


def read_grey(path: Path) -> np.ndarray:
    """Grey levels, ``(H, W)`` uint8 or uint16; of a palette its greys, or else its indices.

    Raises
    ------
    DataError
        its channels differ, or it is transparent.
    ImageError
        it cannot be read.
    """
    with _opened(path) as picture:
        if picture.mode == "P":
            indices = _loaded(picture, path)
            palette = np.asarray(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
            return _shown_greys(indices, palette)
        single = len(picture.getbands()) == 1
    if single:
        return read_index_png(path)
    pixels = _opaque(path)
    if not (pixels == pixels[:, :, :1]).all():
        raise DataError(
            f"{path}: has {pixels.shape[2]} channels that differ; a mask of one class is black and "
            "white; for colours that stand for classes use --format colour-masks"
        )
    return _whole(pixels[:, :, 0], path)


def read_colours(path: Path) -> np.ndarray:
    """``(H, W, 3)`` uint8 RGB; grey is repeated, a palette's colours are taken.

    Raises
    ------
    DataError
        it has 16 bits or is transparent.
    ImageError
        it cannot be read.
    """
    pixels = _opaque(path)
    if pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3):
        raise DataError(
            f"{path}: has {pixels.shape[2]} channels of {pixels.dtype}; a colour mask has red, "
            "green and blue of 8 bits"
        )
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _opaque(path: Path) -> np.ndarray:
    pixels, alpha = _decoded(path)
    if alpha is not None and int(alpha.min()) < 255:
        raise DataError(
            f"{path}: {int((alpha < 255).sum()):,} of its pixels are transparent, expected an "
            "opaque mask; save it without alpha"
        )
    return pixels


def _decoded(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        with path.open("rb") as file:
            return decode(file, str(path), Limits.of())
    except OSError as error:
        raise ImageError(f"{path}: cannot be read as a mask ({error.strerror or error})") from None


@contextmanager
def _opened(path: Path) -> Iterator[PIL.Image.Image]:
    """The header of a picture within the limits; its pixels are not decoded yet."""
    try:
        with path.open("rb") as file:
            picture = open_pillow(file, str(path))
            if picture is None:
                raise ImageError(f"{path}: cannot be read as a mask (not an image of a known kind)")
            Limits.of().check(str(path), *picture.size, len(picture.getbands()))
            yield picture
    except OSError as error:
        raise ImageError(f"{path}: cannot be read as a mask ({error.strerror or error})") from None


def _loaded(picture: PIL.Image.Image, path: Path) -> np.ndarray:
    try:
        picture.load()
    except Exception as error:  # codecs raise many kinds; none is the caller's business
        raise damaged(str(path), picture.format, error) from None
    return np.asarray(picture)


def _grey_bits(path: Path) -> int:
    """Bits a pixel of a PNG without palette; 8 for other files."""
    with path.open("rb") as file:
        header = file.read(26)
    return header[24] if header.startswith(b"\x89PNG") and len(header) == 26 else 8


def _many_channels(path: Path, channels: int, kind: str | None) -> str:
    jpeg = " (JPEG, which alters values)" if kind in ("JPEG", "MPO") else ""
    return (
        f"{path}: has {channels} channels{jpeg}; an index mask has one value a pixel; for colours "
        "that stand for classes use --format colour-masks"
    )


def _whole(values: np.ndarray, path: Path) -> np.ndarray:
    """Values as uint8 or uint16; TIFF may hold floats and wide integers."""
    if values.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(values)
    whole = (values >= 0) & (values <= 65535) & (values == np.floor(values))
    if not whole.all():
        raise DataError(
            f"{path}: holds the value {values[~whole][0]:g}, expected whole numbers 0..65535"
        )
    return values.astype(np.uint16)


def _shown_greys(indices: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The greys that indices show where all of those are distinct greys, otherwise the indices.

    GIF has no other way of black and white; a palette of colours is for looking only.
    """
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    if used[-1] >= len(palette):
        return indices
    colours = palette[used]
    greys = set(colours[:, 0].tolist())
    if (colours != colours[:, :1]).any() or len(greys) < len(used):
        return indices
    if used[-1] <= 1 and not greys <= {0, 255}:
        return indices  # two shades of grey for "no" and "yes"
    table = np.zeros(256, np.uint8)
    table[: len(palette)] = palette[:256, 0]
    return table[indices]
