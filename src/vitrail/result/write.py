"""Results as files, each one whole or not there at all.

==================  =============================================================================
file                what it holds
==================  =============================================================================
STEM.overlay.jpg    the picture that ``plot`` draws (PNG where a side exceeds JPEG's 65,535 px)
STEM.labels.png     semantic results and regions: the pixel value is the class or region id.
                    Up to 256 ids an 8-bit palette PNG that shows the colours of the overlay
                    (background black), up to 65,536 a 16-bit grey PNG, beyond that STEM.labels.tif
                    with 32 bits
STEM.boundary.png   semantic results with a boundary, 8-bit grey: 255 is a probability of 1
STEM.instances.png  instances, 16-bit grey: 0 is no object, i + 1 the i-th object, the higher score
                    where masks overlap (the JSON keeps every mask whole). STEM.instances.tif with
                    32 bits where there are more than 65,535 objects. Not where only boxes were
                    found
STEM.edges.png      edge strength, 16-bit grey; 65,535 is ``strength_max`` of the JSON
STEM.json           :meth:`vitrail.result.Result.to_json`
STEM.crops/         on request, NNN_class.png for each segment: an RGBA cut-out, transparent outside
==================  =============================================================================
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from vitrail.atomic import make_folder, write_atomically
from vitrail.errors import OutputError, ParameterError
from vitrail.result.base import Result
from vitrail.result.draw import Style, class_colours, draw
from vitrail.result.edges import EdgeResult
from vitrail.result.instances import InstanceResult
from vitrail.result.regions import RegionResult
from vitrail.result.semantic import SemanticResult

_JPEG_SIDE = 65_535


def write(
    result: Result,
    directory: str | Path,
    stem: str | None = None,
    *,
    crops: bool = False,
    overlay: bool = True,
    style: Style | None = None,
    quality: int = 90,
) -> list[Path]:
    """Write a result's files into a folder, which is made where it does not exist.

    Parameters
    ----------
    stem : what the file names begin with; default the image's own name, or "image"
    crops : also write each segment as a transparent cut-out; needs the result's image
    overlay : also write the picture
    style : how the picture is drawn
    quality : of the JPEG, 1 to 100

    Returns
    -------
    the paths, in the order written; existing files are replaced

    Raises
    ------
    OutputError
        the disk is full, or the folder cannot be made or written to; the file in question is not
        there (or still what it was before), those before it are whole
    ParameterError
        a stem that is no file name, or crops without an image.
    """
    stem = stem if stem is not None else _stem_of(result)
    if not stem or stem in (".", "..") or re.search(r"[/\\\0]", stem):
        raise ParameterError(f"stem is {stem!r}, expected a file name without folder")
    if not 1 <= quality <= 100:
        raise ParameterError(f"quality is {quality}, expected 1 to 100")
    if crops and result.image is None:
        raise ParameterError("crops are cut from the image, and this result has none")
    folder = make_folder(Path(directory))
    paths: list[Path] = []
    if overlay:
        suffix = "jpg" if max(result.size) <= _JPEG_SIDE else "png"
        picture = draw(result, style=style)
        paths.append(write_picture(folder / f"{stem}.overlay.{suffix}", picture, quality=quality))
        del picture
    if isinstance(result, InstanceResult):
        if result.outlined:
            paths.append(_write_ids(folder / f"{stem}.instances.png", instance_map(result), None))
    elif isinstance(result, SemanticResult | RegionResult):
        colours = class_colours(result)
        paths.append(_write_ids(folder / f"{stem}.labels.png", result.labels, colours))
        if isinstance(result, SemanticResult) and result.boundary is not None:
            grey = np.rint(result.boundary * np.float32(255)).astype(np.uint8)
            paths.append(write_bytes(folder / f"{stem}.boundary.png", _encode(".png", grey)))
    elif isinstance(result, EdgeResult):
        levels = result.strength * np.float32(65_535 / (float(result.strength.max()) or 1.0))
        grey = np.rint(levels, out=levels).astype(np.uint16)
        paths.append(write_bytes(folder / f"{stem}.edges.png", _encode(".png", grey)))
    if crops:
        paths += _write_crops(result, folder / f"{stem}.crops")
    # A file name that is no Unicode becomes an escape, which JSON reads back as it was.
    content = result.to_json().encode("utf-8", "backslashreplace")
    paths.append(write_bytes(folder / f"{stem}.json", content))
    return paths


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write a file atomically: it appears whole, or (:class:`OutputError`) not at all."""
    return write_atomically(Path(path), lambda file: file.write(data))


