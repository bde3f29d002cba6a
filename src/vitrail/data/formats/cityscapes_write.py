"""Write a set as Cityscapes is laid out, one sample at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vitrail.atomic import make_folder
from vitrail.data.derive import has_labels, has_objects
from vitrail.data.formats.base import Options, Splits
from vitrail.data.formats.cityscapes_files import IMAGES, city_of
from vitrail.data.formats.cityscapes_labels import DIVISOR, Coding, Label, cityscapes_coding
from vitrail.data.formats.cityscapes_polygons import polygons_text
from vitrail.data.formats.cityscapes_table import LABELS_FILE, labels_text
from vitrail.data.formats.files import copy_image, inside, write_png
from vitrail.data.formats.folders_write import class_colours, shared_space
from vitrail.data.formats.writing import write_text
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.result.masks import Masks, occurring

_KIND = "gtFine"
_WIDE = 256
"""Divisor for sets with labels of more than 64, whose instances would not fit into 16 bits."""


def write(splits: Splits, folder: Path, options: Options) -> None:
    """Write ``leftImg8bit/SPLIT/CITY/`` and ``gtFine/SPLIT/CITY/``.

    The 19 classes of Cityscapes get their own label ids. Classes of other sets keep their numbers
    where these are distinct and below 255, or get 1, 2 ...; ``labels.json`` then says what they
    are. It is written, too, where the set lacks label maps or objects, or where instanceIds alone
    would not tell what is a group. Objects are painted by falling area, crowds at the bottom; those
    without a mask are left out. CITY is what an id has before its last slash ("default" if none).

    Raises
    ------
    DataError
        the splits have different classes, a label map holds an unknown id, an image has too many
        objects of a class, or two images would have one name.
    OutputError
        a file cannot be written.
    """
    for name in (IMAGES, _KIND):
        make_folder(folder / name)
    if not splits:
        return
    maps = any(map(has_labels, splits.values()))
    writer = _Writer(folder, shared_space(splits), maps, any(map(has_objects, splits.values())))
    for split, source in splits.items():
        make_folder(inside(folder / IMAGES, split))
        make_folder(inside(folder / _KIND, split))
        for index in range(len(source)):
            writer.add(source[index], split)
    writer.finish()


class _Writer:
    """Writes samples, and remembers what ``labels.json`` has to say of them."""

    def __init__(self, folder: Path, space: LabelSpace, maps: bool, objects: bool) -> None:
        self.folder = folder
        self.coding = coding = replace(coding_for(space), label_maps=maps)
        self.official = coding.space == cityscapes_coding("train19").space
        self.objects = objects
        # What a class id is drawn as: its first label, as trainId2label of cityscapesScripts has.
        self._ids = {coding.class_of[i]: i for i in sorted(coding.class_of, reverse=True)}
        self._blank = next(one.id for one in coding.labels if one.train_id == space.ignore)
        self._with_objects: set[int] = set()
        self._groups: dict[str, tuple[int, ...]] = {}
        self._says_all = maps and objects and self.official
        """Whether the files tell everything without ``labels.json``."""

    def add(self, sample: Sample, split: str) -> None:
        """Write one sample."""
        above, _, name = sample.id.rpartition("/")
        place = f"{split}/{city_of(above)}"
        images = make_folder(inside(self.folder / IMAGES, place))
        copy_image(sample, images, f"{name}_{IMAGES}")
        labels = self._label_ids(sample)
        values, groups = self._paint(sample, labels)
        if sample.labels is None:
            labels = self.coding.label_ids(values)
        if groups:
            self._groups[f"{split}/{sample.id}"] = tuple(sorted(groups))
        stem = make_folder(inside(self.folder / _KIND, place)) / f"{name}_{_KIND}_"
        self._write(stem, labels, values, groups)

    def finish(self) -> None:
        """Write ``labels.json`` where it is needed."""
        if self._says_all:
            return
        coding, rows = self.coding, self.coding.labels
        if not self.official or not self.objects:
            background = coding.space.background
            nothing = {coding.space.ignore, background}
            # A set of objects without any yet is one of objects all the same.
            every = {one.id for one in rows if self.objects and one.train_id not in nothing}
            kept = self._with_objects or every
            rows = tuple(one._replace(has_instances=one.id in kept) for one in rows)
        made = replace(coding, labels=rows, groups=self._groups)
        write_text(self.folder / LABELS_FILE, labels_text(made))

    def _write(
        self, stem: Path, labels: np.ndarray, values: np.ndarray, groups: Collection[int]
    ) -> None:
        coding = self.coding
        top = max(coding.by_id)
        ids = labels.astype(np.uint8 if top < 256 else np.uint16)
        colours = np.zeros((top + 1, 3), np.uint8)
        for label in coding.by_id.values():
            colours[label.id] = label.colour
        files = {
            "labelIds": ids,
            "labelTrainIds": coding.decode(ids, stem),
            "instanceIds": values,
            "color": colours[ids],
        }
        for ending, pixels in files.items():
            write_png(stem.with_name(f"{stem.name}{ending}.png"), pixels)
        named = frozenset(groups)
        if self.official:
            # So that other programs do not take what nobody separated for one object.
            named |= {one.id for one in coding.labels if one.has_instances and self.objects}
        text = polygons_text(values, coding, named)
        write_text(stem.with_name(f"{stem.name}polygons.json"), text)

    def _label_ids(self, sample: Sample) -> np.ndarray:
        """``(H, W)`` uint16 label ids of the label map, or of nothing but what objects lie on."""
        space, labels = self.coding.space, sample.labels
        if labels is None:
            blank = self._blank if space.background is None else self._ids[space.background]
            return np.full(sample.size, blank, np.uint16)
        known = (labels < len(space.classes)) | (labels == space.ignore)
        if not known.all():
            raise DataError(
                f"{sample.id}: holds the class id {int(labels[~known][0])}, expected 0.."
                f"{len(space.classes) - 1} or {space.ignore} (ignore)"
            )
        table = np.full(65536, self._blank, np.uint16)
        table[: len(space.classes)] = [self._ids[i] for i in range(len(space.classes))]
        return table[labels]

    def _paint(self, sample: Sample, labels: np.ndarray) -> tuple[np.ndarray, frozenset[int]]:
        """Values of instanceIds, ``(H, W)`` uint16, and those of them that are groups."""
        values, groups = labels.copy(), set[int]()
        numbers = _Numbers(self.coding, sample.id)
        for instance, mask in _by_size(sample.instances or ()):
            label = self._ids[instance.class_id]
            if instance.crowd and label not in groups:
                value = label
            else:
                value = numbers.take(label, instance.id)
            if instance.crowd:
                groups.add(value)
            self._with_objects.add(label)
            y, x, crop = mask.crop(0)
            values[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = value
        shown = set(occurring(values).tolist())
        groups &= shown
        plain = {value for value in shown if self.coding.is_group(value, "")}
        self._says_all = self._says_all and plain == groups
        return values, frozenset(groups)


class _Numbers:
    """Values of instanceIds for one image's objects: those they had, if free, or new ones."""

    def __init__(self, coding: Coding, sample: str) -> None:
        self._divisor, self._sample, self._names = coding.divisor, sample, coding.by_id
        self._used: set[int] = set()
        self._next: Counter[int] = Counter()

    def take(self, label: int, id: str) -> int:
        had = int(id) if id.isascii() and id.isdigit() and len(id) < 6 else -1
        if label and had // self._divisor == label and had <= 65535 and had not in self._used:
            self._used.add(had)
            return had
        value = label * self._divisor + self._next[label]
        while value in self._used:
            self._next[label] += 1
            value = label * self._divisor + self._next[label]
        if not label or self._next[label] >= self._divisor or value > 65535:
            name = self._names[label].name
            most = min(self._divisor, 65536 - label * self._divisor) if label else 0
            raise DataError(
                f"{self._sample}: has more than {most} objects of {name!r}, for which Cityscapes' "
                "16 bits have no numbers; write it as coco or openimages"
            )
        self._used.add(value)
        return value


