"""Write labelme data sets."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
from pydantic import Field

from vitrail.atomic import make_folder
from vitrail.data.formats.base import Options, Splits
from vitrail.data.formats.labelme_shapes import BOX_ONLY, RESERVED
from vitrail.data.formats.outlines import drawable
from vitrail.data.formats.writing import (
    Groups,
    check_names,
    object_splits,
    place_image,
    samples,
    write_text,
)
from vitrail.data.sample import Instance, Sample
from vitrail.errors import DataError
from vitrail.result.masks import Masks

IGNORE, BACKGROUND = "__ignore__", "_background_"
"""Lines of labels.txt that are no classes."""
_VERSION = "5.5.0"
"""Of labelme, whose files these are: the first version with embedded masks has 5.3."""


class LabelmeWriteOptions(Options):
    """What the writer can be told."""

    masks: Literal["auto", "polygons", "masks"] = Field(
        default="auto",
        description="auto: outlines where they lose nothing, and embedded masks elsewhere; "
        "polygons: outlines only, which fill holes; masks: embedded masks only",
    )
    embed: bool = Field(default=False, description="put each image into its JSON file as well")


def write(splits: Splits, folder: Path, options: LabelmeWriteOptions) -> None:
    """Fill an empty folder: ``labels.txt``, and for each split a folder of images and JSON files.

    Raises
    ------
    DataError
        the splits have different classes, a class has a name that ``labels.txt`` cannot hold, two
        images have one name, or a name leaves the folder.
    OutputError
        something cannot be written.
    """
    space, sources = object_splits(splits)
    check_names(space.classes, forbidden=(IGNORE, BACKGROUND))
    write_text(
        folder / "labels.txt", "".join(f"{n}\n" for n in (IGNORE, BACKGROUND, *space.classes))
    )
    for split, source in sources.items():
        base = make_folder(folder / split)
        for sample in samples(source):
            image = place_image(sample, base)
            file = image.with_suffix(".json")
            if file.exists():
                raise DataError(f"two images would share {file}; give one of them another name")
            # ASCII with escapes also holds names that are not UTF-8 on disk.
            write_text(file, json.dumps(_content(sample, image, space.classes, options)))


def _content(
    sample: Sample, image: Path, classes: Sequence[str], options: LabelmeWriteOptions
) -> dict[str, Any]:
    instances = sample.instances or ()
    groups = Groups(instances)
    shapes: list[dict[str, Any]] = []
    for instance in instances:
        parts = list(_parts(instance, options.masks))
        group = groups.of(instance, len(parts))
        about = _about(instance, classes[instance.class_id], group)
        shapes += [about | part for part in parts]
        if instance.polygons is None and instance.stored is None:
            x1, y1, x2, y2 = instance.box
            flags = about["flags"] | {BOX_ONLY: True}
            corners = [[x1, y1], [x2, y2]]
            shapes.append(about | {"points": corners, "shape_type": "rectangle", "flags": flags})
    data = base64.b64encode(image.read_bytes()).decode("ascii") if options.embed else None
    height, width = sample.size
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image.name,
        "imageData": data,
        "imageHeight": height,
        "imageWidth": width,
    }


def _parts(instance: Instance, masks: str) -> Iterator[dict[str, Any]]:
    """What an object consists of in labelme: polygons, or one embedded mask."""
    rings = drawable(instance) if masks != "masks" else None
    if rings is None:
        mask = instance.mask
        if mask is None or not mask.crop(0)[2].size:
            return
        outlines = mask.polygons(0)
        if masks == "masks" or (masks == "auto" and outlines.holes):
            yield _mask_part(mask)
            return
        rings = outlines.rings
    for ring in rings:
        corners = np.asarray(ring, np.float64).tolist()
        yield {"points": corners, "shape_type": "polygon", "mask": None}


def _mask_part(mask: Masks) -> dict[str, Any]:
    y, x, crop = mask.crop(0)
    file = io.BytesIO()
    PIL.Image.fromarray(crop.view(np.uint8)).save(file, "PNG")
    height, width = crop.shape
    corners = [[float(x), float(y)], [float(x + width - 1), float(y + height - 1)]]
    text = base64.b64encode(file.getvalue()).decode("ascii")
    return {"points": corners, "shape_type": "mask", "mask": text}


def _about(instance: Instance, label: str, group: int | None) -> dict[str, Any]:
    """What all shapes of an object say: label, group, and its attributes where there is a place."""
    attributes: Mapping[str, object] = instance.attributes
    flags = {key: value for key, value in attributes.items() if isinstance(value, bool)}
    if instance.crowd:
        flags["iscrowd"] = True
    description = attributes.get("description")
    others = {
        key: value
        for key, value in attributes.items()
        if key not in RESERVED and key not in flags and _is_plain(value)
    }
    if instance.id:
        others["id"] = instance.id
    return {
        "label": label,
        "points": [],
        "group_id": group,
        "description": description if isinstance(description, str) else "",
        "shape_type": "",
        "flags": flags,
        "mask": None,
        **others,
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)
