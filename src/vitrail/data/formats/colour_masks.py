"""A folder of images beside a folder of masks whose colours stand for classes.

The colours are in a file beside: ``class_dict.csv`` (``name,r,g,b``, as the CamVid and DeepGlobe
sets on Kaggle have it), CVAT's ``labelmap.txt``, CamVid's ``label_colors.txt`` or JSON; see
:mod:`vitrail.data.formats.folders_classes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from vitrail.codecs.arrays import strips
from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Splits
from vitrail.data.formats.files import write_png
from vitrail.data.formats.folders_classes import CLASS_FILES, Colour
from vitrail.data.formats.folders_layout import Layout
from vitrail.data.formats.folders_look import sample_masks
from vitrail.data.formats.folders_masks import mask_size, read_colours
from vitrail.data.formats.folders_pairs import Pairs, is_lossy
from vitrail.data.formats.folders_source import (
    PairSource,
    layouts_of,
    open_pairs,
    recognise_kind,
)
from vitrail.data.formats.folders_space import Coding, ListOptions, coding, listed_classes
from vitrail.data.formats.folders_write import (
    as_label_maps,
    checked,
    class_colours,
    shared_space,
    targets,
    write_classes,
    write_table,
)
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError


class ColourOptions(ListOptions):
    """What to make of colours."""

    unknown: Literal["error", "ignore", "nearest"] = Field(
        default="error", description="What to do with colours of no class."
    )


class ColourTable:
    """Colours to class ids, by one look-up a pixel.

    The table has a place for each of the 2**24 colours: 32 MB at most, since the system makes
    only the pages that colours of the set touch. It is made in each process and not pickled.
    """

    def __init__(
        self,
        space: LabelSpace,
        void: Sequence[Colour] = (),
        unknown: Literal["error", "ignore", "nearest"] = "error",
    ) -> None:
        assert space.colours is not None
        self.space = space
        self.unknown = unknown
        self.void = tuple(void)
        self._dtype = np.uint8 if max(space.ignore, len(space.classes)) < 256 else np.uint16
        self._stored = np.uint16 if space.ignore < 65535 else np.uint32
        self._table: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_table": None}

    def decode(self, rgb: np.ndarray, path: Path) -> np.ndarray:
        """``(H, W, 3)`` uint8 RGB to ``(H, W)`` class ids.

        Raises
        ------
        DataError
            a colour is of no class, and ``unknown`` is "error"; names it and the nearest class.
        """
        if self._table is None:
            self._table = self._filled()
        found = np.empty(rgb.shape[:2], self._stored)
        for rows in strips(rgb):
            found[rows] = self._table[_packed(rgb[rows])]
        unknown = found == 0
        if unknown.any():
            found[unknown] = self._resolve(_packed(rgb[unknown][None])[0], path)
        return (found - self._stored(1)).astype(self._dtype, copy=False)

    def _filled(self) -> np.ndarray:
        """One more than the class id for each packed colour; 0: of no class."""
        table = np.zeros(1 << 24, self._stored)
        for colour in self.void:
            table[_code(colour)] = self.space.ignore + 1
        for number, colour in enumerate(self.space.colours or ()):
            table[_code(colour)] = number + 1
        return table

    def _resolve(self, codes: np.ndarray, path: Path) -> np.ndarray:
        """What the table would hold for colours that it lacks."""
        if self.unknown == "ignore":
            return np.full(len(codes), self.space.ignore + 1, self._stored)
        odd, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
        known = np.array([*(self.space.colours or ()), *self.void], np.int32)
        colours = np.stack([odd >> 16, odd >> 8 & 255, odd & 255], axis=1).astype(np.int32)
        nearest = np.array([((known - one) ** 2).sum(axis=1).argmin() for one in colours])
        if self.unknown == "nearest":
            count = len(self.space.classes)
            return np.where(nearest < count, nearest + 1, self.space.ignore + 1)[places]
        most = int(counts.argmax())
        names = (*self.space.classes, *(["ignore"] * len(self.void)))
        others = f" and {len(odd) - 1} other colours of no class" if len(odd) > 1 else ""
        raise DataError(
            f"{path}: holds the colour {tuple(colours[most].tolist())} ({int(counts[most]):,} px)"
            f"{others}; the nearest class is {names[nearest[most]]!r}, "
            f"{tuple(known[nearest[most]].tolist())}; add the colour to the list of classes, or "
            "set unknown=ignore or unknown=nearest (masks resized or saved as JPEG)"
        )


def _packed(rgb: np.ndarray) -> np.ndarray:
    """``(H, W, 3)`` uint8 to ``(H, W)`` uint32, 0xRRGGBB."""
    wide = np.zeros((*rgb.shape[:2], 4), np.uint8)
    wide[..., 2::-1] = rgb
    return wide.view("<u4")[..., 0]


def _code(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


class ColourMasks(PairSource):
    """Pairs of images and colour masks; nothing is read until an item is asked for."""

    def __init__(self, table: ColourTable, pairs: Pairs) -> None:
        super().__init__(pairs, table.space)
        self._table = table

    def __getitem__(self, index: int) -> Sample:
        mask = self.pairs.mask(index)
        labels = partial(_read_labels, mask, self._table)
        return Sample(self.ids[index], self.pairs.image(index), mask_size(mask), labels)


def _read_labels(mask: Path, table: ColourTable) -> np.ndarray:
    return table.decode(read_colours(mask), mask)


def _open(root: Path, options: ColourOptions) -> Dataset:
    layouts = layouts_of(root, options)
    listed = listed_classes(root, options, *(layout.masks for layout in layouts[:1]))
    if listed is None:
        raise DataError(
            f"{root}: no list of classes and colours; expected one of {', '.join(CLASS_FILES[:6])} "
            "in it, or set class_file=FILE; a line of a CSV is name,r,g,b" + _jpeg_too(layouts)
        )
    made: Coding = coding(listed, options, by_colour=True)
    table = ColourTable(made.space, made.void_colours, options.unknown)
    problems: list[Problem] = []
    return open_pairs(
        root,
        "colour-masks",
        layouts,
        options,
        partial(ColourMasks, table),
        problems,
        lossless=options.unknown != "nearest",
    )


def _jpeg_too(layouts: Sequence[Layout]) -> str:
    """What else is wrong where the masks are JPEG, so that nobody writes a list in vain."""
    lossy = [path for path in sample_masks(layouts) if is_lossy(path.name)]
    if not lossy:
        return ""
    return (
        f"; and the masks are JPEG ({lossy[0].name}), which alters colours at every edge: export "
        "them as PNG, or set unknown=nearest beside the list"
    )


def _write(splits: Splits, folder: Path, options: Options) -> None:
    views = {name: as_label_maps(source) for name, source in splits.items()}
    space = shared_space(views)
    colours = class_colours(space)
    table = np.zeros((max(space.ignore + 1, len(space.classes)), 3), np.uint8)
    table[space.ignore] = colours.ignore
    table[: len(space.classes)] = colours.classes
    for sample, mask in targets(views, folder):
        write_png(mask, table[checked(sample, space)])
    write_table(folder / "class_dict.csv", space, colours)
    coloured = LabelSpace(
        space.classes, space.background, space.ignore, space.original_ids, colours.classes
    )
    write_classes(folder, "colour-masks", coloured, ignore_colour=list(colours.ignore))


FORMAT = Format(
    name="colour-masks",
    summary="images/ and masks/ whose colours stand for classes, with class_dict.csv or the like",
    recognise=partial(recognise_kind, "colour"),
    open=_open,
    options=ColourOptions,
    capacity=Capacity(labels=True),
    write=_write,
    kind="labels",
)
