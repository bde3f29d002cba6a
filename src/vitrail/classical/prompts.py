"""Prompts as people write them: boxes, points and marker pictures, from Python or from ``--set``.

Coordinates are pixels of the original image, x to the right and y down, the first pixel being
(0, 0). A value is accepted in whichever shape it arrives: Python lists and tuples, NumPy arrays,
or the strings that the command line hands on (``10,20,300,400`` and ``10,20;30,40``).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import PIL.Image

from vitrail.errors import ImageError, ParameterError, SourceError

Box = tuple[int, int, int, int]


def parse_box(value: object) -> Box:
    """A box as (x1, y1, x2, y2) in whole pixels; the pixels in it are x1 <= x < x2, y1 <= y < y2.

    Parameters
    ----------
    value : sequence of 4 numbers, array of 4, or str
        ``[x1, y1, x2, y2]`` or ``"x1,y1,x2,y2"``; fractions are rounded.

    Raises
    ------
    ParameterError
        not four finite numbers, or no pixel between the corners.
    """
    numbers = _numbers(value, "[x1, y1, x2, y2] in pixels, such as box=10,20,300,400")
    if numbers.size != 4:
        raise ParameterError(
            f"expected the 4 numbers of [x1, y1, x2, y2], got {numbers.size} in {_short(value)}"
        )
    x1, y1, x2, y2 = (int(number) for number in np.rint(numbers.reshape(4)))
    if x2 <= x1 or y2 <= y1:
        raise ParameterError(
            f"the box {[x1, y1, x2, y2]} holds no pixel; expected x1 < x2 and y1 < y2 of "
            "[x1, y1, x2, y2], its left, top, right and bottom edges"
        )
    return x1, y1, x2, y2


def check_box(box: Box, size: tuple[int, int]) -> Box:
    """The box itself if it lies in an image of ``size`` (H, W).

    Raises
    ------
    ParameterError
        some of the box is outside the image; the message gives the image's size.
    """
    height, width = size
    x1, y1, x2, y2 = box
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        raise ParameterError(
            f"box={list(box)} reaches outside the image, which is {width} x {height} px; "
            f"expected 0 <= x1 < x2 <= {width} and 0 <= y1 < y2 <= {height}"
        )
    return box


def parse_points(value: object, name: str, *, labelled: bool = False) -> np.ndarray:
    """Points as an (N, 2) int64 array of x, y; or (N, 3) of x, y, label.

    Parameters
    ----------
    value : sequence of points, one flat point, array (N, 2) or (N, 3), or str
        ``[[x, y], ...]`` or ``"x,y;x,y"``; fractions of a pixel are rounded.
    name : str
        the parameter's name, for messages.
    labelled : bool
        each point carries a label, a whole number of at least 1, as its third number.

    Raises
    ------
    ParameterError
        anything else, an empty list included.
    """
    wanted = 3 if labelled else 2
    example = (
        f"{name}=[[x, y, label], ...] or {name}=10,20,1;200,40,2"
        if labelled
        else f"{name}=[[x, y], ...] or {name}=10,20;200,40"
    )
    numbers = _numbers(value, example)
    if numbers.ndim == 1:
        numbers = numbers[None]
    if numbers.size == 0 or numbers.ndim != 2 or numbers.shape[1] != wanted:
        raise ParameterError(
            f"expected {wanted} numbers for each point, as {example}; got {_short(value)}"
        )
    points = np.rint(numbers).astype(np.int64)
    if labelled and (points[:, 2] != numbers[:, 2]).any():
        raise ParameterError(f"a label is a whole number, as {example}; got {_short(value)}")
    if labelled and points[:, 2].min() < 1:
        raise ParameterError(
            f"labels start at 1 (0 means no label), as {example}; got {_short(value)}"
        )
    return points


def check_points(points: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    """The points themselves if all lie in an image of ``size`` (H, W).

    Raises
    ------
    ParameterError
        names the first point outside and the image's size.
    """
    height, width = size
    x, y = points[:, 0], points[:, 1]
    outside = np.flatnonzero((x < 0) | (y < 0) | (x >= width) | (y >= height))
    if outside.size:
        bad = points[outside[0], :2].tolist()
        raise ParameterError(
            f"{name}: the point {bad} lies outside the image, which is {width} x {height} px; "
            f"expected 0 <= x < {width} and 0 <= y < {height}"
        )
    return points


def is_picture(value: object) -> bool:
    """Whether a prompt is a marker picture (a path, or an array with both sides over 3)."""
    if isinstance(value, os.PathLike):
        return True
    if isinstance(value, str):  # a path has a letter in it somewhere, numbers have not
        return any(char.isalpha() for char in value)
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] > 3


def read_markers(value: object, size: tuple[int, int], name: str) -> np.ndarray:
    """A picture whose values mean something, as an (H, W) int32 array.

    Parameters
    ----------
    value : path or (H, W) array
        of integers or bool. A file may be a grey picture of 1, 8 or 16 bits, a palette picture
        (its indices count, not its colours) or an RGB one whose three channels are equal.
    size : (H, W)
        what it has to measure.
    name : str
        the parameter's name, for messages.

    Raises
    ------
    ParameterError
        another size, not integers, negative values, or a coloured picture.
    SourceError, ImageError
        the file cannot be opened, or is not an image.
    """
    if isinstance(value, str | os.PathLike):
        array, label = _read_picture(Path(value), size, name), f"{name}={os.fspath(value)!s}"
    else:
        array, label = np.asarray(value), name
    _check_size(array.shape, size, label)
    if array.dtype.kind not in "biu":
        raise ParameterError(f"{label} holds {array.dtype}; expected an array of integers")
    if array.size and (int(array.min()) < 0 or int(array.max()) > np.iinfo(np.int32).max):
        raise ParameterError(
            f"{label} holds values from {array.min()} to {array.max()}; "
            "expected 0 (nothing marked) and up"
        )
    return array.astype(np.int32)


def _read_picture(path: Path, size: tuple[int, int], name: str) -> np.ndarray:
    """The values of a marker file as they are stored, which image reading would turn into RGB."""
    try:
        with PIL.Image.open(path) as picture:
            # the header is enough to refuse a wrong size before anything is decoded
            _check_size((picture.height, picture.width), size, f"{name}={path}")
            array = np.asarray(picture)
    except FileNotFoundError:
        raise SourceError(f"{name}={path}: there is no such file") from None
    except PIL.Image.DecompressionBombError as error:
        raise ImageError(f"{name}={path}: {error}") from None
    except (PIL.UnidentifiedImageError, SyntaxError, ValueError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ImageError(f"{name}={path} cannot be read as an image: {error}") from None
    except OSError as error:
        if error.errno is None:  # Pillow's own: truncated or broken data
            raise ImageError(f"{name}={path} cannot be read as an image: {error}") from None
        raise SourceError(f"{name}={path} cannot be opened: {error.strerror}") from None
    if array.ndim == 3:
        colour = array[..., :3] if array.shape[2] >= 3 else array[..., :1]
        if (colour != colour[..., :1]).any():
            raise ParameterError(
                f"{name}={path} is a colour picture; expected a grey one (or a palette one) whose "
                "values are the marks"
            )
        array = colour[..., 0]
    return array


def _check_size(shape: tuple[int, ...], size: tuple[int, int], label: str) -> None:
    if shape != size:
        found = " x ".join(str(side) for side in (shape[::-1] if len(shape) == 2 else shape))
        raise ParameterError(
            f"{label} measures {found or 'nothing'}, the image {size[1]} x {size[0]} px; "
            "expected one value for each pixel, (H, W), of the same size"
        )


def _numbers(value: object, example: str) -> np.ndarray:
    """Any accepted spelling as a float64 array."""
    try:
        if isinstance(value, str):
            rows = [
                [float(number) for number in row.replace(",", " ").split()]
                for row in value.strip(" []()").split(";")
                if row.strip()
            ]
            array = np.array(rows[0] if len(rows) == 1 else rows, dtype=np.float64)
        elif isinstance(value, list | tuple | np.ndarray):
            array = np.asarray(value)
            if array.dtype.kind not in "iuf":
                raise ValueError("not numbers")
            array = array.astype(np.float64)
        else:
            raise TypeError("not a sequence")
    except (ValueError, TypeError):
        raise ParameterError(f"expected {example}; got {_short(value)}") from None
    if not np.isfinite(array).all() or np.abs(array).max(initial=0) > np.iinfo(np.int32).max:
        raise ParameterError(f"expected finite numbers, {example}; got {_short(value)}")
    return array


def _short(value: object) -> str:
    """The value for a message, cut where an array would fill the screen."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
