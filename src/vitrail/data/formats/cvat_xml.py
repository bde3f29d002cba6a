"""CVAT's XML, read as a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vitrail.data.formats.cvat_shapes import AREAS, NO_AREAS, read_geometry
from vitrail.data.formats.safe_xml import parse_xml
from vitrail.data.formats.shapes import Shape, frame, number, shown, whole
from vitrail.data.problem import Problem, Severity
from vitrail.errors import DataError

_NO_AREA_LABELS = NO_AREAS | {"tag"}
"""Types of labels that no area can have."""
_CROWD = ("is_crowd", "iscrowd")


@dataclass(frozen=True, slots=True)
class CvatImage:
    """One ``<image>``, with the shapes that could be read."""

    name: str
    size: tuple[int, int] | None
    """``(H, W)``, where it is said."""
    subset: str
    shapes: tuple[Shape, ...]


@dataclass
class CvatFile:
    """What one XML file says."""

    labels: dict[str, str] = field(default_factory=dict)
    """Names of the labels that areas can have, each with its colour (#rrggbb) or nothing."""
    images: list[CvatImage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """With the subset as split."""


def read_xml(path: Path, *, boxes: bool, groups: bool) -> CvatFile:
    """Read CVAT for images 1.1.

    Parameters
    ----------
    path:
        The file.
    boxes:
        Upright rectangles are bare boxes; otherwise they are all that they enclose.
    groups:
        Whether ``group_id`` joins shapes.

    Raises
    ------
    DataError
        it is no CVAT for images, or cannot be read (see ``parse_xml``).
    """
    reader = _Reader(path, boxes, groups)
    parse_xml(path, "annotations", reader.start, reader.end, reader.text)
    return reader.file


class _Reader:
    """Handlers of expat, and what they have read so far."""

    def __init__(self, path: Path, boxes: bool, groups: bool) -> None:
        self.path, self.boxes, self.groups = path, boxes, groups
        self.file = CvatFile()
        self._open: list[str] = []
        self._text: list[str] = []
        self._label: dict[str, str] = {}
        self._input: dict[str, str] = {}
        self._input_types: dict[str, str] = {}
        self._image: dict[str, str] = {}
        self._shapes: list[Shape] = []
        self._shape: tuple[str, dict[str, str]] = ("", {})
        self._attributes: dict[str, object] = {}
        self._attribute = ""
        self._count = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        parent = self._open[-1] if self._open else ""
        self._open.append(tag)
        self._text.clear()
        if tag == "track":
            raise DataError(
                f"{self.path}: holds tracks, so it is CVAT for video; export the task as "
                "'CVAT for images 1.1'"
            )
        if tag == "label" and parent == "labels":
            self._label = {}
        elif tag == "image" and parent == "annotations":
            self._image, self._shapes, self._count = attributes, [], 0
        elif parent == "image":
            self._shape, self._attributes = (tag, attributes), {}
        elif tag == "attribute" and self._open[-3:-2] == ["image"]:
            self._attribute = attributes.get("name", "")

    def text(self, data: str) -> None:
        self._text.append(data)

    def end(self, tag: str) -> None:
        self._open.pop()
        parent = self._open[-1] if self._open else ""
        text = "".join(self._text)
        self._text.clear()
        if parent == "label":
            self._label[tag] = text.strip()
        elif parent == "attribute":
            self._input[tag] = text.strip()
        elif tag == "attribute" and parent == "attributes":
            self._input_types[self._input.get("name", "")] = self._input.get("input_type", "")
            self._input = {}
        elif tag == "label" and parent == "labels":
            name, kind = self._label.get("name", ""), self._label.get("type", "any")
            if name and kind not in _NO_AREA_LABELS and "parent" not in self._label:
                self.file.labels[name] = self._label.get("color", "")
        elif tag == "attribute" and self._open[-2:-1] == ["image"]:
            declared = self._input_types.get(self._attribute, "")
            self._attributes[self._attribute] = _typed(text, declared)
        elif parent == "image":
            self._end_shape()
        elif tag == "image" and parent == "annotations":
            self._end_image()

    def _tell(self, severity: Severity, code: str, id: str, value: str, expected: str) -> None:
        advice = "mend or remove it" if severity == "error" else ""
        subset = self._image.get("subset", "")
        self.file.problems.append(
            Problem(code, severity, self.path, id, value, expected, subset, advice)
        )

    def _end_image(self) -> None:
        name, said = self._image.get("name"), (self._image.get("width"), self._image.get("height"))
        size = frame(*said)
        if not name:
            id = f"image {self._image.get('id', '')}"
            self._tell("error", "malformed-annotation", id, "an image without name", "its name")
            return
        if size is None and said != (None, None):
            value = f"width and height {shown(said[0])}, {shown(said[1])}"
            self._tell("error", "malformed-annotation", name, value, "a size in px")
        subset = self._image.get("subset", "")
        self.file.images.append(CvatImage(name, size, subset, tuple(self._shapes)))

    def _end_shape(self) -> None:
        tag, said = self._shape
        if tag == "tag":
            return  # of the image as a whole
        self._count += 1
        where = f"{self._image.get('name', '')}, shape {self._count}"
        if tag not in AREAS:
            value = f"<{tag[:40]}> is {'no area' if tag in NO_AREAS else 'unknown'}"
            expected = "polygon, box, ellipse or mask"
            self._tell("warning", "unsupported-shape", where, value, expected)
            return
        label = said.get("label", "")
        try:
            if not label:
                raise ValueError("no label", "the name of a label")
            size = frame(self._image.get("width"), self._image.get("height"))
            outline, area, box = read_geometry(
                tag, said, size, f"{self.path}: {where}", boxes=self.boxes
            )
        except ValueError as error:
            value, expected = error.args
            self._tell("error", "malformed-annotation", where, f"{tag}: {value}", expected)
            return
        group = said.get("group_id", "0")
        crowd = any(self._attributes.pop(name, False) is True for name in _CROWD)
        self._shapes.append(
            Shape(
                label,
                str(self._count),
                outline,
                area,
                box,
                group if self.groups and group != "0" else "",
                crowd,
                self._attributes | _flags(said),
            )
        )


def _flags(said: Mapping[str, str]) -> dict[str, object]:
    """What the attributes of the XML element say besides geometry."""
    found: dict[str, object] = {}
    if said.get("occluded") == "1":
        found["occluded"] = True
    for name in ("z_order", "group_id"):
        if value := whole(said.get(name)):
            found[name] = value
    if said.get("source", "manual") not in ("manual", ""):
        found["source"] = said["source"]
    return found


def _typed(text: str, declared: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    value = number(text) if declared == "number" else None
    if value is None:
        return text
    return int(value) if value.is_integer() else value
