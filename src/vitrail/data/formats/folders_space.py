"""What the values and colours of masks mean: a list of classes and options to a LabelSpace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BeforeValidator, Field

from vitrail.data.formats.base import Options
from vitrail.data.formats.folders_classes import (
    ClassFile,
    Colour,
    Entry,
    find_class_file,
    read_classes,
)
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ParameterError

_T = TypeVar("_T")


def _split_names(value: Any) -> Any:
    """``"a, b"`` as the command line gives it."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split_names), Field(min_length=1)]
"""Class names; one text with commas between them is taken apart."""


class FolderOptions(Options):
    """Where images and masks are, for layouts that are not told by their names."""

    images: str | None = Field(default=None, description="Name of the folder of images.")
    masks: str | None = Field(default=None, description="Name of the folder of masks.")
    image_suffix: str | None = Field(
        default=None,
        description="What follows the common name of a pair in the image's name: '_sat'.",
    )
    mask_suffix: str | None = Field(
        default=None, description="The same in the mask's name: '_mask'."
    )


USUAL = FolderOptions()
"""Nothing said: the usual names."""


class ListOptions(FolderOptions):
    """What a list of classes does not say."""

    class_file: Path | None = Field(
        default=None,
        description="The list of classes (text, CSV or JSON), relative to the data set.",
    )
    background: int | str | None = Field(
        default=None, description='Name or value of the class "none of the others".'
    )
    ignore: int | str | None = Field(
        default=None,
        description="Name or value of pixels without a known class; 255 unless said.",
    )


class ClassOptions(ListOptions):
    """What the classes are, where no list of them lies beside the masks, or against it."""

    classes: Names | None = Field(
        default=None,
        description="Class names in the order of their values from 0: road,building,car.",
    )


@dataclass(frozen=True)
class Coding:
    """How classes are coded in masks."""

    space: LabelSpace
    values: tuple[int, ...]
    """The pixel value of each class."""
    void: int | None
    """The pixel value of ``space.ignore``; None: there is none."""
    void_colours: tuple[Colour, ...] = ()
    """Colours that mean ``space.ignore``."""

    @property
    def plain(self) -> bool:
        """Whether values are class ids already."""
        return self.void == self.space.ignore and self.values == tuple(range(len(self.values)))

    def decode(self, raw: np.ndarray, path: Path) -> np.ndarray:
        """Pixel values ``(H, W)`` to class ids; :class:`DataError` for an unknown value."""
        if self.plain:
            known = (raw < len(self.values)) | (raw == self.void)
            labels = raw
        else:
            wide = self.space.ignore > 255 or len(self.values) > 255
            table = np.zeros(65536, np.uint16 if wide else np.uint8)
            coded = np.zeros(65536, bool)
            if self.void is not None:
                table[self.void], coded[self.void] = self.space.ignore, True
            table[list(self.values)] = np.arange(len(self.values))
            coded[list(self.values)] = True
            known, labels = coded[raw], table[raw]
        if not known.all():
            self._refuse(raw[~known], path)
        return labels

    def _refuse(self, odd: np.ndarray, path: Path) -> None:
        count = len(self.values)
        run = self.values == tuple(range(count))
        wanted = f"0..{count - 1}" if run else "one of " + ", ".join(map(str, self.values[:20]))
        ignore = "" if self.void is None else f" or {self.void} (ignore)"
        raise DataError(
            f"{path}: holds the value {int(odd[0])}; expected class ids {wanted}{ignore}; "
            f"{len(odd):,} px have no class"
        )


def listed_classes(root: Path, options: ListOptions, *others: Path) -> ClassFile | None:
    """The list of classes that an option names, or that lies in one of the folders, if any.

    Raises
    ------
    DataError
        the list cannot be read.
    """
    if options.class_file is not None:
        return read_classes(root / options.class_file)
    found = next((file for folder in (root, *others) if (file := find_class_file(folder))), None)
    return None if found is None else read_classes(found)


BACKGROUNDS = frozenset({"background", "_background_"})
"""Names that say that a class is the background."""


