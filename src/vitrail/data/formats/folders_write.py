"""What the writers of plain folders share: where files go, the list of classes, colours.

Every split is a folder with ``images/`` and ``masks/``; a set whose one split is "all" has these
two at its top. Ids with slashes become folders inside, as the reader takes them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vitrail.atomic import make_folder, output_error
from vitrail.data.derive import AsLabelMaps, has_labels
from vitrail.data.formats.base import Splits
from vitrail.data.formats.files import copy_image, inside
from vitrail.data.formats.folders_classes import Colour
from vitrail.data.formats.folders_layout import split_order
from vitrail.data.sample import Instance, LabelSpace, Sample, SampleSource
from vitrail.errors import DataError
from vitrail.result.masks import occurring

VOID = (224, 224, 192)
"""The colour of PASCAL VOC's void."""


def as_label_maps(source: SampleSource) -> SampleSource:
    """A source that has label maps, painted from its objects where it has none of its own."""
    return source if has_labels(source) else AsLabelMaps(source)


def shared_space(sources: Mapping[str, SampleSource]) -> LabelSpace:
    """The classes of all splits; :class:`DataError` where they differ or two have one name."""
    (first, source), *others = sources.items()
    space = source.space
    for name, other in others:
        if other.space != space:
            raise DataError(
                f"the splits {first} and {name} have different classes; this format has one list"
            )
    if twice := [name for name in space.classes if space.classes.count(name) > 1]:
        raise DataError(f"two classes are called {twice[0]!r}; rename one of them")
    return space


def split_folder(folder: Path, split: str, splits: Splits) -> Path:
    """Where a split lies: a folder of its own, or that of the set where it is all of that."""
    alone = split == "all" and len(splits) == 1
    # The reader would take images/train/ for a split of its own.
    nested = alone and any(split_order(id.partition("/")[0])[0] < 3 for id in splits[split].ids)
    return folder if alone and not nested else inside(folder, split)


def targets(views: Splits, folder: Path, suffix: str = ".png") -> Iterator[tuple[Sample, Path]]:
    """Each sample, its image copied, with where its mask goes."""
    for split, source in views.items():
        base = split_folder(folder, split, views)
        images, masks = make_folder(base / "images"), make_folder(base / "masks")
        for index in range(len(source)):
            sample = source[index]
            place = inside(images, sample.id)
            mask = inside(masks, sample.id + suffix)
            copied(sample, place.parent, place.name)
            make_folder(mask.parent)
            yield sample, mask


def copied(sample: Sample, folder: Path, stem: str) -> Path:
    """The sample's image in a folder, which is made if it is missing."""
    return copy_image(sample, make_folder(folder), stem)


def checked(sample: Sample, space: LabelSpace) -> np.ndarray:
    """A sample's label map; :class:`DataError` where it holds an id that is no class."""
    labels = sample.labels
    if labels is None:
        raise DataError(f"{sample.id}: has no label map")
    known = (labels < len(space.classes)) | (labels == space.ignore)
    if not known.all():
        raise DataError(
            f"{sample.id}: holds the class id {int(labels[~known][0])}, expected 0.."
            f"{len(space.classes) - 1} or {space.ignore} (ignore)"
        )
    return labels


def numbered(sample: Sample) -> tuple[np.ndarray, dict[int, Instance]]:
    """Objects painted by their numbers, from 1, in ``(H, W)`` uint16, and those that show.

    Small ones lie on top, crowds at the bottom. Objects without a mask have no number.

    Raises
    ------
    DataError
        more than 65,535 objects; or an outline cannot be filled.
    """
    things = [one for one in sample.instances or () if one.mask is not None]
    if len(things) > 65535:
        raise DataError(f"{sample.id}: has {len(things):,} objects, 16 bits number 65,535")
    areas = [0 if one.mask is None else int(one.mask.areas()[0]) for one in things]
    canvas = np.zeros(sample.size, np.uint16)
    for place in sorted(range(len(things)), key=lambda i: (not things[i].crowd, -areas[i])):
        mask = things[place].mask
        assert mask is not None
        y, x, crop = mask.crop(0)
        canvas[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = place + 1
    return canvas, {i: things[i - 1] for i in occurring(canvas).tolist() if i}


class Colours(NamedTuple):
    """A colour for each class and for what is ignored, all different."""

    classes: tuple[Colour, ...]
    ignore: Colour


def class_colours(space: LabelSpace) -> Colours:
    """The space's own colours where they are distinct, otherwise those of PASCAL VOC."""
    own = space.colours
    if own is None or len(set(own)) < len(own):
        own = tuple(voc_colour(index) for index in range(len(space.classes)))
    # Classes may have taken the usual colour of void; some far one is free.
    candidates = (VOID, *(voc_colour(index) for index in range(255, len(own) + 257)))
    return Colours(own, next(colour for colour in candidates if colour not in set(own)))


def voc_colour(index: int) -> Colour:
    """The colour of a class as VOC's development kit makes it; distinct up to 2**24 classes."""
    red = green = blue = 0
    for bit in range(7, -1, -1):
        red |= (index & 1) << bit
        green |= (index >> 1 & 1) << bit
        blue |= (index >> 2 & 1) << bit
        index >>= 3
    return red, green, blue


def write_classes(folder: Path, format: str, space: LabelSpace, **more: Any) -> None:
    """Write ``classes.json``: all of a space, and which format the masks beside have.

    Raises
    ------
    OutputError
        it cannot be written.
    """
    entries: list[dict[str, Any]] = []
    for number, name in enumerate(space.classes):
        entry: dict[str, Any] = {"id": number, "name": name}
        if space.original_ids is not None:
            entry["original_id"] = space.original_ids[number]
        if space.colours is not None:
            entry["color"] = list(space.colours[number])
        entries.append(entry)
    background = None if space.background is None else space.classes[space.background]
    content = {"format": format, "background": background, "ignore": space.ignore, **more}
    write_json(folder / "classes.json", {**content, "classes": entries})


def write_table(path: Path, space: LabelSpace, colours: Colours) -> None:
    """Write ``class_dict.csv``: ``name,r,g,b`` of each class, and of what is ignored as "void"."""
    void = next(name for name in ("void", "(void)", "(ignore)") if name not in space.classes)
    rows = zip((*space.classes, void), (*colours.classes, colours.ignore), strict=True)
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("name", "r", "g", "b"))
            writer.writerows((name, *colour) for name, colour in rows)
    except OSError as error:
        raise output_error(path, error) from None


def write_json(path: Path, content: Any) -> None:
    """Write JSON; values that JSON does not know become text."""
    try:
        path.write_text(json.dumps(content, indent=1, default=str) + "\n", "utf-8")
    except OSError as error:
        raise output_error(path, error) from None
