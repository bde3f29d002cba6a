"""What the formats of plain folders share: a source over pairs of files, and opening one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from vitrail.data.formats.base import Dataset, Problems
from vitrail.data.formats.folders_layout import IMAGES, MASKS, Layout, find_layouts
from vitrail.data.formats.folders_look import Kind, look
from vitrail.data.formats.folders_pairs import Pairs, pair
from vitrail.data.formats.folders_space import FolderOptions
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, Sample, SampleSource
from vitrail.errors import DataError


class PairSource(ABC):
    """Images with one mask file each; nothing is read until an item is asked for."""

    def __init__(self, pairs: Pairs, space: LabelSpace) -> None:
        self.pairs = pairs
        self.space = space

    @property
    def ids(self) -> list[str]:
        return self.pairs.ids

    @property
    def images(self) -> list[Path]:
        """The image files."""
        return [self.pairs.image(index) for index in range(len(self))]

    def mask_paths(self, index: int) -> list[Path]:
        """The mask file of one sample."""
        return [self.pairs.mask(index)]

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...


def recognise_kind(kind: Kind, root: Path) -> str | None:
    """Why a folder holds masks of a kind, or None."""
    found = look(root) if root.is_dir() else None
    if found is None:
        return None
    wanted = found.kind == kind or (kind == "index" and found.also_index)
    return found.reason if wanted else None


def layouts_of(root: Path, options: FolderOptions) -> list[Layout]:
    """:func:`find_layouts`; :class:`DataError` where there is none."""
    layouts = find_layouts(root, options)
    if not layouts:
        said = {"images": options.images, "masks": options.masks}
        said = [f"{key}={value!r}" for key, value in said.items() if value]
        hint = f" (looked for {', '.join(said)})" if said else ""
        raise DataError(
            f"{root}: no folder of images beside one of masks{hint}; expected names such as "
            f"{IMAGES[0]}/ and {MASKS[0]}/, or set images=FOLDER and masks=FOLDER"
        )
    return layouts


def open_pairs(
    root: Path,
    format: str,
    layouts: list[Layout],
    options: FolderOptions,
    make: Callable[[Pairs], SampleSource],
    problems: list[Problem],
    *,
    lossless: bool = True,
) -> Dataset:
    """A data set whose splits are made of pairs; what pairing finds is added to ``problems``."""
    openers = {
        layout.split: partial(_open, layout, options, make, problems, lossless)
        for layout in layouts
    }
    return Dataset(root, format, "", openers, problems)


def _open(
    layout: Layout,
    options: FolderOptions,
    make: Callable[[Pairs], SampleSource],
    problems: list[Problem],
    lossless: bool,
) -> SampleSource:
    found = Problems(layout.split)
    pairs = pair(layout, options, found, lossless=lossless)
    if not len(pairs) and not any(problem.severity == "error" for problem in found.found):
        if layout.images == layout.masks:
            raise DataError(
                f"{layout.images}: no image has a mask beside it (NAME.jpg and NAME_mask.png), and "
                f"there are no folders such as {IMAGES[0]}/ and {MASKS[0]}/; set images=FOLDER and "
                "masks=FOLDER, or mask_suffix=..."
            )
        found.warning(
            "empty-split", layout.images, "", "holds no images", "image files", "remove the folder"
        )
    problems += found.found
    return make(pairs)
