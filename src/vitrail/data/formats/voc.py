"""PASCAL VOC 2012 and sets laid out like it: palette PNGs of classes and of objects, XML, lists.

::

    VOCdevkit/VOC2012/                      (or any folder from above it down to it)
        JPEGImages/NAME.jpg
        SegmentationClass/NAME.png          0 background, 1..20 classes, 255 void
        SegmentationObject/NAME.png         0 background, 1..n objects, 255 void
        Annotations/NAME.xml                boxes and attributes of objects
        ImageSets/Segmentation/{train,val,trainval}.txt
        labelmap.txt                        classes, where they are others (CVAT, Datumaro)

Development kit: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/. Void (borders between objects,
and things too hard to tell) belongs to no class and no object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from vitrail.data.formats.base import Capacity, Dataset, Format, Options, Problems
from vitrail.data.formats.voc_coding import (
    PALETTE,
    SPACE,
    VOID,
    Coding,
    is_coloured,
    read_labelmap,
)
from vitrail.data.formats.voc_lists import Listing, Names
from vitrail.data.formats.voc_source import Layout, VocSource
from vitrail.data.formats.voc_splits import LISTS, read_splits
from vitrail.data.formats.voc_write import write
from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ParameterError

_PROBED = 16
"""Masks of a split whose header is read, to tell of colours."""


class VocOptions(Options):
    """What can be said of a set laid out like PASCAL VOC."""

    void: Literal["ignore", "class"] = Field(
        default="ignore",
        description="void is ignored, or a class of its own after the others (21 for VOC's)",
    )
    splits: Names | None = Field(
        None, description="splits to read; by default all but a trainval that only repeats them"
    )
    parts: dict[str, int] | None = Field(
        default=None,
        description="divide trainval anew: images by split, such as "
        "{train: 2164, val: 449, test: 300}; drawn with seed",
    )
    seed: int = Field(default=0, description="of the draw that parts asks for")
    classes: Names | None = Field(
        None, description="names by pixel value, background first; by default labelmap.txt or VOC's"
    )
    class_masks: str = Field(
        default="SegmentationClass",
        description="folder of the class masks, such as SegmentationClassAug",
    )
    objects: bool = Field(
        default=True, description="read SegmentationObject and the XML, where there are"
    )
    year: int | None = Field(default=None, description="which VOC of a devkit that holds several")

    @field_validator("classes")
    @classmethod
    def _distinct(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and (len(set(names)) < len(names) or not 1 <= len(names) <= VOID):
            raise ValueError(f"expected 1 to {VOID} different names")
        return names

    @field_validator("class_masks")
    @classmethod
    def _one_folder(cls, name: str) -> str:
        if Path(name).name != name or not name or "\\" in name:
            raise ValueError("expected the name of a folder beside JPEGImages")
        return name


def recognise(root: Path) -> str | None:
    """VOC's names of folders; a devkit is looked into."""
    homes = _homes(root, "SegmentationClass")
    if not homes:
        return None
    inside = "" if homes[0] == root else f"{homes[0].relative_to(root).as_posix()} has "
    beside = "JPEGImages" if (homes[0] / "JPEGImages").is_dir() else "ImageSets"
    return f"{inside}SegmentationClass beside {beside}"


def _homes(root: Path, class_masks: str) -> list[Path]:
    """Folders that hold the class masks: the root, or those a devkit has in it, the newest last."""
    places = [root, root / "VOCdevkit", root / "TrainVal" / "VOCdevkit"]
    try:
        years = [year for place in places for year in sorted(place.glob("VOC[0-9]*"))]
        return [
            place
            for place in (*places, *years)
            if (place / class_masks).is_dir()
            and any((place / other).is_dir() for other in ("JPEGImages", "ImageSets"))
        ]
    except OSError:
        return []


def _home(root: Path, options: VocOptions) -> Path:
    homes = _homes(root, options.class_masks)
    if options.year is not None:
        homes = [home for home in homes if home.name == f"VOC{options.year}"]
    if not homes:
        year = "" if options.year is None else f"VOC{options.year}/"
        raise DataError(f"{root}: has no {year}{options.class_masks} beside JPEGImages")
    if len(homes) > 1:
        raise DataError(
            f"{root}: holds {', '.join(home.name for home in homes)}; name one of these folders, "
            "or say which with the option year"
        )
    if not (homes[0] / "JPEGImages").is_dir():
        raise DataError(
            f"{homes[0]}: has no JPEGImages; exports without images cannot be read, export the "
            "set with its images"
        )
    return homes[0]


