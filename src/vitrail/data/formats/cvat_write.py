"""Write CVAT for images 1.1."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal

import numpy as np
from pydantic import Field

from vitrail.atomic import make_folder, output_error
from vitrail.data.formats.base import Options, Splits
from vitrail.data.formats.outlines import drawable
from vitrail.data.formats.safe_xml import escaped, quoted
from vitrail.data.formats.writing import (
    Groups,
    check_names,
    encode,
    object_splits,
    place_image,
    samples,
)
from vitrail.data.sample import Instance, LabelSpace, Sample

_OWN = frozenset({"occluded", "z_order", "group_id", "source"})
"""Attributes of objects that are XML attributes of shapes."""
_Inputs = dict[str, dict[str, str]]
"""By label: names of its attributes, and how CVAT asks for them."""


class CvatWriteOptions(Options):
    """What the writer can be told."""

    masks: Literal["auto", "polygons", "masks"] = Field(
        default="auto",
        description="auto: outlines where objects have them, and masks elsewhere; polygons: "
        "outlines only, which fill holes; masks: masks only",
    )


def write(splits: Splits, folder: Path, options: CvatWriteOptions) -> None:
    """Fill an empty folder: ``annotations.xml`` and ``images/``, by subset unless it is all one.

    Raises
    ------
    DataError
        the splits have different classes, a name cannot be held by XML or between its tags, two
        images have one name, or a name leaves the folder.
    OutputError
        something cannot be written.
    """
    space, sources = object_splits(splits)
    names = list(space.classes)
    check_names(names)
    plain = list(splits) == ["all"]
    inputs: _Inputs = {name: {} for name in names}
    path = folder / "annotations.xml"
    count = 0
    try:
        # The head declares the attributes of labels, which are known only after the images.
        with tempfile.TemporaryFile() as body, path.open("xb") as file:
            for split, source in sources.items():
                base = make_folder(folder / "images" / ("" if plain else split))
                for sample in samples(source):
                    image = place_image(sample, base).relative_to(base).as_posix()
                    said = {"id": count, "name": image} | ({} if plain else {"subset": split})
                    for line in _image(sample, said, names, inputs, options.masks):
                        body.write(encode(line, path))
                    count += 1
            file.write(encode(_head(space, inputs, count, [] if plain else list(splits)), path))
            body.seek(0)
            _copy(body, file)
            file.write(b"</annotations>\n")
    except OSError as error:
        raise output_error(path, error) from None


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    while block := source.read(1 << 20):
        target.write(block)


def _head(space: LabelSpace, inputs: _Inputs, count: int, subsets: Sequence[str]) -> str:
    lines = ["<name>vitrail</name>", f"<size>{count}</size>", "<mode>annotation</mode>", "<labels>"]
    for number, name in enumerate(space.classes):
        lines += ["<label>", f"<name>{escaped(name)}</name>"]
        if space.colours is not None:
            lines.append("<color>#{:02x}{:02x}{:02x}</color>".format(*space.colours[number]))
        lines += ["<type>any</type>", "<attributes>"]
        for attribute, kind in inputs[name].items():
            default = {"checkbox": "false", "number": "0"}.get(kind, "")
            values = {"checkbox": "false\ntrue"}.get(kind, "")
            lines += [
                f"<attribute><name>{escaped(attribute)}</name><mutable>False</mutable>",
                f"<input_type>{kind}</input_type><default_value>{default}</default_value>",
                f"<values>{values}</values></attribute>",
            ]
        lines += ["</attributes>", "</label>"]
    lines.append("</labels>")
    if subsets:
        tags = "".join(f"<subset>{escaped(subset)}</subset>" for subset in subsets)
        lines.append(f"<subsets>{tags}</subsets>")
    kind = "project" if subsets else "task"
    return "\n".join(
        [
            '<?xml version="1.0" encoding="utf-8"?>',
            "<annotations>",
            "<version>1.1</version>",
            f"<meta>\n<{kind}>",
            *lines,
            f"</{kind}>\n</meta>\n",
        ]
    )


def _image(
    sample: Sample, said: Mapping[str, object], names: Sequence[str], inputs: _Inputs, masks: str
) -> Iterator[str]:
    height, width = sample.size
    yield _open("image", {**said, "width": width, "height": height}) + "\n"
    instances = sample.instances or ()
    groups = Groups(instances)
    for instance in instances:
        parts = list(_parts(instance, masks))
        group = groups.of(instance, len(parts))
        name = names[instance.class_id]
        attributes = _attributes(instance)
        for key, (kind, _) in attributes.items():
            before = inputs[name].setdefault(key, kind)
            inputs[name][key] = kind if kind == before else "text"
        children = "".join(
            f"<attribute name={quoted(key)}>{escaped(text)}</attribute>"
            for key, (_, text) in attributes.items()
        )
        for tag, geometry in parts:
            shape = {
                "label": name,
                "source": instance.attributes.get("source", "manual"),
                "occluded": int(instance.attributes.get("occluded") is True),
                **geometry,
                "z_order": _z_order(instance),
            } | ({} if group is None else {"group_id": group})
            yield f"{_open(tag, shape)}{children}</{tag}>\n"
    yield "</image>\n"


def _z_order(instance: Instance) -> int:
    value = instance.attributes.get("z_order")
    return value if isinstance(value, int) else 0


def _parts(instance: Instance, masks: str) -> Iterator[tuple[str, dict[str, object]]]:
    """What an object consists of in CVAT: polygons, one mask, or a box."""
    rings = drawable(instance) if masks != "masks" else None
    if rings is None:
        mask = instance.mask
        if mask is None:
            corners = zip(("xtl", "ytl", "xbr", "ybr"), instance.box, strict=True)
            yield "box", {name: _number(value) for name, value in corners}
            return
        y, x, crop = mask.crop(0)
        if masks != "polygons":
            if crop.size:
                height, width = crop.shape
                place = {"left": x, "top": y, "width": width, "height": height}
                yield "mask", {"rle": ", ".join(map(str, _runs(crop).tolist())), **place}
            return
        rings = mask.polygons(0).rings
    for ring in rings:
        pairs = (f"{_number(x)},{_number(y)}" for x, y in ring.tolist())
        yield "polygon", {"points": ";".join(pairs)}


def _runs(crop: np.ndarray) -> np.ndarray:
    """Lengths of alternating runs row by row, the first one of what is not set."""
    flat = crop.ravel()
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    start = [0, 0] if flat[0] else [0]
    return np.diff(np.concatenate([start, turns, [flat.size]]))


def _attributes(instance: Instance) -> dict[str, tuple[str, str]]:
    """How CVAT asks for each attribute of an object, and its value as text."""
    found: dict[str, tuple[str, str]] = {}
    for key, value in instance.attributes.items():
        if key in _OWN or not key:
            continue
        if isinstance(value, bool):
            found[key] = ("checkbox", "true" if value else "false")
        elif isinstance(value, int) or (isinstance(value, float) and np.isfinite(value)):
            found[key] = ("number", str(value))
        elif isinstance(value, str):
            found[key] = ("text", value)
    if instance.crowd:
        found["is_crowd"] = ("checkbox", "true")
    return found


def _number(value: float) -> str:
    """As short as it can be read back, and never with an exponent."""
    return np.format_float_positional(value, trim="-")


def _open(tag: str, attributes: Mapping[str, object]) -> str:
    return f"<{tag} " + " ".join(f"{k}={quoted(v)}" for k, v in attributes.items()) + ">"
