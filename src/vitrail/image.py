"""Any source -> :class:`Image`: the one way in.

=============  ====================================================================================
source         what it may be
=============  ====================================================================================
path           JPEG, PNG, WebP, TIFF, BMP, GIF (first frame), PNM, JPEG 2000, AVIF, ICO, ``.npy``
URL            ``http:`` or ``https:``, downloaded into memory within ``max_bytes``
bytes, file    the contents of such a file
PIL.Image      any mode
numpy          (H, W) or (H, W, C) in RGB order; (H, W, 4) is RGB and alpha, other C are bands
torch          (H, W) or (C, H, W), likewise
=============  ====================================================================================

EXIF orientation is applied, so pixels stand as the photographer saw them. Colour profiles are not
applied (networks are trained without them), except to turn CMYK into RGB.

Values are kept as the source has them. Only :meth:`Image.rgb` and :meth:`Image.gray` scale.
"""

from __future__ import annotations

import io
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, TypeAlias, TypeGuard
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
import PIL.Image

from vitrail.codecs import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_DOWNLOAD,
    DEFAULT_MAX_PIXELS,
    Limits,
    decode,
    from_pillow,
    read_bounded,
)
from vitrail.codecs.arrays import by_strips, over_white, shown_range, shown_table, split_alpha
from vitrail.download import download, is_url
from vitrail.errors import ImageError, ParameterError
from vitrail.sources import find_sources, open_file, unreadable

if TYPE_CHECKING:
    import torch

__all__ = [
    "DEFAULT_MAX_BYTES",
    "DEFAULT_MAX_DOWNLOAD",
    "DEFAULT_MAX_PIXELS",
    "Image",
    "ImageSource",
    "find_sources",
    "read_image",
]

