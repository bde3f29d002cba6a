"""What Pillow decodes: any of its modes -> pixels and alpha."""

from __future__ import annotations

import io
import struct
from typing import IO

import numpy as np
import PIL.Image

from vitrail.codecs.arrays import ORIENTATION, Decoded, orient, to_pixels
from vitrail.codecs.limits import damaged
from vitrail.errors import ImageError, ImageTooLargeError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF", "ICO", "TIFF")


def open_pillow(file: IO[bytes], name: str) -> PIL.Image.Image | None:
    """Read the header only, of the formats in ``FORMATS``; None when it is none of them.

    Not ``PIL.Image.open``: that compares the size to a limit which is global to the process.
    """
    PIL.Image.init()
    prefix = file.read(16)
    refused = ""
    for kind in FORMATS:
        factory, accept = PIL.Image.OPEN.get(kind, (None, None))
        if factory is None:
            continue
        file.seek(0)
        try:
            if accept is not None and accept(prefix) is not True:
                continue
            return factory(file, "")
        except (SyntaxError, IndexError, TypeError, KeyError, struct.error):
            if len(prefix) < 16:
                continue  # too short for its signature to be read
            refused = kind  # as PIL.Image.open does: go on, another format may accept it
        except Exception as error:
            raise damaged(name, kind, error) from None
    if refused:
        raise damaged(name, refused, "its header cannot be read")
    return None


def from_pillow(image: PIL.Image.Image, name: str) -> Decoded:
    """Pixels and alpha of a PIL image of any mode, oriented as its EXIF says.

    Raises
    ------
    ImageError
        the pixels cannot be loaded, or the mode is unknown.
    """
    try:
        image.load()
        orientation = image.getexif().get(ORIENTATION, 1)
    except PIL.Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            f"{name}: {error}; this limit is Pillow's own (PIL.Image.MAX_IMAGE_PIXELS): save it as "
            "PNG or as uncompressed TIFF"
        ) from None
    except Exception as error:  # codecs raise many kinds; none is the caller's business
        raise damaged(name, image.format, error) from None
    image = _plain_mode(image, name)
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, None]
    alpha = None
    if image.mode in ("LA", "RGBA"):
        array, alpha = array[:, :, :-1], array[:, :, -1]
    pixels = to_pixels(array, name)
    return orient(pixels, orientation), None if alpha is None else orient(alpha, orientation)


def _plain_mode(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    """The same picture in one of 1, L, LA, RGB, RGBA, I, I;16*, F."""
    mode = image.mode
    if mode in ("1", "L", "RGB", "P") and image.has_transparency_data:
        return image.convert("LA" if mode in ("1", "L") else "RGBA")
    if mode in ("1", "L", "LA", "RGB", "RGBA", "I", "F") or mode.startswith("I;16"):
        return image
    if mode == "CMYK":
        return _cmyk_to_rgb(image)
    if mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # only in-place conversion returns None
        return converted
    target = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}.get(mode, "RGB")
    try:
        return image.convert(target)
    except ValueError:
        raise ImageError(f"{name}: PIL mode {mode!r} cannot be turned into RGB") from None


def _cmyk_to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """By the embedded profile, which knows the inks; without one by (1 - ink) * (1 - black)."""
    profile = image.info.get("icc_profile")
    if profile:
        from PIL import ImageCms

        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile is worth no more than none
    return image.convert("RGB")
