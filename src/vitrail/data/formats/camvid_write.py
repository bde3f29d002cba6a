"""Write label maps as the SegNet tutorial has CamVid."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from vitrail.atomic import make_folder
from vitrail.data.formats.base import Options, Splits
from vitrail.data.formats.camvid_classes import COLOURS_FILE, SPACE_11, colours_text
from vitrail.data.formats.files import inside, write_png
from vitrail.data.formats.folders_write import (
    as_label_maps,
    checked,
    class_colours,
    shared_space,
)
from vitrail.data.formats.writing import check_names, place_image, samples, write_text
from vitrail.errors import DataError


class CamVidWriteOptions(Options):
    """How masks are written."""

    masks: Literal["index", "colour"] = Field(
        "index", description="pixel values, as SegNet has them, or colours, as the original has"
    )


def write(splits: Splits, folder: Path, options: CamVidWriteOptions) -> None:
    """Write ``SPLIT/``, ``SPLITannot/`` and ``SPLIT.txt``.

    Values are class ids and the space's own value of what is ignored. ``label_colors.txt`` says
    the classes and their colours, unless the masks hold the values of SegNet's 11 classes.

    Raises
    ------
    DataError
        the splits have different classes, a label map holds an unknown id, or a name cannot stand
        in a list.
    OutputError
        a file cannot be written.
    """
    if not splits:
        return
    views = {name: as_label_maps(source) for name, source in splits.items()}
    space = shared_space(views)
    check_names(space.classes)
    colours = class_colours(space)
    table = np.zeros((max(space.ignore, len(space.classes)) + 1, 3), np.uint8)
    table[: len(space.classes)] = colours.classes
    table[space.ignore] = colours.ignore
    for split, source in views.items():
        images = make_folder(inside(folder, split))
        masks = make_folder(inside(folder, f"{split}annot"))
        lines: list[str] = []
        for sample in samples(source):
            labels = checked(sample, space)
            image = place_image(sample, images).relative_to(folder)
            mask = inside(masks, f"{sample.id}.png")
            make_folder(mask.parent)
            write_png(mask, table[labels] if options.masks == "colour" else labels)
            lines.append(_line(f"/{image.as_posix()}", mask.relative_to(folder).as_posix()))
        write_text(folder / f"{split}.txt", "".join(lines))
    if space != SPACE_11 or options.masks == "colour":
        text = colours_text(space, colours.classes, colours.ignore)
        write_text(folder / COLOURS_FILE, text)


def _line(image: str, mask: str) -> str:
    for name in (image, mask):
        if '"' in name or len(name.splitlines()) > 1:
            raise DataError(f"{name!r} cannot stand in a list of CamVid's; rename the image")
    if len(f"{image} {mask}".split()) > 2 or image != image.strip():
        return f'"{image}" "{mask}"\n'
    return f"{image} {mask}\n"
