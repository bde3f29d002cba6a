"""The classes of CamVid: 32 colours of the original, and the 11 classes that benchmarks use.

Colours and names: ``label_colors.txt`` of
http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/ (Brostow, Fauqueur, Cipolla: Semantic
object classes in video, Pattern Recognition Letters 30, 2009). The 11 classes, their order and
colours are those of SegNet (https://github.com/alexgkendall/SegNet-Tutorial); which of the 32
belong to which is published at
https://www.mathworks.com/help/vision/ug/semantic-segmentation-using-deep-learning.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, Field

from vitrail.data.formats.files import read_text
from vitrail.data.formats.folders_classes import MAX_BYTES, Colour, read_classes
from vitrail.data.formats.folders_space import Coding
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError

COLOURS_FILE = "label_colors.txt"
MARK = "# vitrail "
"""Begins a first line with what a list of colours cannot say: background, ignore and the like."""
_VOID = frozenset({"void", "unlabelled", "unlabeled"})

SPACE_11 = LabelSpace(
    (
        *("sky", "building", "pole", "road", "pavement", "tree", "sign-symbol", "fence", "car"),
        *("pedestrian", "bicyclist"),
    ),
    None,
    11,
    colours=(
        *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222)),
        *((128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0)),
        (0, 128, 192),
    ),
)
"""Values of SegNet's masks; 11 is "unlabelled"."""

_TABLE: tuple[tuple[str, Colour, str], ...] = (
    ("Animal", (64, 128, 64), "pedestrian"),
    ("Archway", (192, 0, 128), "building"),
    ("Bicyclist", (0, 128, 192), "bicyclist"),
    ("Bridge", (0, 128, 64), "building"),
    ("Building", (128, 0, 0), "building"),
    ("Car", (64, 0, 128), "car"),
    ("CartLuggagePram", (64, 0, 192), "pedestrian"),
    ("Child", (192, 128, 64), "pedestrian"),
    ("Column_Pole", (192, 192, 128), "pole"),
    ("Fence", (64, 64, 128), "fence"),
    ("LaneMkgsDriv", (128, 0, 192), "road"),
    ("LaneMkgsNonDriv", (192, 0, 64), "road"),
    ("Misc_Text", (128, 128, 64), "sign-symbol"),
    ("MotorcycleScooter", (192, 0, 192), "bicyclist"),
    ("OtherMoving", (128, 64, 64), "car"),
    ("ParkingBlock", (64, 192, 128), "pavement"),
    ("Pedestrian", (64, 64, 0), "pedestrian"),
    ("Road", (128, 64, 128), "road"),
    ("RoadShoulder", (128, 128, 192), "pavement"),
    ("Sidewalk", (0, 0, 192), "pavement"),
    ("SignSymbol", (192, 128, 128), "sign-symbol"),
    ("Sky", (128, 128, 128), "sky"),
    ("SUVPickupTruck", (64, 128, 192), "car"),
    ("TrafficCone", (0, 0, 64), "pole"),
    ("TrafficLight", (0, 64, 64), "sign-symbol"),
    ("Train", (192, 64, 128), "car"),
    ("Tree", (128, 128, 0), "tree"),
    ("Truck_Bus", (192, 128, 192), "car"),
    ("Tunnel", (64, 0, 64), "building"),
    ("VegetationMisc", (192, 192, 0), "tree"),
    ("Void", (0, 0, 0), ""),
    ("Wall", (64, 192, 0), "building"),
)

_ELEVEN: Mapping[Colour, int] = {
    colour: SPACE_11.classes.index(group) for _, colour, group in _TABLE if group
}


@dataclass(frozen=True)
class Classes:
    """What the masks of a set mean, by value and by colour."""

    space: LabelSpace
    values: tuple[int, ...]
    """Of each class, in masks of values."""
    void: int
    """The value of what is ignored."""
    colours: tuple[Colour, ...]
    """Of each class, in masks of colours."""
    void_colours: tuple[Colour, ...]
    path: Path | None = None
    """Where it was read, if not built in."""

    @property
    def coding(self) -> Coding:
        """For masks of values."""
        return Coding(self.space, self.values, self.void)

    def eleven(self) -> tuple[int, ...]:
        """For each class its place among the 11, by its colour.

        Raises
        ------
        DataError
            a colour is none of CamVid's 32.
        """
        for name, colour in zip(self.space.classes, self.colours, strict=True):
            if colour not in _ELEVEN:
                raise DataError(
                    f"{self.path}: {name!r} has the colour {colour}, which is none of CamVid's 32; "
                    "classes=11 is for those"
                )
        return tuple(_ELEVEN[colour] for colour in self.colours)


