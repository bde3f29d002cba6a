"""The classes of a whole set: unused, missing from a split, out of balance, or misnamed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from vitrail.data.checks.finding import Finding, Pen
from vitrail.data.checks.tally import ClassCounts
from vitrail.data.formats.writing import odd_blanks
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace

IMBALANCE = 100
"""How many times as frequent as another a class may be."""
HUGE = 1000
"""From this ratio on, imbalance is more than a note."""
_BACKGROUND = {"background", "bg", "_background_", "__background__", "back ground"}
_NEARLY_ALL = 0.9
"""Share of the objects of no class that have one number, from which that is no slip of the hand."""
_FOREIGN = re.compile(r"(?:the class '|category_id is )(\d{1,9})'?")
"""What readers of YOLO and COCO say of an object of a class that is not listed."""
_NUMBERED = "if these number objects: --format instance-ids; if classes, list their names"
_VOID = {"void", "ignore", "ignored", "unlabeled", "unlabelled", "dontcare", "don't care"}


@dataclass(frozen=True)
class Totals:
    """Counts of all splits together, and of each."""

    space: LabelSpace
    splits: Mapping[str, ClassCounts]

    @property
    def all(self) -> ClassCounts:
        return added(self.space, self.splits)

    @property
    def has_maps(self) -> bool:
        return any(counts.maps for counts in self.splits.values())

    @property
    def has_objects(self) -> bool:
        return any(counts.lists for counts in self.splits.values())


def added(space: LabelSpace, splits: Mapping[str, ClassCounts]) -> ClassCounts:
    """The sum over splits."""
    total = ClassCounts.of(len(space.classes))
    for counts in splits.values():
        total.add(counts)
    return total


def check_classes(totals: Totals) -> list[Finding]:
    """Findings on the classes of a set whose splits share one list of them."""
    pen = Pen("")
    _check_names(totals, pen)
    mistaken = False
    for split, counts in totals.splits.items():
        part = Pen(split)
        mistaken |= _check_coding(totals.space, counts, part)
        mistaken |= _check_object_ids(totals.space, counts, part)
        pen.found += part.found
    if not mistaken:  # otherwise every class is unused, and why is told already
        _check_use(totals, pen)
        _check_balance(totals, pen)
    return pen.found


def foreign_classes(problems: Iterable[Problem]) -> dict[str, Counter[int]]:
    """Class numbers of objects that readers left out because the set does not list them.

    Returns
    -------
    By split: how many objects have each number.
    """
    found: dict[str, Counter[int]] = {}
    for problem in problems:
        if problem.code == "unknown-category" and (match := _FOREIGN.fullmatch(problem.value)):
            found.setdefault(problem.split, Counter())[int(match[1])] += 1
    return found


def check_spaces(spaces: Mapping[str, LabelSpace]) -> list[Finding]:
    """A finding for each split whose classes are not those of the first."""
    found: list[Finding] = []
    names = list(spaces)
    for split in names[1:]:
        ours, first = spaces[split].classes, spaces[names[0]].classes
        if ours == first:
            continue
        pen = Pen(split)
        more, fewer = set(ours) - set(first), set(first) - set(ours)
        value = f"{len(ours)} classes"
        if more or fewer:
            value += "".join(f", also {name}" for name in sorted(more)[:5])
            value += "".join(f", without {name}" for name in sorted(fewer)[:5])
        else:
            value += " in another order"
        pen.note("classes-differ", value, f"the {len(first)} classes of {names[0]}")
        found += pen.found
    return found


def _check_names(totals: Totals, pen: Pen) -> None:
    space = totals.space
    for number, name in enumerate(space.classes):
        if fault := odd_blanks(name):
            better = " ".join(name.split())
            expected = repr(better) if better else "a name"
            pen.note("class-name-blanks", f"class {number}: {name!r} {fault}", expected, id=better)
        plain = name.strip().casefold()
        if plain in _BACKGROUND and space.background is None:
            if totals.has_maps:
                pen.note("background-unsaid", f"class {number}", f"background={number}", id=name)
            elif totals.has_objects:
                pen.note("background-class", f"class {number}", "only classes of objects", id=name)
        elif plain in _VOID and totals.has_maps and number != space.ignore:
            pen.note("ignore-class", f"class {number}", f"ignore={number}", id=name)


def _check_coding(space: LabelSpace, counts: ClassCounts, pen: Pen) -> bool:
    """Masks of a whole split that were coded in another way; True where that was found."""
    classes = len(space.classes)
    used = np.flatnonzero(counts.pixels)
    # Masks in which id N occurs could not be read: they are not among the maps counted.
    zero = counts.zeros + (int(counts.images[0]) if classes else 0)
    if set(counts.strange) == {classes} and not zero:
        number = counts.strange[classes]
        value = f"0 in no mask, {classes} in {number:,}"
        pen.note("off-by-one-ids", value, f"class ids 0..{classes - 1}", weight=number)
        return True
    ids = set(used.tolist())
    whole = classes > 128 and ids == {0, 255}
    void = space.ignore == 255 and counts.ignored and (classes > 1 or counts.alone)
    if whole or (void and ids == {0}):
        as_what = "two of 256 classes" if whole else "background and ignore"
        value = f"only 0 and 255 in all {counts.maps:,} masks, read as {as_what}"
        pen.note("binary-mask", value, "class ids", file=counts.example, weight=1)
        return True
    if counts.alone and _check_void(space, counts, pen):
        return True
    return bool(counts.strange) and not len(used)


def _check_void(space: LabelSpace, counts: ClassCounts, pen: Pen) -> bool:
    """Masks of 0 and 255 among masks of other ids; True where that is an error.

    Where 255 marks void, it lies beside classes. Where it never does, it is the one class of masks
    that another program wrote. Masks that show nothing but the class 0 and void exist, but not
    many, and hardly any where 0 is the background.
    """
    alone, beside = counts.alone, counts.beside
    plain = space.classes[0].strip().casefold()
    background = space.background == 0 or plain in _BACKGROUND or plain == "class 0"
    if beside and not background and alone < beside:
        return False
    value = f"only 0 and 255 in {alone:,} of {counts.maps:,} masks, read as class 0 and ignore"
    value += f"; {beside:,} have 255 beside another class" if beside else ""
    advice = "write the id of their class where they hold 255; leave them, if that is void"
    pen.note(
        "binary-mask",
        value,
        "class ids",
        severity="warning" if beside else "error",
        file=counts.example,
        advice=advice,
        weight=alone / counts.maps,
    )
    return not beside


def _check_object_ids(space: LabelSpace, counts: ClassCounts, pen: Pen) -> bool:
    """Objects of a whole split that are numbered from 1 instead of 0, or the other way round.

    Told by a number that no class has, next to theirs, while the class at the other end has no
    object and at least half of those between have some.
    """
    ids = list(space.original_ids or range(len(space.classes)))
    if not counts.foreign or not ids or max(ids) - min(ids) + 1 != len(ids):
        return False
    ((number, objects),) = counts.foreign.most_common(1)
    if objects < _NEARLY_ALL * counts.foreign.total():
        return False
    if number == max(ids) + 1:
        absent, advice = min(ids), None
    elif 0 <= number == min(ids) - 1:
        absent, advice = max(ids), "add 1 to every id"
    else:
        return False
    used = int(np.count_nonzero(counts.objects))
    if counts.objects[ids.index(absent)] or 2 * used < len(ids) - 1:
        return False
    value = f"{absent} in no object, {number} in {objects:,}"
    expected = f"class ids {min(ids)}..{max(ids)}"
    pen.note("off-by-one-ids", value, expected, advice=advice, weight=objects)
    return True


def _use(counts: ClassCounts) -> np.ndarray:
    """Which classes occur at all, ``(C,)`` bool."""
    return (counts.pixels > 0) | (counts.objects > 0)


def _check_use(totals: Totals, pen: Pen) -> None:
    space, everywhere = totals.space, _use(totals.all)
    if not totals.has_maps and not totals.has_objects:
        return
    unused = [k for k in np.flatnonzero(~everywhere).tolist() if k != space.background]
    unnamed = [k for k in unused if space.classes[k] == f"class {k}"]
    if totals.has_maps and len(unnamed) > 1:
        # Readers that find no list of classes take each number up to the highest for one.
        value = f"{len(unnamed)} of the numbers up to {len(space.classes) - 1} are in no mask"
        pen.note("unused-class", value, "class ids without gaps", advice=_NUMBERED)
        unused = [k for k in unused if k not in unnamed]
    for number in unused:
        where = f"class {number}: no pixel and no object"
        pen.note("unused-class", where, "an annotation", id=space.classes[number])
    for split, counts in totals.splits.items():
        part = Pen(split)
        lacking = everywhere & ~_use(counts)
        if space.background is not None:
            lacking[space.background] = False
        if not (counts.maps or counts.lists) or len(totals.splits) < 2:
            continue
        total = totals.all
        for number in np.flatnonzero(lacking).tolist():
            if total.maps:
                others = f"{int(total.images[number]):,} images"
            else:
                others = f"{int(total.objects[number]):,} objects"
            value = f"not in {split}; {others} elsewhere"
            expected = "each class in each split"
            part.note("class-missing-from-split", value, expected, id=space.classes[number])
        pen.found += part.found


def _check_balance(totals: Totals, pen: Pen) -> None:
    space, total = totals.space, totals.all
    unit, numbers = ("pixels", total.pixels) if totals.has_maps else ("objects", total.objects)
    present = [
        k
        for k in np.flatnonzero(numbers).tolist()
        if k != space.background and space.classes[k].strip().casefold() not in _BACKGROUND
    ]
    if len(present) < 2:
        return
    rare = min(present, key=lambda k: int(numbers[k]))
    often = max(present, key=lambda k: int(numbers[k]))
    ratio = int(numbers[often]) / int(numbers[rare])
    if ratio < IMBALANCE:
        return
    value = (
        f"{int(numbers[rare]):,} {unit}, {space.classes[often]} has {int(numbers[often]):,}: "
        f"1 to {ratio:,.0f}"
    )
    expected = f"less than 1 to {IMBALANCE}"
    severity = "warning" if ratio >= HUGE else "note"
    name = space.classes[rare]
    pen.note("class-imbalance", value, expected, severity=severity, id=name, weight=ratio)
