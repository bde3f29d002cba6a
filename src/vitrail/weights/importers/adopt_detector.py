"""One's own Faster or Mask R-CNN, trained with torchvision or detectron2, made ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from vitrail.errors import ParameterError, WeightsError
from vitrail.models.registry import build
from vitrail.weights.card import Card
from vitrail.weights.files import check_state, write_tensors
from vitrail.weights.importers import converted
from vitrail.weights.importers.adopted import ClassNames, adopted_card, preprocessing_of
from vitrail.weights.importers.tensors import read_any_tensors
from vitrail.weights.published.coco import COCO_CLASSES_WITH_GAPS
from vitrail.weights.published.detection import DETECTION

DETECTORS = {
    "fasterrcnn_resnet50_fpn": "fasterrcnn-resnet50-fpn-coco",
    "fasterrcnn_resnet50_fpn_v2": "fasterrcnn-resnet50-fpn-v2-coco",
    "fasterrcnn_mobilenet_v3_large_fpn": "fasterrcnn-mobilenetv3-fpn-coco",
    "fasterrcnn_mobilenet_v3_large_320_fpn": "fasterrcnn-mobilenetv3-320-fpn-coco",
    "maskrcnn_resnet50_fpn": "maskrcnn-resnet50-fpn-coco",
    "maskrcnn_resnet50_fpn_v2": "maskrcnn-resnet50-fpn-v2-coco",
    "mask_rcnn_R_50_FPN": "maskrcnn-resnet50-detectron2-coco",
    "mask_rcnn_R_101_FPN": "maskrcnn-resnet101-detectron2-coco",
}
"""torchvision's functions and detectron2's configurations, and the published weights whose network
is the same but for the number of classes."""

_SCORES = "box_predictor.scores.weight"


def import_detector(
    path: Path,
    out: Path,
    classes: ClassNames,
    architecture: str,
    *,
    image_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Card:
    """Write a detector of torchvision's or detectron2's, of any number of classes, as one of ours.

    Parameters
    ----------
    path
        a state: ``.pth``, ``.safetensors`` or detectron2's ``.pkl``.
    out
        the ``.safetensors`` file to write; its card is named after it.
    classes
        names in the order of the training, with or without the background in front.
    architecture
        of :data:`DETECTORS`.
    image_size
        the short side in px; by default that of the published weights. The longest side grows or
        shrinks with it.
    mean, std
        of values from 0 to 1; by default those of the published weights.

    Raises
    ------
    WeightsError
        the file cannot be read, is refused, or is of another network.
    ParameterError
        class names that do not fit the network, or sizes out of range.
    OutputError
        ``out`` cannot be written.
    """
    published = next(card for card in DETECTION if card.name == DETECTORS[architecture])
    assert published.download is not None
    tensors = read_any_tensors(path)
    try:
        state = converted(tensors, published.download.layout, published.architecture)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    scores = state.get(_SCORES)
    if scores is None or scores.ndim != 2 or len(scores) < 2:
        raise WeightsError(
            f"{path}: has no scores of regions for background and classes; it is not the state of "
            f"{architecture}"
        )
    arguments = {**published.arguments, "classes": len(scores) - 1}
    with torch.device("meta"):
        check_state(build(published.architecture, arguments), state, path)
    names, told = classes.of_objects(path, len(scores) - 1, COCO_CLASSES_WITH_GAPS)
    used = published.preprocessing
    fed = used.model_dump()
    if image_size is not None and used.max_side is not None:
        longest = round(used.max_side * image_size / used.image_size)
        fed |= {"image_size": image_size, "max_side": longest}
    fed |= {name: value for name, value in (("mean", mean), ("std", std)) if value is not None}
    preprocessing = preprocessing_of(fed)
    if len(preprocessing.mean) != 3:
        raise ParameterError(f"mean={preprocessing.mean}: expected three values, one for each band")
    card = adopted_card(
        out,
        summary=f"{published.architecture} imported from {path.name} ({architecture})",
        architecture=published.architecture,
        arguments=arguments,
        classes=names,
        preprocessing=preprocessing,
        limits="the preprocessing, the anchors and the thresholds are those of the published "
        f"weights, or what the import was told{told}",
    )
    write_tensors(out, state, card)
    return card
