"""Regions of Label Studio: what its results say, checked, and their way into shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from vitrail.data.formats.embedded import decode_mask, png_size
from vitrail.data.formats.labelstudio_rle import claimed_words, decode
from vitrail.data.formats.outlines import from_fractions
from vitrail.data.formats.shapes import (
    Shape,
    ellipse,
    frame,
    number,
    placed,
    points,
    rectangle,
    shown,
)
from vitrail.data.sample import Box
from vitrail.result.masks import Masks

_NO_REGIONS = frozenset(
    {"choices", "textarea", "rating", "taxonomy", "number", "datetime", "pairwise", "ranker"}
)
"""Types of results that say something of an image or of a region, and are none."""
CROWD = "iscrowd"
"""Name of the choice for each region that says whether it is a crowd."""
_PNG_URL = "data:image/png;base64,"


@dataclass(frozen=True, slots=True)
class Region:
    """One labelled region, in percent of an image whose size may not be known yet."""

    label: str
    id: str
    kind: str
    """polygon, rectangle, ellipse, brush or bitmask."""
    values: np.ndarray | bytes | str
    attributes: Mapping[str, object]
    crowd: bool = False

    def shape(self, size: tuple[int, int], where: str, boxes: bool, opacity: int) -> Shape:
        """In px of the image.

        Parameters
        ----------
        size:
            ``(H, W)`` of the image.
        where:
            File and task, for messages.
        boxes:
            Upright rectangles are bare boxes.
        opacity:
            Least opacity of brush strokes.
        """
        outline: np.ndarray | None = None
        box: Box | None = None
        area = None
        extent = np.array(size[::-1], np.float64) / 100
        if isinstance(self.values, str):
            area = partial(_bitmask, self.values, f"{where}, region {self.id}")
        elif isinstance(self.values, bytes):
            area = partial(_brush, self.values, f"{where}, region {self.id}", opacity)
        elif self.kind == "polygon":
            outline = from_fractions(self.values, extent)
        else:
            x, y, first, second = from_fractions(self.values[:4], np.tile(extent, 2)).tolist()
            turn = float(self.values[4])
            if self.kind == "ellipse":
                outline = ellipse(x, y, first, second, turn)
            elif boxes and not turn:
                x2, y2 = np.round([x + first, y + second], 10).tolist()
                box = (x, y, x2, y2)
            else:
                outline = rectangle(x, y, first, second, turn, about_corner=True)
        return Shape(
            self.label,
            self.id,
            outline,
            area,
            box,
            crowd=self.crowd,
            attributes=self.attributes,
        )


def _brush(data: bytes, where: str, opacity: int, size: tuple[int, int]) -> Masks:
    return decode(data, size, where, opacity=opacity)


def _bitmask(text: str, where: str, size: tuple[int, int]) -> Masks:
    return placed(decode_mask(text, size, where, alpha=True), 0, 0, size)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one result."""

    code: str
    severity: str
    id: str
    value: str
    expected: str


def read_results(results: Sequence[Any]) -> Iterator[Region | Fault]:
    """Regions of one annotation, one for each label that a region has.

    A region may be told by several results of one ``id``: its geometry, its labels, and what was
    chosen or written about it, which become its attributes.
    """
    about: dict[str, dict[str, object]] = {}
    labelled: set[str] = set()
    for result in results:
        if isinstance(result, dict) and isinstance(result.get("id"), str):
            value = result.get("value")
            if isinstance(value, dict):
                id = result["id"]
                labelled |= {id} if _labels(value) else set()
                if (kind := _kind(result)) in _NO_REGIONS:
                    said = value.get(kind, value.get("text"))
                    about.setdefault(id, {})[str(result.get("from_name"))] = said
    for place, result in enumerate(results, 1):
        id = str(result.get("id") or place) if isinstance(result, dict) else str(place)
        yield from _read(result, id, about.get(id, {}), id in labelled)


def _kind(result: Mapping[str, Any]) -> str:
    kind = result.get("type")
    return kind if isinstance(kind, str) else ""


def _labels(value: Mapping[str, Any]) -> list[str]:
    """Names under the key that ends in ``labels``."""
    for key, names in value.items():
        if key.endswith("labels") and isinstance(names, list):
            return [name for name in names if isinstance(name, str)]
    return []


