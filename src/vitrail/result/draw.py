"""A result as a picture: tints, outlines, tags and a legend, each kind in its own way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np

from vitrail.errors import ParameterError, nearest
from vitrail.result import canvas
from vitrail.result.base import Result, picture_of
from vitrail.result.edges import EdgeResult
from vitrail.result.instances import InstanceResult
from vitrail.result.legend import Entry, draw_legend
from vitrail.result.palette import palette, vary
from vitrail.result.regions import RegionResult
from vitrail.result.semantic import SemanticResult

if TYPE_CHECKING:
    from vitrail.image import ImageSource

Box = tuple[int, int, int, int]
Fill = Literal["auto", "palette", "mean"]

_PLAIN = 236  # grey level of the ground where there is no image
_MANY = 24  # regions beyond which palette colours no longer tell them apart
_LEGIBLE = 10  # regions beyond which a legend of their numbers says little and hides much
_BUSY = 0.05  # boundary pixels per pixel, beyond which lines would hide colours that suffice


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How results are drawn."""

    alpha: float | None = None
    """Weight of the colour over the image, 0 (none) to 1 (the image is hidden); None: 0.45, and
    0.85 of mean colours."""
    outline: bool = True
    """Outlines around classes, objects and regions (not around few but ragged regions)."""
    legend: bool = True
    """Names and shares, in the corner that hides least; left out where it would not fit."""
    tags: bool = True
    """Name and score at each object (instances)."""
    boxes: bool = False
    """The detector's boxes (instances; always where it found boxes only)."""
    fill: Fill = "auto"
    """Regions in palette colours, or each in its mean colour; auto: mean from 25 regions on."""

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """From keyword arguments; :class:`ParameterError` names what is unknown or wrong."""
        known = [field.name for field in fields(cls)]
        for name, value in params.items():
            if name not in known:
                raise ParameterError(f"there is no style {name!r}; {nearest(name, known)}")
            if name == "alpha":
                if value is not None and (
                    not isinstance(value, int | float) or not 0 <= value <= 1
                ):
                    raise ParameterError(f"alpha is {value!r}, expected a number from 0 to 1")
            elif name == "fill":
                if value not in get_args(Fill):
                    raise ParameterError(f"fill is {value!r}, expected auto, palette or mean")
            elif not isinstance(value, bool):
                raise ParameterError(f"{name} is {value!r}, expected True or False")
        return cls(**params)

    def weight(self, usual: float = 0.45) -> float:
        """Of the colour over the image: what was asked for, or the usual."""
        return usual if self.alpha is None else self.alpha


def draw(
    result: Result, image: ImageSource | None = None, style: Style | None = None
) -> np.ndarray:
    """Draw a result over its image.

    Parameters
    ----------
    image : what to draw over; default ``result.image``, and a plain ground where that is None
    style : default ``Style()``

    Returns
    -------
    (H, W, 3) uint8 RGB, a new array

    Raises
    ------
    ParameterError
        the image has another size than the result.
    """
    style = style or Style()
    if isinstance(result, EdgeResult):
        return _edges(result)
    ground = image if image is not None else result.image
    if ground is None:
        picture = np.full((*result.size, 3), _PLAIN, np.uint8)
    else:
        picture = np.array(picture_of(ground, result.size), order="C")
    if isinstance(result, SemanticResult):
        _semantic(picture, result, style)
    elif isinstance(result, InstanceResult):
        _instances(picture, result, style)
    elif isinstance(result, RegionResult):
        _regions(picture, result, style, plain=ground is None)
    else:
        raise ParameterError(f"cannot draw a {type(result).__name__}; it is none of the four kinds")
    return picture


def class_colours(result: Result) -> np.ndarray:
    """The colour of each class, (len(classes), 3) uint8; the background of a semantic one black."""
    count = len(result.classes)
    if not isinstance(result, SemanticResult):
        return palette(count)
    if result.palette is not None:
        return np.asarray(result.palette[:count])
    colours = np.zeros((count, 3), np.uint8)
    foreground = np.arange(count) != (-1 if result.background is None else result.background)
    colours[foreground] = palette(int(foreground.sum()))
    return colours


def instance_colours(result: InstanceResult) -> np.ndarray:
    """A colour per object, (N, 3) uint8: one class, its objects take the palette in turn;
    several classes, each object takes a neighbour of its class's colour."""
    if len(set(result.class_ids.tolist())) <= 1:
        return palette(len(result))
    base = class_colours(result)
    seen: Counter[int] = Counter()
    colours = np.zeros((len(result), 3), np.uint8)
    for i, class_id in enumerate(result.class_ids.tolist()):
        colours[i] = vary(base[class_id], seen[class_id])
        seen[class_id] += 1
    return colours


def _semantic(picture: np.ndarray, result: SemanticResult, style: Style) -> None:
    colours = class_colours(result)
    length = max(len(colours), int(result.labels.max()) + 1)
    paint = np.zeros((length, 3), np.uint8)
    paint[: len(colours)] = colours
    shown = np.zeros(length, bool)
    segments = result.segments()
    shown[[segment.class_id for segment in segments]] = True
    if result.ignore is not None and result.ignore < length:
        # Pixels without an answer are veiled in light grey: neither a class nor background.
        paint[result.ignore], shown[result.ignore] = 205, True
    canvas.tint_labels(picture, result.labels, paint, shown, style.weight())
    scale = canvas.Scale.of(result.size)
    for segment in segments if style.outline else ():
        outlines = canvas.contours_of(segment.mask)
        canvas.outline(picture, outlines, segment.bbox[:2], colours[segment.class_id], scale.line)
    if style.legend:
        entries = [
            Entry(row.class_name, _share(row.area / result.labels.size), colours[row.class_id])
            for row in sorted(segments, key=lambda segment: -segment.area)
        ]
        draw_legend(picture, entries, shown[result.labels])


