"""Write a set as PASCAL VOC 2012 is laid out, one sample at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vitrail.atomic import make_folder
from vitrail.data.derive import has_labels, has_objects, objects
from vitrail.data.formats.base import Options, Splits
from vitrail.data.formats.files import copy_image, write_png
from vitrail.data.formats.voc_coding import (
    CLASSES,
    PALETTE,
    SPACE,
    VOID,
    Colour,
    fill_colours,
    format_labelmap,
)
from vitrail.data.formats.voc_xml import Annotated, write_annotation
from vitrail.data.formats.writing import write_text
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError

_ODD = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\x85\u2028\u2029\ud800-\udfff]')
"""Characters that lists of ids or some file system cannot hold in a name."""


def write(splits: Splits, folder: Path, options: Options) -> None:
    """Fill an empty folder with ``VOCdevkit/VOC2012``.

    Label maps become SegmentationClass; ignored pixels become void, 255. Objects are painted by
    falling area, as :meth:`Sample.semantic` paints them, and get SegmentationObject and XML, in
    which bare boxes stand, too. Crowds become void. Lists are written for Segmentation and Main,
    and a trainval where there are train and val. Images keep their format and bytes; names are the
    last part of the ids, longer where these clash. ``labelmap.txt`` is written unless the classes
    are VOC's own.

    Raises
    ------
    DataError
        more than 255 classes or 254 objects in an image, or a label that is no class.
    OutputError
        a file cannot be written.
    """
    home = make_folder(folder / "VOCdevkit" / "VOC2012")
    for name in ("JPEGImages", "SegmentationClass"):
        make_folder(home / name)
    if not splits:
        return
    painted = not any(map(has_labels, splits.values()))
    writer = _Writer(home, next(iter(splits.values())).space, painted)
    with_objects = any(map(has_objects, splits.values()))
    lists: dict[str, list[str]] = {}
    for split, source in splits.items():
        names = lists.setdefault(_ODD.sub("_", split), [])
        for index in range(len(source)):
            names.append(writer.add(source[index], split, with_objects))
    writer.finish()
    if "train" in lists and "val" in lists:
        both = dict.fromkeys([*lists["train"], *lists["val"]])
        lists.setdefault("trainval", sorted(both))
    for kind in ("Segmentation", "Main"):
        for split, names in lists.items():
            path = home / "ImageSets" / kind / f"{split}.txt"
            write_text(path, "".join(f"{name}\n" for name in names))


class _Writer:
    """Writes samples, and knows which names are taken."""

    def __init__(self, home: Path, space: LabelSpace, painted: bool) -> None:
        self.source_space = space
        self.space = space.with_background() if painted else space
        self.home = home
        self._names: dict[str, tuple[str, Path | None]] = {}
        count = len(self.space.classes)
        if count > VOID:
            raise DataError(f"VOC's masks hold at most {VOID} classes, the data set has {count}")
        self._colours = _colours(self.space, space.colours)
        self._palette = (*self._colours, *PALETTE[count:])
        self._void = False

    def finish(self) -> None:
        """Write the list of classes, unless they are VOC's own."""
        plain = self.space.classes == CLASSES and tuple(self._colours) == SPACE.colours
        if not plain or self.space.background != 0:
            text = format_labelmap(self.space, self._colours, void=self._void)
            write_text(self.home / "labelmap.txt", text)

    def add(self, sample: Sample, split: str, with_objects: bool) -> str:
        """Write a sample; returns its name. One that is in several splits is written once."""
        name, new = self._name(sample, split)
        if not new:
            return name
        copied = copy_image(sample, self.home / "JPEGImages", name)
        if sample.labels is None and sample.instances is None:
            return name
        labels = self._labels(sample)
        self._void = self._void or bool((labels == VOID).any())
        self._write_mask("SegmentationClass", name, labels, self._palette)
        if with_objects:
            found = objects(sample, self.source_space)
            shown = [one for one in found if not one.crowd]
            if len(shown) >= VOID:
                raise DataError(
                    f"{sample.id}: has {len(shown)} objects; VOC's masks hold at most {VOID - 1}, "
                    "other formats (coco, instance-ids) hold more"
                )
            numbers = _paint(shown, sample.size)
            numbers[(numbers == 0) & (labels == VOID)] = VOID
            self._write_mask("SegmentationObject", name, numbers, PALETTE)
            shift = len(self.space.classes) - len(self.source_space.classes)
            entries = [
                Annotated(self.space.classes[one.class_id + shift], one.box, one.attributes)
                for one in shown
            ]
            path = make_folder(self.home / "Annotations") / f"{name}.xml"
            write_annotation(path, copied.name, sample.size, entries)
        return name

    def _name(self, sample: Sample, split: str) -> tuple[str, bool]:
        """A file name that no other sample has, and whether the sample is a new one."""
        whole = _ODD.sub("_", sample.id).strip(" .#") or "image"
        last = _ODD.sub("_", sample.id.replace("\\", "/").split("/")[-1]).strip(" .#") or whole
        key = (sample.id, sample.path)
        for name in _candidates(last, whole, _ODD.sub("_", split)):
            there = self._names.setdefault(name.casefold(), key)
            if there is key:
                return name, True
            if there == key and sample.path is not None:
                return name, False
        raise AssertionError("there is always another candidate")

    def _labels(self, sample: Sample) -> np.ndarray:
        """``(H, W)`` uint8 ids of :attr:`space`, 255 where ignored."""
        count, background = len(self.space.classes), self.source_space.background
        labels = sample.semantic(self.source_space)
        if sample.labels is None and self.space is self.source_space and background is None:
            # Painted for a space with background in front; here nothing painted is unknown.
            target = self.source_space.with_background()
            table = np.full(target.ignore + 1, VOID, np.uint8)
            table[1 : count + 1] = np.arange(count)
            return table[labels]
        ignore = self.space.ignore
        table = np.full(max(ignore, count, int(labels.max(initial=0))) + 1, VOID, np.uint8)
        table[:count] = np.arange(count)
        wrong = (labels >= count) & (labels != ignore)
        if wrong.any():
            raise DataError(
                f"{sample.id}: its labels hold {int(labels[wrong][0])}; expected class ids "
                f"0..{count - 1} or {ignore} (ignore)"
            )
        table[ignore] = VOID
        return table[labels]

    def _write_mask(
        self, folder: str, name: str, ids: np.ndarray, palette: Sequence[Colour]
    ) -> None:
        write_png(make_folder(self.home / folder) / f"{name}.png", ids, palette)


