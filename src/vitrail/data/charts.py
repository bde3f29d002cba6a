"""Charts of a data set as pictures: bars, histograms and matrices, without a plotting library."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vitrail.data.stats import SplitStats
from vitrail.errors import ParameterError
from vitrail.result import canvas
from vitrail.result.palette import ink_on, palette

WIDTH = 960
"""Pixels across each chart."""

_GROUND = 250
_INK = np.array([25, 25, 30], np.uint8)
_FAINT = np.array([120, 120, 125], np.uint8)
_COLOUR = palette(2)[1]
_TEXT = 18
_PAD = 20
_ROW = 30


def charts_of(whole: SplitStats) -> dict[str, np.ndarray]:
    """Charts by name: ``pixels`` and ``objects`` of each class, ``sizes`` of objects, ``images``
    (their long sides), and ``together`` (which classes share images); those that say something.
    """
    background = whole.space.background
    things = [i for i in range(len(whole.classes)) if i != background]
    pixels = [(one.name, one.pixels / max(1, whole.pixels)) for one in whole.classes]
    charts = {"pixels": bars("share of all pixels", _falling(pixels), _percent)}
    if whole.has_objects and things:
        objects = [(whole.classes[i].name, float(whole.classes[i].instances)) for i in things]
        charts["objects"] = bars("objects", _falling(objects), _whole)
    shares = np.concatenate([np.asarray(whole.classes[i].shares) for i in things] or [[]])
    if (shares > 0).any():
        edges = np.geomspace(max(1e-6, float(shares[shares > 0].min()) * 0.999), 1.0, 41)
        counts, _ = np.histogram(shares.clip(edges[0], 1.0), edges)
        what = "size of objects" if whole.has_objects else "area of each class in each image"
        title = f"{what}, share of the image"
        charts["sizes"] = histogram(title, counts.tolist(), edges.tolist(), _percent)
    if whole.images:
        sides = np.array([max(size) for size in whole.sizes.elements()])
        low, high = int(sides.min()), int(sides.max())
        edges = np.linspace(low, max(high, low + 1), 31)
        counts, _ = np.histogram(sides, edges)
        title = "long side of the images, px"
        charts["images"] = histogram(title, counts.tolist(), edges.tolist(), _whole)
    if len(things) > 1:
        order = sorted(things, key=lambda i: -whole.together[i, i])
        counts = whole.together[np.ix_(order, order)]
        shares = counts / np.maximum(1, np.diag(counts))[:, None]
        title = "of the images with the class of the row, those with that of the column"
        charts["together"] = matrix(title, [whole.classes[i].name for i in order], shares)
    return charts


def bars(
    title: str, rows: Sequence[tuple[str, float]], told: Callable[[float], str], *, most: int = 40
) -> np.ndarray:
    """Horizontal bars, one a name, in the order given.

    Parameters
    ----------
    rows : (name, value >= 0)
    told : the words that stand at the end of a bar
    most : rows that are drawn; the others are only counted in a last line

    Returns
    -------
    (H, 960, 3) uint8 RGB

    Raises
    ------
    ParameterError
        no rows, or a value that is negative or not finite.
    """
    values = np.array([value for _, value in rows], float)
    if not len(values) or not np.isfinite(values).all() or (values < 0).any():
        raise ParameterError(f"bars of {values.tolist()}: expected finite numbers >= 0")
    shown = list(rows[:most])
    more = len(rows) - len(shown)
    picture = _sheet(title, _ROW * (len(shown) + bool(more)))
    left = min(WIDTH // 3, max(_width(name) for name, _ in shown)) + 2 * _PAD
    room = WIDTH - left - 2 * _PAD - max(_width(told(value)) for _, value in shown)
    y = _top()
    for name, value in shown:
        _write(picture, _PAD, y + 4, _fitted(name, left - 2 * _PAD), _INK)
        length = round(room * value / values.max()) if values.max() else 0
        picture[y + 4 : y + _ROW - 4, left : left + length] = _COLOUR
        _write(picture, left + length + 8, y + 4, told(value), _INK)
        y += _ROW
    if more:
        _write(picture, _PAD, y + 4, f"+ {more} more", _FAINT)
    return picture


def histogram(
    title: str, counts: Sequence[int], edges: Sequence[float], told: Callable[[float], str]
) -> np.ndarray:
    """Columns side by side, with their edges below, (H, 960, 3) uint8 RGB.

    Parameters
    ----------
    counts : N numbers >= 0
    edges : N + 1 limits of the columns
    told : an edge in words

    Raises
    ------
    ParameterError
        not one more edge than counts, or no counts.
    """
    if not len(counts) or len(edges) != len(counts) + 1:
        raise ParameterError(f"{len(counts)} counts and {len(edges)} edges: expected one edge more")
    height = 320
    picture = _sheet(title, height + _ROW)
    bottom = _top() + height
    highest = max(max(counts), 1)
    across = (WIDTH - 2 * _PAD) / len(counts)
    free = _PAD
    for number, count in enumerate(counts):
        x1, x2 = (round(_PAD + across * k) for k in (number, number + 1))
        top = bottom - round((height - _ROW) * count / highest)
        picture[top:bottom, x1 : max(x1 + 1, x2 - 2)] = _COLOUR
        if count == highest:
            _write(picture, x1, top - _ROW + 4, f"{count:,}", _INK)
    picture[bottom : bottom + 2, _PAD : WIDTH - _PAD] = _INK
    for number, edge in enumerate(edges):
        x, words = round(_PAD + across * number), told(edge)
        if x >= free and x + _width(words) <= WIDTH:
            picture[bottom : bottom + 6, x : x + 1] = _INK
            _write(picture, x, bottom + 8, words, _FAINT)
            free = x + _width(words) + 12
    return picture


def matrix(title: str, names: Sequence[str], values: np.ndarray, *, most: int = 24) -> np.ndarray:
    """A square of cells, the darker the more, with names at its left; (H, 960, 3) uint8 RGB.

    Parameters
    ----------
    values : (K, K), from 0 to 1; row i says how often j is there where i is
    most : names that are drawn, the first ones

    Raises
    ------
    ParameterError
        the matrix does not have a row and a column for each name.
    """
    if values.shape != (len(names), len(names)) or not len(names):
        raise ParameterError(f"{len(names)} names for a matrix of shape {values.shape}")
    count = min(most, len(names))
    heads = [f"{number}  {name}" for number, name in enumerate(names[:count], 1)]
    left = min(WIDTH // 3, max(map(_width, heads))) + 2 * _PAD
    cell = min(64, (WIDTH - left - _PAD) // count)
    roomy = cell > _width("100%") + 4
    lines = cell * count + _ROW * (1 + (len(names) > count))
    picture = _sheet(title, lines)
    base = _COLOUR.astype(float)
    for i in range(count):
        y = _top() + _ROW + cell * i
        _write(picture, _PAD, y + (cell - _TEXT) // 2, _fitted(heads[i], left - 2 * _PAD), _INK)
        _write(picture, left + cell * i + 4, _top() + 4, str(i + 1), _FAINT)
        for j in range(count):
            share = float(values[i, j])
            colour = np.rint(_GROUND + (base - _GROUND) * share).astype(np.uint8)
            x = left + cell * j
            picture[y : y + cell - 1, x : x + cell - 1] = colour
            words = f"{share:.0%}"
            if share and roomy:
                indent = (cell - _width(words)) // 2
                _write(picture, x + indent, y + (cell - _TEXT) // 2, words, ink_on(colour))
    if len(names) > count:
        y = picture.shape[0] - _ROW - _PAD // 2
        _write(picture, _PAD, y, f"+ {len(names) - count} more", _FAINT)
    return picture


def _sheet(title: str, height: int) -> np.ndarray:
    picture = np.full((_top() + height + _PAD, WIDTH, 3), _GROUND, np.uint8)
    canvas.write_text(picture, _PAD, _PAD // 2, title, _TEXT + 4, _INK)
    return picture


def _top() -> int:
    """Where a chart begins, below its title."""
    return _PAD + 2 * _TEXT


def _write(picture: np.ndarray, x: int, y: int, text: str, ink: np.ndarray) -> None:
    if 0 <= x < picture.shape[1] and 0 <= y < picture.shape[0]:
        canvas.write_text(picture, x, y, text, _TEXT, ink)


def _width(text: str) -> int:
    return canvas.text_patch(text, _TEXT).shape[1]


def _fitted(text: str, room: int) -> str:
    """The text, cut at its end where it is wider than the room."""
    short = text
    while _width(short) > room and len(short) > 2:
        short = f"{short[: max(1, len(short) - 2)]}\u2026"
    return short


def _falling(rows: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(rows, key=lambda row: -row[1])


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _percent(share: float) -> str:
    if share >= 0.1 or share == 0:
        return f"{share:.0%}"
    return f"{share:.1%}" if share >= 0.01 else f"{share * 100:.2g}%"
