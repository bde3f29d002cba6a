"""Mask files as they are on disk, before a reader has made class ids of them.

A reader that finds nothing but class ids in a mask is content, and one that thresholds or looks up
colours hides how they came about. Here the raw values are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL.Image

from vitrail.codecs import Limits
from vitrail.data.checks.finding import Pen
from vitrail.data.checks.images import open_header, png_is_whole, read_file
from vitrail.data.checks.native import DecoderMessages
from vitrail.data.sample import LabelSpace
from vitrail.errors import ImageError, ImageTooLargeError, VitrailError
from vitrail.image import read_image

_FEW = 6
"""Distinct values from which a mask can be one whose edges were smoothed: two areas, and four
values between them that occur at edges only."""
_NEAR = 16
"""Levels (of 255) within which JPEG's ringing keeps to the value of the area around it."""
_COLOURS = 256
"""Distinct colours up to which a picture is a mask; photographs have thousands."""


@dataclass(frozen=True, slots=True, eq=False)
class RawMask:
    """What a mask file holds."""

    path: Path
    size: tuple[int, int]
    """``(H, W)``."""
    mode: str
    """Pillow's: L, I;16, P, RGB ..."""
    pixels: np.ndarray
    """``(H, W)`` values; of a palette PNG its indices, of colours ``r << 16 | g << 8 | b``."""
    values: np.ndarray
    """Distinct values, ascending, ``(K,)`` int64."""
    counts: np.ndarray
    """Pixels of each, ``(K,)`` int64."""
    palette: bytes | None
    """RGB triples of a palette PNG."""
    smoothed: bool
    """Whether its edges were found to be blurred; the finding is written."""

    @property
    def coloured(self) -> bool:
        return self.mode not in _GREY

    def colour(self, value: int) -> tuple[int, int, int]:
        return value >> 16, value >> 8 & 255, value & 255


_GREY = ("1", "L", "P", "I", "I;16", "I;16B", "I;16N")


def look_at_mask(path: Path, pen: Pen, messages: DecoderMessages, limits: Limits) -> RawMask | None:
    """Read a mask file; None, with a finding, where it cannot be decoded, or if it is no picture.

    Masks that went through JPEG, and masks with smoothed edges, are reported here, as no reader
    can bring back what they lost; as warnings, which :func:`blame` turns into errors where the
    reader fails on them.
    """
    data = read_file(path, pen, limits, "mask")
    if data is None or path.suffix.lower() == ".mat":  # MATLAB's: the reader looks into it
        return None
    try:
        raw = _decode(data, path, messages, limits)
    except ImageTooLargeError as error:
        pen.note("image-too-large", str(error), "a mask within the limits", file=path)
        return None
    except (VitrailError, OSError, SyntaxError, ValueError, EOFError) as error:
        value = str(error).removeprefix(f"{path}: ")
        pen.note("corrupt-mask", value, "a whole image file", file=path)
        return None
    pixels, coloured = raw.pixels, raw.mode not in _GREY
    values, counts = histogram(pixels)
    enough = _FEW if pixels.dtype in (np.uint8, np.uint16) else 2 * _FEW
    faint = None if len(values) < enough else edge_values(pixels, values, counts)
    if raw.lossy:
        what = f"lossy compression, {len(values)} distinct values"
        pen.note("jpeg-mask", what, "PNG", severity="warning", file=path, weight=len(values))
    elif faint is not None:
        _report_smoothed(path, pen, values, faint, coloured=coloured)
    size = (pixels.shape[0], pixels.shape[1])
    smoothed = raw.lossy or faint is not None
    return RawMask(path, size, raw.mode, pixels, values, counts, raw.palette, smoothed)


class _Decoded(NamedTuple):
    """A mask file that could be decoded."""

    mode: str
    pixels: np.ndarray
    palette: bytes | None
    lossy: bool


def _decode(data: bytes, path: Path, messages: DecoderMessages, limits: Limits) -> _Decoded:
    try:
        header = open_header(data, path, limits)
    except ImageTooLargeError:
        raise
    except ImageError:  # some TIFF, and .npy: read_image has decoders of its own
        image = read_image(path)
        bands = image.pixels.shape[2]
        pixels = _packed(np.ascontiguousarray(image.pixels[:, :, ::-1]))
        return _Decoded("L" if bands == 1 else f"{bands} bands", pixels, None, False)
    if header.format == "PNG" and not png_is_whole(data):
        raise ImageError("cut short, or a wrong checksum")
    palette = None
    if header.mode == "P" and header.palette is not None:
        palette = bytes(header.getpalette("RGB") or ())
    lossy = header.format == "JPEG" or data[12:16] == b"VP8 "
    pixels, _ = messages.during(lambda: _values(data, header))
    return _Decoded(header.mode, pixels, palette, lossy)


