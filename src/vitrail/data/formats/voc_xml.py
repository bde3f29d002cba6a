"""Annotations of PASCAL VOC: an XML file an image, with the boxes and attributes of its objects.

The tags are those of the development kit (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/), and
``attributes`` as CVAT and Datumaro add them. Boxes there count pixels from 1 and include both
ends; here they are pixel edges.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from vitrail.atomic import output_error
from vitrail.data.formats.files import read_text
from vitrail.data.sample import Box
from vitrail.errors import DataError

MAX_XML_BYTES = 64 * 1024**2
_FLAGS = ("truncated", "occluded", "difficult")
_TAG = re.compile(r"[A-Za-z_][\w.-]*")
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Annotated:
    """What the XML says of one object."""

    name: str
    """Its class."""
    box: Box | None
    """None for people of whom only a point is annotated."""
    attributes: Mapping[str, object]
    """``truncated``, ``occluded``, ``difficult`` (bool), ``pose`` (str), ``actions`` (name to
    bool), ``point`` (x, y), ``parts`` (name and box of each), and a set's own (str)."""


def read_annotation(path: Path) -> list[Annotated]:
    """The objects of an image in the file's order; none where there is no such file.

    Raises
    ------
    DataError
        it is not XML, declares a document type or entities, or an object lacks its name or has a
        box that is no box of numbers.
    """
    try:
        if not path.exists():
            return []
    except OSError:  # with .xml behind it, the image's name is too long for a file
        return []
    text = read_text(path, MAX_XML_BYTES)
    # Annotations declare neither; entities can be made to grow without bound or to read files.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{path}: declares a document type or entities, which is refused")
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"{path}: not valid XML ({error}); the file may be cut short") from None
    if root.tag != "annotation":
        raise DataError(f"{path}: its root is <{root.tag}>, expected <annotation>")
    found = enumerate(root.findall("object"), 1)
    return [_read_object(node, f"{path}: object {number}") for number, node in found]


def _read_object(node: ET.Element, where: str) -> Annotated:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise DataError(f"{where} has no <name>; expected the name of its class")
    attributes: dict[str, object] = {}
    for flag in _FLAGS:
        if (text := node.findtext(flag)) is not None and text.strip():
            attributes[flag] = _flag(text)
    if pose := (node.findtext("pose") or "").strip():
        attributes["pose"] = pose
    if (actions := node.find("actions")) is not None:
        attributes["actions"] = {action.tag: _flag(action.text or "") for action in actions}
    if (point := node.find("point")) is not None:
        attributes["point"] = [_number(point, axis, where) - 0.5 for axis in "xy"]
    if parts := [
        {"name": (part.findtext("name") or "").strip(), "box": list(box)}
        for part in node.findall("part")
        if (box := _read_box(part, where)) is not None
    ]:
        attributes["parts"] = parts
    for pair in node.findall("attributes/attribute"):
        if key := (pair.findtext("name") or "").strip():
            attributes[key] = pair.findtext("value") or ""
    return Annotated(name, _read_box(node, where), attributes)


def _flag(text: str) -> bool:
    return text.strip().lower() in ("1", "true")


def _read_box(node: ET.Element, where: str) -> Box | None:
    box = node.find("bndbox")
    if box is None:
        return None
    x1, y1, x2, y2 = (_number(box, tag, where) for tag in ("xmin", "ymin", "xmax", "ymax"))
    return x1 - 1, y1 - 1, x2, y2


def _number(node: ET.Element, tag: str, where: str) -> float:
    text = node.findtext(tag)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where} has {text!r} in <{node.tag}>, <{tag}>; expected a number")
    return value


def write_annotation(
    path: Path, image: str, size: tuple[int, int], objects: Sequence[Annotated]
) -> None:
    """The XML of an image of ``(H, W)`` px, as the development kit lays it out.

    Raises
    ------
    OutputError
        it cannot be written.
    """
    root = ET.Element("annotation")
    _add(root, "folder", "VOC2012")
    _add(root, "filename", image)
    _add(ET.SubElement(root, "source"), "database", "written by vitrail")
    frame = ET.SubElement(root, "size")
    for tag, value in (("width", size[1]), ("height", size[0]), ("depth", 3)):
        _add(frame, tag, value)
    _add(root, "segmented", 1)
    for one in objects:
        _add_object(ET.SubElement(root, "object"), one)
    ET.indent(root, "\t")
    try:
        path.write_bytes(ET.tostring(root, "utf-8") + b"\n")
    except OSError as error:
        raise output_error(path, error) from None


def _add(parent: ET.Element, tag: str, value: object) -> None:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    # Characters that XML cannot hold in any form.
    ET.SubElement(parent, tag).text = _UNWRITABLE.sub("\ufffd", text)


def _add_object(node: ET.Element, one: Annotated) -> None:
    left = {name: value for name, value in one.attributes.items() if value is not None}
    _add(node, "name", one.name)
    _add(node, "pose", left.pop("pose", "Unspecified"))
    for flag in _FLAGS:
        value = left.get(flag, False)
        if isinstance(value, bool):
            left.pop(flag, None)
        # What is no bool is kept among the set's own attributes, too, as it was.
        _add(node, flag, int(value in (True, "1", "true")))
    if one.box is not None:
        _add_box(node, one.box)
    actions, point, parts = left.get("actions"), left.get("point"), left.get("parts")
    if isinstance(actions, dict) and all(_TAG.fullmatch(str(name)) for name in actions):
        del left["actions"]
        tree = ET.SubElement(node, "actions")
        for name, does in actions.items():
            _add(tree, str(name), int(does is True))
    if isinstance(point, list) and _numbers(point, 2):
        del left["point"]
        tree = ET.SubElement(node, "point")
        for axis, value in zip("xy", point, strict=True):
            _add(tree, axis, _decimal(value + 0.5))
    if isinstance(parts, list) and all(map(_is_part, parts)):
        del left["parts"]
        for part in parts:
            tree = ET.SubElement(node, "part")
            _add(tree, "name", part["name"])
            _add_box(tree, part["box"])
    if left:
        tree = ET.SubElement(node, "attributes")
        for name, value in left.items():
            pair = ET.SubElement(tree, "attribute")
            _add(pair, "name", name)
            _add(pair, "value", value)


def _add_box(parent: ET.Element, box: Sequence[float]) -> None:
    node = ET.SubElement(parent, "bndbox")
    x1, y1, x2, y2 = box
    for tag, value in (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2)):
        _add(node, tag, _decimal(value))


def _decimal(value: float) -> str:
    """A coordinate without needless digits: whole pixels are whole numbers, as published."""
    return str(int(value)) if value == int(value) else f"{value:.10g}"


def _numbers(given: object, count: int) -> bool:
    return (
        isinstance(given, list)
        and len(given) == count
        and all(isinstance(v, int | float) and math.isfinite(v) for v in given)
    )


def _is_part(part: object) -> bool:
    return isinstance(part, dict) and "name" in part and _numbers(part.get("box"), 4)
