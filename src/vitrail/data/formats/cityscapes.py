"""Cityscapes, and sets laid out like it: pictures by split and city, labels beside in PNG and JSON.

::

    leftImg8bit/{train,val,test}/CITY/NAME_leftImg8bit.png
    gtFine/{train,val,test}/CITY/NAME_gtFine_labelIds.png        labels 0..33
                                 NAME_gtFine_labelTrainIds.png   classes 0..18, 255 ignored
                                 NAME_gtFine_instanceIds.png     label * 1000 + n, or label
                                 NAME_gtFine_color.png           for looking at, not read
                                 NAME_gtFine_polygons.json       what they were painted from
    gtCoarse/{train,train_extra,val}/CITY/NAME_gtCoarse_*        the same, coarser

Documentation: https://www.cityscapes-dataset.com/dataset-overview/ and
https://github.com/mcordts/cityscapesScripts. The benchmark's test set has no labels (what gtFine
holds for it is all ignored).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Problems
from vitrail.data.formats.cityscapes_files import (
    COLOURS,
    IMAGES,
    INSTANCES,
    LABELS,
    POLYGONS,
    TRAIN,
    Files,
    any_labels,
    pair,
    report_no_objects,
)
from vitrail.data.formats.cityscapes_labels import Choice, Coding, cityscapes_coding
from vitrail.data.formats.cityscapes_polygons import read_polygons
from vitrail.data.formats.cityscapes_table import (
    COLOURS_FILE,
    LABELS_FILE,
    read_label_colours,
    read_labels,
)
from vitrail.data.formats.cityscapes_write import write
from vitrail.data.formats.folders_layout import subfolders
from vitrail.data.formats.folders_masks import mask_size, read_index_png
from vitrail.data.problem import Problem
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError, ParameterError
from vitrail.result.masks import Masks, occurring

_ORDER = ("train", "train_extra", "val", "test")


class CityscapesOptions(Options):
    """What to read of Cityscapes."""

    labels: Choice = Field(
        "train19",
        description="classes: the 19 of the benchmark, all 34 labels, or the 7 categories; not "
        "for sets that say their own in labels.json or label_colors.txt",
    )
    annotations: Literal["fine", "coarse"] = Field("fine", description="gtFine or gtCoarse")
    instances: bool = Field(
        True, description="read objects, too; false is faster where only label maps are wanted"
    )


class CityscapesSource:
    """One split, by city and then by name; ids are ``CITY/NAME``.

    Label maps are those of labelIds; else of labelTrainIds, where the classes are those; else
    painted from the polygons. Objects are those of instanceIds, else painted likewise: a mask is
    what is seen of an object. A group ("a crowd of cars") is one object with ``crowd`` set for each
    label. Objects come by label and number; an id is the value in instanceIds.
    """

    def __init__(self, files: Files, coding: Coding, split: str, instances: bool) -> None:
        self._files, self._coding, self._split = files, coding, split
        self._instances = instances and coding.objects
        self.ids = files.ids()

    @property
    def space(self) -> LabelSpace:
        return self._coding.space

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def mask_paths(self, index: int) -> list[Path]:
        """The PNG files of a sample, read or not, that of the label map first."""
        there = self._files.there[index]
        first = _label_source(there, self._coding)
        kinds = [first, *(kind for kind in (LABELS, TRAIN, INSTANCES, COLOURS) if kind != first)]
        return [
            self._files.label(index, kind) for kind in kinds if there & kind and kind != POLYGONS
        ]

    def __getitem__(self, index: int) -> Sample:
        """One sample; with objects, instanceIds (or the polygons) are read now, for their number.

        Raises
        ------
        DataError, ImageError
            a label file is damaged, holds what is no label, or two have different sizes.
        """
        files, coding, there = self._files, self._coding, self._files.there[index]
        image, key = files.image(index), f"{self._split}/{self.ids[index]}"
        source = _label_source(there, coding)
        path = files.label(index, source)
        values: np.ndarray | None = None
        if source == POLYGONS:
            drawing = read_polygons(path, coding)
            size, labels = drawing.size, partial(_drawn_labels, path, coding)
            if self._instances and not there & INSTANCES:
                values = drawing.paint()
                labels = partial(_labels_under, values, coding, path)
        else:
            size, labels = mask_size(path), partial(_read_labels, path, coding, source == TRAIN)
        found = None
        if self._instances:
            origin = files.label(index, INSTANCES if there & INSTANCES else POLYGONS)
            if there & INSTANCES:
                values = read_index_png(origin)
            elif there & POLYGONS and values is None:
                values = read_polygons(origin, coding).paint()
            if values is not None:
                if values.shape != size:
                    raise DataError(
                        f"{origin}: is {values.shape[1]}x{values.shape[0]} px, {path.name} is "
                        f"{size[1]}x{size[0]}"
                    )
                found = _instances(values, coding, key, origin)
        return Sample(self.ids[index], image, size, labels if coding.label_maps else None, found)


def _label_source(there: int, coding: Coding) -> int:
    """Which of the files there are gives the label map."""
    usual = (LABELS, TRAIN, POLYGONS) if coding.trained else (LABELS, POLYGONS)
    return next(kind for kind in usual if there & kind)


def _read_labels(path: Path, coding: Coding, trained: bool) -> np.ndarray:
    values = read_index_png(path)
    return coding.decode_train(values, path) if trained else coding.decode(values, path)


def _drawn_labels(path: Path, coding: Coding) -> np.ndarray:
    return _labels_under(read_polygons(path, coding).paint(), coding, path)


def _labels_under(values: np.ndarray, coding: Coding, path: Path) -> np.ndarray:
    return coding.decode(coding.label_ids(values), path)


def _instances(values: np.ndarray, coding: Coding, key: str, path: Path) -> tuple[Instance, ...]:
    """The objects of a picture of instanceIds whose label is a class of the set."""
    kept: list[tuple[int, int, bool]] = []
    for value in occurring(values).tolist():
        label = value // coding.divisor if value >= coding.divisor else value
        if label not in coding.class_of:
            raise DataError(
                f"{path}: holds the value {value}, expected a label's id, or one times "
                f"{coding.divisor} and a number"
            )
        group = coding.is_group(value, key)
        if (value >= coding.divisor or group) and coding.class_of[label] != coding.space.ignore:
            kept.append((value, coding.class_of[label], group))
    masks = Masks.from_labels(values, [value for value, _, _ in kept])
    return tuple(
        Instance.from_masks(class_id, masks[i], id=str(value), crowd=group)
        for i, (value, class_id, group) in enumerate(kept)
    )


# Opening ----------------------------------------------------------------------------------------


def recognise(root: Path) -> str | None:
    """Cityscapes' names of folders."""
    try:
        labels = next(n for n in ("gtFine", "gtCoarse") if (root / n).is_dir())
        return f"{IMAGES}/ beside {labels}/" if (root / IMAGES).is_dir() else None
    except (StopIteration, OSError, ValueError):
        return None