def _instances(picture: np.ndarray, result: InstanceResult, style: Style) -> None:
    colours = instance_colours(result)
    scale = canvas.Scale.of(result.size)
    taken = np.zeros(result.size, bool)
    # The most certain objects last, so that they lie on top.
    order = np.argsort(result.scores, kind="stable").tolist()
    for i in order:
        y, x, crop = result.masks.crop(i)
        rows, columns = slice(y, y + crop.shape[0]), slice(x, x + crop.shape[1])
        taken[rows, columns] |= crop
        if not result.outlined:
            continue
        canvas.tint_mask(picture[rows, columns], crop, colours[i], style.weight())
        if style.outline and crop.size:
            # A line for the picture's size would hide small objects.
            line = max(1, min(scale.line, min(crop.shape) // 18))
            canvas.outline(picture, canvas.contours_of(crop), (x, y), colours[i], line)
    if style.boxes or not result.outlined:
        for i in order:
            canvas.frame(picture, result.boxes[i].tolist(), colours[i], scale.line)
    legend = None
    if style.legend:
        base = class_colours(result)
        single = len(result.counts()) == 1
        entries = [
            Entry(name, str(count), None if single else base[result.classes.index(name)])
            for name, count in result.counts().items()
        ]
        legend = draw_legend(picture, entries, taken)
    if style.tags:
        _tags(picture, result, colours, scale.text, [legend] if legend else [])


_FEW = 5
"""Objects that each get a tag, however small they are."""


def _tags(
    picture: np.ndarray,
    result: InstanceResult,
    colours: np.ndarray,
    size: int,
    placed: list[Box],
) -> None:
    """Name and score at each object's box, the most certain first, none over what is placed."""
    across, down = picture.shape[1], picture.shape[0]
    tight = result.masks.boxes()
    for i in np.argsort(-result.scores, kind="stable").tolist():
        text = f"{result.classes[result.class_ids[i]]} {result.scores[i]:.2f}"
        height, width = canvas.tag_size(text, size)
        box = tight[i] if tight[i].any() else result.boxes[i]
        x1, y1, x2, y2 = (round(float(value)) for value in box)
        if len(result) > _FEW and width * height > (x2 - x1) * (y2 - y1):
            continue  # among many small objects tags would hide what they speak of
        x = max(0, min(x1, across - width))
        spots = [max(0, min(y, down - height)) for y in (y1 - height, y1, y2 - height, y2)]
        free = [y for y in spots if not _overlaps((x, y, x + width, y + height), placed)]
        if not free:
            continue  # a tag over another one would make both unreadable
        placed.append((x, free[0], x + width, free[0] + height))
        canvas.tag(picture, x, free[0], text, size, colours[i])


def _regions(picture: np.ndarray, result: RegionResult, style: Style, *, plain: bool) -> None:
    count = len(result.classes)
    found = len(result)
    mean = style.fill == "mean" or (style.fill == "auto" and found > _MANY)
    if mean and not plain:
        colours, alpha = canvas.mean_colours(picture, result.labels, count), style.weight(0.85)
    else:
        colours, alpha = palette(count), style.weight()
    canvas.tint_labels(picture, result.labels, colours, np.ones(count, bool), alpha)
    if style.outline and (found > _MANY or _boundary_share(result.labels) < _BUSY):
        canvas.boundaries(picture, result.labels, canvas.Scale.of(result.size).line)
    if style.legend and found <= _LEGIBLE:
        pixels = sorted(result.counts().items(), key=lambda item: -item[1])
        ids = {name: i for i, name in enumerate(result.classes)}
        entries = [
            Entry(name, _share(area / result.labels.size), colours[ids[name]])
            for name, area in pixels
        ]
        draw_legend(picture, entries, None)


def _boundary_share(labels: np.ndarray) -> float:
    """How many of the pixels differ from their right neighbour."""
    turns = sum(
        int(np.count_nonzero(labels[rows, :-1] != labels[rows, 1:]))
        for rows in canvas.strips(*labels.shape)
    )
    return turns / labels.size


def _edges(result: EdgeResult) -> np.ndarray:
    """Strength as grey: black for none, white for the strongest; square root, to show weak ones."""
    strength = result.strength
    step = max(1, int(np.sqrt(strength.size / 1e6)))
    peak = float(np.percentile(strength[::step, ::step], 99.5)) or float(strength.max()) or 1.0
    picture = np.empty((*result.size, 3), np.uint8)
    for rows in canvas.strips(*result.size):
        level = np.sqrt(np.minimum(strength[rows] / peak, 1.0))
        picture[rows] = np.rint(level * 255).astype(np.uint8)[..., None]
    return picture


def _share(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "<0.1%"


def _overlaps(box: tuple[int, int, int, int], others: Sequence[Box]) -> bool:
    x1, y1, x2, y2 = box
    return any(x1 < b[2] and b[0] < x2 and y1 < b[3] and b[1] < y2 for b in others)
