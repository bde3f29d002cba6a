"""From a :class:`~vitrail.compat.mrcnn.config.Config` to vitrail's network and card."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import ValidationError

from vitrail.compat.mrcnn.config import Config
from vitrail.errors import ConfigError, ParameterError
from vitrail.models.instances import InstanceModel
from vitrail.models.maskrcnn.arguments import MaskRCNNArguments
from vitrail.models.maskrcnn.families import FAMILIES
from vitrail.models.registry import build
from vitrail.weights.card import Card, Licences, Preprocessing

ARCHITECTURE = "mask-rcnn"
"""In vitrail's registry."""

_RESNETS = ("resnet50", "resnet101")
"""What the original knows; their published weights want its own strides, padding and epsilon."""
_OF_THOSE = ("stride_in_1x1", "same_pool", "norm_eps")
_STRIDES = [4, 8, 16, 32, 64]


def arguments_of(config: Config) -> dict[str, object]:
    """The arguments of ``mask-rcnn`` for these settings.

    Raises
    ------
    ParameterError
        a setting that vitrail's network cannot follow; says what it can.
    """
    _check(config)
    family = {
        name: value
        for name, value in FAMILIES["matterport"].items()
        if config.BACKBONE in _RESNETS or name not in _OF_THOSE
    }
    wanted = {
        "classes": config.NUM_CLASSES - 1,
        "encoder": config.BACKBONE,
        "in_channels": config.IMAGE_CHANNEL_COUNT,
        "frozen_norm": config.TRAIN_BN is False,
        "pyramid_channels": config.TOP_DOWN_PYRAMID_SIZE,
        "box_width": config.FPN_CLASSIF_FC_LAYERS_SIZE,
        "rpn_delta_scale": _delta_scale(config.RPN_BBOX_STD_DEV),
        "box_delta_scale": _delta_scale(config.BBOX_STD_DEV),
        "anchors": {
            "sizes": tuple(map(float, config.RPN_ANCHOR_SCALES)),
            # The original's are width / height, vitrail's height / width.
            "ratios": tuple(1 / ratio for ratio in config.RPN_ANCHOR_RATIOS),
        },
        "proposals": {
            "candidates": config.PRE_NMS_LIMIT,
            "candidates_training": config.PRE_NMS_LIMIT,
            "nms": config.RPN_NMS_THRESHOLD,
            "kept": config.POST_NMS_ROIS_INFERENCE,
            "kept_training": config.POST_NMS_ROIS_TRAINING,
        },
        "roi": {"box_size": config.POOL_SIZE, "mask_size": config.MASK_POOL_SIZE},
        "sampling": {
            "anchors": config.RPN_TRAIN_ANCHORS_PER_IMAGE,
            "regions": config.TRAIN_ROIS_PER_IMAGE,
            "regions_positive": config.ROI_POSITIVE_RATIO,
        },
        "detection": {
            "score_threshold": config.DETECTION_MIN_CONFIDENCE,
            "nms": config.DETECTION_NMS_THRESHOLD,
            "max_detections": config.DETECTION_MAX_INSTANCES,
        },
    }
    arguments = {**family, **{name: _over(family.get(name), wanted[name]) for name in wanted}}
    try:
        MaskRCNNArguments.model_validate(arguments)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, one['loc']))}={one['input']!r}: {one['msg']}"
            for one in error.errors(include_url=False)
        )
        raise ParameterError(f"{type(config).__name__}: {faults}") from None
    return arguments


def network_of(config: Config) -> InstanceModel:
    """The network of these settings, with random weights.

    Raises
    ------
    ParameterError
        as :func:`arguments_of`; or ``BACKBONE`` is no name that timm knows, or has no four
        strides of 4 to 32.
    """
    try:
        network = build(ARCHITECTURE, arguments_of(config))
    except ConfigError as error:
        raise ParameterError(f"{type(config).__name__}: {error}") from None
    assert isinstance(network, InstanceModel)
    return network


