"""A layout as SVG text, or as a PNG."""

from __future__ import annotations

import math
from html import escape
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from vitrail.errors import ParameterError
from vitrail.models.diagram.layout import LINE, Layout, Place

_FILLS = ("#dbe9f9", "#dff3e0", "#fde8d3", "#ece1f7", "#fbdfe6", "#d9f2f2", "#f3efc9", "#e7ded5")
"""Of the parts of a network, in the order of running."""
_PLAIN, _END = "#f4f4f6", "#2f3542"
"""Of operations; of image and outputs."""
_INK, _FAINT, _ARROW = "#1d2129", "#50586a", "#6b7385"
_TITLE, _TEXT = 13, 12
_LARGEST = 100_000_000
"""Pixels of a PNG."""


def to_svg(layout: Layout) -> str:
    """SVG 1.1, with texts that can be selected and searched."""
    width, height = math.ceil(layout.width), math.ceil(layout.height)
    fills = _fills(layout)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" '
        'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for route in layout.routes:
        path = f"M{route[0][0]:.1f} {route[0][1]:.1f}"
        for number, ((x1, y1), (x2, y2)) in enumerate(pairwise(route)):
            bend = (y1 + y2) / 2
            path += (
                f" C{x1:.1f} {bend:.1f} {x2:.1f} {bend:.1f} {x2:.1f} {y2:.1f}"
                if number % 2
                else f" L{x2:.1f} {y2:.1f}"
            )
        tip = " ".join(f"{x:.1f},{y:.1f}" for x, y in _tip(route))
        parts.append(f'<path d="{path}" fill="none" stroke="{_ARROW}" stroke-width="1.4"/>')
        parts.append(f'<polygon points="{tip}" fill="{_ARROW}"/>')
    for label in layout.labels:
        left, top = label.x - label.width / 2, label.y - label.height / 2
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{label.width:.1f}" '
            f'height="{label.height:.1f}" fill="#ffffff"/>'
        )
        parts += _svg_lines(label, _FAINT, _FAINT, bold=False)
    for box in layout.boxes:
        left, top = box.x - box.width / 2, box.y - box.height / 2
        fill = fills[id(box)]
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" '
            f'height="{box.height:.1f}" rx="7" fill="{fill}" stroke="{_ARROW}"/>'
        )
        light = "#ffffff" if fill == _END else _INK
        parts += _svg_lines(box, light, _FAINT, bold=True)
    return "\n".join([*parts, "</svg>", ""])


def to_image(layout: Layout, scale: float = 2.0) -> Image.Image:
    """RGB, ``scale`` pixels for a px of the layout, less where the drawing is very large.

    Raises
    ------
    ParameterError
        even at one pixel for a px there would be more than :data:`_LARGEST`.
    """
    area = layout.width * layout.height
    if area > _LARGEST:
        raise ParameterError(
            f"the drawing takes {layout.width:.0f} x {layout.height:.0f} pixels, too many for a "
            "PNG; choose a smaller --depth, or .svg"
        )
    scale = min(scale, math.sqrt(_LARGEST / area))
    size = (math.ceil(layout.width * scale), math.ceil(layout.height * scale))
    image = Image.new("RGB", size, "#ffffff")
    pen, fills = ImageDraw.Draw(image), _fills(layout)
    for route in layout.routes:
        line = [(x * scale, y * scale) for x, y in _smooth(route)]
        pen.line(line, fill=_ARROW, width=max(1, round(1.4 * scale)), joint="curve")
        pen.polygon([(x * scale, y * scale) for x, y in _tip(route)], fill=_ARROW)
    for label in layout.labels:
        pen.rectangle(_corners(label, scale), fill="#ffffff")
        _write_lines(pen, label, scale, _FAINT, _FAINT)
    for box in layout.boxes:
        fill = fills[id(box)]
        pen.rounded_rectangle(_corners(box, scale), 7 * scale, fill=fill, outline=_ARROW)
        _write_lines(pen, box, scale, "#ffffff" if fill == _END else _INK, _FAINT)
    return image


def _fills(layout: Layout) -> dict[int, str]:
    """A colour for each box: one for a part of the network."""
    families = list(dict.fromkeys(box.node.family for box in layout.boxes if box.node))
    named = [family for family in families if family]
    fills: dict[int, str] = {}
    for box in layout.boxes:
        node = box.node
        if node is None:
            continue
        if node.family:
            fills[id(box)] = _FILLS[named.index(node.family) % len(_FILLS)]
        else:
            fills[id(box)] = _END if node.call is None else _PLAIN
    return fills


def _baselines(place: Place) -> list[float]:
    top = place.y - len(place.lines) * LINE / 2
    return [top + LINE * (number + 0.5) for number in range(len(place.lines))]


def _svg_lines(place: Place, first: str, others: str, *, bold: bool) -> list[str]:
    parts = []
    for number, (line, y) in enumerate(zip(place.lines, _baselines(place), strict=True)):
        weight = ' font-weight="bold"' if bold and number == 0 else ""
        parts.append(
            f'<text x="{place.x:.1f}" y="{y + _TEXT * 0.35:.1f}" font-size="{_TEXT}" '
            f'text-anchor="middle" fill="{others if number else first}"{weight}>'
            f"{escape(line)}</text>"
        )
    return parts


def _write_lines(
    pen: ImageDraw.ImageDraw, place: Place, scale: float, first: str, others: str
) -> None:
    for number, (line, y) in enumerate(zip(place.lines, _baselines(place), strict=True)):
        titled = place.node is not None and number == 0
        font = ImageFont.load_default((_TITLE if titled else _TEXT) * scale)
        pen.text(
            (place.x * scale, y * scale),
            line,
            font=font,
            fill=others if number else first,
            anchor="mm",
        )


def _corners(place: Place, scale: float) -> tuple[float, float, float, float]:
    across, down = place.width / 2, place.height / 2
    return (
        (place.x - across) * scale,
        (place.y - down) * scale,
        (place.x + across) * scale,
        (place.y + down) * scale,
    )


def _smooth(route: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The curves of a route as short straight lines."""
    line = [route[0]]
    for number, ((x1, y1), (x2, y2)) in enumerate(pairwise(route)):
        if number % 2 and x1 != x2:
            for step in range(1, 12):
                t = step / 12
                bend = t * t * (3 - 2 * t)
                # A cubic whose two inner points lie half-way down: y is 1.5 t(1-t) + t^3.
                down = 1.5 * t * (1 - t) + t**3
                line.append((x1 + (x2 - x1) * bend, y1 + (y2 - y1) * down))
        line.append((x2, y2))
    return line


def _tip(route: list[tuple[float, float]]) -> list[tuple[float, float]]:
    x, y = route[-1]
    return [(x, y), (x - 4, y - 8), (x + 4, y - 8)]