def coding(file: ClassFile, options: ListOptions, *, by_colour: bool = False) -> Coding:
    """Classes, background and ignore of a list, with options above what the file says.

    Raises
    ------
    DataError
        the file gives no colours where those are needed, or two classes have one.
    ParameterError
        an option names no class.
    """
    values = [i if one.value is None else one.value for i, one in enumerate(file.entries)]
    if len(set(values)) < len(values):
        raise DataError(f"{file.path}: only some classes have an id, expected one for all or none")
    order = range(len(values)) if by_colour else sorted(range(len(values)), key=values.__getitem__)
    said = options.ignore if options.ignore is not None else file.more.get("ignore")
    void = _value(said, file, values, "ignore", free=True)
    if void is None and 255 not in values:
        void = 255
    kept = [i for i in order if values[i] != void]
    if not kept:
        raise DataError(f"{file.path}: all classes are ignored, expected at least one")
    said = options.background if options.background is not None else file.more.get("background")
    if said is None and "background" not in file.more:
        said = next((one.name for one in file.entries if one.name in BACKGROUNDS), None)
    ground = _value(said, file, values, "background")
    entries = [file.entries[i] for i in kept]
    numbers = tuple(values[i] for i in kept)
    ignore = 255 if len(kept) <= 255 else 65535
    space = LabelSpace(
        tuple(one.name for one in entries),
        numbers.index(ground) if ground in numbers else None,
        void if void is not None and void >= len(kept) else ignore,
        _original_ids(entries, numbers, by_colour),
        _all([one.colour for one in entries]),
    )
    voids = [file.entries[i].colour for i in order if values[i] == void]
    made = Coding(space, numbers, void, tuple(colour for colour in voids if colour is not None))
    return _check_colours(file, made) if by_colour else made


def _original_ids(
    entries: Sequence[Entry], values: tuple[int, ...], by_colour: bool
) -> tuple[int, ...] | None:
    said = _all([one.original_id for one in entries])
    if said is not None or by_colour or values == tuple(range(len(values))):
        return said
    return values


def _all(items: Sequence[_T | None]) -> tuple[_T, ...] | None:
    """All of them, or None where one is missing."""
    there = tuple(item for item in items if item is not None)
    return there if len(there) == len(items) else None


def _value(
    said: Any, file: ClassFile, values: Sequence[int], what: str, *, free: bool = False
) -> int | None:
    """The pixel value that a name or number means; ``free``: it may be no class's."""
    if said is None:
        return None
    names = [one.name for one in file.entries]
    if said in names:
        return values[names.index(said)]
    if isinstance(said, str) and said.isascii() and said.isdigit():
        said = int(said)
    number = said if isinstance(said, int) and not isinstance(said, bool) else -1
    if 0 <= number <= 65535 and (free or number in values):
        return number
    raise ParameterError(
        f"{what}={said!r}: {file.path} has no such class; its classes are "
        + ", ".join(f"{value} {name}" for value, name in list(zip(values, names, strict=True))[:40])
    )


def _check_colours(file: ClassFile, made: Coding) -> Coding:
    """The coding with the ignored colour that the file may say, once all colours are distinct."""
    if made.space.colours is None:
        lacking = next(one.name for one in file.entries if one.colour is None)
        raise DataError(f"{file.path}: gives no colour for {lacking!r}, expected r, g, b of each")
    extra: Mapping[str, Any] | Any = file.more.get("ignore_colour")
    voids = made.void_colours
    if isinstance(extra, list) and len(extra) == 3 and all(isinstance(v, int) for v in extra):
        voids = (*voids, (int(extra[0]), int(extra[1]), int(extra[2])))
    names: dict[Colour, str] = dict.fromkeys(voids, "ignore")
    for name, colour in zip(made.space.classes, made.space.colours, strict=True):
        if colour in names:
            raise DataError(
                f"{file.path}: {names[colour]!r} and {name!r} have one colour, {colour}; expected "
                "each class in its own"
            )
        names[colour] = name
    return Coding(made.space, made.values, made.void, voids)
