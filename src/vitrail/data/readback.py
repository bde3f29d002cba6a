"""Read a data set that was just written and tell in words what is different from its source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vitrail.data.compare import ClassChange, Comparison
from vitrail.data.derive import has_labels, has_objects
from vitrail.data.formats.base import Capacity, Dataset, Splits
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import VitrailError

Place = tuple[str, int]
"""A split's name and an index into it."""

_SHOWN = 3
"""Names of images that a line lists before it only counts them."""


@dataclass(frozen=True)
class Conversion:
    """What a conversion did, and what it changed."""

    target: Path
    format: str
    images: Mapping[str, int]
    """Images by split."""
    classes: Sequence[ClassChange]
    losses: Sequence[str]
    """What does not come back as it was; empty: nothing was lost."""
    notes: Sequence[str]
    """What is different without being lost: names, numbers, order."""

    @property
    def lossless(self) -> bool:
        """Whether everything comes back as it was."""
        return not self.losses

    def to_json(self) -> dict[str, Any]:
        """The report for other programs."""
        return {
            "target": str(self.target),
            "format": self.format,
            "lossless": self.lossless,
            "images": dict(self.images),
            "losses": list(self.losses),
            "notes": list(self.notes),
            "classes": [change.to_json() for change in self.classes],
        }


def read_back(
    before: Splits,
    back: Dataset,
    capacity: Capacity,
    target: Path,
    step: Callable[[], None],
) -> Conversion:
    """Compare sources with the data set that was written of them.

    Parameters
    ----------
    before:
        The sources by split name, all with the same classes.
    back:
        What was written, opened.
    capacity:
        Of the format that was written.
    target:
        The folder that the set will lie in, for messages.
    step:
        Called after each sample.

    Raises
    ------
    DataError
        a sample cannot be read.
    """
    after = dict(back.items())
    space = next(iter(before.values())).space
    new_space = next(iter(after.values())).space if after else LabelSpace(())
    own_labels = any(map(has_labels, before.values()))
    own_objects = any(map(has_objects, before.values()))
    comparison = Comparison(
        space,
        new_space,
        objects_survive=capacity.instances and (own_objects or not capacity.labels),
        labels=own_labels or not capacity.instances,
        void_outside=own_objects and space.background is None and not capacity.labels,
    )
    places = pair_samples(before, after)
    lost: list[str] = []
    repainted: list[str] = []
    for name, source in before.items():
        for index, place in enumerate(places[name]):
            sample = source[index]
            other = None if place is None else after[place[0]][place[1]]
            comparison.add(sample, other)
            if other is None:
                lost.append(sample.id)
            elif _image_changes(sample, other):
                repainted.append(sample.id)
            step()
    classes = comparison.finish()
    faults = [str(problem) for problem in back.problems if problem.severity == "error"]
    losses = [
        *_some(faults, "fault of the new set", "faults of the new set"),
        *_some(lost, "image does not come back", "images do not come back"),
        *_some(repainted, "image changes its pixels", "images change their pixels"),
        *_split_losses(before, places),
        *_class_losses(comparison),
        *_object_losses(comparison, own_objects),
        *_label_losses(comparison),
    ]
    return Conversion(
        target,
        back.format,
        {name: len(source) for name, source in before.items()},
        classes,
        tuple(line.replace(str(back.root), str(target)) for line in losses),
        tuple(_notes(before, after, places, comparison, capacity)),
    )


# Which sample is which --------------------------------------------------------------------------


def pair_samples(before: Splits, after: Splits) -> dict[str, list[Place | None]]:
    """Where each sample is now, by split: found by its id, its name, or its image's pixels.

    Names are looked for in the split of the same name first. Formats that have one folder for all
    images give some of them other names; those are told by their pixels.
    """
    places: dict[str, list[Place | None]] = {
        name: [None] * len(source) for name, source in before.items()
    }
    taken: set[Place] = set()
    for key in (_whole, _name, _stem):
        for keep_split in (True, False):
            old = _keyed(_left(places), before, key, keep_split)
            new = _keyed(_free(after, taken), after, key, keep_split)
            for named, (split, index) in old.items():
                if named in new:
                    places[split][index] = new[named]
                    taken.add(new[named])
    left, free = list(_left(places)), list(_free(after, taken))
    if left and free:
        pictures: dict[str, list[Place]] = {}
        for split, index in reversed(free):
            pictures.setdefault(_digest(after[split][index]), []).append((split, index))
        for split, index in left:
            if same := pictures.get(_digest(before[split][index])):
                places[split][index] = same.pop()
    return places


