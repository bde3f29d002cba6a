"""From label maps to objects and back, and from one list of classes to another.

Formats of objects and formats of label maps meet here: :func:`objects` takes a label map apart
into connected components, :class:`AsObjects` and :class:`AsLabelMaps` show a whole source as the
other kind, and :class:`Relabelled` selects, renames and merges classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

import cv2
import numpy as np

from vitrail.data.sample import Instance, LabelSpace, Sample, SampleSource
from vitrail.errors import UnknownNameError
from vitrail.result.masks import Masks


def objects(sample: Sample, space: LabelSpace) -> tuple[Instance, ...]:
    """The sample's own objects, or those that its label map implies.

    Each connected component (8 neighbours) of a class other than background and ignore is one
    object; things of one class that touch are one object therefore. They come by class id, then
    from top to bottom and left to right of their boxes' corners, with ids "1", "2" ... Class ids
    are those of ``space``.

    Raises
    ------
    DataError
        the label map cannot be read.
    """
    if sample.instances is not None:
        return sample.instances
    if sample.labels is None:
        return ()
    wanted = [i for i in range(len(space.classes)) if i not in (space.background, space.ignore)]
    classes = Masks.from_labels(sample.labels, wanted)
    found = (
        (class_id, part)
        for number, class_id in enumerate(wanted)
        for part in components(*classes.crop(number))
    )
    return tuple(
        Instance.from_masks(class_id, Masks.from_crops([part], sample.size), id=str(number))
        for number, (class_id, part) in enumerate(found, 1)
    )


def components(y: int, x: int, crop: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """Connected components (8 neighbours) of a ``(h, w)`` bool crop whose corner is at y, x.

    Returns ``(y0, x0, crop)`` of each, sorted by y0, then x0, then the larger first.
    """
    if not crop.size:
        return []
    count, ids, stats, _ = cv2.connectedComponentsWithStats(crop.view(np.uint8), connectivity=8)
    # OpenCV numbers them in an order that is its own business.
    order = sorted(
        range(1, count), key=lambda i: (stats[i, 1], stats[i, 0], -stats[i, 4], stats[i, 2])
    )
    parts: list[tuple[int, int, np.ndarray]] = []
    for part in order:
        left, top, width, height = (int(value) for value in stats[part, :4])
        inside = ids[top : top + height, left : left + width] == part
        parts.append((y + top, x + left, inside))
    return parts


Mapped = tuple[LabelSpace, tuple[int | None, ...]]
"""A new space, and for each old id the new one; None: the class is left out."""


def without_background(space: LabelSpace) -> Mapped:
    """The classes that objects can have."""
    if space.background is None:
        return space, tuple(range(len(space.classes)))
    kept = [i for i in range(len(space.classes)) if i != space.background]
    table: list[int | None] = [None] * len(space.classes)
    for new, old in enumerate(kept):
        table[old] = new
    return _pick(space, kept, background=None), tuple(table)


def has_objects(source: SampleSource) -> bool:
    """Whether a source has objects of its own; told by its first sample."""
    return len(source) > 0 and source[0].instances is not None


def has_labels(source: SampleSource) -> bool:
    """Whether a source has label maps of its own; told by its first sample, without reading it."""
    return len(source) > 0 and source[0].label_map is not None


class View(ABC):
    """A source seen in another way; picklable where the source is."""

    def __init__(self, source: SampleSource) -> None:
        self.source = source

    @property
    def ids(self) -> Sequence[str]:
        return self.source.ids

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    @property
    @abstractmethod
    def space(self) -> LabelSpace: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...


class AsObjects(View):
    """A source of label maps (or of both) as one of objects only, without a background class."""

    @cached_property
    def _mapped(self) -> Mapped:
        return without_background(self.source.space)

    @property
    def space(self) -> LabelSpace:
        return self._mapped[0]

    def __getitem__(self, index: int) -> Sample:
        sample, (_, table) = self.source[index], self._mapped
        found = objects(sample, self.source.space)
        return replace(
            sample,
            label_map=None,
            instances=tuple(_moved(found, table)),
            unlabelled=_moved_ids(sample.unlabelled, table),
        )


class AsLabelMaps(View):
    """A source of objects (or of both) as one of label maps only: objects painted as
    :meth:`Sample.semantic` paints them."""

    @cached_property
    def _painted(self) -> bool:
        return not has_labels(self.source)

    @property
    def space(self) -> LabelSpace:
        return self.source.space.with_background() if self._painted else self.source.space

    def __getitem__(self, index: int) -> Sample:
        sample, old = self.source[index], self.source.space
        moved = sample.unlabelled
        if self._painted and old.background is None:
            moved = frozenset(i + 1 for i in moved)
        return replace(
            sample, label_map=partial(sample.semantic, old), instances=None, unlabelled=moved
        )


class Relabelled(View):
    """A source with some of its classes, under other names; classes of one name are merged.

    Objects of classes left out are dropped. Pixels of those become background, or ``ignore``
    where there is no background class.

    Parameters
    ----------
    keep:
        Names (as they are in the source) of the classes to keep, in the order wanted; None: all.
        The background class is always kept, in its place before the first or after the last.
    rename:
        Old name to new name.

    Raises
    ------
    UnknownNameError
        the source has no class of such a name; names the nearest.
    """

    def __init__(
        self,
        source: SampleSource,
        keep: Sequence[str] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(source)
        self._space, self._table = relabelling(source.space, keep, rename or {})

    @property
    def space(self) -> LabelSpace:
        return self._space

    def __getitem__(self, index: int) -> Sample:
        sample, table = self.source[index], self._table
        made = None if sample.label_map is None else partial(self._relabel, sample)
        kept = None if sample.instances is None else tuple(_moved(sample.instances, table))
        return replace(
            sample,
            label_map=made,
            instances=kept,
            unlabelled=_moved_ids(sample.unlabelled, table),
        )

    def _relabel(self, sample: Sample) -> np.ndarray:
        old, new = self.source.space, self._space
        outside = new.ignore if new.background is None else new.background
        labels = sample.labels
        assert labels is not None
        length = max(len(self._table), old.ignore + 1, int(labels.max(initial=0)) + 1)
        values = np.full(length, new.ignore, np.uint8 if new.ignore < 256 else np.uint16)
        values[: len(self._table)] = [
            outside if target is None else target for target in self._table
        ]
        values[old.ignore] = new.ignore
        return values[labels]


def relabelling(space: LabelSpace, keep: Sequence[str] | None, rename: Mapping[str, str]) -> Mapped:
    """What :class:`Relabelled` does with the classes of a space."""
    index = {name: number for number, name in enumerate(space.classes)}
    for name in (*(keep or ()), *rename):
        if name not in index:
            raise UnknownNameError("class", name, space.classes)
    chosen = list(range(len(space.classes))) if keep is None else [index[name] for name in keep]
    if space.background is not None and space.background not in chosen:
        chosen.insert(0 if space.background == 0 else len(chosen), space.background)
    names: dict[str, int] = {}
    firsts: list[int] = []
    table: list[int | None] = [None] * len(space.classes)
    for old in chosen:
        name = rename.get(space.classes[old], space.classes[old])
        if name not in names:
            names[name] = len(names)
            firsts.append(old)
        table[old] = names[name]
    background = None if space.background is None else table[space.background]
    picked = _pick(space, firsts, background=background)
    return replace(picked, classes=tuple(names)), tuple(table)


def _pick(space: LabelSpace, kept: Sequence[int], *, background: int | None) -> LabelSpace:
    """The space with only these ids, in this order, each with its own number and colour."""
    numbers, colours = space.original_ids, space.colours
    return LabelSpace(
        tuple(space.classes[i] for i in kept),
        background,
        space.ignore,
        None if numbers is None else tuple(numbers[i] for i in kept),
        None if colours is None else tuple(colours[i] for i in kept),
    )


def _moved(found: Sequence[Instance], table: Sequence[int | None]) -> Iterator[Instance]:
    for one in found:
        target = table[one.class_id]
        if target is not None:
            yield one if target == one.class_id else replace(one, class_id=target)


def _moved_ids(ids: frozenset[int], table: Sequence[int | None]) -> frozenset[int]:
    return frozenset(new for old in ids if (new := table[old]) is not None)
