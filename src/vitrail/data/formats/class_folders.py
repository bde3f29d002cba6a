"""A folder for each class, each image with a black and white mask of its own name beside.

As the magnetic-tile defects have it (https://github.com/abin24/Magnetic-tile-defect-datasets.,
Huang, Qiu and Yuan 2020): ``MT_Blowhole/Imgs/NAME.jpg`` and ``NAME.png``, or without ``Imgs``.
White pixels are of the folder's class, black ones background. Folders of images without any object
(``MT_Free``) are no class.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Problems
from vitrail.data.formats.folders_layout import IMAGES, MASKS, SPLITS, Layout, subfolders
from vitrail.data.formats.folders_look import peek, spread
from vitrail.data.formats.folders_masks import mask_size, read_binary
from vitrail.data.formats.folders_pairs import Pairs, pair
from vitrail.data.formats.folders_space import FolderOptions, Names
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError

_RULE = FolderOptions(image_suffix="", mask_suffix="")
_FREE = ("Free", "MT_Free")
_MOST = 200
"""Folders above which they are not taken for classes."""


class ClassFolderOptions(Options):
    """Which folders are classes."""

    classes: Names | None = Field(
        default=None, description="The folders to read, in order; by default all, by name."
    )
    free: Names = Field(
        default=_FREE, description="Folders of images without objects; they are no classes."
    )
    threshold: int | None = Field(
        default=None, ge=1, le=255, description="Grey level from which a pixel is the object."
    )


class ClassFolders:
    """All folders' pairs as one split; ids are ``FOLDER/NAME``."""

    def __init__(
        self, parts: Mapping[str, Pairs], space: LabelSpace, threshold: int | None, free: Names
    ) -> None:
        self.space = space
        self._parts = list(parts.values())
        self._class_ids = [0 if name in free else space.classes.index(name) for name in parts]
        self._threshold = threshold
        self._places = [(i, j) for i, pairs in enumerate(self._parts) for j in range(len(pairs))]
        self.ids = [f"{name}/{id}" for name, pairs in parts.items() for id in pairs.ids]

    def __len__(self) -> int:
        return len(self._places)

    def mask_paths(self, index: int) -> list[Path]:
        """The mask file of one sample."""
        part, place = self._places[index]
        return [self._parts[part].mask(place)]

    def __getitem__(self, index: int) -> Sample:
        part, place = self._places[index]
        image, mask = self._parts[part].image(place), self._parts[part].mask(place)
        labels = partial(_read_labels, mask, self._class_ids[part], self._threshold)
        return Sample(self.ids[index], image, mask_size(mask), labels)


def _read_labels(mask: Path, class_id: int, threshold: int | None) -> np.ndarray:
    white = read_binary(mask, threshold)
    if not class_id and white.any():
        raise DataError(
            f"{mask}: has {int(white.sum()):,} white pixels in a folder of images without objects, "
            "expected none; if the folder is a class, set free=OTHER"
        )
    dtype = np.uint8 if class_id < 256 else np.uint16
    return white * dtype(class_id)


def _folders(root: Path) -> dict[str, Path]:
    """Folders that may be classes; the files are in them or in their ``Imgs``."""
    other = {*IMAGES, *MASKS, *SPLITS}
    found = {name: path for name, path in subfolders(root).items() if name.lower() not in other}
    return {
        name: path / "Imgs" if (path / "Imgs").is_dir() else path for name, path in found.items()
    }


def _recognise(root: Path) -> str | None:
    try:
        return _look(root)
    except (DataError, OSError):
        return None


def _look(root: Path) -> str | None:
    folders = _folders(root)
    if not 2 <= len(folders) <= _MOST:
        return None
    seen = 0
    for name, path in folders.items():
        pairs = pair(Layout(name, path, path), _RULE, depth=0)
        if not len(pairs):
            return None
        looks = [peek(mask, False) for mask in spread(pairs, 2)]
        values = {value for one in looks if one is not None for value in one.values}
        if not values <= {0, 255} and not values <= {0, 1}:
            return None
        seen += len(looks)
    names = ", ".join(list(folders)[:6])
    return f"folders {names} with NAME.jpg and black and white NAME.png ({seen} looked at)"


def _open(root: Path, options: ClassFolderOptions) -> Dataset:
    folders = _folders(root)
    if options.classes is not None:
        if unknown := [name for name in options.classes if name not in folders]:
            raise DataError(
                f"{root}: has no folder {unknown[0]!r}, expected one of {', '.join(folders)}"
            )
        free = {name: path for name, path in folders.items() if name in options.free}
        folders = {name: folders[name] for name in options.classes} | free
    if not folders:
        raise DataError(f"{root}: has no folders, expected one for each class")
    problems: list[Problem] = []
    opener = partial(_open_all, folders, options, problems)
    return Dataset(root, "class-folders", "", {"all": opener}, problems)


def _open_all(
    folders: Mapping[str, Path], options: ClassFolderOptions, problems: list[Problem]
) -> ClassFolders:
    found = Problems("all")
    parts = {
        name: pair(Layout(name, path, path), _RULE, found, depth=0)
        for name, path in folders.items()
    }
    things = tuple(name for name in folders if name not in options.free)
    problems += found.found
    if not any(map(len, parts.values())) and not problems:
        raise DataError(f"{next(iter(folders.values()))}: holds no pairs of NAME.jpg and NAME.png")
    space = LabelSpace(("background", *things), 0, 255 if len(things) < 255 else 65535)
    return ClassFolders(parts, space, options.threshold, options.free)


FORMAT = Format(
    name="class-folders",
    summary="CLASS/NAME.jpg with CLASS/NAME.png in black and white (magnetic-tile defects)",
    recognise=_recognise,
    open=_open,
    options=ClassFolderOptions,
    capacity=Capacity(labels=True),
    kind="labels",
)
