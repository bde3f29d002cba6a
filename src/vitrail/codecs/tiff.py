"""TIFF files -> pixels: 8 and 16 bits, float, any number of bands, compressed, many pages.

Of many pages the first is read. Where the file says that its pages are the channels of one picture
(OME, ImageJ, ``axes="CYX"``), all channels of the first plane are.
"""

from __future__ import annotations

import math
import os
import struct
from typing import IO

import cv2
import numpy as np
import PIL.Image
from tifffile import PHOTOMETRIC, TiffFile, TiffPage

from vitrail.codecs.arrays import ORIENTATION, Decoded, orient, to_alpha, to_pixels
from vitrail.codecs.limits import Limits, damaged
from vitrail.codecs.pillow import from_pillow, open_pillow
from vitrail.errors import ImageError

_DNG_VERSION = 50706
_RAW_SUFFIXES = (".cr2", ".nef", ".arw", ".dng", ".pef", ".srw", ".3fr", ".nrw", ".sr2", ".iiq")
_ASSOCIATED, _UNASSOCIATED = 1, 2  # what TIFF calls premultiplied and plain alpha


def decode_tiff(file: IO[bytes], name: str, limits: Limits) -> Decoded:
    """Decode the first picture of a TIFF; raises as ``files.decode`` does."""
    try:
        with TiffFile(file, _multifile=False) as tiff:
            page = tiff.pages[0]
            assert isinstance(page, TiffPage)  # only later pages are lighter TiffFrames
            if _is_camera_raw(page, name):
                raise ImageError(
                    f"{name}: camera raw files are not supported (what a TIFF reader finds in them "
                    "is a thumbnail); develop it to TIFF or JPEG first"
                )
            samples = page.samplesperpixel * page.imagedepth
            size = samples * max(1, page.bitspersample // 8)
            limits.check(name, page.imagewidth, page.imagelength, size)
            if _for_pillow(page):
                return _by_pillow(file, name)
            try:
                array, axes = _read_channels(tiff, page, name, limits)
            except ValueError as error:
                if "imagecodecs" not in str(error):
                    raise
                return _by_opencv(file, page, name)
            return _finish(array, axes, page, name)
    except ImageError:
        raise
    except Exception as error:  # codecs raise many kinds; none is the caller's business
        raise damaged(name, "TIFF", error) from None


def _by_pillow(file: IO[bytes], name: str) -> Decoded:
    file.seek(0)
    image = open_pillow(file, name)
    if image is None:
        raise ImageError(f"{name}: this kind of TIFF is not supported; export it as 8-bit RGB")
    return from_pillow(image, name)


def _is_camera_raw(page: TiffPage, name: str) -> bool:
    mosaic = page.photometric in (PHOTOMETRIC.CFA, PHOTOMETRIC.LINEAR_RAW)
    return mosaic or _DNG_VERSION in page.tags or name.lower().endswith(_RAW_SUFFIXES)


def _for_pillow(page: TiffPage) -> bool:
    """Palettes, inks, YCbCr, Lab and less than 8 bits: Pillow knows their colours."""
    if page.bitspersample < 8:
        return True
    odd = page.photometric not in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.MINISWHITE)
    return odd and page.bitspersample <= 8


def _read_channels(
    tiff: TiffFile, page: TiffPage, name: str, limits: Limits
) -> tuple[np.ndarray, str]:
    """The first page and its axes, with the pages that hold its other channels stacked on it."""
    if not (tiff.is_ome or tiff.is_imagej or tiff.is_shaped) or page.dtype is None:
        return page.asarray(), page.axes
    series = tiff.series[0]
    shape, axes = series.shape, series.axes
    if page.axes == "YX" and axes == "QYX" and shape[2] <= 16 < min(shape[:2]):
        # tifffile.imwrite() of (H, W, C) with C other than 3 and 4 makes one page of each row.
        limits.check(name, shape[1], shape[0], shape[2] * page.dtype.itemsize)
        return series.asarray(), "YXS"
    lead, within = axes[: -page.ndim], axes[-page.ndim :]
    if shape[-page.ndim :] != page.shape or not {"Y", "X"} <= set(within):
        return page.asarray(), page.axes
    if "C" not in lead:
        return page.asarray(), within
    at = lead.index("C")
    stride = math.prod(shape[at + 1 : -page.ndim])
    every = (series.pages[index] for index in range(0, shape[at] * stride, stride))
    pages = [channel for channel in every if channel is not None]
    if len(pages) < shape[at]:  # the file's description promises more than the file holds
        return page.asarray(), within
    count = page.nbytes * len(pages)
    limits.check_bytes(name, count, f"decoded its {len(pages)} channels would take")
    return np.stack([channel.asarray() for channel in pages], axis=-1), within + "C"