def write_picture(path: str | Path, picture: np.ndarray, *, quality: int = 90) -> Path:
    """Write (H, W, 3) uint8 RGB or (H, W, 4) RGBA atomically; the suffix names the format.

    ``picture`` is lent as working memory: its values are the same again afterwards.
    """
    path = Path(path)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix in (".jpg", ".jpeg") else []
    _, width, channels = picture.shape
    if not picture.flags.writeable or picture.strides != (width * channels, channels, 1):
        picture = picture.copy(order="C")
    # Turned to OpenCV's channel order in place: a copy of 48 megapixels would be 144 MB.
    swap = cv2.COLOR_RGBA2BGRA if channels == 4 else cv2.COLOR_RGB2BGR
    cv2.cvtColor(picture, swap, dst=picture)
    try:
        return write_bytes(path, _encode(path.suffix, picture, options))
    finally:
        cv2.cvtColor(picture, swap, dst=picture)


def instance_map(result: InstanceResult) -> np.ndarray:
    """(H, W) uint16 (uint32 beyond 65,535 objects): 0, or 1 + the index of the object there.

    Where masks overlap, the higher score wins. Objects are painted one crop at a time.
    """
    ids = np.zeros(result.size, np.uint16 if len(result) <= 0xFFFF else np.uint32)
    for i in np.argsort(result.scores, kind="stable").tolist():
        y, x, crop = result.masks.crop(i)
        ids[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = i + 1
    return ids


def _write_ids(path: Path, ids: np.ndarray, colours: np.ndarray | None) -> Path:
    """A map of ids in the smallest of the three formats; ``colours`` are the palette's."""
    largest = int(ids.max())
    if largest > 0xFFFF:
        import tifffile

        wide = ids.astype(np.uint32, copy=False)
        return write_atomically(
            path.with_suffix(".tif"),
            lambda file: tifffile.imwrite(file, wide, compression="zlib", rowsperstrip=64),
        )
    if largest > 0xFF or colours is None:
        return write_bytes(path, _encode(".png", ids.astype(np.uint16, copy=False)))
    table = np.full((largest + 1, 3), 205, np.uint8)  # ids without a class are "ignore": light grey
    named = min(len(colours), len(table))
    table[:named] = colours[:named]
    image = PIL.Image.fromarray(ids.astype(np.uint8, copy=False))
    image.putpalette(table.tobytes())
    return write_atomically(path, lambda file: image.save(file, "PNG", compress_level=4))


def _write_crops(result: Result, folder: Path) -> list[Path]:
    make_folder(folder)
    assert result.image is not None  # checked by the caller
    pixels = result.image.rgb()
    paths: list[Path] = []
    for number, segment in enumerate(result.segments(), start=1):
        if not segment.area:
            continue
        name = re.sub(r"[^\w-]+", "_", segment.class_name).strip("_") or "object"
        path = folder / f"{number:03d}_{name[:60]}.png"
        paths.append(write_picture(path, segment.cutout(pixels)))
    return paths


def _encode(suffix: str, pixels: np.ndarray, options: list[int] | None = None) -> bytes:
    """Pixels in OpenCV's channel order as the bytes of a file."""
    try:
        done, data = cv2.imencode(suffix, pixels, options or [])
    except cv2.error as error:
        raise OutputError(f"cannot encode a picture as {suffix!r}: {error}") from error
    if not done:
        raise OutputError(f"cannot encode {pixels.shape} pixels as {suffix!r}")
    return data.tobytes()


def _stem_of(result: Result) -> str:
    return result.image.stem if result.image is not None else "image"
