"""One annotated object: its outline, its mask and its box, by themselves and against each other."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from vitrail.data.checks.finding import Pen
from vitrail.data.checks.outlines import Loop, Outline, worst_loop
from vitrail.data.sample import Box, Instance

FRAME_TOLERANCE = 1.0
"""px that an outline or box may leave the frame: tools differ in whether pixels are points."""
BOX_TOLERANCE = 2.0
"""px by which a side of a box may miss the mask: inclusive ends, and rounding on both sides."""
BOX_IOU = 0.85
"""Overlap of a box and the box around the mask, below which they disagree (if they also differ by
more than the tolerance: a pixel is much to a small object)."""
LOOP_AREA = 4.0
LOOP_SHARE = 0.01
"""px² and share of the object, from which a loop of a crossing outline is more than a trifle."""


def check_instance(
    one: Instance, outlines: Sequence[Outline], name: str, frame: tuple[int, int], pen: Pen
) -> bool:
    """Judge an object's geometry; False where it is so broken that nothing else can be asked of it.

    Parameters
    ----------
    outlines:
        Measures of its polygons, in order; empty where it has none.
    name:
        What findings call it.
    frame:
        ``(H, W)`` of the image's annotations, px.
    """
    if one.size != frame:
        value = f"made for {one.size[1]}x{one.size[0]} px"
        pen.note("size-mismatch", value, f"{frame[1]}x{frame[0]} px", id=name)
        return False
    if not all(map(isfinite, one.box)) or not all(outline.finite for outline in outlines):
        pen.note("bad-coordinates", f"box {_box(one.box)}", "finite numbers of px", id=name)
        return False
    bounds = _check_shape(one, outlines, name, pen)
    if bounds is None and (one.polygons is not None or one.stored is not None):
        return False
    return _check_box(one, name, bounds, pen)


def _check_shape(one: Instance, outlines: Sequence[Outline], name: str, pen: Pen) -> Box | None:
    """Findings on outlines and stored mask; the box around them, None where there is no area."""
    if one.stored is not None:
        area = int(one.stored.areas()[0])
        if not area:
            pen.note("empty-annotation", "a mask of 0 pixels", "at least one pixel", id=name)
            return None
        x1, y1, x2, y2 = (float(value) for value in one.stored.boxes()[0])
        if area == 1 and not one.crowd:
            value = f"one pixel at {x1:g}, {y1:g}"
            pen.note("tiny-object", value, "more than a pixel", id=name, box=(x1, y1, x2, y2))
        return x1, y1, x2, y2
    if one.polygons is None:
        return None
    if not any(len(outline.points) for outline in outlines):
        pen.note("empty-annotation", "an outline without points", "three points or more", id=name)
        return None
    loops = [worst_loop(outline) for outline in outlines]
    # A figure of eight has no area by the shoelace formula, but is an outline of something.
    sound = [outline for outline in outlines if outline.area > 1e-6 or outline.crosses]
    for outline in outlines:
        if outline not in sound:
            _report_degenerate(outline, name, pen, alone=not sound)
    if not sound:
        return None
    box = _union([outline.box for outline in sound])
    if box[2] <= 0 or box[3] <= 0 or box[0] >= one.size[1] or box[1] >= one.size[0]:
        pen.note("outside-frame", f"outline {_box(box)}", _inside(one), id=name, box=box, weight=2)
        return None
    _check_frame(box, name, one, pen, "outline")
    area = sum(outline.area for outline in sound)
    if area < 1 and not any(loops):
        advice = None
        if min(box) >= 0 and max(box) <= 1:
            advice = "the coordinates look normalised to 0..1: multiply by width and height"
        value = f"{area:.2g} px² at {box[0]:.5g}, {box[1]:.5g}"
        pen.note("tiny-object", value, "more than a pixel", id=name, box=box, advice=advice)
    for outline, loop in zip(outlines, loops, strict=True):
        if loop is not None:
            _report_loop(outline, loop, name, pen)
    # Boxes are drawn around all points, also those of outlines without area.
    return _union([outline.box for outline in outlines if len(outline.points)])


def _report_degenerate(outline: Outline, name: str, pen: Pen, *, alone: bool) -> None:
    distinct = len({tuple(point) for point in outline.points.tolist()})
    value = f"{distinct} distinct points" if distinct < 3 else f"{distinct} points in a line"
    severity = "error" if alone else "warning"
    pen.note(
        "degenerate-polygon",
        value,
        "an area",
        severity=severity,
        id=name,
        box=outline.box if distinct else None,
        weight=float(alone),
    )


def _report_loop(outline: Outline, loop: Loop, name: str, pen: Pen) -> None:
    x, y, area, share = loop
    grave = area >= LOOP_AREA and share >= LOOP_SHARE
    pen.note(
        "self-intersecting-polygon",
        f"crosses itself at {x:.5g}, {y:.5g}; a loop of {area:.3g} px² ({share:.1%})",
        "an outline without crossings",
        severity="warning" if grave else "note",
        id=name,
        box=outline.box,
        weight=area,
    )


def _check_frame(box: Box, name: str, one: Instance, pen: Pen, what: str) -> None:
    """A finding where a box leaves the frame by more than the tolerance."""
    height, width = one.size
    beyond = max(-box[0], -box[1], box[2] - width, box[3] - height)
    if beyond > FRAME_TOLERANCE:
        value = f"{what} {_box(box)} leaves the image by {beyond:.4g} px"
        pen.note("out-of-frame", value, _inside(one), id=name, box=box, weight=beyond)


def _check_box(one: Instance, name: str, bounds: Box | None, pen: Pen) -> bool:
    """Findings on the box; ``bounds`` is that around the mask, None for a bare box."""
    box = one.box
    height, width = one.size
    if box[2] <= box[0] or box[3] <= box[1]:
        value = f"box {_box(box)}"
        pen.note("degenerate-box", value, "x1 < x2 and y1 < y2", id=name, box=bounds or box)
        return bounds is not None
    if box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height:
        pen.note("outside-frame", f"box {_box(box)}", _inside(one), id=name, box=box, weight=1)
        return bounds is not None
    if bounds is None:
        _check_frame(box, name, one, pen, "box")
        return True
    off = max(abs(a - b) for a, b in zip(box, bounds, strict=True))
    if off > BOX_TOLERANCE and (overlap := _iou(box, bounds)) < BOX_IOU:
        # What lies beyond the frame may have been cut from the one and not from the other.
        cut = _iou(_clip(box, one.size), _clip(bounds, one.size))
        if cut < BOX_IOU:
            _report_box(one, name, bounds, overlap, pen)
            return True
        _check_frame(box, name, one, pen, "box")
    return True


def _report_box(one: Instance, name: str, bounds: Box, overlap: float, pen: Pen) -> None:
    advice = None
    x1, y1, x2, y2 = one.box
    if max(one.box) <= 1 < max(bounds):
        advice = "the box looks normalised to 0..1: multiply by width and height"
    elif abs(x2 - x1 - bounds[2]) + abs(y2 - y1 - bounds[3]) <= 2 * BOX_TOLERANCE:
        advice = "x1 y1 x2 y2 was written where x y width height is expected"
    elif abs(x2 - bounds[2] + bounds[0]) + abs(y2 - bounds[3] + bounds[1]) <= 2 * BOX_TOLERANCE:
        advice = "x y width height was written where x1 y1 x2 y2 is expected"
    pen.note(
        "box-mask-mismatch",
        f"box {_box(one.box)}, IoU {overlap:.2f}",
        f"{_box(bounds)} around its mask",
        severity="error" if overlap < 0.5 else "warning",
        id=name,
        box=_union([one.box, bounds]),
        advice=advice,
        weight=1 - overlap,
    )


def _union(boxes: Sequence[Box]) -> Box:
    """The box around several."""
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def _clip(box: Box, size: tuple[int, int]) -> Box:
    height, width = size
    return max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height))


def _iou(a: Box, b: Box) -> float:
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - across * down
    return across * down / union if union > 0 else 0.0


def _box(box: Box) -> str:
    return "[" + ", ".join(f"{value:.5g}" for value in box) + "]"


def _inside(one: Instance) -> str:
    return f"inside {one.size[1]}x{one.size[0]} px"
