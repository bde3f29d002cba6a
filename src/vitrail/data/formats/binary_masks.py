"""A folder of images beside a folder of black and white masks: one class.

Values are 0 and 255 or 0 and 1, of one channel or of three equal ones (GIF, PNG, TIFF ...), as the
Carvana, ISIC and Kvasir sets have them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Splits
from vitrail.data.formats.files import write_png
from vitrail.data.formats.folders_classes import ClassFile, find_class_file, read_classes
from vitrail.data.formats.folders_masks import mask_size, read_binary, read_grey
from vitrail.data.formats.folders_pairs import Pairs
from vitrail.data.formats.folders_source import (
    PairSource,
    layouts_of,
    open_pairs,
    recognise_kind,
)
from vitrail.data.formats.folders_space import FolderOptions, ListOptions, coding
from vitrail.data.formats.folders_write import (
    as_label_maps,
    checked,
    shared_space,
    targets,
    write_classes,
)
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError

GREY = 127
"""What vitrail writes for ignored pixels: no object for who takes half of 255 as the threshold."""


class BinaryOptions(FolderOptions):
    """What is white, and what counts as white."""

    name: str | None = Field(default=None, min_length=1, description="Name of the class.")
    threshold: int | None = Field(
        default=None,
        ge=1,
        le=255,
        description="Grey level (0..255) from which a pixel is the object, for soft edges and "
        "JPEG; by default only black and white are taken.",
    )
    ignore: int | None = Field(
        default=None, ge=1, le=254, description="Grey level of pixels that nobody judged."
    )


class BinaryMasks(PairSource):
    """Pairs of images and black and white masks; nothing is read until an item is asked for."""

    def __init__(
        self, space: LabelSpace, threshold: int | None, grey: int | None, pairs: Pairs
    ) -> None:
        super().__init__(pairs, space)
        self._read = partial(read_labels, space=space, threshold=threshold, grey=grey)

    def __getitem__(self, index: int) -> Sample:
        mask = self.pairs.mask(index)
        labels = partial(self._read, mask)
        return Sample(self.ids[index], self.pairs.image(index), mask_size(mask), labels)


def read_labels(
    mask: Path, *, space: LabelSpace, threshold: int | None = None, grey: int | None = None
) -> np.ndarray:
    """``(H, W)``: the one class of ``space`` that is not background where the mask is white.

    Raises
    ------
    DataError, ImageError
        as :func:`vitrail.data.formats.folders_masks.read_binary`.
    """
    dtype = np.uint8 if space.ignore < 256 else np.uint16
    background, thing = (dtype(number) for number in two_classes(space))
    if grey is None:
        return np.where(read_binary(mask, threshold), thing, background)
    levels = read_grey(mask)
    white = levels == 255 if threshold is None else levels >= threshold
    unjudged = levels == grey
    odd = levels[~white & ~unjudged & (levels != 0)]
    if threshold is None and odd.size:
        raise DataError(f"{mask}: holds the value {int(odd[0])}, expected 0, {grey} or 255")
    labels = np.where(white, thing, background)
    labels[unjudged] = space.ignore
    return labels


def two_classes(space: LabelSpace) -> tuple[int, int]:
    """Background and the one other class; :class:`DataError` where there is not one."""
    things = [i for i in range(len(space.classes)) if i != space.background]
    if space.background is None or len(things) != 1:
        raise DataError(
            "binary masks hold a background and one class, this set has "
            f"{', '.join(space.classes[i] for i in things)}"
            + ("" if space.background is not None else " and no background")
            + "; keep one class, or write index-masks"
        )
    return space.background, things[0]


def _open(root: Path, options: BinaryOptions) -> Dataset:
    layouts = layouts_of(root, options)
    file = find_class_file(root)
    listed = None if file is None else read_classes(file)
    space, grey = LabelSpace(("background", options.name or "foreground"), 0), options.ignore
    if listed is not None and listed.more.get("format") == "binary-masks":
        space, grey = _said(listed, options)
    elif listed is not None and len(listed.entries) == 2:
        black, white = coding(listed, ListOptions()).space.classes
        space = LabelSpace((black, options.name or white), 0)
    problems: list[Problem] = []
    make = partial(BinaryMasks, space, options.threshold, grey)
    return open_pairs(root, "binary-masks", layouts, options, make, problems, lossless=False)


def _said(listed: ClassFile, options: BinaryOptions) -> tuple[LabelSpace, int | None]:
    """The space of vitrail's own ``classes.json``, and its grey level of ignored pixels."""
    space = coding(listed, ListOptions()).space
    background, thing = two_classes(space)
    if options.name is not None and options.name != space.classes[thing]:
        names = list(space.classes)
        names[thing] = options.name
        space = LabelSpace(
            tuple(names), background, space.ignore, space.original_ids, space.colours
        )
    grey = listed.more.get("ignore_grey") if options.ignore is None else options.ignore
    if grey is not None and (not isinstance(grey, int) or not 0 < grey < 255):
        raise DataError(f"{listed.path}: ignore_grey is {grey!r}, expected 1..254")
    return space, grey


def _write(splits: Splits, folder: Path, options: Options) -> None:
    views = {name: as_label_maps(source) for name, source in splits.items()}
    space = shared_space(views)
    _, thing = two_classes(space)
    ignored = False
    for sample, mask in targets(views, folder):
        labels = checked(sample, space)
        levels = np.where(labels == thing, np.uint8(255), np.uint8(0))
        unjudged = labels == space.ignore
        levels[unjudged] = GREY
        ignored = ignored or bool(unjudged.any())
        write_png(mask, levels)
    more = {"ignore_grey": GREY} if ignored else {}
    write_classes(folder, "binary-masks", space, **more)


FORMAT = Format(
    name="binary-masks",
    summary="images/ and masks/ in black and white (0/255 or 0/1): one class",
    recognise=partial(recognise_kind, "binary"),
    open=_open,
    options=BinaryOptions,
    capacity=Capacity(labels=True),
    write=_write,
    kind="labels",
)