def _whole(id: str) -> str:
    return id


def _name(id: str) -> str:
    return PurePosixPath(id).name


def _stem(id: str) -> str:
    return PurePosixPath(id).stem


def _left(places: Mapping[str, Sequence[Place | None]]) -> Iterator[Place]:
    for name, found in places.items():
        yield from ((name, index) for index, place in enumerate(found) if place is None)


def _free(after: Splits, taken: set[Place]) -> Iterator[Place]:
    for name, source in after.items():
        yield from ((name, i) for i in range(len(source)) if (name, i) not in taken)


def _keyed(
    places: Iterator[Place], sources: Splits, key: Callable[[str], str], keep_split: bool
) -> dict[tuple[str, str], Place]:
    """Samples by a key that no other of them has."""
    found: dict[tuple[str, str], Place] = {}
    double: set[tuple[str, str]] = set()
    for split, index in places:
        named = (split if keep_split else "", key(sources[split].ids[index]))
        if named in found:
            double.add(named)
        found[named] = (split, index)
    return {named: place for named, place in found.items() if named not in double}


def _digest(sample: Sample) -> str:
    """A picture's pixels in short; the sample's id where it cannot be read."""
    try:
        pixels = sample.image
    except VitrailError:
        return sample.id
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def _image_changes(before: Sample, after: Sample) -> bool:
    """Whether the picture has other pixels; a file of the same length was copied as it is."""
    if before.path is not None and after.path is not None:
        with suppress(OSError):
            if before.path.stat().st_size == after.path.stat().st_size:
                return False
    return after.size != before.size or not np.array_equal(before.image, after.image)


# In words ---------------------------------------------------------------------------------------


def _some(names: Sequence[str], one: str, many: str) -> list[str]:
    """``["3 images do not come back: a, b, c"]``; nothing for no names."""
    if not names:
        return []
    shown = ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")
    return [f"{_count(len(names), one, many)}: {shown}"]


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _split_losses(before: Splits, places: Mapping[str, Sequence[Place | None]]) -> list[str]:
    """Splits that flow together; one that only has another name is none."""
    sources: dict[str, set[str]] = {}
    for name, found in places.items():
        for place in found:
            if place is not None:
                sources.setdefault(place[0], set()).add(name)
    return [
        f"the splits {', '.join(n for n in before if n in names)} come back as one, {split!r}"
        for split, names in sources.items()
        if len(names) > 1
    ]


def _class_losses(comparison: Comparison) -> list[str]:
    before, after = comparison.before, comparison.after
    things = [i for i in range(len(before.classes)) if i != before.background]
    gone = [before.classes[i] for i in things if comparison.table[i] is None]
    lines = _some(gone, "class does not come back", "classes do not come back")
    merged: dict[int, list[str]] = {}
    for i in things:
        target = comparison.table[i]
        if target is not None:
            merged.setdefault(target, []).append(before.classes[i])
    for target, names in merged.items():
        if names != [after.classes[target]]:
            what = "come back as one class," if len(names) > 1 else "comes back as"
            lines.append(f"{', '.join(names)} {what} {after.classes[target]!r}")
    if comparison.added:
        lines.append(
            _count(comparison.added, "object comes", "objects come")
            + " back with a class that was not there"
        )
    return lines


