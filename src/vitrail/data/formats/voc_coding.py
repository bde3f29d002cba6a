"""How PASCAL VOC writes classes into pixels: the colour map, label maps of other sets, PNGs.

Published in the development kit (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/, the function
``VOClabelcolormap``): masks are palette PNGs whose indices are the ids; 0 is background, 255 void.
``labelmap.txt`` is the list of classes that CVAT and Datumaro put beside sets of other classes:
https://docs.cvat.ai/docs/dataset_management/formats/format-voc/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrail.codecs.limits import Limits, damaged
from vitrail.codecs.pillow import open_pillow
from vitrail.data.formats.voc_lists import read_lines
from vitrail.data.formats.writing import odd_blanks, rename_advice
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ImageError, VitrailError

Colour = tuple[int, int, int]

VOID = 255
"""Of both kinds of masks: borders between objects, and objects too hard to tell."""


def voc_colour(index: int) -> Colour:
    """RGB of a palette index: its bits, three at a time, fill R, G and B from the highest down."""
    red = green = blue = 0
    for shift in range(7, -1, -1):
        red |= (index & 1) << shift
        green |= (index >> 1 & 1) << shift
        blue |= (index >> 2 & 1) << shift
        index >>= 3
    return red, green, blue


PALETTE = tuple(voc_colour(index) for index in range(256))
"""RGB of all indices; (224, 224, 192) is void."""

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
SPACE = LabelSpace(CLASSES, 0, VOID, None, PALETTE[: len(CLASSES)])
"""The twenty classes of 2007 to 2012 and background."""

_BACKGROUND = re.compile(r"[\W_]*background[\W_]*", re.IGNORECASE)
_VOIDS = ("void", "ignore", "ignored")
_SAID = re.compile(r"#\s*background:(.*)")
_HEADER = 26
"""Bytes of a PNG up to its depth (byte 24) and kind of colour (byte 25)."""


def read_labelmap(path: Path) -> LabelSpace:
    """``labelmap.txt``: a line ``label:colour_rgb:parts:actions`` a class, in the order of ids.

    Background is the class that a comment ``# background: NAME`` names (vitrail writes one where
    it would be unclear; an empty name: there is none), otherwise the one called so, otherwise the
    black one, as index 0 of VOC. Classes without a colour get that of their index in VOC's map. A
    line for void in VOC's own colour (``ignored:224,224,192::``) is no class.

    Raises
    ------
    DataError
        a line is not of that form; names the line.
    """
    names: list[str] = []
    given: list[Colour | None] = []
    said: str | None = None
    for number, line in enumerate(read_lines(path), 1):
        if line.startswith("#"):
            if match := _SAID.match(line):
                said = match[1].strip()
            continue
        name, *fields = (field.strip() for field in line.split(":"))
        colour = _parse_colour(fields[0] if fields else "", path, number)
        if not name or len(fields) > 3:
            raise DataError(
                f"{path}: entry {number} is {line!r}, expected label:red,green,blue:parts:actions"
            )
        if name in names or (colour is not None and colour in given):
            raise DataError(f"{path}: entry {number}, {line!r}, repeats a name or a colour")
        if name.lower() in _VOIDS and colour == PALETTE[VOID]:
            continue
        names.append(name)
        given.append(colour)
    if not names or len(names) > VOID:
        raise DataError(f"{path}: names {len(names)} classes, expected 1 to {VOID}")
    colours = fill_colours(given)
    if said is not None:
        if said and said not in names:
            raise DataError(f"{path}: its background {said!r} is none of its classes")
        background = names.index(said) if said else None
    else:
        called = [i for i, name in enumerate(names) if _BACKGROUND.fullmatch(name)]
        black = [i for i, colour in enumerate(colours) if colour == (0, 0, 0)]
        background = next(iter(called + black), None)
    return LabelSpace(tuple(names), background, VOID, None, tuple(colours))


def _parse_colour(text: str, path: Path, number: int) -> Colour | None:
    if not text:
        return None
    parts = text.split(",")
    if len(parts) != 3 or not all(re.fullmatch(r"\s*\d{1,3}\s*", part) for part in parts):
        raise DataError(f"{path}: entry {number} has the colour {text!r}, expected red,green,blue")
    red, green, blue = (int(part) for part in parts)
    if max(red, green, blue) > 255:
        raise DataError(f"{path}: entry {number} has the colour {text!r}, expected 0 to 255")
    return red, green, blue


def fill_colours(given: Sequence[Colour | None]) -> list[Colour]:
    """Colours of classes: those given, for the others VOC's of their index, or the next free."""
    taken = {colour for colour in given if colour is not None}
    filled: list[Colour] = []
    for index, colour in enumerate(given):
        if colour is None:
            candidates = (*PALETTE[index:VOID], *PALETTE[:index])
            colour = next(one for one in candidates if one not in taken)
            taken.add(colour)
        filled.append(colour)
    return filled


