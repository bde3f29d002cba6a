"""The confusion matrix and the precision-recall curves as pictures, without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vitrail.evaluate.curves import PrecisionRecall
from vitrail.result import canvas
from vitrail.result.palette import ink_on, palette

_GROUND = 250
_INK = np.array([25, 25, 30], np.uint8)
_FAINT = np.array([120, 120, 125], np.uint8)
_GRID = np.array([222, 222, 226], np.uint8)
_RIGHT, _WRONG = palette(2)[1].astype(float), palette(5)[4].astype(float)
_TEXT = 16
_LINE = 24
_PAD = 20
_CELL = 56
_NAME = 240
"""Greatest width of a class's name, px."""
_PLOT = 300
MOST = 60
"""Classes that a picture shows; the ones with the most pixels."""


def confusion_picture(names: Sequence[str], counts: np.ndarray) -> np.ndarray:
    """Where the pixels of each true class went, in percent of its row; (H, W, 3) uint8 RGB.

    What is right is blue, what is wrong orange, the darker the more. At the right of a row stands
    its share of all pixels.

    Parameters
    ----------
    names : (C,) of the classes
    counts : (C, C) pixels, rows the truth
    """
    order = _largest(counts.sum(axis=1))
    shown = [_fitted(names[c], _NAME) for c in order]
    truth = counts.sum(axis=1)
    shares = counts / np.maximum(truth, 1)[:, None]
    side = max(map(_width, [*shown, "truth"])) + 2 * _PAD
    left, top = side + _LINE, max(map(_width, shown)) + 3 * _LINE + _PAD
    height = top + _CELL * len(order) + 2 * _LINE + _PAD
    title = "truth by row, prediction by column; percent of the row's pixels"
    width = max(left + _CELL * len(order) + _width("of all 99.99%") + 2 * _PAD, _width(title) + 40)
    picture = np.full((height, width, 3), _GROUND, np.uint8)
    _write(picture, _PAD, _PAD // 2, title, _INK)
    _write(picture, left + _CELL * len(order) + 8, top - _LINE, "of all", _FAINT)
    for i, c in enumerate(order):
        y = top + _CELL * i
        middle = y + (_CELL - _LINE) // 2
        _write(picture, left - 10 - _width(shown[i]), middle, shown[i], _INK)
        _upright(picture, left + _CELL * i + (_CELL - _LINE) // 2, top - 8, shown[i])
        share = _percent(truth[c] / max(1, counts.sum()), 1)
        _write(picture, left + _CELL * len(order) + 8, middle, share, _FAINT)
        for j, d in enumerate(order):
            _cell(picture, left + _CELL * j, y, shares[c, d] if truth[c] else None, c == d)
    more = len(names) - len(order)
    if more:
        text = f"the {len(order)} largest classes; {more} more are in metrics.json"
        _write(picture, _PAD, height - _LINE - _PAD // 2, text, _FAINT)
    return picture


def curves_picture(
    names: Sequence[str], curves: PrecisionRecall, chosen: np.ndarray
) -> np.ndarray | None:
    """Precision over recall, a panel for each class that occurs; (H, W, 3) uint8 RGB.

    Parameters
    ----------
    names : (C,) of the classes
    chosen : (C, 2) recall and precision of the label maps; drawn as a dot

    Returns
    -------
    None where no class occurs.
    """
    order = [c for c in _largest(curves.counts[..., 1].sum(axis=1)) if len(curves.curve(c)[0])]
    if not order:
        return None
    area, (best, at) = curves.average_precision(), curves.best_f()
    across = min(len(order), 4)
    rows = -(-len(order) // across)
    wide, high = _PLOT + 4 * _PAD, _PLOT + 4 * _LINE + 2 * _PAD
    head = 2 * _LINE
    width = max(across * wide + _PAD, 2 * wide)
    picture = np.full((rows * high + head, width, 3), _GROUND, np.uint8)
    _write(picture, _PAD, _PAD // 2, "precision over recall, pixels; dot: the label maps", _INK)
    for place, c in enumerate(order):
        x = _PAD + (place % across) * wide + 2 * _PAD
        y = head + (place // across) * high
        _write(picture, x, y, _fitted(names[c], _PLOT), _INK)
        told = f"AP {area[c]:.3f}, best F1 {best[c]:.3f} at p >= {at[c]:.2g}"
        _write(picture, x, y + _LINE, told, _FAINT)
        _panel(picture, x, y + 2 * _LINE + 4, curves.curve(c), chosen[c])
    return picture


def _panel(
    picture: np.ndarray,
    x: int,
    y: int,
    curve: tuple[np.ndarray, np.ndarray, np.ndarray],
    chosen: np.ndarray,
) -> None:
    for tick in range(6):
        offset = round(_PLOT * tick / 5)
        picture[y + offset, x : x + _PLOT + 1] = _GRID
        picture[y : y + _PLOT + 1, x + offset] = _GRID
        words = f"{tick / 5:.1f}"
        _write(picture, x - 6 - _width(words), y + _PLOT - offset - _LINE // 2, words, _FAINT)
        _write(picture, x + offset - _width(words) // 2, y + _PLOT + 6, words, _FAINT)
    recall, precision, _ = curve
    # From recall 0 at the first precision, and with the steps of the area that is reported.
    steps = np.stack((np.repeat(recall, 2), np.repeat(precision, 2)), axis=1)
    steps = np.concatenate(([[0.0, precision[0]]], np.stack((steps[:-1, 0], steps[1:, 1]), 1)))
    # Sixteenths of a pixel: cv2 draws between pixels.
    points = np.rint((steps * (_PLOT, -_PLOT) + (x, y + _PLOT)) * 16).astype(np.int32)
    cv2.polylines(picture, [points], False, palette(2)[1].tolist(), 2, cv2.LINE_AA, 4)
    if not np.isnan(chosen).any():
        centre = round(x + chosen[0] * _PLOT), round(y + _PLOT - chosen[1] * _PLOT)
        cv2.circle(picture, centre, 6, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(picture, centre, 5, palette(5)[4].tolist(), -1, cv2.LINE_AA)


def _cell(picture: np.ndarray, x: int, y: int, share: float | None, right: bool) -> None:
    """One share; a class without pixels has none."""
    if share is None:
        picture[y : y + _CELL - 1, x : x + _CELL - 1] = _GRID
        return
    base = _RIGHT if right else _WRONG
    # Errors of a few percent must show: their colour grows with the root.
    strength = share if right else np.sqrt(share)
    colour = np.rint(_GROUND + (base - _GROUND) * strength).astype(np.uint8)
    picture[y : y + _CELL - 1, x : x + _CELL - 1] = colour
    if share:
        words = _percent(share, 0 if share >= 0.0995 else 1)
        indent = (_CELL - _width(words)) // 2
        _write(picture, x + indent, y + (_CELL - _LINE) // 2, words, ink_on(colour))


def _largest(pixels: np.ndarray) -> list[int]:
    """The classes to show, in their own order."""
    return sorted(np.argsort(-pixels, kind="stable")[:MOST].tolist())


def _percent(share: float, digits: int) -> str:
    if 0 < share < 0.0005:
        return "<.1%"
    return f"{share:.{digits}%}"


def _upright(picture: np.ndarray, x: int, bottom: int, text: str) -> None:
    """Text from bottom to top, for the head of a column."""
    turned = np.rot90(canvas.text_patch(text, _TEXT))[..., None].astype(np.uint16)
    height, width = turned.shape[:2]
    window = picture[bottom - height : bottom, x : x + width]
    window[:] = (window * (255 - turned) + _INK.astype(np.uint16) * turned) // 255


def _write(picture: np.ndarray, x: int, y: int, text: str, ink: np.ndarray) -> None:
    canvas.write_text(picture, max(0, x), max(0, y), text, _TEXT, ink)


def _width(text: str) -> int:
    return canvas.text_patch(text, _TEXT).shape[1]


def _fitted(text: str, room: int) -> str:
    """The text, cut at its end where it is wider than the room."""
    short = text
    while _width(short) > room and len(short) > 2:
        short = f"{short[: max(1, len(short) - 2)]}\u2026"
    return short
