"""One file a format; each reads a data set as lazy sequences of ``Sample``, and most write it."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from vitrail.data.formats.base import Format
from vitrail.errors import UnknownNameError

_MODULES = (
    "coco",
    "coco_panoptic",
    "openimages",
    "cityscapes",
    "camvid",
    "pet",
    "voc",
    "sbd",
    "yolo",
    "labelme",
    "cvat",
    "labelstudio",
    "pennfudan",
    "dsb2018",
    "class_folders",
    "drive",
    "instance_ids",
    "colour_masks",
    "binary_masks",
    "index_masks",
)
"""In the order in which they are asked: a layout that says more of itself goes first."""


@cache
def formats() -> dict[str, Format]:
    """All formats by name, the most specific layout first."""
    found = (import_module(f"{__name__}.{module}").FORMAT for module in _MODULES)
    return {format.name: format for format in found}


def get_format(name: str) -> Format:
    """A format by name; :class:`UnknownNameError` names the nearest."""
    try:
        return formats()[name]
    except KeyError:
        raise UnknownNameError("data format", name, formats()) from None
