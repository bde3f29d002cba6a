"""The legend of a picture, and sheets of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vitrail.errors import ParameterError
from vitrail.result import canvas

_GROUND = np.array([18, 18, 22], np.uint8)
_INK = np.array([245, 245, 245], np.uint8)
_LARGEST = 0.25  # share of the picture that a legend may cover
_ROWS = 14


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One line of a legend."""

    name: str
    amount: str
    colour: np.ndarray | None
    """(3,) uint8; None where several colours stand for the name."""


def draw_legend(
    picture: np.ndarray, entries: Sequence[Entry], taken: np.ndarray | None
) -> tuple[int, int, int, int] | None:
    """Draw a legend in the corner where it hides least, in place.

    Parameters
    ----------
    picture : (H, W, 3) uint8, written to
    entries : most important first; those that do not fit are counted in a last line
    taken : (H, W) bool, what should not be hidden; None: the corner with the least detail

    Returns
    -------
    the box drawn, x1, y1, x2, y2; None where even a single line would cover more than a quarter of
    the picture, and nothing was drawn
    """
    size = canvas.Scale.of(picture.shape[:2]).text
    for rows in range(min(len(entries), _ROWS), 0, -1):
        lines = list(entries[:rows])
        if rows < len(entries):
            lines.append(Entry(f"+ {len(entries) - rows} more", "", None))
        height, width = _extent(lines, size)
        margin = size // 2
        fits = height + 2 * margin <= picture.shape[0] and width + 2 * margin <= picture.shape[1]
        if fits and height * width <= _LARGEST * picture.shape[0] * picture.shape[1]:
            x, y = _corner(picture, taken, (height, width), margin)
            box = (x, y, x + width, y + height)
            _draw_lines(picture, lines, box, size)
            return box
    return None


def contact_sheet(
    pictures: Sequence[tuple[str, np.ndarray]], *, columns: int | None = None, cell: int = 480
) -> np.ndarray:
    """Several pictures, each with its title below, as one.

    Parameters
    ----------
    pictures : (title, (H, W, 3) uint8 RGB) pairs, in reading order
    columns : default as many as make the sheet roughly 4:3
    cell : width and greatest height of a picture on the sheet, pixels

    Returns
    -------
    (H, W, 3) uint8 RGB, dark text on a near-white ground

    Raises
    ------
    ParameterError
        no pictures, or ``columns`` or ``cell`` out of range.
    """
    if not pictures:
        raise ParameterError("a contact sheet needs at least one picture, got none")
    if cell < 64 or (columns is not None and columns < 1):
        raise ParameterError(
            f"columns={columns}, cell={cell}: expected columns >= 1 and cell >= 64 pixels"
        )
    wanted = columns if columns is not None else round(math.sqrt(len(pictures) * 4 / 3))
    across = max(1, min(wanted, len(pictures)))
    text, gap = max(12, cell // 26), max(8, cell // 30)
    small = [(title, _shrink(picture, cell)) for title, picture in pictures]
    rows = [small[i : i + across] for i in range(0, len(small), across)]
    heights = [max(picture.shape[0] for _, picture in row) + round(text * 1.8) for row in rows]
    sheet = np.full(
        (sum(heights) + gap * (len(rows) + 1), across * (cell + gap) + gap, 3), 250, np.uint8
    )
    top = gap
    for row, height in zip(rows, heights, strict=True):
        tallest = height - round(text * 1.8)
        for column, (title, picture) in enumerate(row):
            h, w = picture.shape[:2]
            left = gap + column * (cell + gap)
            x, y = left + (cell - w) // 2, top + (tallest - h) // 2
            sheet[y : y + h, x : x + w] = picture
            caption = _shorten(title, text, cell)
            room = sheet[top + tallest : top + height, left : left + cell]
            indent = (cell - canvas.text_patch(caption, text).shape[1]) // 2
            canvas.write_text(room, max(0, indent), round(text * 0.3), caption, text, _GROUND)
        top += height + gap
    return sheet


def _extent(lines: Sequence[Entry], size: int) -> tuple[int, int]:
    """(height, width) of a legend's box."""
    names = max(canvas.text_patch(line.name, size).shape[1] for line in lines)
    amounts = max(canvas.text_patch(line.amount, size).shape[1] for line in lines)
    swatch = 0 if all(line.colour is None for line in lines) else round(size * 1.4)
    return (
        round(size * (1.45 * len(lines) + 0.7)),
        round(size * 1.1) + swatch + names + round(size * 0.8) + amounts,
    )


def _draw_lines(
    picture: np.ndarray, lines: Sequence[Entry], box: tuple[int, int, int, int], size: int
) -> None:
    x1, y1, x2, _ = box
    canvas.panel(picture, box, _GROUND, 0.78)
    pad = round(size * 0.55)
    swatches = any(line.colour is not None for line in lines)
    for number, line in enumerate(lines):
        y = y1 + round(size * (0.4 + 1.45 * number))
        x = x1 + pad
        if line.colour is not None:
            low = y + round(size * 0.18)
            picture[low : low + size, x : x + size] = line.colour
        x += round(size * 1.4) if swatches else 0
        canvas.write_text(picture, x, y, line.name, size, _INK)
        indent = canvas.text_patch(line.amount, size).shape[1]
        canvas.write_text(picture, x2 - pad - indent, y, line.amount, size, _INK)


def _corner(
    picture: np.ndarray, taken: np.ndarray | None, box: tuple[int, int], margin: int
) -> tuple[int, int]:
    """The (x, y) among four corners where a box of (h, w) hides least; bottom left first."""
    h, w = box
    height, width = picture.shape[:2]
    corners = [(x, y) for y in (height - margin - h, margin) for x in (margin, width - margin - w)]

    def hidden(corner: tuple[int, int]) -> float:
        x, y = corner
        if taken is not None:
            return float(taken[y : y + h, x : x + w].mean())
        return float(cv2.Laplacian(picture[y : y + h, x : x + w], cv2.CV_16S).std())

    return min(corners, key=hidden)


def _shrink(picture: np.ndarray, cell: int) -> np.ndarray:
    """A picture scaled to fit ``cell`` x ``cell``; small ones are enlarged in whole steps."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ParameterError(
            f"a picture is {picture.dtype} of shape {picture.shape}, expected uint8 (H, W, 3)"
        )
    factor = cell / max(picture.shape[:2])
    if factor >= 1:
        factor = int(factor)
        return np.repeat(np.repeat(picture, factor, axis=0), factor, axis=1)
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _shorten(title: str, size: int, room: int) -> str:
    """The title, its middle left out where it is wider than the room."""
    width = canvas.text_patch(title, size).shape[1]
    kept, short = len(title), title
    while width > room and kept > 4:
        kept = min(kept - 1, int(kept * room / width) + 1)
        short = f"{title[: (kept + 1) // 2]}\u2026{title[len(title) - kept // 2 :]}"
        width = canvas.text_patch(short, size).shape[1]
    return short
