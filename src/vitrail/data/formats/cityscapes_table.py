"""Tables of labels of sets laid out like Cityscapes whose classes are others.

``labels.json``, which vitrail writes, has the columns of cityscapesScripts; ``label_colors.txt`` is
what Datumaro and CVAT export.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from vitrail.data.formats.cityscapes_labels import DIVISOR, Coding, Label, ranges
from vitrail.data.formats.files import read_json
from vitrail.data.formats.folders_classes import Entry, read_classes
from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError

LABELS_FILE = "labels.json"
COLOURS_FILE = "label_colors.txt"

_Id = Annotated[int, Field(ge=-1, le=65535)]
_Level = Annotated[int, Field(ge=0, le=255)]


class _Entry(BaseModel):
    name: str = Field(min_length=1)
    id: _Id
    trainId: _Id  # noqa: N815
    category: str = ""
    categoryId: int = 0  # noqa: N815
    hasInstances: bool = False  # noqa: N815
    ignoreInEval: bool = False  # noqa: N815
    color: tuple[_Level, _Level, _Level] = (0, 0, 0)


class _File(BaseModel):
    labels: list[_Entry] = Field(min_length=1)
    background: int | None = None
    ignore: Annotated[int, Field(ge=0, le=65535)] = 255
    originalIds: list[int] | None = None  # noqa: N815
    ownColours: bool = True  # noqa: N815
    instanceDivisor: Annotated[int, Field(ge=1, le=65535)] = DIVISOR  # noqa: N815
    labelMaps: bool = True  # noqa: N815
    groups: dict[str, tuple[int, ...]] | None = None


def read_labels(path: Path) -> Coding:
    """The coding that a ``labels.json`` describes.

    ``labels`` is a table in the terms of cityscapesScripts; a class of the set is a ``trainId``,
    named by the first label that has it. ``background``, ``ignore``, ``originalIds``,
    ``ownColours``, ``instanceDivisor``, ``labelMaps`` and ``groups`` may be left out.

    Raises
    ------
    DataError
        it cannot be read, lacks a key, or its ids have gaps or are used twice.
    """
    try:
        file = _File.model_validate(read_json(path))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "file"
        raise DataError(f"{path}: {place}: {fault['msg']}, got {fault['input']!r:.80}") from None
    rows = [
        Label(*(getattr(entry, name) for name in type(entry).model_fields)) for entry in file.labels
    ]
    firsts: dict[int, Label] = {}
    for row in rows:
        if row.train_id not in (-1, file.ignore):
            firsts.setdefault(row.train_id, row)
    names: Counter[str | int] = Counter(row.name for row in rows)
    for value, count in (names + Counter(row.id for row in rows if row.id >= 0)).items():
        if count > 1:
            what = "name" if isinstance(value, str) else "id"
            raise DataError(f"{path}: two labels have the {what} {value!r}; expected it once")
    if not firsts or sorted(firsts) != list(range(len(firsts))):
        raise DataError(
            f"{path}: the trainIds are {ranges(sorted(firsts)) or 'all ignored'}; expected "
            f"0, 1, 2 ... without gaps, and {file.ignore} for what is ignored"
        )
    if file.background is not None and file.background not in firsts:
        raise DataError(f"{path}: background is {file.background}, expected a trainId")
    kept = [firsts[i] for i in range(len(firsts))]
    if file.originalIds is not None and len(file.originalIds) != len(kept):
        raise DataError(
            f"{path}: originalIds has {len(file.originalIds)} numbers, expected {len(kept)}"
        )
    space = LabelSpace(
        tuple(row.name for row in kept),
        file.background,
        file.ignore,
        None if file.originalIds is None else tuple(file.originalIds),
        tuple(row.colour for row in kept) if file.ownColours else None,
    )
    classes = {row.id: file.ignore if row.train_id < 0 else row.train_id for row in rows}
    classes.pop(-1, None)
    return Coding(
        tuple(rows),
        space,
        classes,
        divisor=file.instanceDivisor,
        label_maps=file.labelMaps,
        groups=file.groups,
    )


def labels_text(coding: Coding) -> str:
    """The ``labels.json`` of a coding whose classes are the labels' train ids."""
    space = coding.space
    head = {
        "background": space.background,
        "ignore": space.ignore,
        "originalIds": space.original_ids,
        "ownColours": space.colours is not None,
        "instanceDivisor": coding.divisor,
        "labelMaps": coding.label_maps,
        "groups": coding.groups,
    }
    rows = (json.dumps(dict(zip(_Entry.model_fields, one, strict=True))) for one in coding.labels)
    table = ",\n  ".join(rows)
    return json.dumps(head, indent=1)[:-2] + f',\n "labels": [\n  {table}\n ]\n}}\n'


def read_label_colours(path: Path) -> Coding:
    """The coding of a ``label_colors.txt``, as Datumaro and CVAT export sets in this layout.

    The label ids are places in the list; a black class goes first, or else a background that the
    list does not name: Datumaro counts so.

    Raises
    ------
    DataError
        it cannot be read, or a line has no colour.
    """
    entries = list(read_classes(path).entries)
    if any(entry.colour is None for entry in entries):
        raise DataError(f"{path}: a line has no colour, expected `red green blue name`")
    black = next((entry for entry in entries if entry.colour == (0, 0, 0)), None)
    if black is not None:
        entries.remove(black)
    else:
        taken = any(entry.name == "background" for entry in entries)
        black = Entry("(background)" if taken else "background", colour=(0, 0, 0))
    entries.insert(0, black)
    rows = tuple(
        Label(entry.name, i, i, "", 0, False, False, entry.colour or (0, 0, 0))
        for i, entry in enumerate(entries)
    )
    space = LabelSpace(
        tuple(row.name for row in rows),
        0,
        255 if len(rows) <= 255 else 65535,
        colours=tuple(row.colour for row in rows),
    )
    return Coding(rows, space, {i: i for i in (*range(len(rows)), space.ignore)})