def _colours(space: LabelSpace, own: Sequence[Colour] | None) -> list[Colour]:
    """A colour of each class: the data set's own, if each is another; VOC's for the others."""
    given: list[Colour | None] = [None] * len(space.classes)
    if own is not None and len({*own, PALETTE[VOID]}) == len(own) + 1:
        given[len(given) - len(own) :] = list(own)
    if len(given) and space.background == 0 and given[0] is None and (0, 0, 0) not in given:
        given[0] = (0, 0, 0)
    return fill_colours(given)


def _paint(found: Sequence[Instance], size: tuple[int, int]) -> np.ndarray:
    """``(H, W)`` uint8: numbers of the objects from 1, small ones on top."""
    numbers = np.zeros(size, np.uint8)
    masked = [(n, one.mask) for n, one in enumerate(found, 1) if one.mask is not None]
    masked.sort(key=lambda pair: -int(pair[1].areas()[0]))
    for number, mask in masked:
        y, x, crop = mask.crop(0)
        numbers[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = number
    return numbers


def _candidates(last: str, whole: str, split: str) -> Iterable[str]:
    """Names for a sample, the next one for when all before it are taken."""
    yield from dict.fromkeys((last, whole, f"{split}_{whole}"))
    number = 2
    while True:
        yield f"{split}_{whole}_{number}"
        number += 1
