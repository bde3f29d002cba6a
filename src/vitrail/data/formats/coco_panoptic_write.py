"""Writing COCO panoptic: a PNG of segments an image, and their categories in JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.atomic import make_folder, output_error
from vitrail.data.formats.base import Options, Splits
from vitrail.data.formats.coco_write import (
    Numbers,
    category_entries,
    dumps,
    image_entry,
    plain,
    write_list,
)
from vitrail.data.formats.files import write_png
from vitrail.data.sample import Sample, SampleSource

_LARGEST = (1 << 24) - 1
"""Segment ids are colours of 24 bits."""


def write(splits: Splits, folder: Path, options: Options) -> None:
    """Write ``annotations/panoptic_SPLIT.json`` and ``.../panoptic_SPLIT/``, and ``images/SPLIT/``.

    A pixel belongs to one segment: where objects overlap, the smaller one has it, and where they
    disagree with the label map, the label map counts. What the label map has beyond the objects is
    one more segment a class: of stuff, or a crowd where the class is that of things. Classes that
    have any object are things. Pixels of no class are void; a set of objects has no background.

    Raises
    ------
    DataError
        a sample cannot be read.
    OutputError
        a file cannot be written.
    """
    things, labelled = _survey(splits)
    make_folder(folder / "annotations")
    for split, source in splits.items():
        # The background is a category like others where label maps have it.
        space = replace(source.space, background=None) if labelled else source.space
        categories = {
            class_id: {"id": number, "name": name, "supercategory": "", **colour}
            | {"isthing": int(class_id in things)}
            | ({"isbackground": 1} if class_id == source.space.background else {})
            for class_id, number, name, colour in category_entries(space)
        }
        path = folder / "annotations" / f"panoptic_{split}.json"
        images: list[str] = []
        lines = _lines(source, folder, split, categories, images)
        try:
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.write('{"info": {}, "licenses": [],\n"categories": ')
                write_list(file, map(dumps, categories.values()))
                file.write(',\n"annotations": ')
                write_list(file, lines)
                file.write(',\n"images": ')
                write_list(file, images)
                file.write("}\n")
        except OSError as error:
            raise output_error(path, error) from error


def _survey(splits: Splits) -> tuple[set[int], bool]:
    """Class ids of things, and whether there are label maps."""
    things: set[int] = set()
    labelled = False
    for source in splits.values():
        said = getattr(source, "things", None)
        for index in range(len(source)):
            sample = source[index]
            labelled |= sample.label_map is not None
            if said is not None:
                break
            things.update(one.class_id for one in sample.instances or ())
        things.update(said or ())
    return things, labelled


def _lines(
    source: SampleSource,
    folder: Path,
    split: str,
    categories: Mapping[int, Mapping[str, Any]],
    images: list[str],
) -> Iterator[str]:
    """Annotations as JSON, one sample at a time; writes PNGs and images."""
    numbers = Numbers()
    for index in range(len(source)):
        sample = source[index]
        entry = image_entry(sample, make_folder(folder / "images" / split), numbers)
        images.append(dumps(entry))
        name = f"{sample.id}.png"
        path = folder / "annotations" / f"panoptic_{split}" / name
        make_folder(path.parent)
        segments, infos = _segments(sample, source.space.ignore, categories)
        rgb = np.stack([segments & 255, segments >> 8 & 255, segments >> 16], axis=2)
        write_png(path, rgb.astype(np.uint8))
        yield dumps({"image_id": entry["id"], "file_name": name, "segments_info": infos})


def _segments(
    sample: Sample, ignore: int, categories: Mapping[int, Mapping[str, Any]]
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """``(H, W)`` int32 segment ids, and what is said of each."""
    numbers = Numbers()
    segments = np.zeros(sample.size, np.int32)
    labels = sample.labels
    about: dict[int, dict[str, Any]] = {}
    masked = [(one, one.mask) for one in sample.instances or () if one.class_id in categories]
    found = [(one, mask) for one, mask in masked if mask is not None]
    for instance, mask in sorted(
        found, key=lambda pair: (not pair[0].crowd, -int(pair[1].areas()[0]))
    ):
        y, x, crop = mask.crop(0)
        window = slice(y, y + crop.shape[0]), slice(x, x + crop.shape[1])
        if labels is not None:
            crop = crop & (labels[window] == instance.class_id)
        number = numbers.take(instance.id, zero=False, largest=_LARGEST)
        segments[window][crop] = number
        attributes = {key: plain(value) for key, value in instance.attributes.items()}
        attributes.pop("area", None)
        about[number] = {
            "category_id": categories[instance.class_id]["id"],
            "iscrowd": int(instance.crowd),
        } | ({"attributes": attributes} if attributes else {})
    if labels is not None:
        rest = (segments == 0) & (labels != ignore)
        for class_id in np.unique(labels[rest]).tolist():
            if class_id in categories:
                number = numbers.take("")
                segments[rest & (labels == class_id)] = number
                category = categories[class_id]
                about[number] = {"category_id": category["id"], "iscrowd": category["isthing"]}
    return segments, [
        {"id": number, **said, **_extent(segments == number)}
        for number, said in about.items()
        if (segments == number).any()
    ]


def _extent(mask: np.ndarray) -> dict[str, Any]:
    """``area`` and ``bbox`` of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    box = [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
    return {"area": int(mask.sum()), "bbox": box}
