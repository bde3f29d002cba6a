"""What a data set lost on its way: the labels before against what is read back, class by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vitrail.data.derive import components, objects
from vitrail.data.matching import filled_holes, has_mask, lost_attributes, match, window, within
from vitrail.data.sample import Instance, LabelSpace, Sample


@dataclass(slots=True)
class ClassChange:
    """How one class came back."""

    name: str
    instances_in: int = 0
    instances_out: int = 0
    masks_in: int = 0
    """Instances with a mask, in formats that have objects at all."""
    lost: int = 0
    """Those of them that do not come back, not even in part."""
    iou_sum: float = 0.0
    """Over those that come back."""
    changed: int = 0
    """Those that come back with another mask."""
    holes_filled: int = 0
    parts_dropped: int = 0
    parts_merged: int = 0
    """Parts of an object that grew together."""
    parts_split: int = 0
    """Parts of an object that come back as objects of their own."""
    crowds_dropped: int = 0
    boxes_dropped: int = 0
    """Objects of which only the box is known, that do not come back as such: perhaps as areas."""
    overlap_pixels: int = 0
    """Pixels that objects lose to others that cover them."""
    pixels_in: int = 0
    """Of label maps, as the next two."""
    pixels_out: int = 0
    pixels_same: int = 0

    @property
    def masks_back(self) -> int:
        """Instances with a mask that come back, changed or not."""
        return self.masks_in - self.lost

    @property
    def mean_iou(self) -> float | None:
        """Of the instances that come back; None where there are none with a mask."""
        return self.iou_sum / self.masks_back if self.masks_back else None

    @property
    def label_iou(self) -> float | None:
        """Of the label maps; None where none was compared or the class is in none."""
        union = self.pixels_in + self.pixels_out - self.pixels_same
        return self.pixels_same / union if union else None

    def to_json(self) -> dict[str, Any]:
        """All counts, and the two means."""
        row = asdict(self)
        del row["iou_sum"]
        return row | {"mean_iou": self.mean_iou, "label_iou": self.label_iou}


def class_table(before: LabelSpace, after: LabelSpace) -> tuple[int | None, ...]:
    """For each class id before the one after, by name; None: there is no such class any more.

    Backgrounds answer each other whatever their names. Where no name comes back and there is but
    one class of objects (formats without names), all classes are taken for that one.
    """
    ids = {name: number for number, name in enumerate(after.classes)}
    table: list[int | None] = [ids.get(name) for name in before.classes]
    things = [i for i in range(len(after.classes)) if i != after.background]
    named = [i for old, i in enumerate(table) if i is not None and old != before.background]
    if not named and len(things) == 1:
        table = [things[0]] * len(table)
    if before.background is not None:
        table[before.background] = after.background
    return tuple(table)


class Comparison:
    """Adds up, sample by sample, what differs between a set and what was read back.

    Parameters
    ----------
    before, after:
        The two spaces; see :func:`class_table`.
    objects_survive:
        Whether the format has objects at all. Without, they are only counted.
    labels:
        Whether to compare label maps too.
    void_outside:
        The format has objects alone, and a set of both without a background class is to go into
        it. Ignore is all that such a set says of pixels outside its objects, and nothing is what
        the format says of them: that is the same. Crowds are then of their class, not ignored.
    """

    def __init__(
        self,
        before: LabelSpace,
        after: LabelSpace,
        *,
        objects_survive: bool,
        labels: bool,
        void_outside: bool = False,
    ) -> None:
        self.before, self.after = before, after
        self.objects_survive, self.labels = objects_survive, labels
        self.void_outside = void_outside
        self.table = class_table(before, after)
        self.classes = [ClassChange(name) for name in before.classes]
        self.added = 0
        """Objects of classes that were not there before."""
        self.attributes_lost: Counter[str] = Counter()
        """By attribute, the objects that come back without it."""
        self.unlabelled_lost = 0
        """Images that no longer say which classes nobody annotated."""
        self.unmarked = 0
        """Ignored pixels that come back as pixels of no object, where that says the same."""
        # Rows: classes, background, ignore; columns: the same, and what did not come back.
        self._confusion = np.zeros((len(before.classes) + 2, len(after.classes) + 3), np.int64)

    def add(self, before: Sample, after: Sample | None) -> None:
        """Compare one sample with what came back of it; None: nothing did.

        Raises
        ------
        DataError
            labels cannot be read.
        """
        if after is not None and after.size != before.size:
            after = None
        if before.instances is not None or self.objects_survive:
            self._add_objects(before, after)
        if self.labels:
            self._add_labels(before, after)
        if before.unlabelled and (after is None or not after.unlabelled):
            self.unlabelled_lost += 1

    # Label maps ---------------------------------------------------------------------------------

    def _add_labels(self, before: Sample, after: Sample | None) -> None:
        old = _canonical(before, self.before)
        absent = len(self.after.classes) + 2
        new = np.full_like(old, absent) if after is None else _canonical(after, self.after)
        if self.void_outside and after is not None:
            self._even_out(old, new, after)
        columns = absent + 1
        counts = np.bincount((old * columns + new).ravel(), minlength=self._confusion.size)
        self._confusion += counts.reshape(self._confusion.shape)

    def _even_out(self, old: np.ndarray, new: np.ndarray, after: Sample) -> None:
        """Write into ``new`` what objects say in another way than the label map; see the class."""
        outside = len(self.after.classes)
        ignored = old == len(self.before.classes) + 1
        unmarked = ignored & (new == outside)
        new[unmarked] = outside + 1
        self.unmarked += int(np.count_nonzero(unmarked))
        if any(one.crowd for one in after.instances or ()):
            plain = tuple(replace(one, crowd=False) for one in after.instances or ())
            crowds = ~ignored & (new == outside + 1)
            new[crowds] = _canonical(replace(after, instances=plain), self.after)[crowds]

    def _target(self, row: int) -> int | None:
        """The column that a row of the confusion should be in, all of it."""
        old, new = len(self.before.classes), len(self.after.classes)
        if row > old:
            return new + 1
        if row < old:
            found = self.table[row]
            return new if found is not None and found == self.after.background else found
        if self.after.background is None and self.before.background is not None:
            name = self.before.classes[self.before.background]
            return self.after.classes.index(name) if name in self.after.classes else new
        return new

    @property
    def pixels(self) -> int:
        """Pixels of the label maps compared."""
        return int(self._confusion.sum())

    @property
    def pixels_changed(self) -> int:
        """Pixels of label maps whose class is another, or not there, when read back."""
        targets = enumerate(map(self._target, range(len(self._confusion))))
        same = sum(int(self._confusion[row, to]) for row, to in targets if to is not None)
        return self.pixels - same

    @property
    def ignored_changed(self) -> int:
        """Those of them that were ignored before."""
        row = self._confusion[-1]
        return int(row.sum() - row[len(self.after.classes) + 1])

    def finish(self) -> list[ClassChange]:
        """All classes with their pixel counts, once every sample is in."""
        targets = [self._target(row) for row in range(len(self._confusion))]
        for class_id, change in enumerate(self.classes):
            own = len(self.before.classes) if class_id == self.before.background else class_id
            target = targets[own]
            change.pixels_in = int(self._confusion[own].sum())
            if target is None:
                continue
            change.pixels_same = int(self._confusion[own, target])
            # Pixels of other classes that were merged into the same one are not its own.
            others = [row for row, to in enumerate(targets) if to == target and row != own]
            column = self._confusion[:, target]
            change.pixels_out = int(column.sum() - column[others].sum())
        return self.classes

    # Objects ------------------------------------------------------------------------------------

    def _add_objects(self, before: Sample, after: Sample | None) -> None:
        old = objects(before, self.before)
        for one in old:
            change = self.classes[one.class_id]
            change.instances_in += 1
            change.masks_in += has_mask(one) and self.objects_survive
        if not self.objects_survive:
            self._add_lost(before, old)
            return
        new = () if after is None else objects(after, self.after)
        names: dict[int, ClassChange] = {}
        for class_id, change in enumerate(self.classes):
            target = self.table[class_id]
            if target is not None:
                names.setdefault(target, change)
        pairs = match(old, new, self.table)
        taken = {j for j, _ in pairs.values()}
        for i in pairs:
            self.classes[old[i].class_id].instances_out += 1
        spare = [new[j] for j in range(len(new)) if j not in taken]
        for one in spare:
            if one.class_id in names:
                names[one.class_id].instances_out += 1
            else:
                self.added += 1
        covered = _Cover(old, before.size)
        for i, one in enumerate(old):
            j, iou = pairs.get(i, (None, 0.0))
            self._add_pair(one, None if j is None else new[j], iou, spare, covered)

    def _add_lost(self, before: Sample, old: Sequence[Instance]) -> None:
        """Objects that are to become pixels: what of each is hidden below objects of others."""
        for one in old:
            change = self.classes[one.class_id]
            change.crowds_dropped += one.crowd
            change.boxes_dropped += not has_mask(one)
        if before.labels is not None:
            return
        painted = before.semantic(self.before)
        shift = 0 if self.before.background is not None else 1
        for one in old:
            if one.mask is not None and not one.crowd:
                y, x, crop = one.mask.crop(0)
                window = painted[y : y + crop.shape[0], x : x + crop.shape[1]]
                hidden = np.count_nonzero(window[crop] != one.class_id + shift)
                self.classes[one.class_id].overlap_pixels += int(hidden)

    def _add_pair(
        self,
        old: Instance,
        new: Instance | None,
        iou: float,
        spare: Sequence[Instance],
        covered: _Cover,
    ) -> None:
        change = self.classes[old.class_id]
        change.crowds_dropped += old.crowd and (new is None or not new.crowd)
        if new is not None:
            self.attributes_lost.update(lost_attributes(old, new))
        if not has_mask(old):
            change.boxes_dropped += new is None
            return
        if new is None:
            change.lost += 1
            return
        change.iou_sum += iou
        if iou == 1.0:
            return
        change.changed += 1
        if old.mask is None or new.mask is None:
            return
        target = self.table[old.class_id]
        spares = [one.mask for one in spare if one.class_id == target]
        pieces = [mask for mask in spares if mask is not None and within(mask, old.mask)]
        change.parts_split += len(pieces)
        y, x, crop = old.mask.crop(0)
        back = window(new.mask, y, x, crop.shape)
        change.holes_filled += filled_holes(crop, back)
        lost = crop & ~back
        kept = back.copy()
        for piece in pieces:
            kept |= window(piece, y, x, crop.shape)
        parts = components(0, 0, crop)
        dropped = sum(not kept[top : top + p.shape[0], left : left + p.shape[1]][p].any()
                      for top, left, p in parts)  # fmt: skip
        change.parts_dropped += dropped
        remaining = len(parts) - dropped - len(pieces)
        change.parts_merged += max(0, remaining - new.mask.polygons(0).parts)
        if lost.any():
            change.overlap_pixels += covered.count(y, x, lost)


class _Cover:
    """How many objects of a sample cover each pixel; counted when first asked for."""

    def __init__(self, found: Sequence[Instance], size: tuple[int, int]) -> None:
        self._found, self._size = found, size
        self._counts: np.ndarray | None = None

    def count(self, y: int, x: int, lost: np.ndarray) -> int:
        """Pixels of a crop at y, x that two or more objects cover."""
        if self._counts is None:
            self._counts = np.zeros(self._size, np.uint16)
            for one in self._found:
                if one.mask is not None:
                    top, left, crop = one.mask.crop(0)
                    self._counts[top : top + crop.shape[0], left : left + crop.shape[1]] += crop
        window = self._counts[y : y + lost.shape[0], x : x + lost.shape[1]]
        return int(np.count_nonzero(window[lost] > 1))


def _canonical(sample: Sample, space: LabelSpace) -> np.ndarray:
    """Class ids as ``space`` has them; background is ``len(classes)``, ignore one more; int64."""
    count = len(space.classes)
    labels = sample.semantic(space)
    known = space if sample.labels is not None else space.with_background()
    values = np.full(max(known.ignore, int(labels.max(initial=0)), count + 1) + 1, count + 1)
    if known is space:
        values[:count] = np.arange(count)
        if space.background is not None:
            values[space.background] = count
    else:
        values[0], values[1 : count + 1] = count, np.arange(count)
    values[known.ignore] = count + 1
    return values[labels]
