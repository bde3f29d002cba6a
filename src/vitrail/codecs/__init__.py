"""The contents of image files -> pixels, bounded. ``vitrail.image`` is the way in to all of it.

Three libraries, each where it is right: OpenCV for ordinary 8-bit JPEG and PNG (fastest, and equal
to Pillow bit by bit) and for 16-bit PNG (Pillow reduces 16-bit colour to 8 bits), tifffile for
TIFF, Pillow for all else. The header is read first, and nothing is decoded that claims to exceed
the limits. Only image formats are tried: never a pickle, never PostScript.
"""

from vitrail.codecs.files import decode, read_bounded
from vitrail.codecs.limits import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_DOWNLOAD,
    DEFAULT_MAX_PIXELS,
    Limits,
)
from vitrail.codecs.pillow import from_pillow

__all__ = [
    "DEFAULT_MAX_BYTES",
    "DEFAULT_MAX_DOWNLOAD",
    "DEFAULT_MAX_PIXELS",
    "Limits",
    "decode",
    "from_pillow",
    "read_bounded",
]
