"""Pictures embedded in annotation files as base64: their size first, then their pixels."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np

from vitrail.codecs.limits import Limits
from vitrail.codecs.pillow import open_pillow
from vitrail.errors import DataError, ImageError

_HEADER = 64
"""Characters of base64 that hold a PNG's signature and IHDR chunk."""
_PNG = b"\x89PNG\r\n\x1a\n"


def png_size(text: str) -> tuple[int, int] | None:
    """``(H, W)`` that a base64 PNG claims, from its first bytes; None where it is no PNG."""
    try:
        head = base64.b64decode(text[:_HEADER], validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(head) < 24 or not head.startswith(_PNG) or head[12:16] != b"IHDR":
        return None
    return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")


def decode_mask(text: str, size: tuple[int, int], where: str, *, alpha: bool = False) -> np.ndarray:
    """A base64 PNG as ``(H, W)`` bool.

    Parameters
    ----------
    text:
        The PNG.
    size:
        ``(H, W)`` that it must have; nothing is decoded where it claims another.
    where:
        File and shape, for messages.
    alpha:
        The mask is what is not transparent; otherwise it is what is not 0 in some channel.

    Raises
    ------
    DataError
        it is damaged, or has another size.
    """
    claimed = png_size(text)
    if claimed is None:
        raise DataError(f"{where}: the embedded mask is {text[:20]!r}..., expected a base64 PNG")
    if claimed != size:
        raise DataError(
            f"{where}: the embedded mask has {claimed[1]}x{claimed[0]} px, expected "
            f"{size[1]}x{size[0]}"
        )
    try:
        data = base64.b64decode(text, validate=True)
        picture = open_pillow(io.BytesIO(data), where)
        assert picture is not None  # the signature was checked
        if alpha:
            picture = picture.convert("RGBA")
        pixels = np.asarray(picture)
    except Exception as error:  # damaged PNGs raise many kinds
        raise DataError(f"{where}: the embedded mask is damaged ({error})") from None
    if pixels.ndim == 2:
        return pixels != 0
    return pixels[..., 3] != 0 if alpha else (pixels != 0).any(axis=2)


def embedded_size(text: str, where: str) -> tuple[int, int]:
    """``(H, W)`` of a base64 image file, upright, from its header.

    Raises
    ------
    DataError
        it is not an image.
    """
    try:
        picture = open_pillow(io.BytesIO(base64.b64decode(text)), where)
        if picture is None:
            raise ImageError("it is of no known kind")
        Limits.of().check(where, *picture.size)
    except Exception as error:  # damaged headers raise many kinds
        raise DataError(f"{where}: the embedded image cannot be read ({error})") from None
    return picture.height, picture.width


def decode_image(text: str, where: str) -> np.ndarray:
    """A base64 image file as ``(H, W, 3)`` uint8 RGB.

    Raises
    ------
    DataError
        it cannot be decoded.
    """
    from vitrail.image import read_image

    try:
        return read_image(base64.b64decode(text)).rgb()
    except Exception as error:  # damaged files raise many kinds
        raise DataError(f"{where}: the embedded image cannot be read ({error})") from None