def histogram(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values of ``(H, W)`` integers, ascending, and the pixels of each, int64."""
    if pixels.dtype == np.uint8 and pixels.size < 1 << 24:  # calcHist counts in float32
        counts = cv2.calcHist([pixels], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    elif pixels.dtype in (np.uint8, np.uint16):
        counts = np.bincount(pixels.ravel())
    else:
        values, counts = np.unique(pixels, return_counts=True)
        return values.astype(np.int64), counts.astype(np.int64)
    values = np.flatnonzero(counts)
    return values.astype(np.int64), counts[values].astype(np.int64)


def edge_values(pixels: np.ndarray, values: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
    """Values that smoothing left along edges, as positions in ``values``; None: no smoothing.

    Drawn masks consist of areas: nearly each value fills a 3 x 3 window somewhere. Values that
    nowhere do so, but are many and lie between those of their neighbours (or close to one, as
    JPEG's ringing does), were not drawn.
    """
    level = pixels
    if pixels.dtype not in (np.uint8, np.uint16):
        if len(values) > 0xFFFF:
            return np.arange(len(values))
        level = np.searchsorted(values, pixels).astype(np.uint16)
        values = np.arange(len(values))
    if np.count_nonzero(_areas_seen(level)) > 0.4 * len(values):
        return None  # as of nearly every mask; the whole test takes ten times as long
    window = np.ones((3, 3), np.uint8)
    high, low = cv2.dilate(level, window), cv2.erode(level, window)
    area = np.zeros(int(values[-1]) + 1, bool)
    area[level[high == low]] = True
    thin = np.flatnonzero(~area[values])
    if len(thin) < _FEW - 2 or len(thin) < 0.6 * len(values) or len(thin) == len(values):
        return None
    if level is not pixels:  # colours have no order: all that counts is how many there are
        return thin if len(thin) >= 2 * _FEW else None
    table = np.zeros(len(area), bool)
    table[values[thin]] = True
    at = table[level]
    between = np.count_nonzero((low < level) & (level < high) & at)
    solid = values[area[values]]
    gap = np.abs(values[thin][:, None] - solid[None]).min(axis=1)
    total = int(counts[thin].sum())
    ringing = int(counts[thin][gap <= _NEAR].sum())
    many = len(values) >= 3 * _FEW
    return thin if between >= 0.9 * total or (many and ringing >= 0.5 * total) else None


def _areas_seen(level: np.ndarray) -> np.ndarray:
    """Flags by value: those that fill one of the 3 x 3 windows that lie side by side."""
    high, wide = level.shape
    rows, columns = high // 3 * 3, wide // 3 * 3
    centre = level[1:rows:3, 1:columns:3]
    filled = np.ones(centre.shape, bool)
    for y in range(3):
        for x in range(3):
            filled &= level[y:rows:3, x:columns:3] == centre
    seen = np.zeros(int(level.max(initial=0)) + 1, bool)
    seen[centre[filled]] = True
    return seen


def _report_smoothed(
    path: Path, pen: Pen, values: np.ndarray, faint: np.ndarray, *, coloured: bool
) -> None:
    unit = "colours" if coloured else "values"
    thin, solid = values[faint], np.delete(values, faint)
    shown = f"{len(faint)} of {len(values)} {unit} occur at edges only"
    rings = False
    if not coloured:
        shown += f" ({_listed(thin)}), beside areas of {_listed(solid)}"
        gap = np.abs(thin[:, None] - solid[None]).min(axis=1)
        rings = len(values) >= 3 * _FEW and float((gap <= _NEAR).mean()) >= 0.5
    code = "jpeg-mask" if rings else "anti-aliased-mask"
    expected = f"only the {unit} of classes"
    pen.note(code, shown, expected, severity="warning", file=path, weight=len(faint))


def blame(raw: RawMask, space: LabelSpace, pen: Pen) -> np.ndarray | None:
    """Say why a reader could not make class ids of a mask.

    Returns the values that are no class, ``(K,)`` int64, or none where the fault is another one;
    None where it is not clear, so that nothing was said.
    """
    told = np.zeros(0, np.int64)
    if raw.smoothed:
        return told  # the finding is there
    if raw.coloured:
        if space.colours is not None:
            return None  # the reader takes colours, and knows best which one it does not
        _blame_colour(raw, space, pen)
        return told
    known = np.append(np.arange(len(space.classes)), space.ignore)
    unknown = ~np.isin(raw.values, known)
    if not unknown.any():
        return None
    strange, pixels = raw.values[unknown], raw.counts[unknown]
    share = pixels.sum() / raw.counts.sum()
    ids = f"0..{len(space.classes) - 1} or {space.ignore} (ignore)"
    if raw.values.tolist() in ([255], [0, 255]) and 255 in strange:
        value = f"only the values 0 and 255, the latter in {share:.1%} of its pixels"
        pen.note("binary-mask", value, f"class ids {ids}", file=raw.path, weight=share)
        return told
    advice = None
    if (strange % 257 == 0).all() and raw.mode.startswith("I") and strange.max() // 257 < 256:
        advice = "16 bits made of 8: divide every value by 257"
    value = f"ids {_listed(strange)} in {share:.2%} of its pixels"
    pen.note(
        "unknown-class-id", value, f"class ids {ids}", file=raw.path, advice=advice, weight=share
    )
    return strange


def _blame_colour(raw: RawMask, space: LabelSpace, pen: Pen) -> None:
    wanted = "one number a pixel (8-bit grey or palette PNG)"
    if len(raw.values) > _COLOURS:
        value = f"{raw.mode} with {len(raw.values):,} distinct colours"
        advice = "this is a picture, or a mask blurred by JPEG or resizing; use the original mask"
        pen.note("colour-mask", value, wanted, file=raw.path, advice=advice, weight=len(raw.values))
        return
    colours = [raw.colour(int(value)) for value in raw.values]
    if all(r == g == b for r, g, b in colours):
        value = f"grey saved as {raw.mode}, with the values {_listed(raw.values & 255)}"
        advice = "save one of its channels as grey PNG"
        pen.note("colour-mask", value, wanted, file=raw.path, advice=advice)
        return
    shown = ", ".join(map(str, colours[:4])) + (" ..." if len(colours) > 4 else "")
    value = f"{raw.mode} with {len(colours)} colours: {shown}"
    advice = None
    if len(colours) <= len(space.classes) + 1:
        advice = (
            "a palette PNG that was turned into RGB: read it with its table of colours "
            "(--format colour-masks), or save the indices"
        )
    pen.note("colour-mask", value, wanted, file=raw.path, advice=advice)


def _values(data: bytes, header: PIL.Image.Image) -> np.ndarray:
    """``(H, W)`` values of a mask, as :class:`RawMask` describes them."""
    if header.mode in ("P", "1"):
        return np.asarray(header).astype(np.uint8)
    if header.format in ("PNG", "JPEG", "BMP"):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise ValueError("it cannot be decoded")
        if pixels.ndim == 2 and header.format == "PNG" and data[24] < 8:
            pixels = pixels // (255 // (2 ** data[24] - 1))  # OpenCV stretches 2 and 4 bits
    else:
        pixels = np.asarray(header)
        if pixels.ndim == 3 and pixels.shape[2] > 2:
            pixels = pixels[:, :, 2::-1]  # to OpenCV's order
    return _packed(pixels)


def _packed(pixels: np.ndarray) -> np.ndarray:
    """``(H, W)`` or ``(H, W, C)`` in OpenCV's order of colours, as one integer a pixel."""
    if pixels.ndim == 3 and pixels.shape[2] < 3:  # grey, perhaps with alpha
        pixels = np.ascontiguousarray(pixels[:, :, 0])
    if pixels.ndim == 2:
        kinds = (np.uint8, np.uint16)
        return pixels if pixels.dtype in kinds else pixels.astype(np.int64)
    if pixels.dtype != np.uint8:
        pixels = (pixels // 257).astype(np.uint8)
    quads = cv2.cvtColor(np.ascontiguousarray(pixels[:, :, :3]), cv2.COLOR_BGR2BGRA)
    return (quads.view("<u4")[:, :, 0] & 0xFFFFFF).astype(np.int32)


def _listed(values: np.ndarray, most: int = 8) -> str:
    shown = ", ".join(str(int(value)) for value in values[:most])
    return shown + (f" ... {int(values[-1])}" if len(values) > most else "")
