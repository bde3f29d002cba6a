"""matterport's ``.h5`` files made ours: a file of safetensors with a card."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from vitrail.errors import ParameterError
from vitrail.weights.card import Card, Licences, Preprocessing
from vitrail.weights.files import write_tensors
from vitrail.weights.importers.adopt import ClassNames
from vitrail.weights.importers.matterport import read_whole_matterport
from vitrail.weights.published.coco import COCO_CLASSES

SUFFIXES = (".h5", ".hdf5")
"""How the files' names end."""

_MEAN = (123.7 / 255, 116.8 / 255, 103.9 / 255)
_UNKNOWN = "not stated by the file"
_BACKGROUND = ("bg", "background")


def import_matterport(
    path: Path,
    out: Path,
    classes: ClassNames,
    *,
    image_size: int = 1024,
    min_side: int = 800,
    anchor_sizes: Sequence[float] = (32, 64, 128, 256, 512),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Card:
    """Write a Mask R-CNN that was trained with matterport's code as one of ours.

    Parameters
    ----------
    path
        what :func:`~vitrail.weights.importers.matterport.read_whole_matterport` takes.
    out
        the ``.safetensors`` file to write; its card is named after it.
    classes
        names in the order of the training, with or without matterport's ``BG`` in front; without
        any, a network of eighty classes has COCO's.
    image_size, min_side, anchor_sizes
        ``IMAGE_MAX_DIM``, ``IMAGE_MIN_DIM`` and ``RPN_ANCHOR_SCALES`` of its configuration, px.
    mean, std
        ``MEAN_PIXEL / 255`` and 1 / 255, where the training changed them.

    Raises
    ------
    WeightsError
        the file cannot be read, is refused, or is not a whole network.
    ParameterError
        class names that do not fit the network, or sizes out of range.
    OutputError
        ``out`` cannot be written.
    """
    found = read_whole_matterport(path)
    names, told = _names(path, int(str(found.arguments["classes"])), classes)
    try:
        preprocessing = Preprocessing(
            image_size=image_size,
            resize="square",
            min_side=min_side,
            interpolation="skimage",
            mean=_MEAN if mean is None else tuple(mean),
            std=(1 / 255,) * 3 if std is None else tuple(std),
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = ".".join(map(str, fault["loc"])) or "preprocessing"
        raise ParameterError(f"{name}: {fault['msg']}") from None
    if len(preprocessing.mean) != 3 or len(anchor_sizes) != 5 or min(anchor_sizes) <= 0:
        raise ParameterError(
            f"mean={preprocessing.mean}, anchor_sizes={tuple(anchor_sizes)}: expected a mean for "
            "each of three bands, and five sizes of anchors above 0 px"
        )
    anchors = found.arguments.get("anchors")
    assert isinstance(anchors, dict)
    arguments = {**found.arguments, "anchors": {**anchors, "sizes": tuple(anchor_sizes)}}
    card = Card(
        name=re.sub(r"[^a-z0-9._-]+", "-", out.stem.lower()).strip("-._") or "imported",
        summary=f"mask-rcnn imported from {path.name} (matterport)",
        architecture="mask-rcnn",
        arguments=arguments,
        classes=names,
        preprocessing=preprocessing,
        training_data=_UNKNOWN,
        training_command=_UNKNOWN,
        licences=Licences(code="Apache-2.0", weights=_UNKNOWN, training_data=_UNKNOWN),
        limits=f"the preprocessing and the anchors are what the import was told or assumed{told}",
    )
    write_tensors(out, found.tensors, card)
    return card


def _names(path: Path, count: int, given: ClassNames) -> tuple[tuple[str, ...], str]:
    """The classes' names without background, and what the card shall say of them."""
    names = given.names
    if len(names) == count + 1 and names[0].lower() in _BACKGROUND:
        names = names[1:]
    if not names and not given.count and count == len(COCO_CLASSES):
        return COCO_CLASSES, "; that its eighty classes are COCO's is assumed"
    what = f"{path}: the network finds objects of {count} classes, background not counted"
    if not names and not given.count:
        raise ParameterError(
            f"{what}, and the file does not name them; give --classes with {count} names, commas "
            f"between, in the order of the training, or --classes {count} if nobody knows them"
        )
    if (given.count or len(names)) != count:
        got = given.count or ", ".join(names)
        raise ParameterError(f"{what}; --classes {got}: expected {count} names, or {count}")
    if len(set(names)) != len(names):
        raise ParameterError(f"--classes {', '.join(names)}: a name stands there twice")
    if names:
        return names, ""
    unknown = tuple(f"unknown {index}" for index in range(count))
    return unknown, "; the names of its classes are unknown"
