"""Curves over the epochs as inline SVG, legible on a light and on a dark page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape

import numpy as np

from vitrail.errors import ParameterError
from vitrail.result.palette import contrast, palette

STYLE = """
.chart { flex: 1 1 28rem; max-width: 34.5rem; padding: .5rem .8rem; box-sizing: border-box; }
.chart svg { width: 100%; height: auto; display: block; }
.chart text { fill: currentColor; font-size: 12px; font-family: system-ui, sans-serif; }
.chart .grid { stroke: var(--line); } .chart .axis { stroke: currentColor; }
.chart .best { stroke: currentColor; stroke-dasharray: 3 4; opacity: .6; }
.chart path { fill: none; stroke-width: 2; stroke-linejoin: round; }
.keys { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; }
.keys svg { width: 28px; height: 10px; display: inline-block; vertical-align: middle; }
"""

_WIDTH, _HEIGHT = 560, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 18, 34
_DASHES = ("", "7 3", "2 3", "9 3 2 3")
_DOTS = 40  # epochs up to which each one is marked
_LOG = 30.0  # ratio of the largest to the smallest number from which the axis is logarithmic


def line_chart(
    title: str,
    x: Sequence[int],
    series: Mapping[str, Sequence[float]],
    *,
    best: int | None = None,
    zero: bool = False,
    log: bool = False,
) -> str:
    """Lines over epochs, with axes, a key and the last values.

    Parameters
    ----------
    title:
        What is drawn; plain text, as the names of the series.
    x : N epochs, ascending
    series : N numbers by name; where one is not finite, its line is interrupted
    best : the epoch to mark
    zero : whether the axis starts at 0
    log : a logarithmic axis, if all numbers are positive and the largest is 30 times the smallest

    Returns
    -------
    a ``<figure>``; empty where there is no finite number

    Raises
    ------
    ParameterError
        a series has another length than ``x``.
    """
    for name, values in series.items():
        if len(values) != len(x):
            raise ParameterError(f"{name} has {len(values)} numbers, expected {len(x)}")
    known = [value for values in series.values() for value in values if math.isfinite(value)]
    if not known:
        return ""
    low, high = min(known), max(known)
    scaled = log and low > 0 and high / low > _LOG
    ticks = log_ticks(low, high) if scaled else ticks_between(0.0 if zero else low, high)
    bottom, top = min(ticks[0], low), max(ticks[-1], high)
    if scaled:
        bottom, top = math.log10(bottom), math.log10(top)
    first, last = x[0], x[-1]

    def across(epoch: float) -> float:
        share = (epoch - first) / (last - first) if last > first else 0.5
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def down(value: float) -> float:
        value = math.log10(value) if scaled else value
        return _HEIGHT - _BOTTOM - (value - bottom) / (top - bottom) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        *(_horizontal(down(tick), _written(tick)) for tick in ticks),
        *(_vertical(across(epoch), str(epoch)) for epoch in _epochs(first, last)),
        f'<path class="axis" style="stroke-width:1" d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}'
        f'H{_WIDTH - _RIGHT}"/>',
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 3}" text-anchor="middle">epoch'
        "</text>",
    ]
    if best is not None and first <= best <= last:
        place = across(best)
        side = "start" if place < _WIDTH / 2 else "end"
        shift = 5 if side == "start" else -5
        parts.append(
            f'<line class="best" x1="{place:.1f}" x2="{place:.1f}" y1="{_TOP}" '
            f'y2="{_HEIGHT - _BOTTOM}"/><text x="{place + shift:.1f}" y="{_TOP - 5}" '
            f'text-anchor="{side}">best: {best}</text>'
        )
    keys: list[str] = []
    for number, (name, values) in enumerate(series.items()):
        colour, dash = _look(number)
        points = [
            (across(epoch), down(value), epoch, value) if math.isfinite(value) else None
            for epoch, value in zip(x, values, strict=True)
        ]
        stroke = f'stroke="{colour}"' + (f' stroke-dasharray="{dash}"' if dash else "")
        parts.append(f'<path {stroke} d="{_outline(points)}"/>')
        finite = [point for point in points if point]
        for left, height, epoch, value in finite if len(x) <= _DOTS else finite[-1:]:
            parts.append(
                f'<circle cx="{left:.1f}" cy="{height:.1f}" r="3" fill="{colour}">'
                f"<title>{escape(name)}, epoch {epoch}: {value:.5g}</title></circle>"
            )
        final = _written(finite[-1][3]) if finite else "none"
        keys.append(
            f'<span><svg viewBox="0 0 28 10" aria-hidden="true"><path {stroke} d="M0 5H28"/></svg> '
            f"{escape(name)} <b>{final}</b></span>"
        )
    parts.append("</svg>")
    return (
        f'<figure class="chart"><figcaption><b>{escape(title)}</b></figcaption>'
        f'{"".join(parts)}<figcaption class="keys">{"".join(keys)}</figcaption></figure>'
    )


def ticks_between(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) in even steps that span a range, ascending."""
    if not high > low:
        reach = abs(low) * 0.1 or 1.0
        low, high = low - reach, high + reach
    raw = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks for positive numbers on a logarithmic axis, ascending: 1, 2 and 5 times powers of ten
    that span the range; where those are many, only the powers of ten within it."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
    first = max((tick for tick in ticks if tick <= low), default=ticks[0])
    last = min((tick for tick in ticks if tick >= high), default=ticks[-1])
    spanning = [tick for tick in ticks if first <= tick <= last]
    if len(spanning) <= 8:
        return spanning
    return [10.0**decade for decade in decades if low <= 10.0**decade <= high]


def _epochs(first: int, last: int) -> list[int]:
    """Whole epochs in even steps, at most a dozen."""
    step = max(1, math.ceil((last - first) / 10))
    for nice in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if nice >= step:
            step = nice
            break
    even = [epoch for epoch in range(first + 1, last + 1) if epoch % step == 0]
    return [first, *(epoch for epoch in even if epoch - first > step / 2 or step == 1)]


def _horizontal(y: float, words: str) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{words}</text>'
    )


def _vertical(x: float, words: str) -> str:
    foot = _HEIGHT - _BOTTOM
    return (
        f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{foot}" y2="{foot + 4}"/>'
        f'<text x="{x:.1f}" y="{foot + 16}" text-anchor="middle">{words}</text>'
    )


def _outline(points: Sequence[tuple[float, float, int, float] | None]) -> str:
    """The path through the points, lifted where one is missing."""
    words: list[str] = []
    lifted = True
    for point in points:
        if point is not None:
            words.append(f"{'M' if lifted else 'L'}{point[0]:.1f} {point[1]:.1f}")
        lifted = point is None
    return "".join(words)


def _written(value: float) -> str:
    """A number as briefly as five digits allow."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _look(number: int) -> tuple[str, str]:
    """Colour and dashes of the ``number``-th line."""
    colours = _colours()
    red, green, blue = colours[number % len(colours)].tolist()
    return f"#{red:02x}{green:02x}{blue:02x}", _DASHES[number // len(colours) % len(_DASHES)]


@lru_cache(maxsize=1)
def _colours() -> np.ndarray:
    """Palette colours with a contrast of 3 (WCAG 2.1, 1.4.11) to a white and a dark page."""
    grounds = np.array([[255, 255, 255], [24, 24, 28]], np.uint8)
    seen = [c for c in palette(64) if min(contrast(c, ground) for ground in grounds) >= 3]
    return np.array(seen[:10])
