"""The files of Cityscapes: which labels belong to which image, and ids from names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from vitrail.data.formats.base import Problems
from vitrail.data.formats.files import IMAGE_SUFFIXES
from vitrail.data.formats.folders_layout import is_file, subfolders

IMAGES = "leftImg8bit"
KINDS = {
    "labelIds.png": 1,
    "labelTrainIds.png": 2,
    "instanceIds.png": 4,
    "polygons.json": 8,
    "color.png": 16,
}
LABELS, TRAIN, INSTANCES, POLYGONS, COLOURS = KINDS.values()
NO_CITY = "default"
"""The folder of images whose ids have none."""

_TAIL = re.compile(f"_{IMAGES}$")


def city_of(folder: str) -> str:
    """The one folder that stands for those of an id; :func:`sample_id` undoes it."""
    if not folder:
        return NO_CITY
    folder = folder.replace("%", "%25").replace("/", "%2F")
    # A folder of NO_CITY's name, and hidden ones, would not be read as what they are.
    reserved = folder == NO_CITY or folder.startswith(".")
    return f"%{ord(folder[0]):02X}{folder[1:]}" if reserved else folder


def sample_id(city: str, name: str) -> str:
    """``CITY/NAME``, or what it was before the writer made a folder of it."""
    stem = _TAIL.sub("", Path(name).stem)
    return stem if city in ("", NO_CITY) else f"{unquote(city)}/{stem}"


@dataclass
class Files:
    """One split's files: names only."""

    images: Path
    labels: Path
    kind: str
    """``gtFine`` or ``gtCoarse``."""
    cities: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Of the images."""
    there: bytearray = field(default_factory=bytearray)
    """Which label files there are: a sum of the numbers in KINDS."""

    def ids(self) -> list[str]:
        return [sample_id(*pair) for pair in zip(self.cities, self.names, strict=True)]

    def image(self, index: int) -> Path:
        return self.images / self.cities[index] / self.names[index]

    def label(self, index: int, kind: int) -> Path:
        ending = next(ending for ending, number in KINDS.items() if number == kind)
        stem = _TAIL.sub("", Path(self.names[index]).stem)
        return self.labels / self.cities[index] / f"{stem}_{self.kind}_{ending}"


def any_labels(folder: Path, kind: str) -> bool:
    """Whether a split has any label file; what challenges keep to themselves has none."""
    cities = (folder / city for city in ("", *subfolders(folder)))
    return any(_label_files(city, kind) for city in cities)


def pair(files: Files, wanted: int, found: Problems) -> None:
    """Add the images of a split that have label files; ``wanted``: one of these kinds is needed.

    Images without labels, labels without image, odd and double names are reported and left out.
    """
    images, labels, kind = files.images, files.labels, files.kind
    cities = ["", *subfolders(images)]
    for city in cities:
        there = _label_files(labels / city, kind)
        for name in _names(images / city, found):
            stem = _TAIL.sub("", Path(name).stem)
            kinds = there.pop(stem, 0)
            if kinds & wanted:
                files.cities.append(city)
                files.names.append(name)
                files.there.append(kinds)
            else:
                found.error(
                    "missing-mask",
                    labels / city / f"{stem}_{kind}_labelIds.png",
                    sample_id(city, name),
                    "the image has no label file",
                    "labelIds or polygons",
                    "restore it, or move the image out of the folder",
                )
        _report_orphans(found, labels / city, kind, there)
    for city in sorted(subfolders(labels).keys() - set(cities)):
        _report_orphans(found, labels / city, kind, _label_files(labels / city, kind))
    if not files.names and not found.found:
        found.warning("empty-split", images, "", "holds no images", "CITY/NAME_leftImg8bit.png")


def _names(folder: Path, problems: Problems) -> list[str]:
    """Images of a city, sorted; one of several that differ in the suffix only is taken."""
    names: dict[str, str] = {}
    for name in _listed(folder):
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 a Path for each file takes long
        if suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if not _TAIL.search(stem):
            problems.warning(
                "file-name",
                folder / name,
                "",
                "is left out for its name",
                f"NAME_{IMAGES}{suffix}",
                "rename it, or remove it",
            )
        elif stem in names:
            problems.error(
                "duplicate-id",
                folder / name,
                stem,
                f"another image of the same name as {names[stem]}",
                "one image of a name",
                "remove one of the two",
            )
        else:
            names[stem] = name
    return list(names.values())


def _listed(folder: Path) -> Sequence[str]:
    """Names of the files of a folder, sorted; none where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and is_file(e))
    except OSError:
        return ()


def _label_files(folder: Path, kind: str) -> dict[str, int]:
    """Which label files there are of each image of a city."""
    found: dict[str, int] = {}
    for name in _listed(folder):
        stem, mark, ending = name.rpartition(f"_{kind}_")
        if mark and ending in KINDS:
            found[stem] = found.get(stem, 0) | KINDS[ending]
    return found


def _report_orphans(problems: Problems, folder: Path, kind: str, left: dict[str, int]) -> None:
    for stem, kinds in left.items():
        ending = next(ending for ending, number in KINDS.items() if kinds & number)
        problems.error(
            "missing-image",
            folder / f"{stem}_{kind}_{ending}",
            stem,
            "labels without their image",
            f"{stem}_{IMAGES}.png",
            "restore the image, or remove the labels",
        )


def report_no_objects(files: Files, problems: Problems) -> None:
    """Say so where some images have objects and others have no file that could tell of any."""
    lacking = [i for i, kinds in enumerate(files.there) if not kinds & (INSTANCES | POLYGONS)]
    if 0 < len(lacking) < len(files.there):
        problems.warning(
            "missing-annotation",
            files.label(lacking[0], INSTANCES),
            files.names[lacking[0]],
            f"{len(lacking)} of {len(files.there)} images have no objects",
            "instanceIds or polygons",
            "set instances=false to read the label maps alone",
        )
