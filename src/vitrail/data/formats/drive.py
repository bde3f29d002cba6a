"""DRIVE: vessels of the retina, with the field of view of the camera.

https://drive.grand-challenge.org (Staal et al., IEEE TMI 2004, doi:10.1109/TMI.2004.825627):
``training/images/21_training.tif``, ``training/1st_manual/21_manual1.gif`` and
``training/mask/21_training_mask.gif``; ``test`` has ``01_test.tif`` and, where it is given out,
a second person's ``2nd_manual/01_manual2.gif``. ``testing`` and other kinds of pictures are
accepted. Files belong together by the number in front.

Vessels are class 1; outside the field of view nothing is judged, so it is ignored (255).
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Problems
from vitrail.data.formats.folders_layout import is_file, walk
from vitrail.data.formats.folders_masks import mask_size, read_binary
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.sources import IMAGE_SUFFIXES

SPACE = LabelSpace(("background", "vessel"), background=0, ignore=255)
_MANUAL = {1: "1st_manual", 2: "2nd_manual"}
_SPLITS = {"train": ("training", "train"), "test": ("test", "testing")}
_NUMBER = re.compile(r"([0-9]{1,9})_.*")


class DriveOptions(Options):
    """Whose drawing counts."""

    annotator: Literal[1, 2] = Field(
        default=1, description="1st_manual, or 2nd_manual, which only the test split has."
    )


class Drive:
    """One split, in the order of the numbers."""

    space = SPACE

    def __init__(self, images: list[Path], manuals: list[Path], fields: list[Path | None]) -> None:
        self.images, self.manuals, self.fields = images, manuals, fields
        self.ids = [path.stem for path in images]

    def __len__(self) -> int:
        return len(self.images)

    def mask_paths(self, index: int) -> list[Path]:
        """The drawing of one sample, and its field of view."""
        field = self.fields[index]
        return [self.manuals[index], *([] if field is None else [field])]

    def __getitem__(self, index: int) -> Sample:
        manual = self.manuals[index]
        labels = partial(_read_labels, manual, self.fields[index])
        return Sample(self.ids[index], self.images[index], mask_size(manual), labels)


def _read_labels(manual: Path, field: Path | None) -> np.ndarray:
    labels = read_binary(manual).astype(np.uint8)
    if field is None:
        return labels
    inside = read_binary(field)
    if inside.shape != labels.shape:
        raise DataError(
            f"{field}: is {inside.shape[1]}x{inside.shape[0]} px, expected "
            f"{labels.shape[1]}x{labels.shape[0]} like {manual.name}"
        )
    labels[~inside] = SPACE.ignore
    return labels


def _parts(root: Path, manual: str) -> dict[str, Path]:
    """Folders with images and drawings, by split."""
    found: dict[str, Path] = {}
    for split, names in _SPLITS.items():
        for folder in (root / name for name in names):
            if (folder / "images").is_dir() and (folder / manual).is_dir():
                found.setdefault(split, folder)
    return found


def _recognise(root: Path) -> str | None:
    parts = _parts(root, _MANUAL[1])
    if not parts:
        return None
    return " and ".join(f"{path.name}/1st_manual" for path in parts.values()) + " beside images/"


def _open(root: Path, options: DriveOptions) -> Dataset:
    manual = _MANUAL[options.annotator]
    parts = _parts(root, manual)
    if not parts:
        raise DataError(f"{root}: expected training/images/ and training/{manual}/, or test/...")
    problems: list[Problem] = []
    for split, names in _SPLITS.items():
        given = next((root / n for n in names if (root / n / "images").is_dir()), None)
        if given is not None and split not in parts:
            problems.append(
                Problem(
                    "unlabelled-split",
                    "note",
                    given,
                    "",
                    "has images without drawings; it is left out",
                    f"{given.name}/{manual}",
                    split,
                )
            )
    openers = {
        split: partial(_open_split, split, folder, manual, problems)
        for split, folder in parts.items()
    }
    return Dataset(root, "drive", "", openers, problems)


def _open_split(split: str, folder: Path, manual: str, problems: list[Problem]) -> Drive:
    found = Problems(split)
    images, manuals, fields = (
        _by_number(folder / name, found) for name in ("images", manual, "mask")
    )
    kept = sorted(images.keys() & manuals.keys())
    for number in sorted(images.keys() - manuals.keys()):
        found.error(
            "missing-mask",
            images[number],
            images[number].stem,
            "has no drawing",
            f"{manual}/{number:02d}_manual{manual[0]}.gif",
            "add the file, or remove the image",
        )
    for number in sorted(manuals.keys() - images.keys()):
        found.warning(
            "orphan-mask",
            manuals[number],
            manuals[number].stem,
            "a drawing without image",
            f"images/{number:02d}_*",
        )
    for number in kept:
        if number not in fields:
            found.warning(
                "missing-field",
                images[number],
                images[number].stem,
                "has no field of view; all of it is taken as judged",
                f"mask/{images[number].stem}_mask.gif",
            )
    problems += found.found
    return Drive(
        [images[number] for number in kept],
        [manuals[number] for number in kept],
        [fields.get(number) for number in kept],
    )


def _by_number(folder: Path, problems: Problems) -> dict[int, Path]:
    """Pictures of a folder by the number in front of their names."""
    found: dict[int, Path] = {}
    for name in sorted(entry.name for _, entry in walk(folder, 0) if is_file(entry)):
        match = _NUMBER.fullmatch(name)
        if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if match is None or int(match[1]) in found:
            problems.warning(
                "file-name",
                folder,
                "",
                f"{name!a} is left out",
                "a number in front that no other file has, such as 21_training.tif",
            )
            continue
        found[int(match[1])] = folder / name
    return found


FORMAT = Format(
    name="drive",
    summary="DRIVE retina vessels: training/ and test/ with images/, 1st_manual/ and mask/",
    recognise=_recognise,
    open=_open,
    options=DriveOptions,
    capacity=Capacity(labels=True),
    kind="labels",
)