def read(root: Path, options: CityscapesOptions) -> Dataset:
    """Open Cityscapes or a set laid out like it.

    Raises
    ------
    DataError
        a folder is missing, or labels.json or label_colors.txt cannot be read.
    ParameterError
        ``labels`` is said for a set that has classes of its own.
    """
    kind = "gtFine" if options.annotations == "fine" else "gtCoarse"
    for folder in (IMAGES, kind):
        if not (root / folder).is_dir():
            other = "coarse" if kind == "gtFine" else "fine"
            there = (root / f"gt{other.title()}").is_dir()
            hint = f"; set annotations={other} to read the {other} labels" if there else ""
            raise DataError(f"{root}: has no folder {folder}/{hint if folder == kind else ''}")
    coding = _coding(root, options)
    pictures, labels = subfolders(root / IMAGES), subfolders(root / kind)
    problems: list[Problem] = []
    openers = {}
    for split in sorted({*pictures, *labels}, key=_rank):
        if split in pictures and split in labels and any_labels(labels[split], kind):
            files = Files(pictures[split], labels[split], kind)
            openers[split] = partial(_open, files, coding, options, problems, split)
        elif split not in pictures:
            problems.append(_left_out(split, labels[split], "labels without images", "warning"))
        elif split != "train_extra" or kind == "gtCoarse":
            problems.append(_left_out(split, pictures[split], "images without labels", "note"))
    if not openers:
        raise DataError(
            f"{root}: no split has images in {IMAGES}/SPLIT/ and labels in {kind}/SPLIT/"
        )
    return Dataset(root, FORMAT.name, recognise(root) or "", openers, problems)


def _rank(split: str) -> tuple[int, str]:
    return (_ORDER.index(split) if split in _ORDER else len(_ORDER)), split


def _left_out(split: str, folder: Path, what: str, severity: Literal["warning", "note"]) -> Problem:
    return Problem(
        "unlabelled-split",
        severity,
        folder,
        "",
        f"{what}; the split is left out",
        "images and labels",
        split,
    )


def _coding(root: Path, options: CityscapesOptions) -> Coding:
    for name, reader in ((LABELS_FILE, read_labels), (COLOURS_FILE, read_label_colours)):
        if (root / name).is_file():
            if "labels" in options.model_fields_set:
                raise ParameterError(
                    f"labels={options.labels}: this set has classes of its own, in {root / name}"
                )
            return reader(root / name)
    return cityscapes_coding(options.labels)


def _open(
    files: Files, coding: Coding, options: CityscapesOptions, problems: list[Problem], split: str
) -> CityscapesSource:
    found = Problems(split)
    wanted = LABELS | POLYGONS | (TRAIN if coding.trained else 0)
    pair(files, wanted, found)
    if options.instances and coding.objects:
        report_no_objects(files, found)
    problems += found.found
    return CityscapesSource(files, coding, split, options.instances)


FORMAT = Format(
    name="cityscapes",
    summary="Cityscapes: leftImg8bit/ and gtFine/ with labelIds, instanceIds and polygons",
    recognise=recognise,
    open=read,
    options=CityscapesOptions,
    capacity=Capacity(labels=True, instances=True, overlaps=False, crowds=True),
    write=write,
    kind="both",
)
