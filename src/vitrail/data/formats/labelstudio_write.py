"""Write tasks for Label Studio."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from pydantic import Field

from vitrail.atomic import make_folder, output_error
from vitrail.data.formats.base import Options, Splits
from vitrail.data.formats.labelstudio_regions import CROWD
from vitrail.data.formats.labelstudio_rle import encode
from vitrail.data.formats.outlines import (
    drawable,
    from_fractions,
    shortest,
    single_ring,
    to_fractions,
)
from vitrail.data.formats.safe_xml import quoted
from vitrail.data.formats.writing import object_splits, place_image, samples, write_text
from vitrail.data.sample import Instance, LabelSpace, Sample

_TAGS = (
    ("brush", "BrushLabels"),
    ("polygon", "PolygonLabels"),
    ("rectangle", "RectangleLabels"),
)
"""Names of controls in the labelling configuration, and their tags."""


class LabelStudioWriteOptions(Options):
    """What the writer can be told."""

    masks: Literal["auto", "brush", "polygons"] = Field(
        default="auto",
        description="auto: polygons of objects that have one outline, and brush strokes "
        "elsewhere; brush: brush strokes only; polygons: polygons only, parts and holes joined by "
        "seams without width",
    )


def write(splits: Splits, folder: Path, options: LabelStudioWriteOptions) -> None:
    """Fill an empty folder: ``tasks.json``, ``config.xml`` and ``images/SPLIT``.

    Images are named as local files of Label Studio, served from that folder. A crowd is a region
    with the choice ``iscrowd``, which the configuration has where there are crowds.

    Raises
    ------
    DataError
        the splits have different classes, a class's name cannot be held by XML, two images have
        one name, or a name leaves the folder.
    OutputError
        something cannot be written.
    """
    space, sources = object_splits(splits)
    path = folder / "tasks.json"
    count, crowds = 0, False
    try:
        with path.open("x", encoding="ascii", newline="\n") as file:
            file.write("[")
            for split, source in sources.items():
                base = make_folder(folder / "images" / split)
                for sample in samples(source):
                    image = place_image(sample, base).relative_to(folder)
                    count += 1
                    crowds |= any(one.crowd for one in sample.instances or ())
                    file.write(",\n" if count > 1 else "\n")
                    task = _task(sample, image, split, count, space.classes, options.masks)
                    file.write(json.dumps(task, separators=(",", ":")))
            file.write("\n]\n")
    except OSError as error:
        raise output_error(path, error) from None
    write_text(folder / "config.xml", _config(space, crowds))


def _config(space: LabelSpace, crowds: bool) -> str:
    lines = ["<View>", '  <Image name="image" value="$image"/>']
    for name, tag in _TAGS:
        lines.append(f'  <{tag} name="{name}" toName="image">')
        for number, label in enumerate(space.classes):
            colour = ""
            if space.colours is not None:
                colour = ' background="#{:02x}{:02x}{:02x}"'.format(*space.colours[number])
            lines.append(f"    <Label value={quoted(label)}{colour}/>")
        lines.append(f"  </{tag}>")
    if crowds:
        lines.append(f'  <Choices name="{CROWD}" toName="image" perRegion="true">')
        lines += ['    <Choice value="true"/>', "  </Choices>"]
    return "\n".join([*lines, "</View>", ""])


def _task(
    sample: Sample, image: Path, split: str, number: int, classes: Sequence[str], masks: str
) -> dict[str, Any]:
    place = quote(os.fsencode(image.as_posix()))
    results: list[dict[str, Any]] = []
    used: set[str] = set()
    for instance in sample.instances or ():
        for name, value in _regions(instance, masks):
            id = instance.id or str(len(used) + 1)
            while id in used:
                id += "_"
            used.add(id)
            result = _result(sample, id, name, value, classes[instance.class_id])
            results.append(result)
            if instance.crowd:
                # Choices of a region repeat its id and its geometry in Label Studio's exports.
                said = {"type": "choices", "from_name": CROWD}
                results.append(result | said | {"value": {**value, "choices": ["true"]}})
    annotation = {"id": number, "completed_by": 1, "was_cancelled": False, "result": results}
    data = {"image": f"/data/local-files/?d={place}", "split": split}
    return {"id": number, "data": data, "annotations": [annotation], "predictions": []}


def _result(
    sample: Sample, id: str, name: str, value: dict[str, Any], label: str
) -> dict[str, Any]:
    height, width = sample.size
    return {
        "id": id,
        "type": f"{name}labels",
        "from_name": name,
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {**value, f"{name}labels": [label]},
    }


def _regions(instance: Instance, masks: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What an object is in Label Studio: one polygon, brush stroke or rectangle, or nothing."""
    extent = np.array(instance.size[::-1], np.float64) / 100
    if instance.polygons is None and instance.stored is None:
        x, y, width, height = _box(np.array(instance.box, np.float64), extent)
        value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
        yield "rectangle", value
        return
    rings = drawable(instance) if masks == "auto" else None
    if masks == "polygons" or (rings is not None and len(rings) == 1):
        ring = single_ring(instance)
        if ring is not None:
            percent = to_fractions(ring, extent)
            yield "polygon", {"points": percent.tolist(), "closed": True}
        return
    mask = instance.mask
    if mask is not None and mask.crop(0)[2].size:
        yield "brush", {"format": "rle", "rle": list(encode(mask))}


def _box(box: np.ndarray, extent: np.ndarray) -> list[float]:
    """x, y, width and height in percent, from which the corners come back exactly."""
    both = np.tile(extent, 2)
    exact = np.concatenate([box[:2], box[2:] - box[:2]]) / both

    def corners(percent: np.ndarray) -> np.ndarray:
        pixels = from_fractions(percent, both)
        return np.round(np.concatenate([pixels[:2], pixels[:2] + pixels[2:]]), 10)

    return shortest(exact, corners, box).tolist()
