"""SBD, the Semantic Boundaries Dataset: masks of VOC's classes and objects for 11,355 images.

::

    benchmark_RELEASE/dataset/      (or any folder from above it down to it)
        img/NAME.jpg
        cls/NAME.mat                GTcls.Segmentation: class of each pixel, 0 background
        inst/NAME.mat               GTinst.Segmentation: object of each pixel; GTinst.Categories
        train.txt, val.txt
        train_noval.txt             published later, where it was fetched

Hariharan et al., "Semantic Contours from Inverse Detectors", ICCV 2011;
http://home.bharathh.info/pubs/codes/SBD/download.html. There is no void.

Its images are VOC's, but its splits are not: images of VOC 2012 val are in SBD's train. Who means
to measure on VOC 2012 val trains on ``train_noval`` (``splits=train_noval``), which has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Problems
from vitrail.data.formats.files import header_size
from vitrail.data.formats.voc_coding import CLASSES, SPACE
from vitrail.data.formats.voc_lists import Listing, Names, choose, read_ids
from vitrail.data.formats.voc_mat import read_struct
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.result.masks import Masks, occurring

_SPLITS = ("train", "val", "train_noval")


class SbdOptions(Options):
    """What can be said of SBD."""

    splits: Names | None = Field(
        default=None,
        description="splits to read; by default train and val, which overlap VOC 2012 val. "
        "train_noval does not",
    )
    objects: bool = Field(
        default=True, description="read the objects, where there is a folder inst"
    )


class SbdSource:
    """One split; samples in the order of its list."""

    def __init__(
        self, home: Path, ids: Sequence[str], images: Sequence[str], *, objects: bool
    ) -> None:
        """``images``: paths under ``img``, one for each id."""
        self._home, self.ids, self._images = home, list(ids), list(images)
        self._objects = objects

    @property
    def space(self) -> LabelSpace:
        return SPACE

    def __len__(self) -> int:
        return len(self.ids)

    def mask_paths(self, index: int) -> list[Path]:
        """The ``.mat`` files of a sample, that of the classes first."""
        folders = ("cls", "inst") if self._objects else ("cls",)
        return [self._home / folder / f"{self.ids[index]}.mat" for folder in folders]

    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises
        ------
        DataError, ImageError
            its ``.mat`` of objects, or without objects the image's header, is damaged.
        """
        id = self.ids[index]
        image = self._home / "img" / self._images[index]
        labels = partial(read_classes, self._home / "cls" / f"{id}.mat")
        if not self._objects:
            return Sample(id, image, header_size(image)[0], labels)
        size, instances = read_objects(self._home / "inst" / f"{id}.mat")
        return Sample(id, image, size, labels, instances)


def read_classes(path: Path) -> np.ndarray:
    """``(H, W)`` uint8 class ids of a ``cls`` file.

    Raises
    ------
    DataError
        it is no such file, is damaged, or holds an unknown class.
    """
    labels = _map(read_struct(path, "GTcls", ("Segmentation",)), path)
    if labels.max() >= len(CLASSES):
        y, x = (int(v) for v in np.argwhere(labels >= len(CLASSES))[0])
        raise DataError(
            f"{path}: holds the class {labels[y, x]} (at x={x}, y={y}); expected "
            f"0..{len(CLASSES) - 1}"
        )
    return labels.astype(np.uint8)


def read_objects(path: Path) -> tuple[tuple[int, int], tuple[Instance, ...]]:
    """``(H, W)`` and the objects of an ``inst`` file, by number.

    Raises
    ------
    DataError
        it is no such file, is damaged, or an object has no known category.
    """
    content = read_struct(path, "GTinst", ("Segmentation", "Categories"))
    numbers = _map(content, path)
    categories = content.get("Categories", np.zeros(0)).reshape(-1)
    ids = [number for number in occurring(numbers).tolist() if number]
    classes: list[int] = []
    for number in ids:
        category = float(categories[number - 1]) if number <= len(categories) else None
        if category is None or category not in range(1, len(CLASSES)):
            raise DataError(
                f"{path}: object {number} has the category {category}; expected "
                f"1..{len(CLASSES) - 1}, one for each object"
            )
        classes.append(int(category))
    found = [
        Instance.from_masks(class_id, mask, id=str(number))
        for number, class_id, mask in zip(
            ids, classes, Masks.from_labels(numbers, ids), strict=True
        )
    ]
    return (numbers.shape[0], numbers.shape[1]), tuple(found)