def preprocessing_of(config: Config) -> Preprocessing:
    """How ``vitrail.load`` shall feed such a network: as ``detect`` does in mode ``square``."""
    return Preprocessing(
        image_size=config.IMAGE_MAX_DIM,
        resize="square",
        min_side=min(config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM) or None,
        interpolation="skimage",
        mean=tuple(float(value) / 255 for value in config.MEAN_PIXEL),
        std=(1 / 255,) * config.IMAGE_CHANNEL_COUNT,
    )


def card_of(config: Config, name: str, classes: Sequence[str], command: str = "") -> Card:
    """The card of such a network; ``classes`` without the background."""
    return Card(
        name=name,
        summary=f"Mask R-CNN over {config.BACKBONE}, by the settings of {type(config).__name__}",
        architecture=ARCHITECTURE,
        arguments=arguments_of(config),
        classes=tuple(classes),
        preprocessing=preprocessing_of(config),
        training_data="not described",
        training_command=command,
        licences=Licences(code="Apache-2.0", weights="not stated", training_data="not stated"),
    )


def _check(config: Config) -> None:
    """What the original would build otherwise, or fail at later."""
    told = type(config).__name__
    if not isinstance(config.BACKBONE, str):
        raise ParameterError(
            f"{told}.BACKBONE is a function that builds TensorFlow's layers; expected resnet50, "
            "resnet101, or the name of one of timm's backbones with strides of 4, 8, 16 and 32"
        )
    if config.NUM_CLASSES < 2:
        raise ParameterError(
            f"{told}.NUM_CLASSES={config.NUM_CLASSES}: expected the background and one class or "
            "more"
        )
    if list(config.BACKBONE_STRIDES) != _STRIDES or config.RPN_ANCHOR_STRIDE != 1:
        raise ParameterError(
            f"{told}: BACKBONE_STRIDES={config.BACKBONE_STRIDES} and RPN_ANCHOR_STRIDE="
            f"{config.RPN_ANCHOR_STRIDE}; vitrail's pyramid has the strides {_STRIDES} and anchors "
            "at every feature: change RPN_ANCHOR_SCALES or IMAGE_MAX_DIM instead"
        )
    if list(config.MASK_SHAPE) != [2 * config.MASK_POOL_SIZE] * 2:
        raise ParameterError(
            f"{told}: MASK_SHAPE={config.MASK_SHAPE} with MASK_POOL_SIZE={config.MASK_POOL_SIZE}; "
            "the mask head doubles what it is given"
        )
    if not config.USE_RPN_ROIS:
        raise ParameterError(
            f"{told}.USE_RPN_ROIS=False: vitrail trains both stages together; leave it True"
        )
    if len(config.MEAN_PIXEL) != config.IMAGE_CHANNEL_COUNT:
        raise ParameterError(
            f"{told}: MEAN_PIXEL has {len(config.MEAN_PIXEL)} values for IMAGE_CHANNEL_COUNT="
            f"{config.IMAGE_CHANNEL_COUNT}"
        )
    fixed = [side for side in config.IMAGE_SHAPE[:2].tolist() if side % 64]
    if fixed and config.IMAGE_RESIZE_MODE in ("square", "crop"):
        side = fixed[0]
        raise ParameterError(
            f"{told}: images of {side} px in mode {config.IMAGE_RESIZE_MODE!r}; expected a "
            f"multiple of 64, such as {64 * math.ceil(side / 64)}"
        )


def _delta_scale(deviation: np.ndarray) -> tuple[float, ...]:
    """dy dx dh dw of the original's standard deviations to vitrail's factors of dx dy dw dh."""
    dy, dx, dh, dw = (1 / float(value) for value in deviation)
    return dx, dy, dw, dh


def _over(of_family: object, wanted: object) -> object:
    """Values of a section over the family's own."""
    if isinstance(of_family, dict) and isinstance(wanted, dict):
        return {**of_family, **wanted}
    return wanted