def _read(
    result: Any, id: str, about: Mapping[str, object], labelled: bool
) -> Iterator[Region | Fault]:
    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict):
        if isinstance(result, dict) and _kind(result) == "relation":
            return
        yield Fault("malformed-annotation", "error", id, shown(result), "a result with a value")
        return
    if _kind(result) in _NO_REGIONS:
        return
    try:
        geometry = _geometry(value, result)
    except ValueError as error:
        told, expected = error.args
        yield Fault("malformed-annotation", "error", id, told, expected)
        return
    names = _labels(value)
    if geometry is None:
        kind = shown(result.get("type"))
        code, expected = "unsupported-shape", "polygon, rectangle, ellipse, brush or bitmask"
        yield Fault(code, "warning", id, f"a region of type {kind} is no area", expected)
    elif not names:
        # With the general tag <Labels>, the geometry comes once bare and once labelled.
        if not labelled:
            yield Fault("unlabelled-region", "warning", id, "a region without a label", "a label")
    else:
        attributes = dict(about)
        crowd = attributes.get(CROWD) == ["true"]
        if crowd:
            del attributes[CROWD]
        if turned := number(result.get("image_rotation")):
            attributes["image_rotation"] = turned
        for name in dict.fromkeys(names):
            own = id if name == names[0] else f"{id}:{name}"
            yield Region(name, own, *geometry, attributes, crowd)


def _geometry(
    value: Mapping[str, Any], result: Mapping[str, Any]
) -> tuple[str, np.ndarray | bytes | str] | None:
    """Kind and values of a region; None for what is no area; ValueError(found, expected)."""
    if "rle" in value:
        return "brush", _strokes(value["rle"], result)
    if "imageDataURL" in value:
        return "bitmask", _png(value["imageDataURL"], result)
    if "points" in value:
        corners = points(value["points"])
        if corners is None or not len(corners):
            raise ValueError(f"points {shown(value['points'])}", "pairs of finite numbers")
        return None if value.get("closed") is False else ("polygon", corners)
    if "radiusX" in value:
        return "ellipse", _numbers(value, "x", "y", "radiusX", "radiusY")
    if "height" in value and "keypointlabels" not in value:
        return "rectangle", _numbers(value, "x", "y", "width", "height")
    return None


def _numbers(value: Mapping[str, Any], *names: str) -> np.ndarray:
    found = [number(value.get(name)) for name in names]
    turn = number(value.get("rotation") or 0)
    for name, read in zip((*names, "rotation"), (*found, turn), strict=True):
        if read is None:
            raise ValueError(f"{name} {shown(value.get(name))}", "a finite number")
    return np.array([*found, turn], np.float64)


def region_size(result: Mapping[str, Any]) -> tuple[int, int] | None:
    """``(H, W)`` of the image that a result was drawn on."""
    return frame(result.get("original_width"), result.get("original_height"))


def _strokes(rle: Any, result: Mapping[str, Any]) -> bytes:
    # Early versions wrote a typed array as an object, by index.
    listed = list(rle.values()) if isinstance(rle, dict) else rle
    try:
        data = bytes(listed if isinstance(listed, list) else None)  # pyright: ignore
    except (TypeError, ValueError):
        raise ValueError(f"rle {shown(rle)}", "a list of bytes, 0 to 255") from None
    size = region_size(result)
    if size is None:
        said = (result.get("original_width"), result.get("original_height"))
        raise ValueError(f"a brush on an image of {shown(said)}", "original_width and _height, px")
    if claimed_words(data) != 4 * size[0] * size[1]:
        told = f"a brush that claims {claimed_words(data):,} bytes"
        raise ValueError(told, f"{4 * size[0] * size[1]:,} for {size[1]}x{size[0]} px of four")
    return data


def _png(url: Any, result: Mapping[str, Any]) -> str:
    size = region_size(result)
    claimed = png_size(url.removeprefix(_PNG_URL)) if isinstance(url, str) else None
    if not isinstance(url, str) or claimed is None:
        raise ValueError(f"imageDataURL {shown(url)}", "a base64 PNG")
    if size is None or claimed != size:
        raise ValueError(f"a bitmask of {claimed[1]}x{claimed[0]} px", "the size of the image")
    return url.removeprefix(_PNG_URL)