def _map(found: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    """The field Segmentation, ``(H, W)`` integers from 0."""
    if "Segmentation" not in found:
        raise DataError(f"{path}: its struct has no field Segmentation; expected a file of SBD")
    array = found["Segmentation"]
    if array.ndim != 2 or array.dtype.kind not in "ui" or not array.size or array.min() < 0:
        raise DataError(
            f"{path}: Segmentation is {array.dtype} of shape {array.shape}, expected whole numbers "
            "from 0 for each pixel"
        )
    return array


def recognise(root: Path) -> str | None:
    """Folders ``img`` and ``cls`` with ``.mat`` files."""
    home = _home(root)
    if home is None:
        return None
    inside = "" if home == root else f"{home.relative_to(root).as_posix()} has "
    return f"{inside}img beside cls with .mat files"


def _home(root: Path) -> Path | None:
    for home in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset"):
        try:
            if (home / "img").is_dir() and next((home / "cls").glob("*.mat"), None) is not None:
                return home
        except OSError:
            continue
    return None


def read(root: Path, options: SbdOptions) -> Dataset:
    """Open SBD.

    Raises
    ------
    DataError
        folders or lists are missing, or a list cannot be read.
    UnknownNameError
        there is no split of a name asked for.
    """
    home = _home(root)
    if home is None:
        raise DataError(f"{root}: has no folder img beside a folder cls with .mat files")
    lists = {name: home / f"{name}.txt" for name in _SPLITS if (home / f"{name}.txt").is_file()}
    if not lists:
        raise DataError(f"{home}: has none of train.txt, val.txt and train_noval.txt")
    if options.splits is None and "train" in lists:
        lists.pop("train_noval", None)  # its images are those of train
    problems = Problems()
    objects = options.objects and (home / "inst").is_dir()
    listings = (
        Listing(home / "img"),
        Listing(home / "cls", (".mat",)),
        Listing(home / "inst", (".mat",)) if objects else None,
    )
    chosen = choose(lists, options.splits, home)
    openers = {
        name: partial(_open_split, home, path, listings, problems) for name, path in chosen.items()
    }
    return Dataset(root, FORMAT.name, recognise(root) or "", openers, problems.found)


def _open_split(
    home: Path, path: Path, listings: tuple[Listing, Listing, Listing | None], problems: Problems
) -> SbdSource:
    """Pair ids with files; what lacks one is reported and left out."""
    images, classes, objects = listings
    found = Problems(path.stem)
    kept: dict[str, str] = {}
    for id in read_ids(path, found):
        image = images.find(id)
        if image is None:
            missing = home / "img" / f"{id}.jpg"
            found.error("missing-image", missing, id, "no such image", "the image")
        elif classes.find(id) is None:
            missing = home / "cls" / f"{id}.mat"
            found.error("missing-mask", missing, id, "no such file", "its classes")
        elif objects is not None and objects.find(id) is None:
            missing = home / "inst" / f"{id}.mat"
            advice = "the option objects=false reads the classes alone"
            found.error("missing-mask", missing, id, "no such file", "its objects", advice)
        else:
            kept[id] = image
    problems.found.extend(found.found)
    return SbdSource(home, list(kept), list(kept.values()), objects=objects is not None)


FORMAT = Format(
    name="sbd",
    summary="Semantic Boundaries Dataset: VOC's classes and objects in .mat files (train_noval "
    "leaves out VOC 2012 val)",
    recognise=recognise,
    open=read,
    options=SbdOptions,
    capacity=Capacity(labels=True, instances=True, overlaps=False),
    kind="both",
)
