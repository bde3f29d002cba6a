"""The labels of Cityscapes, and how the values of its files become class ids.

The table is that of the set's own scripts,
https://github.com/mcordts/cityscapesScripts/blob/master/cityscapesscripts/helpers/labels.py. Sets
with other classes have one of their own, see :mod:`vitrail.data.formats.cityscapes_table`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from vitrail.data.formats.folders_classes import Colour
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError

DIVISOR = 1000
"""A value of instanceIds is ``id * 1000 + n``; below 1000 it is ``id``."""

Choice = Literal["train19", "all34", "category"]


class Label(NamedTuple):
    """One row of the table."""

    name: str
    id: int
    """Its value in labelIds; negative: not drawn at all."""
    train_id: int
    """Its value in labelTrainIds, the class id of the benchmark; 255: ignored."""
    category: str
    category_id: int
    has_instances: bool
    ignore_in_eval: bool
    colour: Colour


LABELS = (
    Label("unlabeled", 0, 255, "void", 0, False, True, (0, 0, 0)),
    Label("ego vehicle", 1, 255, "void", 0, False, True, (0, 0, 0)),
    Label("rectification border", 2, 255, "void", 0, False, True, (0, 0, 0)),
    Label("out of roi", 3, 255, "void", 0, False, True, (0, 0, 0)),
    Label("static", 4, 255, "void", 0, False, True, (0, 0, 0)),
    Label("dynamic", 5, 255, "void", 0, False, True, (111, 74, 0)),
    Label("ground", 6, 255, "void", 0, False, True, (81, 0, 81)),
    Label("road", 7, 0, "flat", 1, False, False, (128, 64, 128)),
    Label("sidewalk", 8, 1, "flat", 1, False, False, (244, 35, 232)),
    Label("parking", 9, 255, "flat", 1, False, True, (250, 170, 160)),
    Label("rail track", 10, 255, "flat", 1, False, True, (230, 150, 140)),
    Label("building", 11, 2, "construction", 2, False, False, (70, 70, 70)),
    Label("wall", 12, 3, "construction", 2, False, False, (102, 102, 156)),
    Label("fence", 13, 4, "construction", 2, False, False, (190, 153, 153)),
    Label("guard rail", 14, 255, "construction", 2, False, True, (180, 165, 180)),
    Label("bridge", 15, 255, "construction", 2, False, True, (150, 100, 100)),
    Label("tunnel", 16, 255, "construction", 2, False, True, (150, 120, 90)),
    Label("pole", 17, 5, "object", 3, False, False, (153, 153, 153)),
    Label("polegroup", 18, 255, "object", 3, False, True, (153, 153, 153)),
    Label("traffic light", 19, 6, "object", 3, False, False, (250, 170, 30)),
    Label("traffic sign", 20, 7, "object", 3, False, False, (220, 220, 0)),
    Label("vegetation", 21, 8, "nature", 4, False, False, (107, 142, 35)),
    Label("terrain", 22, 9, "nature", 4, False, False, (152, 251, 152)),
    Label("sky", 23, 10, "sky", 5, False, False, (70, 130, 180)),
    Label("person", 24, 11, "human", 6, True, False, (220, 20, 60)),
    Label("rider", 25, 12, "human", 6, True, False, (255, 0, 0)),
    Label("car", 26, 13, "vehicle", 7, True, False, (0, 0, 142)),
    Label("truck", 27, 14, "vehicle", 7, True, False, (0, 0, 70)),
    Label("bus", 28, 15, "vehicle", 7, True, False, (0, 60, 100)),
    Label("caravan", 29, 255, "vehicle", 7, True, True, (0, 0, 90)),
    Label("trailer", 30, 255, "vehicle", 7, True, True, (0, 0, 110)),
    Label("train", 31, 16, "vehicle", 7, True, False, (0, 80, 100)),
    Label("motorcycle", 32, 17, "vehicle", 7, True, False, (0, 0, 230)),
    Label("bicycle", 33, 18, "vehicle", 7, True, False, (119, 11, 32)),
    Label("license plate", -1, -1, "vehicle", 7, False, True, (0, 0, 142)),
)


@dataclass(frozen=True)
class Coding:
    """What the values of labelIds, labelTrainIds and instanceIds mean."""

    labels: tuple[Label, ...]
    space: LabelSpace
    class_of: Mapping[int, int]
    """Class id, or ``space.ignore``, of each label id that may occur."""
    trained: bool = True
    """Whether labelTrainIds holds the class ids of :attr:`space`."""
    divisor: int = DIVISOR
    label_maps: bool = True
    """False where the label maps say no more than the objects that they were painted from."""
    groups: Mapping[str, tuple[int, ...]] | None = None
    """Values of instanceIds that are groups, by ``split/id``, where ``labels.json`` lists them.
    None: values below :attr:`divisor` of labels with instances are, as in Cityscapes itself."""
    _tables: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": {}}

    @cached_property
    def by_id(self) -> dict[int, Label]:
        """Labels by the id that is drawn."""
        return {label.id: label for label in self.labels if label.id >= 0}

    @cached_property
    def by_name(self) -> dict[str, Label]:
        """Labels by name."""
        return {label.name: label for label in self.labels}

    @property
    def objects(self) -> bool:
        """Whether any label has instances."""
        return any(label.has_instances for label in self.labels)

    def decode(self, values: np.ndarray, path: Path) -> np.ndarray:
        """Values of labelIds, ``(H, W)`` uint8 or uint16, to class ids of :attr:`space`.

        Raises
        ------
        DataError
            a value is no label's id.
        """
        return self._look_up("ids", self.class_of, values, path)

    def decode_train(self, values: np.ndarray, path: Path) -> np.ndarray:
        """The same for values of labelTrainIds, which are class ids already."""
        known = {i: i for i in (*range(len(self.space.classes)), self.space.ignore)}
        return self._look_up("train", known, values, path)

    def label_ids(self, values: np.ndarray) -> np.ndarray:
        """Values of instanceIds to label ids, of the same shape and type."""
        return np.where(values >= self.divisor, values // self.divisor, values)

    def is_group(self, value: int, key: str) -> bool:
        """Whether a value of instanceIds is a group that nobody separated; ``key``: split/id."""
        if self.groups is not None:
            return value in self.groups.get(key, ())
        label = self.by_id.get(value)
        return value < self.divisor and label is not None and label.has_instances

    def _look_up(
        self, what: str, known: Mapping[int, int], values: np.ndarray, path: Path
    ) -> np.ndarray:
        if what not in self._tables:
            table = np.full(65536, -1, np.int32)
            table[list(known)] = list(known.values())
            self._tables[what] = table
        found = self._tables[what][values]
        if found.size and int(found.min()) < 0:
            odd = values[found < 0]
            raise DataError(
                f"{path}: holds the value {int(odd[0])} ({len(odd):,} px are no label's), expected "
                + ranges(sorted(known))
            )
        top = max(self.space.ignore, len(self.space.classes))
        return found.astype(np.uint8 if top < 256 else np.uint16)


def ranges(values: list[int]) -> str:
    """``0..18, 255``."""
    parts: list[list[int]] = []
    for value in values:
        if parts and value == parts[-1][-1] + 1:
            parts[-1][1:] = [value]
        else:
            parts.append([value])
    return ", ".join("..".join(map(str, part)) for part in parts)


def cityscapes_coding(choice: Choice) -> Coding:
    """The labels of Cityscapes as one of three lists of classes.

    ``train19``: the 19 classes of the benchmark, all others ignored. ``all34``: every label, 0
    ("unlabeled") being the background. ``category``: the 7 categories, "void" ignored.
    """
    drawn = [label for label in LABELS if label.id >= 0]
    if choice == "all34":
        space = LabelSpace(
            tuple(label.name for label in drawn), 0, colours=tuple(label.colour for label in drawn)
        )
        return Coding(LABELS, space, {label.id: label.id for label in drawn}, trained=False)
    if choice == "category":
        names = {label.category_id: label.category for label in drawn if label.category_id}
        space = LabelSpace(tuple(names.values()), original_ids=tuple(names))
        classes = {label.id: label.category_id - 1 if label.category_id else 255 for label in drawn}
        return Coding(LABELS, space, classes, trained=False)
    kept = sorted((one for one in drawn if one.train_id != 255), key=lambda one: one.train_id)
    space = LabelSpace(
        tuple(label.name for label in kept),
        original_ids=tuple(label.id for label in kept),
        colours=tuple(label.colour for label in kept),
    )
    return Coding(LABELS, space, {label.id: label.train_id for label in drawn})