def format_labelmap(space: LabelSpace, colours: Sequence[Colour], *, void: bool) -> str:
    """The text that :func:`read_labelmap` reads as these classes.

    With ``void``, its colour is declared, too: Datumaro refuses masks with colours that are not.

    Raises
    ------
    DataError
        a name cannot stand in such a line.
    """
    background = "" if space.background is None else space.classes[space.background]
    lines = ["# label:color_rgb:parts:actions", f"# background: {background}".rstrip()]
    for name, (red, green, blue) in zip(space.classes, colours, strict=True):
        if fault := odd_blanks(name):
            raise DataError(
                f"the class name {name!r} {fault}, which labelmap.txt does not keep; "
                f"{rename_advice(name)}"
            )
        if ":" in name or name.startswith("#"):
            raise DataError(
                f"the class name {name!r} cannot stand in labelmap.txt, whose fields are divided "
                f"by colons and whose remarks begin with #; rename the class "
                f"(--rename '{name}=OTHER')"
            )
        lines.append(f"{name}:{red},{green},{blue}::")
    free = [name for name in _VOIDS[::-1] if name not in space.classes]
    if void and free:
        lines.append(f"{free[0]}:{','.join(map(str, PALETTE[VOID]))}::")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Coding:
    """What the pixels of a kind of masks mean."""

    colours: tuple[Colour, ...]
    """RGB by id."""
    void: int = VOID
    """What void becomes."""
    what: str = "class ids"

    def read(self, path: Path) -> np.ndarray:
        """``(H, W)`` uint8 ids of a mask; void is :attr:`void`.

        Palette indices and grey values are the ids. Masks in colour, and those whose palette
        holds the classes' colours in another order, are decoded by colour.

        Raises
        ------
        DataError
            a value or a colour is none of the ids; names it and where it lies.
        ImageError
            it cannot be read.
        """
        pixels, palette = read_mask(path)
        if pixels.ndim == 3:
            return self._by_colour(pixels, path)
        used = np.flatnonzero(np.bincount(pixels.ravel(), minlength=256))
        meant = self._ids_of_colours()
        table = np.arange(256, dtype=np.uint8)
        shown = [palette[i] for i in used.tolist() if i < len(palette)]
        if len(shown) == len(used) and all(colour in meant for colour in shown):
            table[used] = [meant[colour] for colour in shown]
        else:
            table[VOID] = self.void
            for value in used.tolist():
                if value >= len(self.colours) and value not in (VOID, self.void):
                    raise self._unknown(path, pixels == value, f"the value {value}", bool(palette))
        return table[pixels]

    def _ids_of_colours(self) -> dict[Colour, int]:
        """An id of each colour; void last, as no class has its colour but a set's own."""
        return {PALETTE[VOID]: self.void} | {c: i for i, c in enumerate(self.colours)}

    def _by_colour(self, pixels: np.ndarray, path: Path) -> np.ndarray:
        packed = pixels.astype(np.uint32)
        packed = packed[..., 0] << 16 | packed[..., 1] << 8 | packed[..., 2]
        meant = {r << 16 | g << 8 | b: i for (r, g, b), i in self._ids_of_colours().items()}
        keys = np.array(sorted(meant), np.uint32)
        ids = np.array([meant[key] for key in keys.tolist()], np.uint8)
        place = np.minimum(np.searchsorted(keys, packed), len(keys) - 1)
        wrong = keys[place] != packed
        if wrong.any():
            red, green, blue = pixels[wrong][0].tolist()
            raise self._unknown(path, wrong, f"the colour {red},{green},{blue}", False)
        return ids[place]

    def _unknown(self, path: Path, where: np.ndarray, value: str, palette: bool) -> DataError:
        y, x = (int(v) for v in np.argwhere(where)[0])
        hint = "; its palette does not have the classes' colours" if palette else ""
        return DataError(
            f"{path}: holds {value} ({np.count_nonzero(where):,} px, the first at x={x}, y={y}); "
            f"expected {self.what} 0..{len(self.colours) - 1} or {VOID} (void), as indices or in "
            f"their colours{hint}"
        )


OBJECTS = Coding(PALETTE[:VOID], what="objects")
"""Of SegmentationObject: a number for each object, from 1."""


def read_mask(path: Path) -> tuple[np.ndarray, list[Colour]]:
    """A mask as stored: ``(H, W)`` uint8 and its palette (empty without), or ``(H, W, 3)`` RGB.

    Raises
    ------
    ImageError
        it is missing, cut short, too large, or no picture of 8 bits a channel.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
            file.seek(0)
            picture = open_pillow(file, str(path))
            if picture is None:
                raise ImageError(f"{path}: not an image of a known kind; expected a PNG mask")
            Limits.of().check(str(path), *picture.size)
            if picture.mode not in ("P", "L", "1", "RGB", "RGBA"):
                raise ImageError(
                    f"{path}: its pixels are of the kind {picture.mode}; expected a palette PNG"
                )
            if picture.mode == "1":
                return np.asarray(picture).astype(np.uint8), []
            if picture.mode == "L" and _is_png(header) and header[24] < 8:
                # Grey of 2 or 4 bits is stretched to 0..255 when read; ids must stay ids.
                return np.asarray(picture) // (255 // (2 ** header[24] - 1)), []
            if picture.mode == "RGBA":
                return np.asarray(picture)[..., :3], []
            palette = picture.getpalette() if picture.mode == "P" else None
            flat = np.array(palette or [], np.uint8).reshape(-1, 3)
            return np.asarray(picture), [(r, g, b) for r, g, b in flat.tolist()]
    except (VitrailError, MemoryError):
        raise
    except OSError as error:
        if error.strerror:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
        raise damaged(str(path), "PNG", error) from None
    except Exception as error:  # codecs raise many kinds
        raise damaged(str(path), "PNG", error) from None


def is_coloured(path: Path) -> bool:
    """Whether a PNG stores red, green and blue; False for what is no PNG. Reads 26 bytes."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except OSError:
        return False
    return _is_png(header) and header[25] in (2, 6)


def _is_png(header: bytes) -> bool:
    return header.startswith(b"\x89PNG\r\n\x1a\n") and len(header) == _HEADER