def original_classes() -> Classes:
    """The 32 colours, of which Void is ignored: 31 classes."""
    return _classes([name for name, _, _ in _TABLE], [colour for _, colour, _ in _TABLE])


def read_colours(path: Path) -> Classes:
    """The classes of a ``label_colors.txt``: a line ``red green blue name`` for each.

    The value of a class is its place in the list. Lines named void or unlabelled are ignored, and
    so is the value after the last where there are none.

    Raises
    ------
    DataError
        it cannot be read or understood, or two classes have one colour.
    """
    seen: dict[Colour, str] = {}
    for entry in read_classes(path).entries:
        if entry.colour is None:
            raise DataError(f"{path}: {entry.name!r} has no colour, expected `red green blue name`")
        if entry.colour in seen:
            raise DataError(
                f"{path}: {seen[entry.colour]!r} and {entry.name!r} have one colour, {entry.colour}"
            )
        seen[entry.colour] = entry.name
    names, colours = list(seen.values()), list(seen)
    line = read_text(path, MAX_BYTES).split("\n", 1)[0]
    if not line.startswith(MARK):
        made = _classes(names, colours)
        if not made.values:
            raise DataError(f"{path}: all classes are ignored, expected at least one")
        return replace(made, path=path)
    count = len(names) - 1
    try:
        said = _Said.model_validate_json(line.removeprefix(MARK))
        if said.background is not None:
            range(count).index(said.background)
        if said.ignore < count or len(said.original_ids or names[:-1]) != count or not count:
            raise ValueError
    except ValueError:
        raise DataError(
            f"{path}: line 1 is {line!r:.120}, which is damaged; remove it to read the rest alone"
        ) from None
    shown = tuple(colours[:-1])
    space = LabelSpace(
        tuple(names[:-1]),
        said.background,
        said.ignore,
        said.original_ids,
        shown if said.own_colours else None,
    )
    return Classes(space, tuple(range(count)), said.ignore, shown, (colours[-1],), path)


class _Said(BaseModel):
    """What the first line says, where vitrail wrote the file; the last line is the ignored."""

    background: int | None
    ignore: int = Field(ge=0, le=65535)
    original_ids: tuple[int, ...] | None
    own_colours: bool


def _classes(names: Sequence[str], colours: Sequence[Colour]) -> Classes:
    """All but the void ones, whose number may lie anywhere."""
    voids = [i for i, name in enumerate(names) if name.lower() in _VOID]
    kept = [i for i in range(len(names)) if i not in voids]
    shown = tuple(colours[i] for i in kept)
    ignore = 255 if len(kept) <= 255 else 65535
    space = LabelSpace(tuple(names[i] for i in kept), None, ignore, None, shown)
    void = voids[0] if voids else len(names)
    return Classes(space, tuple(kept), void, shown, tuple(colours[i] for i in voids))


def colours_text(space: LabelSpace, colours: tuple[Colour, ...], void: Colour) -> str:
    """A ``label_colors.txt`` that :func:`read_colours` reads as ``space``."""
    said = _Said(
        background=space.background,
        ignore=space.ignore,
        original_ids=space.original_ids,
        own_colours=space.colours == colours,
    )
    name = next(one for one in ("Void", "Unlabelled", "(void)") if one not in space.classes)
    rows = zip((*space.classes, name), (*colours, void), strict=True)
    lines = (" ".join(map(str, (*colour, name))) for name, colour in rows)
    return f"{MARK}{said.model_dump_json()}\n" + "".join(f"{line}\n" for line in lines)


# Splits ----------------------------------------------------------------------------------------

_FRAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_f?([0-9]{1,9})")


def usual_split(stem: str) -> str | None:
    """The split of a frame of the original by its sequence; None where it is none of CamVid's.

    This is the division into 367, 101 and 233 that SegNet's lists have (its ``train.txt``,
    ``val.txt``, ``test.txt``), after Sturgess, Alahari, Ladicky, Torr: Combining appearance and
    structure from motion features for road scene understanding, BMVC 2009. Training: 0006R0, the
    frames of 0016E5 at 1 Hz, the first half of 0001TP. Validation: 0016E5 at 15 Hz, frames 7959 to
    8159. Test: Seq05VD and the second half of 0001TP, from frame 8550 on.
    """
    match = _FRAME.fullmatch(stem)
    if match is None:
        return None
    sequence, frame = match[1], int(match[2])
    if sequence == "0016E5" and 7959 <= frame <= 8159:
        return "val"
    late = sequence == "0001TP" and frame >= 8550
    return "test" if sequence == "Seq05VD" or late else "train"
