"""matterport's ``.h5`` files made ours: a file of safetensors with a card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vitrail.errors import ParameterError
from vitrail.weights.card import Card
from vitrail.weights.files import write_tensors
from vitrail.weights.importers.adopted import ClassNames, adopted_card, preprocessing_of
from vitrail.weights.importers.matterport import read_whole_matterport
from vitrail.weights.published.coco import COCO_CLASSES

SUFFIXES = (".h5", ".hdf5")
"""How the files' names end."""

_MEAN = (123.7 / 255, 116.8 / 255, 103.9 / 255)


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
    count = int(str(found.arguments["classes"]))
    names, told = classes.of_objects(path, count, COCO_CLASSES)
    preprocessing = preprocessing_of(
        {
            "image_size": image_size,
            "resize": "square",
            "min_side": min_side,
            "interpolation": "skimage",
            "mean": _MEAN if mean is None else tuple(mean),
            "std": (1 / 255,) * 3 if std is None else tuple(std),
        }
    )
    if len(preprocessing.mean) != 3 or len(anchor_sizes) != 5 or min(anchor_sizes) <= 0:
        raise ParameterError(
            f"mean={preprocessing.mean}, anchor_sizes={tuple(anchor_sizes)}: expected a mean for "
            "each of three bands, and five sizes of anchors above 0 px"
        )
    anchors = found.arguments.get("anchors")
    assert isinstance(anchors, dict)
    arguments = {**found.arguments, "anchors": {**anchors, "sizes": tuple(anchor_sizes)}}
    card = adopted_card(
        out,
        summary=f"mask-rcnn imported from {path.name} (matterport)",
        architecture="mask-rcnn",
        arguments=arguments,
        classes=names,
        preprocessing=preprocessing,
        limits=f"the preprocessing and the anchors are what the import was told or assumed{told}",
    )
    write_tensors(out, found.tensors, card)
    return card