LUMA = (0.2125, 0.7154, 0.0721)
"""Weights of red, green and blue in grey: Rec. 709, to the digits of ``skimage.color.rgb2gray``."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One picture in memory, at its original size and depth. Treat the arrays as read-only.

    Parameters
    ----------
    pixels
        (H, W, C) uint8, uint16 or float32, C-contiguous (made so if it is not). C = 1 is grey,
        C = 3 is red, green, blue; any other number is bands without a fixed meaning. Floats are
        finite.
    alpha
        (H, W) uint8, 0 transparent to 255 opaque, not premultiplied; None when the source has none.
    source
        the path or URL it came from, for messages and file names.

    Raises
    ------
    ParameterError
        when the arrays do not have those shapes and types.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        pixels, alpha = self.pixels, self.alpha
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or 0 in pixels.shape:
            found = getattr(pixels, "shape", type(pixels).__name__)
            raise ParameterError(
                f"pixels must be a non-empty (H, W, C) array, got {found}; "
                "read_image() takes other shapes"
            )
        if pixels.dtype not in (np.uint8, np.uint16, np.float32):
            raise ParameterError(
                f"pixels must be uint8, uint16 or float32, got {pixels.dtype}; "
                "read_image() converts other types"
            )
        if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != np.uint8):
            raise ParameterError(
                f"alpha must be uint8 of shape {pixels.shape[:2]}, "
                f"got {alpha.dtype} of shape {alpha.shape}"
            )
        object.__setattr__(self, "pixels", np.ascontiguousarray(pixels))
        if alpha is not None:
            object.__setattr__(self, "alpha", np.ascontiguousarray(alpha))

    def __repr__(self) -> str:
        height, width, bands = self.pixels.shape
        alpha = "" if self.alpha is None else " + alpha"
        name = "" if self.source is None else f", {self.source!r}"
        return f"Image({height} x {width} x {bands}{alpha}, {self.pixels.dtype}{name})"

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def stem(self) -> str:
        """The source's file name without folder and last suffix; ``"image"`` when there is none.

        Of a URL, the last part of its path. What a file system could refuse becomes ``_``.
        """
        if self.source is None:
            return "image"
        path = unquote(urlsplit(self.source).path) if is_url(self.source) else self.source
        # A backslash divides folders on Windows alone; elsewhere it is one more odd character.
        name = (PurePosixPath if is_url(self.source) else Path)(path).stem
        return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).strip(" .") or "image"

    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8, for networks and pictures; over white where it is transparent.

        - grey is replicated; two bands are shown as red and green; of more than three bands, the
          first three are taken.
        - uint16: if the 99.9th percentile reaches the upper half of the range it is a full 16-bit
          picture, and is divided by 257. Otherwise (10- to 14-bit cameras, microscopes) the range
          from the 0.1st to the 99.9th percentile is stretched to 0..255, so that it can be seen;
          percentiles, because one hot pixel must not turn all others black.
        - float: within [0, 1], times 255; otherwise stretched from minimum and maximum to 0..255.

        All channels share one scale, so hues stay. Values are rounded to the nearest.
        No copy is made of pixels that are uint8 RGB already.
        """
        pixels = self.pixels[:, :, :3]
        if pixels.dtype == np.uint16:
            table = shown_table(pixels)
            pixels = by_strips(pixels, np.uint8, lambda part: table[part])
        elif pixels.dtype == np.float32:
            low, high = shown_range(pixels)
            scale = np.float32(255 / (high - low))
            pixels = by_strips(pixels, np.uint8, lambda part: np.rint((part - low) * scale))
        if pixels.shape[2] == 1:
            pixels = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_GRAY2RGB)
        elif pixels.shape[2] == 2:
            pixels = np.dstack([pixels, np.zeros(self.size, np.uint8)])
        if self.alpha is not None and self.alpha.min() < 255:
            pixels = over_white(pixels, self.alpha)
        return np.ascontiguousarray(pixels)

    def gray(self) -> np.ndarray:
        """(H, W) float32 in [0, 1]: 0.2125 R + 0.7154 G + 0.0721 B of what :meth:`rgb` shows.

        Equals ``skimage.color.rgb2gray`` (with ``rgba2rgb`` before it, where there is alpha)
        within float32 rounding: uint8 is divided by 255, uint16 by 65535 (*not* stretched as in
        :meth:`rgb`), floats in [0, 1] are as they are. Other floats are first scaled from their
        minimum and maximum to [0, 1].
        """
        pixels = self.pixels[:, :, :3]
        bands = pixels.shape[2]
        low, high = shown_range(pixels)
        weights = np.array([[1.0] if bands == 1 else LUMA[:bands]]) / (high - low)

        def luma(part: np.ndarray) -> np.ndarray:
            values = part.astype(np.float32)
            if low:
                values -= np.float32(low)
            return cv2.transform(values, weights).reshape(part.shape[:2])

        gray = by_strips(pixels, np.float32, luma, self.size)
        if self.alpha is not None and self.alpha.min() < 255:
            opaque = self.alpha * np.float32(1 / 255)
            gray = gray * opaque + (1 - opaque)
        return np.clip(gray, 0.0, 1.0, out=gray)


if TYPE_CHECKING:
    ImageSource: TypeAlias = (
        str
        | os.PathLike[str]
        | bytes
        | IO[bytes]
        | PIL.Image.Image
        | np.ndarray
        | torch.Tensor
        | Image
    )
else:  # torch is not imported for the sake of a name
    ImageSource = object
"""What :func:`read_image` takes."""