def _by_size(found: Collection[Instance]) -> Iterator[tuple[Instance, Masks]]:
    """Objects with a mask in the order of painting: crowds, then the others by falling area."""
    masked = [(one, one.mask) for one in found if one.mask is not None]
    masked.sort(key=lambda pair: (not pair[0].crowd, -int(pair[1].areas()[0])))
    return iter(masked)


def coding_for(space: LabelSpace) -> Coding:
    """The labels that a space is written with: those of Cityscapes, or a table of its own.

    Raises
    ------
    DataError
        there are more classes than 16 bits have numbers.
    """
    official = cityscapes_coding("train19")
    usual = official.space
    marks = (space.original_ids or usual.original_ids, space.colours or usual.colours)
    if replace(space, original_ids=marks[0], colours=marks[1]) == usual:
        return official
    count = len(space.classes)
    if count > 65534:
        raise DataError(f"the set has {count:,} classes, 16 bits hold 65,534 and what is ignored")
    ids: tuple[int, ...] = tuple(range(1, count + 1))
    for given in (tuple(range(count)), space.original_ids or ()):
        if len(given) == count and _fit(given, space.background):
            ids = given
    blank = 0 if 0 not in ids else 255
    taken = set(space.classes)
    name = next(one for one in ("unlabeled", "ignored", "(ignored)") if one not in taken)
    made = class_colours(space)
    rows = [
        Label(text, id, i, "", 0, False, False, colour)
        for i, (text, id, colour) in enumerate(
            zip(space.classes, ids, space.colours or made.classes, strict=True)
        )
    ]
    rows.append(Label(name, blank, space.ignore, "void", 0, False, True, made.ignore))
    classes = {row.id: row.train_id for row in rows}
    room = (1 << 16) // (max(ids, default=0) + 1)
    divisor = next((one for one in (DIVISOR, _WIDE) if max(classes) < one <= room), 65535)
    return Coding(tuple(rows), space, classes, divisor=divisor, groups={})


def _fit(ids: Sequence[int], background: int | None) -> bool:
    """Whether numbers can be label ids: 0 cannot have objects, 255 is kept for the ignored."""
    if len(set(ids)) < len(ids) or not all(0 <= i < 255 for i in ids):
        return False
    return all(i or place == background for place, i in enumerate(ids))
