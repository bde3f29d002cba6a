"""A folder of images beside a folder of index PNGs: pixel value = class id.

The layout that most training code reads; see :mod:`vitrail.data.formats.folders_layout` for the
names of the folders. Values are ids of 8 or 16 bits, grey or indices of a palette, and a list of
classes (:mod:`vitrail.data.formats.folders_classes`) may lie beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Splits
from vitrail.data.formats.files import list_images, write_png
from vitrail.data.formats.folders_classes import ClassFile, Entry
from vitrail.data.formats.folders_look import sample_masks
from vitrail.data.formats.folders_masks import mask_size, read_index_png
from vitrail.data.formats.folders_pairs import Pairs
from vitrail.data.formats.folders_source import (
    PairSource,
    layouts_of,
    open_pairs,
    recognise_kind,
)
from vitrail.data.formats.folders_space import ClassOptions, Coding, coding, listed_classes
from vitrail.data.formats.folders_write import (
    as_label_maps,
    checked,
    class_colours,
    shared_space,
    targets,
    write_classes,
)
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, Sample, class_ids
from vitrail.errors import DataError, VitrailError
from vitrail.result.masks import occurring

__all__ = ["FORMAT", "IndexMasks", "read_index_png"]

_SEEN = 64
"""Masks that are read to count classes that nobody lists."""


class IndexMasks(PairSource):
    """Pairs ``images/NAME.*`` with ``masks/NAME.png``; nothing is read until an item is asked for.

    Parameters
    ----------
    images, masks:
        The two folders.
    space:
        What the mask's values mean.
    unlabelled:
        For merged sets: file-name prefix to the names of classes that its source did not
        annotate (``{"cat": ["person"]}``); the longest matching prefix counts.

    Raises
    ------
    DataError
        a folder is missing or empty, an image has no mask, or a class name is unknown.
    """

    def __init__(
        self,
        images: Path,
        masks: Path,
        space: LabelSpace,
        unlabelled: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        for folder in (images, masks):
            if not folder.is_dir():
                raise DataError(f"{folder}: no such folder")
        found = list_images(images)
        if not found:
            raise DataError(f"{images}: holds no images")
        there = {path.name for path in list_images(masks)}
        wanted = [f"{path.stem}.png" for path in found]
        lacking = [name for name in wanted if name not in there]
        if lacking:
            raise DataError(
                f"{len(lacking)} of {len(found)} images have no mask; "
                f"the first one wanted is {masks / lacking[0]}"
            )
        names = [path.name for path in found]
        super().__init__(Pairs(images, masks, [p.stem for p in found], names, wanted), space)
        values = tuple(range(len(space.classes)))
        self._coding = Coding(space, values, space.ignore)
        try:
            self._unlabelled = {
                prefix: class_ids(names, space) for prefix, names in (unlabelled or {}).items()
            }
        except KeyError as error:
            raise DataError(
                f"unlabelled names the class {error.args[0]!r}; the classes are "
                + ", ".join(space.classes)
            ) from None

    @classmethod
    def of_pairs(cls, coding: Coding, pairs: Pairs) -> IndexMasks:
        """From files that are paired already."""
        made = cls.__new__(cls)
        PairSource.__init__(made, pairs, coding.space)
        made._coding, made._unlabelled = coding, {}
        return made

    def __getitem__(self, index: int) -> Sample:
        image, mask = self.pairs.image(index), self.pairs.mask(index)
        matching = [prefix for prefix in self._unlabelled if image.name.startswith(prefix)]
        unlabelled = self._unlabelled[max(matching, key=len)] if matching else frozenset[int]()
        labels = partial(_read_labels, mask, self._coding)
        return Sample(self.ids[index], image, mask_size(mask), labels, unlabelled=unlabelled)


def _read_labels(mask: Path, coding: Coding) -> np.ndarray:
    return coding.decode(read_index_png(mask), mask)


def _open(root: Path, options: ClassOptions) -> Dataset:
    layouts = layouts_of(root, options)
    problems: list[Problem] = []
    if options.classes is not None:
        listed = ClassFile(root, tuple(Entry(name) for name in options.classes), {})
    else:
        listed = listed_classes(root, options, *(layout.masks for layout in layouts[:1]))
    if listed is None:
        listed = _seen_classes(root, sample_masks(layouts, _SEEN), problems)
    make = partial(IndexMasks.of_pairs, coding(listed, options))
    return open_pairs(root, "index-masks", layouts, options, make, problems)


def _seen_classes(root: Path, masks: Sequence[Path], problems: list[Problem]) -> ClassFile:
    """Names for the values found in some masks, with a note that says so."""
    highest = 0
    for mask in masks:
        try:
            values = occurring(read_index_png(mask))
        except VitrailError:
            continue  # reading the sample says what is wrong with it
        highest = max(highest, *(value for value in values.tolist() if value != 255), 0)
    held = "1 mask holds" if len(masks) == 1 else f"{len(masks):,} masks hold"
    problems.append(
        Problem(
            "unnamed-classes",
            "note",
            root,
            "",
            f"no list of classes; {held} values up to {highest}",
            "classes.txt with a name a line",
            advice="set classes=NAME,NAME,...",
        )
    )
    return ClassFile(root, tuple(Entry(f"class {value}") for value in range(highest + 1)), {})


def _write(splits: Splits, folder: Path, options: Options) -> None:
    views = {name: as_label_maps(source) for name, source in splits.items()}
    space = shared_space(views)
    wide = max(space.ignore, len(space.classes) - 1) > 255
    palette = None if wide else _palette(space)
    for sample, mask in targets(views, folder):
        labels = checked(sample, space)
        write_png(mask, labels.astype(np.uint16 if wide else np.uint8), palette)
    write_classes(folder, "index-masks", space)


def _palette(space: LabelSpace) -> list[tuple[int, int, int]]:
    """256 colours: those of the classes, black for what is unused, VOC's void for ignore."""
    colours = class_colours(space)
    table = [(0, 0, 0)] * 256
    table[: len(colours.classes)] = colours.classes
    table[space.ignore] = colours.ignore
    return table


FORMAT = Format(
    name="index-masks",
    summary="images/ and masks/ with class ids as pixel values (grey or palette PNG)",
    recognise=partial(recognise_kind, "index"),
    open=_open,
    options=ClassOptions,
    capacity=Capacity(labels=True),
    write=_write,
    kind="labels",
)
