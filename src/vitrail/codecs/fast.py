"""Ordinary JPEG and PNG by OpenCV: as fast as they can be decoded, without a copy."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import PIL.Image

from vitrail.codecs.arrays import ORIENTATION, Decoded, orient, to_alpha


def decode_fast(image: PIL.Image.Image, data: bytes) -> Decoded | None:
    """OpenCV's decoders where they are right for sure; None for all else, and for any doubt."""
    depth16 = plain = False
    orientation = 1
    if image.format in ("JPEG", "MPO"):
        # Every whole JPEG ends so. A cut one must not reach OpenCV, which may fill it up in grey.
        if image.mode not in ("L", "RGB") or not data.rstrip(b"\0").endswith(b"\xff\xd9"):
            return None
    elif image.format == "PNG":
        depth, colour = data[24], data[25]
        depth16 = depth == 16
        if depth < 8 or colour == 3:
            return None
        if not depth16 and (colour == 4 or "transparency" in image.info):
            return None
        plain = _is_plain_png(data)
        if not plain and not depth16:
            return None
    else:
        return None
    # A plain PNG without an eXIf chunk is not asked: the plugin would decode it all to answer.
    if not plain or "exif" in image.info:
        try:
            orientation = image.getexif().get(ORIENTATION, 1)
        except Exception:  # damaged EXIF: Pillow's path reports it
            return None
    flags = {"L": cv2.IMREAD_GRAYSCALE, "RGB": cv2.IMREAD_COLOR_RGB}.get(image.mode)
    if depth16 or flags is None:
        flags = cv2.IMREAD_UNCHANGED
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is None or pixels.shape[1::-1] != image.size:
        return None
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if flags == cv2.IMREAD_UNCHANGED:
        return _png_unchanged(image, data[25], pixels, orientation)
    return orient(pixels, orientation), None


def _png_unchanged(
    image: PIL.Image.Image, colour: int, pixels: np.ndarray, orientation: int
) -> Decoded:
    """RGBA, and all with 16 bits: from OpenCV's order (BGR, and BGRA for grey with alpha)."""
    alpha = to_alpha(pixels[:, :, 3]) if colour in (4, 6) else None
    if colour in (0, 4):
        pixels = np.ascontiguousarray(pixels[:, :, :1])
    else:
        code = cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        pixels = cv2.cvtColor(pixels, code)
    key = image.info.get("transparency")  # one colour that is transparent
    if alpha is None and key is not None:
        opaque = (pixels != np.asarray(key, np.uint16)).any(axis=2)
        alpha = opaque.astype(np.uint8) * np.uint8(255)
    return orient(pixels, orientation), None if alpha is None else orient(alpha, orientation)


def _is_plain_png(data: bytes) -> bool:
    """Whole, one frame, and without orientation anywhere but in an eXIf chunk at the front."""
    at, in_data = 8, False
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return in_data
        if kind == b"acTL" or (kind == b"eXIf" and in_data):
            return False
        if kind in (b"tEXt", b"zTXt", b"iTXt") and data.startswith(
            (b"Raw profile type exif", b"XML:com.adobe.xmp"), at + 8
        ):
            return False
        in_data = in_data or kind == b"IDAT"
        at += 12 + length
    return False