def _object_losses(comparison: Comparison, own: bool) -> list[str]:
    classes = comparison.classes
    total = sum(one.instances_in for one in classes)
    if not total:
        return []
    if not comparison.objects_survive:
        hidden = sum(one.overlap_pixels for one in classes)
        more = f"; {hidden:,} px of them lie below objects of other classes" if hidden else ""
        return [f"{_count(total, 'object', 'objects')} become pixels of their classes{more}"]
    lines: list[str] = []
    back = sum(one.instances_out for one in classes)
    lost = sum(one.lost for one in classes)
    if lost or any(one.instances_in != one.instances_out for one in classes):
        more = f" ({lost:,} lost)" if lost else ""
        lines.append(f"{_count(total, 'object', 'objects')} come back as {back:,}{more}")
    if changed := sum(one.changed for one in classes):
        masks = sum(one.masks_back for one in classes)
        mean = sum(one.iou_sum for one in classes) / masks
        what = "masks that come back" if lost else "masks"
        lines.append(
            f"{changed:,} of {masks:,} {what} change (mean IoU of all {_rounded_down(mean)})"
        )
    kinds = (
        ("holes_filled", "hole is filled", "holes are filled"),
        ("parts_dropped", "part of an object is dropped", "parts of objects are dropped"),
        ("parts_merged", "part of an object grows onto another", "parts grow onto others"),
        ("parts_split", "part becomes an object of its own", "parts become objects of their own"),
        ("crowds_dropped", "crowd comes back as none", "crowds come back as none"),
        ("boxes_dropped", "bare box does not come back", "bare boxes do not come back as such"),
        ("overlap_pixels", "px is lost where objects overlap", "px are lost where objects overlap"),
    )
    for key, one, many in kinds:
        if number := sum(getattr(change, key) for change in classes):
            lines.append(_count(number, one, many))
    if own and comparison.attributes_lost:
        names = [f"{name} ({n:,})" for name, n in comparison.attributes_lost.most_common()]
        lines += _some(names, "attribute of objects is lost", "attributes of objects are lost")
    return lines


def _label_losses(comparison: Comparison) -> list[str]:
    lines: list[str] = []
    if changed := comparison.pixels_changed:
        share = changed / comparison.pixels
        ignored = comparison.ignored_changed
        more = f", {ignored:,} of them ignored before" if ignored else ""
        lines.append(
            f"{changed:,} of {comparison.pixels:,} labelled pixels change ({share:.2%}){more}"
        )
    if comparison.unlabelled_lost:
        images = _count(comparison.unlabelled_lost, "image no longer says", "images no longer say")
        lines.append(f"{images} which classes nobody annotated in it")
    return lines


def _rounded_down(iou: float) -> str:
    """An IoU below 1 is never shown as 1."""
    return f"{np.floor(iou * 1e4) / 1e4:.4f}"


def _notes(
    before: Splits,
    after: Splits,
    places: Mapping[str, Sequence[Place | None]],
    comparison: Comparison,
    capacity: Capacity,
) -> Iterator[str]:
    old, new = comparison.before, comparison.after
    renamed = {(name, place[0]) for name, found in places.items() for place in found if place}
    for name, now in sorted(renamed):
        if name != now:
            yield f"the split {name!r} is read again as {now!r}"
    changed = [
        f"{before[name].ids[index]} -> {after[place[0]].ids[place[1]]}"
        for name, found in places.items()
        for index, place in enumerate(found)
        if place is not None and before[name].ids[index] != after[place[0]].ids[place[1]]
    ]
    yield from _some(changed, "image has another id", "images have other ids")
    ids = [to for i, to in enumerate(comparison.table) if to is not None and i != old.background]
    if ids != sorted(ids):
        yield f"the classes have another order: {', '.join(new.classes)}"
    if old.original_ids is not None and new.original_ids != old.original_ids:
        yield "the data set's own class numbers change"
    if comparison.unmarked:
        pixels = _count(comparison.unmarked, "ignored pixel lies", "ignored pixels lie")
        yield f"{pixels} outside all objects; nothing is said of such pixels any more"
    if capacity.labels and not comparison.labels and new.background is None:
        yield "pixels outside all objects are written as void: of no class, ignored in training"
    if capacity.labels and old.background is not None and new.background is None:
        yield f"{old.classes[old.background]!r} is no longer marked as the background"