def read_image(
    source: ImageSource,
    *,
    max_pixels: int | None = None,
    max_bytes: int | None = None,
) -> Image:
    """Read one image from any source.

    Parameters
    ----------
    source
        see the table at the top of this module; an :class:`Image` is returned as it is. Arrays
        that need no conversion are not copied. Of a file with several pictures, the first is read:
        the first page of a TIFF (all its channels, where the file says which axis they are), the
        first frame of a GIF.
    max_pixels
        refuse a file whose header claims more pixels, before anything is decoded. Default: the
        environment variable ``VITRAIL_MAX_PIXELS``, or else 500 million.
    max_bytes
        refuse a file, a download or decoded pixels larger than that. Default: the environment
        variable ``VITRAIL_MAX_BYTES``, or else 4 GiB, and 512 MiB for downloads. Arrays and
        PIL images already in memory are not limited.

    Returns
    -------
    Image
        with the source's own values in uint8, uint16 or float32: bool and 1-bit become 0 and 255;
        other integers become the smallest of uint8, uint16, float32 that holds them all; other
        floats become float32; palettes and CMYK become RGB.

    Raises
    ------
    SourceError
        nothing is there, it may not be read, or the URL fails.
    ImageError
        it is not an image of a supported kind, is damaged or cut short, has a shape that could be
        meant in several ways, or holds NaN or infinity.
    ImageTooLargeError
        it exceeds a limit.
    """
    if isinstance(source, Image):
        return source
    if isinstance(source, PIL.Image.Image):
        file = str(getattr(source, "filename", "") or "")
        return Image(*from_pillow(source, file or "the PIL image"), file or None)
    limits = Limits.of(max_pixels, max_bytes)
    if isinstance(source, str | os.PathLike):
        return _from_path(os.fsdecode(source), limits)
    if isinstance(source, bytes | bytearray | memoryview):
        return Image(*decode(io.BytesIO(source), "the bytes", limits))
    if _is_tensor(source):
        return Image(*_from_tensor(source))
    if isinstance(source, np.ndarray) or hasattr(source, "__array__"):
        return Image(*_from_array(np.asarray(source)))
    if hasattr(source, "read"):
        return _from_file(source, limits)
    raise ImageError(
        f"cannot read an image from a {type(source).__name__}; give a path, an http(s) URL, bytes, "
        "a PIL image, a NumPy array or a torch tensor"
    )


def _from_path(path: str, limits: Limits) -> Image:
    if is_url(path):
        body = download(path, limits.max_download)
        return Image(*decode(io.BytesIO(body), path, limits), path)
    with open_file(path, limits.max_bytes) as file:
        try:
            return Image(*decode(file, path, limits), path)
        except OSError as error:
            raise unreadable(path, error) from None


def _from_file(file: Any, limits: Limits) -> Image:
    """An open binary file or whatever else has ``read``; from where it stands, to its end."""
    name = getattr(file, "name", None)
    source = name if isinstance(name, str) and not name.startswith("<") else None
    try:
        data = read_bounded(file, limits.max_bytes)
    except TypeError:
        where = source or "the file object"
        raise ImageError(f"{where}: opened as text; open it with mode 'rb'") from None
    return Image(*decode(io.BytesIO(data), source or "the file object", limits), source)


def _from_array(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    shape = array.shape
    if array.ndim not in (2, 3):
        hint = "; give the images of a batch one at a time" if array.ndim == 4 else ""
        raise ImageError(f"an image array is (H, W) or (H, W, C), got shape {shape}{hint}")
    if array.ndim == 3 and shape[0] <= 4 < shape[1] and shape[2] > 16:
        raise ImageError(
            f"an image array is (H, W, C), got shape {shape}, which looks like (C, H, W); turn it "
            "with array.transpose(1, 2, 0), or build vitrail.image.Image(array) if it is meant"
        )
    return split_alpha(array[:, :, None] if array.ndim == 2 else array, "the array")


def _is_tensor(source: object) -> TypeGuard[torch.Tensor]:
    torch = sys.modules.get("torch")  # a tensor can only exist if its module does
    return torch is not None and isinstance(source, torch.Tensor)


def _from_tensor(tensor: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    shape = tuple(tensor.shape)
    if tensor.ndim not in (2, 3):
        hint = "; give the images of a batch one at a time" if tensor.ndim == 4 else ""
        raise ImageError(f"an image tensor is (H, W) or (C, H, W), got shape {shape}{hint}")
    if tensor.ndim == 3 and shape[2] in (1, 3, 4) and shape[1] > 4 and shape[0] > 16:
        raise ImageError(
            f"an image tensor is (C, H, W), got shape {shape}, which looks like (H, W, C); turn it "
            "with tensor.permute(2, 0, 1)"
        )
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()  # NumPy has no bfloat16
    array = tensor.numpy()
    return split_alpha(
        array[:, :, None] if array.ndim == 2 else array.transpose(1, 2, 0), "the tensor"
    )
