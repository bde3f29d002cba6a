"""The Penn-Fudan pedestrians: ``PNGImages/``, ``PedMasks/`` and ``Annotation/``.

https://www.cis.upenn.edu/~jshi/ped_html/ (Wang, Shi, Song and Shen, ACCV 2007). A mask
``NAME_mask.png`` numbers the people from 1; ``Annotation/NAME.txt`` has their boxes in the style
of PASCAL annotation version 1.00, in whole pixels that count from 1, both ends included.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from vitrail.data.formats.base import Capacity, Dataset, Format, Options
from vitrail.data.formats.files import read_text
from vitrail.data.formats.folders_layout import Layout
from vitrail.data.formats.folders_source import open_pairs
from vitrail.data.formats.folders_space import FolderOptions
from vitrail.data.formats.instance_ids import InstanceIds, Notes
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError

IMAGES, MASKS, BOXES = "PNGImages", "PedMasks", "Annotation"
_MAX_BYTES = 1 << 20

_LINE = re.compile(
    r'Bounding box for object (\d{1,9}) "([^"]*)" \(Xmin, Ymin\) - \(Xmax, Ymax\) : '
    r"\((-?\d{1,9}), *(-?\d{1,9})\) - \((-?\d{1,9}), *(-?\d{1,9})\)\s*"
)


def _recognise(root: Path) -> str | None:
    there = (root / IMAGES).is_dir() and (root / MASKS).is_dir()
    return f"has {IMAGES}/ and {MASKS}/" if there else None


def _open(root: Path, options: Options) -> Dataset:
    for name in (IMAGES, MASKS):
        if not (root / name).is_dir():
            raise DataError(f"{root / name}: no such folder; Penn-Fudan has {IMAGES} and {MASKS}")
    boxes = root / BOXES
    notes = partial(_read_notes, boxes) if boxes.is_dir() else None
    make = partial(InstanceIds, LabelSpace(("person",)), notes=notes)
    layouts = [Layout("all", root / IMAGES, root / MASKS)]
    return open_pairs(root, "pennfudan", layouts, FolderOptions(mask_suffix="_mask"), make, [])


def _read_notes(folder: Path, mask: Path) -> Notes:
    """Boxes and labels (``PASpersonWalking``) of the people in one image.

    Raises
    ------
    DataError
        a line of a box is not as it should be.
    """
    path = folder / (mask.stem.removesuffix("_mask") + ".txt")
    if not path.is_file():
        return {}
    notes: Notes = {}
    for number, line in enumerate(read_text(path, _MAX_BYTES).splitlines(), 1):
        if not line.startswith("Bounding box"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(
                f"{path}: line {number} is {line[:100]!r}, expected 'Bounding box for object 1 "
                '"PASpersonWalking" (Xmin, Ymin) - (Xmax, Ymax) : (160, 182) - (302, 431)\''
            )
        x1, y1, x2, y2 = (int(value) for value in match.groups()[2:])
        notes[match[1]] = {
            "box": (float(x1 - 1), float(y1 - 1), float(x2), float(y2)),
            "attributes": {"label": match[2]},
        }
    return notes


FORMAT = Format(
    name="pennfudan",
    summary="Penn-Fudan pedestrians: PNGImages/, PedMasks/NAME_mask.png, Annotation/",
    recognise=_recognise,
    open=_open,
    capacity=Capacity(instances=True, overlaps=False),
    kind="instances",
)