def _finish(array: np.ndarray, axes: str, page: TiffPage, name: str) -> Decoded:
    """Bands last, one plane of what has several, colours and orientation right."""
    for axis in axes:
        if axis not in "YXSC":
            array = array.take(0, axis=axes.index(axis))
            axes = axes.replace(axis, "", 1)
    if "C" in axes and "S" in axes:  # channels that are colour pictures each: the first
        array = array.take(0, axis=axes.index("C"))
        axes = axes.replace("C", "")
    band = next((axis for axis in axes if axis in "SC"), "")
    if not band:
        array, axes, band = array[..., None], axes + "S", "S"
    array = array.transpose(axes.index("Y"), axes.index("X"), axes.index(band))
    if page.photometric == PHOTOMETRIC.SEPARATED:
        return _from_inks(array, page, name)
    alpha = None
    if band == "S" and page.extrasamples:
        color = array.shape[2] - len(page.extrasamples)
        for index, kind in enumerate(page.extrasamples, start=color):
            if kind in (_ASSOCIATED, _UNASSOCIATED):
                alpha = array[:, :, index]
                array = np.delete(array, index, axis=2)
                if kind == _ASSOCIATED:
                    array = _divide_by_alpha(array, alpha)
                break
    pixels = to_pixels(array, name)
    if page.photometric == PHOTOMETRIC.MINISWHITE and pixels.dtype != np.float32:
        pixels = np.iinfo(array.dtype).max - pixels
    orientation = _orientation(page)
    alpha = None if alpha is None else orient(to_alpha(alpha), orientation)
    return orient(pixels, orientation), alpha


def _divide_by_alpha(array: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Undo premultiplication; where alpha is 0 there is no colour left, and it stays 0."""
    top = 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max)
    share = alpha[:, :, None].astype(np.float32) / np.float32(top)
    plain = np.divide(array, share, out=np.zeros(array.shape, np.float32), where=share > 0)
    if array.dtype.kind != "f":
        plain = np.rint(np.minimum(plain, top))
    return plain.astype(array.dtype)


def _from_inks(array: np.ndarray, page: TiffPage, name: str) -> Decoded:
    """CMYK of 16 bits: to 8 bits, which is more than inks can show, and then as Pillow does."""
    if array.shape[2] < 4 or array.dtype != np.uint16:
        raise ImageError(f"{name}: TIFF inks other than CMYK are not supported; export it as RGB")
    inks = to_alpha(array[:, :, :4])
    pixels, _ = from_pillow(PIL.Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes()), name)
    return orient(pixels, _orientation(page)), None


def _orientation(page: TiffPage) -> int:
    tag = page.tags.get(ORIENTATION)
    return int(tag.value) if tag is not None else 1


def _by_opencv(file: IO[bytes], page: TiffPage, name: str) -> Decoded:
    """LZW, JPEG and others that tifffile leaves to imagecodecs; what OpenCV cannot, Pillow may."""
    size = file.seek(0, os.SEEK_END)
    end = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
    if end > size:
        raise damaged(name, "TIFF", f"its data should end at byte {end:,}, it ends at {size:,}")
    bits, samples = page.bitspersample, page.samplesperpixel
    if bits == 8 and samples <= 4:  # OpenCV may return noise where 8-bit data is damaged
        return _by_pillow(file, name)
    layouts = {(PHOTOMETRIC.MINISBLACK, 1), (PHOTOMETRIC.RGB, 3), (PHOTOMETRIC.RGB, 4)}
    if (page.photometric, samples) in layouts and page.planarconfig == 1 and bits in (16, 32, 64):
        array = cv2.imdecode(_upright(file, page), cv2.IMREAD_UNCHANGED)
        if array is None:
            raise damaged(name, "TIFF", "its data cannot be decompressed")
        array = array[:, :, None] if array.ndim == 2 else array
        if (
            array.shape == (page.imagelength, page.imagewidth, samples)
            and array.dtype == page.dtype
        ):
            code = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(samples)
            array = array if code is None else cv2.cvtColor(array, code)
            return _finish(array, "YXS", page, name)
    method = getattr(page.compression, "name", page.compression)
    raise ImageError(
        f"{name}: a TIFF of {samples} x {bits} bits with compression {method} needs another "
        "package: pip install imagecodecs; or save it uncompressed"
    )


def _upright(file: IO[bytes], page: TiffPage) -> np.ndarray:
    """The file's bytes with orientation 1: OpenCV turns some kinds of TIFF, and ``_finish`` all."""
    file.seek(0)
    data = bytearray(file.read())
    tag = page.tags.get(ORIENTATION)
    if tag is not None:
        struct.pack_into(page.parent.byteorder + "H", data, tag.valueoffset, 1)
    return np.frombuffer(data, np.uint8)