def read(root: Path, options: VocOptions) -> Dataset:
    """Open a set laid out like VOC 2012.

    Raises
    ------
    DataError
        folders or lists are missing, or a list or labelmap.txt cannot be read.
    ParameterError, UnknownNameError
        an option does not fit the set.
    """
    home, problems = _home(root, options), Problems()
    space = _space(home, options)
    coding = Coding(space.colours or PALETTE[: len(space.classes)])
    if options.void == "class":
        space, coding = _with_void_class(space, coding)
    objects = options.objects and (home / "SegmentationObject").is_dir()
    layout = Layout(home, options.class_masks, space, coding, objects)
    masks = Listing(home / options.class_masks, (".png",))
    splits = read_splits(
        home, masks, problems, splits=options.splits, parts=options.parts, seed=options.seed
    )
    shared = (Listing(home / "JPEGImages"), masks, Listing(home / "SegmentationObject", (".png",)))
    notes = Listing(home / "Annotations", (".xml",))
    openers = {
        name: partial(_open_split, layout, name, ids, (*shared, notes), problems)
        for name, ids in splits.items()
    }
    return Dataset(root, FORMAT.name, recognise(root) or "", openers, problems.found)


def _space(home: Path, options: VocOptions) -> LabelSpace:
    if options.classes is not None:
        return LabelSpace(options.classes, 0, VOID, None, PALETTE[: len(options.classes)])
    labelmap = home / "labelmap.txt"
    return read_labelmap(labelmap) if labelmap.is_file() else SPACE


def _with_void_class(space: LabelSpace, coding: Coding) -> tuple[LabelSpace, Coding]:
    """Void as one more class, as tutorials code it that need ids without gaps."""
    void = len(space.classes)
    if void >= VOID:
        raise ParameterError(f"void=class: {void} classes leave no id for void")
    name = "void" if "void" not in space.classes else "(void)"
    # The colour of its own id: that of 255 means "ignored" to whoever reads it again.
    colour = next(
        one for one in (*PALETTE[void:VOID], *PALETTE[:void]) if one not in coding.colours
    )
    colours = (*coding.colours, colour)
    made = replace(space, classes=(*space.classes, name), colours=colours)
    return made, Coding(colours, void)


def _open_split(
    layout: Layout,
    name: str,
    ids: Sequence[str],
    listings: tuple[Listing, Listing, Listing, Listing],
    problems: Problems,
) -> VocSource:
    """Pair ids with files; what lacks one is reported and left out."""
    images, masks, objects, notes = listings
    found = Problems(name)
    kept: dict[str, str] = {}
    for id in ids:
        image = images.find(id)
        if image is None:
            found.error(
                "missing-image", images.root / f"{id}.jpg", id, "no such image", "the image"
            )
        elif masks.find(id) is None:
            found.error(
                "missing-mask", layout.mask(id), id, "no such mask", "the mask of its classes"
            )
        elif layout.objects and objects.find(id) is None:
            found.error(
                "missing-mask",
                layout.object_mask(id),
                id,
                "no such mask",
                "the mask of its objects",
                "the option objects=false reads the classes alone",
            )
        else:
            kept[id] = image
    if not ids:
        path = layout.home / LISTS / f"{name}.txt"
        found.warning("empty-split", path, "", "lists no images", "ids of images")
    _report_coloured(layout, list(kept), found)
    silent = [id for id in kept if notes.find(id) is None] if layout.objects else []
    if 0 < len(silent) < len(kept):
        found.warning(
            "missing-annotation",
            notes.root / f"{silent[0]}.xml",
            silent[0],
            f"{len(silent)} of {len(kept)} images have no XML",
            "boxes and attributes of their objects",
        )
    problems.found.extend(found.found)
    return VocSource(layout, list(kept), list(kept.values()))


def _report_coloured(layout: Layout, ids: Sequence[str], found: Problems) -> None:
    """Say so where masks are read by colour; some of the split's are looked at."""
    probed = ids[:: max(1, len(ids) // _PROBED)]
    if coloured := [id for id in probed if is_coloured(layout.mask(id))]:
        value = f"{len(coloured)} of {len(probed)} masks looked at store colours"
        expected = "palette indices"
        advice = "they are decoded by the classes' colours; `vitrail data convert` writes palettes"
        path = layout.mask(coloured[0])
        found.found.append(
            Problem(
                "coloured-mask", "note", path, coloured[0], value, expected, found.split, advice
            )
        )


FORMAT = Format(
    name="voc",
    summary="PASCAL VOC: palette PNGs of classes and objects, XML boxes, lists of ids; CVAT's too",
    recognise=recognise,
    open=read,
    options=VocOptions,
    capacity=Capacity(labels=True, instances=True, boxes=True, overlaps=False),
    write=write,
    kind="both",
)
