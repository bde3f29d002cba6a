"""Oxford-IIIT Pet: photographs of cats and dogs of 37 breeds, with trimaps.

::

    oxford-iiit-pet/                (or the folder it lies in)
        images/NAME.jpg
        annotations/trimaps/NAME.png            1 pet, 2 background, 3 border (not classified)
        annotations/{trainval,test,list}.txt    NAME CLASS-ID SPECIES BREED-ID a line

CLASS-ID 1..37 is the breed, SPECIES 1 cat or 2 dog. Parkhi et al., "Cats and Dogs", CVPR 2012;
https://www.robots.ox.ac.uk/~vgg/data/pets/. Names tell the breed: ``Abyssinian_100``.

The archives hold strays: ``._NAME.png`` beside the trimaps and ``.mat`` files beside the images.
Nothing is read but what a list names. Some ``.jpg`` are GIF, PNG or CMYK inside; they are read by
their content.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from vitrail.data.formats.base import Dataset, Format, Options, Problems
from vitrail.data.formats.files import header_size, inside
from vitrail.data.formats.voc_coding import read_mask
from vitrail.data.formats.voc_lists import Listing, Names, choose, read_lines
from vitrail.data.sample import LabelSpace, Sample
from vitrail.errors import DataError

BREEDS = (
    *("Abyssinian", "American Bulldog", "American Pit Bull Terrier", "Basset Hound", "Beagle"),
    *("Bengal", "Birman", "Bombay", "Boxer", "British Shorthair", "Chihuahua", "Egyptian Mau"),
    *("English Cocker Spaniel", "English Setter", "German Shorthaired", "Great Pyrenees"),
    *("Havanese", "Japanese Chin", "Keeshond", "Leonberger", "Maine Coon", "Miniature Pinscher"),
    *("Newfoundland", "Persian", "Pomeranian", "Pug", "Ragdoll", "Russian Blue", "Saint Bernard"),
    *("Samoyed", "Scottish Terrier", "Shiba Inu", "Siamese", "Sphynx"),
    *("Staffordshire Bull Terrier", "Wheaten Terrier", "Yorkshire Terrier"),
)
"""By CLASS-ID, from 1."""

_CATS = frozenset({1, 6, 7, 8, 10, 12, 21, 24, 27, 28, 33, 34})
"""CLASS-IDs of the twelve breeds of cats."""

SPACES = {
    "trimap": LabelSpace(("pet", "background", "border"), 1, 255, (1, 2, 3)),
    "species": LabelSpace(("background", "cat", "dog"), 0, 255),
    "breed": LabelSpace(("background", *BREEDS), 0, 255),
}


class PetOptions(Options):
    """What can be said of Oxford-IIIT Pet."""

    task: Literal["trimap", "species", "breed"] = Field(
        default="trimap",
        description="classes: pet, background and border (the trimap less 1); background, cat and "
        "dog; or background and the 37 breeds",
    )
    border: Literal["ignore", "foreground"] = Field(
        default="ignore",
        description="what the border is to species and breed: ignored, or part of the animal",
    )
    splits: Names | None = Field(default=None, description="splits to read: trainval, test")


class PetSource:
    """One split; samples in the order of its list."""

    def __init__(
        self, home: Path, names: Sequence[str], classes: Sequence[int], options: PetOptions
    ) -> None:
        """``classes``: the animal's class id, one for each name (not used for trimaps)."""
        self._home, self.ids, self._options = home, list(names), options
        self._classes = bytes(classes)

    @property
    def space(self) -> LabelSpace:
        return SPACES[self._options.task]

    def __len__(self) -> int:
        return len(self.ids)

    def mask_paths(self, index: int) -> list[Path]:
        """The trimap of a sample."""
        return [self._home / "annotations" / "trimaps" / f"{self.ids[index]}.png"]

    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises
        ------
        ImageError
            the header of its trimap is damaged.
        """
        name, (trimap,) = self.ids[index], self.mask_paths(index)
        animal = self._classes[index]
        values = (0, 1, 2)
        if self._options.task != "trimap":
            values = (animal, 0, animal if self._options.border == "foreground" else 255)
        image = self._home / "images" / f"{name}.jpg"
        return Sample(name, image, header_size(trimap)[0], partial(_read, trimap, values))


def _read(path: Path, values: tuple[int, int, int]) -> np.ndarray:
    """A trimap with its 1, 2 and 3 replaced; DataError where it holds anything else."""
    pixels, _ = read_mask(path)
    if pixels.ndim != 2:
        raise DataError(f"{path}: stores colours; a trimap has one value a pixel, 1, 2 or 3")
    wrong = (pixels < 1) | (pixels > 3)
    if wrong.any():
        y, x = (int(v) for v in np.argwhere(wrong)[0])
        raise DataError(
            f"{path}: holds the value {pixels[y, x]} (at x={x}, y={y}); expected a trimap: 1 pet, "
            "2 background, 3 border"
        )
    return np.array((0, *values), np.uint8)[pixels]


def recognise(root: Path) -> str | None:
    """``annotations/trimaps`` beside ``images``."""
    home = _home(root)
    return None if home is None else "annotations/trimaps beside images"


def _home(root: Path) -> Path | None:
    for home in (root, root / "oxford-iiit-pet"):
        try:
            if (home / "annotations" / "trimaps").is_dir() and (home / "images").is_dir():
                return home
        except OSError:
            continue
    return None


def read(root: Path, options: PetOptions) -> Dataset:
    """Open Oxford-IIIT Pet.

    Raises
    ------
    DataError
        folders or lists are missing.
    UnknownNameError
        there is no split of a name asked for.
    """
    home = _home(root)
    if home is None:
        raise DataError(f"{root}: has no annotations/trimaps beside images")
    folder = home / "annotations"
    lists = {name: folder / f"{name}.txt" for name in ("trainval", "test")}
    lists = {name: path for name, path in lists.items() if path.is_file()}
    if not lists and (folder / "list.txt").is_file():
        lists = {"all": folder / "list.txt"}
    if not lists:
        raise DataError(f"{folder}: has none of trainval.txt, test.txt and list.txt")
    problems = Problems()
    listings = Listing(home / "images", (".jpg",)), Listing(folder / "trimaps", (".png",))
    chosen = choose(lists, options.splits, folder)
    openers = {
        name: partial(_open_split, home, name, path, options, listings, problems)
        for name, path in chosen.items()
    }
    return Dataset(root, FORMAT.name, recognise(root) or "", openers, problems.found)


def _open_split(
    home: Path,
    split: str,
    path: Path,
    options: PetOptions,
    listings: tuple[Listing, Listing],
    problems: Problems,
) -> PetSource:
    """Read a list and pair its names with files; what does not fit is reported and left out."""
    images, trimaps = listings
    found = Problems(split)
    kept: dict[str, int] = {}
    for line in read_lines(path):
        if line.startswith("#"):
            continue
        parsed = _parse(line, path, found)
        if parsed is None:
            continue
        name, breed = parsed
        if name in kept:
            found.warning("duplicate-id", path, name, "listed twice", "each image once")
        elif images.find(name) is None:
            missing = images.root / f"{name}.jpg"
            found.error("missing-image", missing, name, "no such image", "the image")
        elif trimaps.find(name) is None:
            missing = trimaps.root / f"{name}.png"
            found.error("missing-mask", missing, name, "no such trimap", "its trimap")
        else:
            kept[name] = breed if options.task == "breed" else 1 if breed in _CATS else 2
    problems.found.extend(found.found)
    return PetSource(home, list(kept), list(kept.values()), options)


def _parse(line: str, path: Path, found: Problems) -> tuple[str, int] | None:
    """Name and CLASS-ID of a line; None, and a report, where it is not as published."""
    fields = line.split()
    wanted = "NAME CLASS-ID SPECIES BREED-ID"
    if len(fields) != 4 or not all(re.fullmatch("[0-9]{1,9}", field) for field in fields[1:3]):
        found.error("malformed-line", path, fields[0], repr(line), wanted)
        return None
    name, breed, species = fields[0], int(fields[1]), int(fields[2])
    try:
        inside(Path(), name)
    except DataError:
        found.error("unsafe-name", path, name, "leads out of the data set", "the name of an image")
        return None
    if not 1 <= breed <= len(BREEDS):
        found.error("unknown-category", path, name, f"CLASS-ID {breed}", f"1..{len(BREEDS)}")
        return None
    if species != (1 if breed in _CATS else 2):
        value = f"SPECIES {species} for CLASS-ID {breed} ({BREEDS[breed - 1]})"
        expected = "1 for the breeds of cats, 2 for those of dogs"
        found.error("unknown-category", path, name, value, expected)
        return None
    called = name.rsplit("_", 1)[0].replace("_", " ").lower()
    if called != BREEDS[breed - 1].lower() and called in {one.lower() for one in BREEDS}:
        value = f"CLASS-ID {breed} is {BREEDS[breed - 1]}"
        found.error("unknown-category", path, name, value, "the breed that the name tells")
        return None
    return name, breed


FORMAT = Format(
    name="pet",
    summary="Oxford-IIIT Pet: trimaps of 37 breeds of cats and dogs, official splits",
    recognise=recognise,
    open=read,
    options=PetOptions,
    kind="labels",
)
