"""What the masks of a plain folder are, told by the values of a few of them.

Index masks, instance ids, masks of one class and colours that stand for classes all lie in the
same layouts. A list of classes written by vitrail names its format; otherwise the masks are looked
at, and the reason says what was seen in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from vitrail.data.formats.folders_classes import ClassFile, Colour, find_class_file, read_classes
from vitrail.data.formats.folders_layout import Layout, find_layouts
from vitrail.data.formats.folders_masks import is_wide, mask_size, read_colours, read_index_png
from vitrail.data.formats.folders_pairs import Pairs, is_lossy, pair
from vitrail.errors import DataError, VitrailError
from vitrail.result.masks import Masks, occurring

Kind = Literal["index", "binary", "instances", "colour"]

LOOKED_AT = 12
"""Masks that are read to tell what they are."""
_MAX_PIXELS = 1 << 25
"""Of a mask that is looked at."""
_MANY = 64
"""Class values or colours in one mask, above which it is taken for a photo."""
_BLACK, _WHITE = 8, 247
"""Grey levels below and above which a pixel is close to black or white."""
_EVEN = 0.4
"""Share of the pixels of a JPEG that lie in even areas of few colours, from which it is a mask."""
_FREQUENT = 0.001
"""Share of the pixels that a colour of such an area has."""
_SOFT = 0.9
"""Share of such pixels, from which a mask of many levels is black and white with soft edges."""


@dataclass(frozen=True)
class Look:
    """What a folder holds."""

    kind: Kind
    reason: str
    also_index: bool = False
    """Whether the values could be class ids all the same."""


@dataclass(frozen=True)
class Peek:
    """What one mask holds."""

    path: Path
    values: tuple[int, ...]
    """Distinct values of its one channel, or of its equal ones."""
    colours: frozenset[Colour] | None
    """Distinct colours where it has colours: of channels that differ, or of a palette."""
    channels: int
    wide: bool
    """Of 16 bits or more."""
    soft: bool
    """Whether it is black and white with grey edges."""


def look(root: Path) -> Look | None:
    """What kind of masks a folder has; None where it has no layout of images and masks, or the
    "masks" are no masks. Never raises for odd content."""
    try:
        return _look(root)
    except (VitrailError, OSError):
        return None


def _look(root: Path) -> Look | None:
    layouts = find_layouts(root)
    masks = sample_masks(layouts[:4])
    if not masks:
        return None
    file = find_class_file(root) or find_class_file(layouts[0].masks)
    classes = None if file is None else _classes(file)
    said = None if classes is None else _SAID.get(str(classes.more.get("format")))
    if file and said:
        return Look(said, f"{file.name} says so")
    table = _table(classes)
    peeks = [made for path in masks if (made := peek(path, table is not None)) is not None]
    where = _where(layouts, root)
    found = _decide(peeks, table, classes is not None)
    if found is None:
        return None
    kind, seen, also_index = found
    beside = "" if file is None else f", {file.name} beside"
    return Look(kind, f"{where}; {seen} in {len(peeks)} masks looked at{beside}", also_index)


_SAID: dict[str, Kind] = {
    "index-masks": "index",
    "binary-masks": "binary",
    "instance-ids": "instances",
    "colour-masks": "colour",
}


def sample_masks(layouts: Iterable[Layout], count: int = LOOKED_AT) -> list[Path]:
    """Some masks, evenly spread over the splits; none where images and masks do not pair."""
    found: list[Path] = []
    every = (
        pair(one, depth=2 if one.images == one.masks else 8, lossless=False) for one in layouts
    )
    parts = [pairs for pairs in every if len(pairs)]
    for pairs in parts:
        found += spread(pairs, -(-count // len(parts)))
    return found


def spread(pairs: Pairs, count: int) -> list[Path]:
    """Up to ``count`` masks, evenly spread."""
    places = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int)
    return [pairs.mask(index) for index in places.tolist()]


def _classes(file: Path) -> ClassFile | None:
    try:
        return read_classes(file)
    except VitrailError:
        return None  # opening the set says what is wrong with it


def _where(layouts: Sequence[Layout], root: Path) -> str:
    first = layouts[0]
    if first.images == first.masks:
        return "masks beside the images"
    names = [folder.relative_to(root).as_posix() for folder in (first.images, first.masks)]
    more = f" and {len(layouts) - 1} more" if len(layouts) > 1 else ""
    return f"{names[0]}/ and {names[1]}/{more}"


def peek(path: Path, palettes: bool) -> Peek | None:
    """None for what cannot be read, or is too large to be looked at."""
    try:
        height, width = mask_size(path)
        if height * width > _MAX_PIXELS:
            return None
        try:
            values, channels, colours = read_index_png(path), 1, None
            if palettes and values.dtype == np.uint8:
                colours = _colours(read_colours(path))
        except DataError:  # of several channels
            pixels = read_colours(path)
            values, channels, colours = pixels[:, :, 0], pixels.shape[2], _colours(pixels)
            if colours is not None and is_lossy(path.name):
                colours = _even_colours(pixels) or colours
    except VitrailError:
        return None
    found = occurring(values)
    soft = colours is None and _is_soft(values, found)
    return Peek(path, tuple(found.tolist()), colours, channels, is_wide(path), soft)


def _colours(pixels: np.ndarray) -> frozenset[Colour] | None:
    """Distinct colours; None where all are grey."""
    return None if (pixels == pixels[:, :, :1]).all() else distinct_colours(pixels)


def distinct_colours(pixels: np.ndarray) -> frozenset[Colour]:
    """The colours of ``(H, W, 3)`` uint8; of large pictures, of every few rows and columns."""
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / (1 << 20)) ** 0.5))
    parts = pixels[::step, ::step].astype(np.uint32)
    packed = np.unique((parts[..., 0] << 16) | (parts[..., 1] << 8) | parts[..., 2])
    return frozenset((int(v) >> 16, int(v) >> 8 & 255, int(v) & 255) for v in packed)


def _even_colours(pixels: np.ndarray) -> frozenset[Colour]:
    """The colours of the even areas of a mask that was saved as JPEG; none of a photo.

    JPEG keeps an area of one colour as it is and blurs its edges; photos have hardly an area of
    one colour.
    """
    inner = pixels[1:, 1:]
    even = ((inner == pixels[:-1, 1:]) & (inner == pixels[1:, :-1])).all(axis=2)
    packed = inner[even].astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    found, counts = np.unique(packed, return_counts=True)
    frequent = counts >= max(2, _FREQUENT * even.size)
    if counts[frequent].sum() < _EVEN * even.size:
        return frozenset()
    return frozenset((int(v) >> 16, int(v) >> 8 & 255, int(v) & 255) for v in found[frequent])


def _is_soft(grey: np.ndarray, found: np.ndarray) -> bool:
    """Whether levels other than black and white occur, but hardly far from these two."""
    levels = (found >= _BLACK) & (found < 255)
    if grey.dtype != np.uint8 or np.count_nonzero(levels) < 3 or found[-1] <= _WHITE:
        return False
    extreme = int(np.count_nonzero((grey < _BLACK) | (grey > _WHITE)))
    return extreme >= _SOFT * grey.size


def _single_parts(mask: Peek) -> bool:
    """Whether the values of a mask, but 0, are one connected part each, by and large."""
    things = [value for value in mask.values if value][:32]
    parts = 0
    for one in Masks.from_labels(read_index_png(mask.path), things):
        _, _, crop = one.crop(0)
        parts += cv2.connectedComponents(crop.astype(np.uint8), connectivity=8)[0] - 1
    return parts <= 1.5 * len(things)


def _table(classes: ClassFile | None) -> set[Colour] | None:
    """The colours of a list of classes that gives one for each."""
    colours = [] if classes is None else [one.colour for one in classes.entries]
    table = {colour for colour in colours if colour is not None}
    return table if table and None not in colours else None


def _decide(
    peeks: Sequence[Peek], table: set[Colour] | None, listed: bool
) -> tuple[Kind, str, bool] | None:
    """The kind, what was seen, and whether it could be class ids, too; None for photos.

    ``table``: the colours of the list of classes, ``listed``: whether there is such a list.
    """
    if not peeks:  # reading them says what is wrong
        return ("colour" if table else "index"), "nothing that could be read", False
    coloured = [one for one in peeks if one.colours is not None]
    rgb = [one for one in coloured if one.channels > 1]
    if rgb or (table and coloured):
        seen = frozenset().union(*(one.colours or () for one in coloured))
        # Beside a table of colours, a JPEG of many is one in which they run into each other.
        clean = [one for one in rgb if not (table and is_lossy(one.path.name))]
        if any(len(one.colours or ()) > 4 * _MANY for one in clean):
            return None
        if rgb or (table and seen <= table):
            return "colour", f"{len(seen)} colours", False
    values = sorted({value for one in peeks for value in one.values})
    shown = ", ".join(map(str, values[:8])) + (f" ... {values[-1]}" if len(values) > 8 else "")
    shown = f"values {shown}"
    full = values[-1] in (255, 65535) and values[:-1] in ([0], [])
    soft = any(one.soft for one in peeks) and all(one.soft or len(one.values) <= 2 for one in peeks)
    if listed and table is None and not full and not soft:
        return "index", shown, True
    if values != [0] and all(set(one.values) <= {0, 1} for one in peeks):
        return "binary", shown, all(one.channels == 1 for one in peeks)
    if full:
        return "binary", shown, False
    if soft:
        return "binary", "black and white with soft edges (threshold=128 reads them)", False
    if _are_ids(peeks):
        return "instances", f"{shown}, which number objects (1..n in each)", values[-1] < 256
    if max(len(one.values) for one in peeks) > _MANY:
        return None
    if _could_be_ids(peeks):
        shown += " (could also be instance-ids, if these number objects)"
    return "index", shown, True


def _are_ids(peeks: Sequence[Peek]) -> bool:
    """Whether values number objects: 1..n without gaps, each in one part, n unlike from mask to
    mask. A few classes that happen to lie so are index masks; hence more than two.

    Of 16 bits and more, where class ids are rare, there may be gaps, as hidden or removed objects
    leave them, if there are more than three; and no classes are numbered beyond 255.
    """
    filled = [one for one in peeks if one.values != (0,)]
    if not filled or any(one.channels > 1 for one in filled):
        return False
    counts = {sum(value != 0 for value in one.values) for one in filled}
    runs = sum(one.values[-1] == sum(value != 0 for value in one.values) for one in filled)
    most, needed = max(counts), 0.8 * len(filled)
    same = len(counts) == 1 and len(filled) > 1
    if all(one.wide for one in filled) and most >= 2:
        if max(one.values[-1] for one in filled) > 255:
            return True
        if runs < needed and (most <= 3 or same):
            return False
    elif most <= 2 or runs < needed or same:
        return False
    return sum(map(_single_parts, filled)) >= needed


def _could_be_ids(peeks: Sequence[Peek]) -> bool:
    """Whether values taken for class ids may number objects all the same: three and more in a
    mask, others from mask to mask, each in one part. 255 among 8 bits marks void of classes."""
    filled = [one for one in peeks if one.values != (0,)]
    sets = {frozenset(one.values) - {0} for one in filled}
    if len(sets) < 2 or max(map(len, sets)) < 3 or any(one.channels > 1 for one in filled):
        return False
    if any(255 in one.values and not one.wide for one in filled):
        return False
    return sum(map(_single_parts, filled)) >= 0.8 * len(filled)
