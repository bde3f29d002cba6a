"""``Config``: every setting of the original, with its name, default value and table.

A reader makes a subclass and overrides class attributes. What each setting does to vitrail's
network is said in :mod:`vitrail.compat.mrcnn._network` and :mod:`vitrail.compat.mrcnn._training`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

_META_FIXED = 1 + 3 + 3 + 4 + 1
"""Numbers of an image's meta besides its classes: id, two shapes, window, scale."""


class Config:
    """Settings of a Mask R-CNN; subclass it and override what differs.

    Attributes
    ----------
    BATCH_SIZE:
        ``IMAGES_PER_GPU * GPU_COUNT``.
    IMAGE_SHAPE:
        ``(3,)`` int64: height, width and bands of a molded image.
    IMAGE_META_SIZE:
        Length of an image's meta: 12 and one for each class.
    """

    NAME: str | None = None
    """Of the experiment; begins the names of folders and weight files."""
    GPU_COUNT: int = 1
    IMAGES_PER_GPU: int = 2
    STEPS_PER_EPOCH: int = 1000
    VALIDATION_STEPS: int = 50

    BACKBONE: str | Callable[..., Any] = "resnet101"
    """``resnet50``, ``resnet101``, or any name that timm knows."""
    COMPUTE_BACKBONE_SHAPE: Callable[..., Any] | None = None
    BACKBONE_STRIDES: ClassVar[list[int]] = [4, 8, 16, 32, 64]
    """Of the levels P2 to P6, px."""
    FPN_CLASSIF_FC_LAYERS_SIZE: int = 1024
    TOP_DOWN_PYRAMID_SIZE: int = 256
    NUM_CLASSES: int = 1
    """Background included."""

    RPN_ANCHOR_SCALES: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Side of a square anchor at each level, px."""
    RPN_ANCHOR_RATIOS: ClassVar[list[float]] = [0.5, 1, 2]
    """Width / height."""
    RPN_ANCHOR_STRIDE: int = 1
    RPN_NMS_THRESHOLD: float = 0.7
    RPN_TRAIN_ANCHORS_PER_IMAGE: int = 256
    PRE_NMS_LIMIT: int = 6000
    POST_NMS_ROIS_TRAINING: int = 2000
    POST_NMS_ROIS_INFERENCE: int = 1000

    USE_MINI_MASK: bool = True
    """Of :func:`~vitrail.compat.mrcnn.model.load_image_gt`; training keeps masks whole anyway."""
    MINI_MASK_SHAPE: tuple[int, int] = (56, 56)

    IMAGE_RESIZE_MODE: str = "square"
    """``none``, ``square``, ``pad64`` or ``crop``: see ``utils.resize_image``."""
    IMAGE_MIN_DIM: int = 800
    IMAGE_MAX_DIM: int = 1024
    IMAGE_MIN_SCALE: float = 0
    """Least enlargement; 0 is none."""
    IMAGE_CHANNEL_COUNT: int = 3
    MEAN_PIXEL: ClassVar[np.ndarray] = np.array([123.7, 116.8, 103.9])
    """RGB, 0..255."""

    TRAIN_ROIS_PER_IMAGE: int = 200
    ROI_POSITIVE_RATIO: float = 0.33
    POOL_SIZE: int = 7
    MASK_POOL_SIZE: int = 14
    MASK_SHAPE: ClassVar[list[int]] = [28, 28]
    """Twice ``MASK_POOL_SIZE``."""
    MAX_GT_INSTANCES: int = 100
    RPN_BBOX_STD_DEV: ClassVar[np.ndarray] = np.array([0.1, 0.1, 0.2, 0.2])
    """dy dx dh dw."""
    BBOX_STD_DEV: ClassVar[np.ndarray] = np.array([0.1, 0.1, 0.2, 0.2])
    """dy dx dh dw."""

    DETECTION_MAX_INSTANCES: int = 100
    DETECTION_MIN_CONFIDENCE: float = 0.7
    DETECTION_NMS_THRESHOLD: float = 0.3

    LEARNING_RATE: float = 0.001
    LEARNING_MOMENTUM: float = 0.9
    WEIGHT_DECAY: float = 0.0001
    LOSS_WEIGHTS: ClassVar[dict[str, float]] = {
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    }
    USE_RPN_ROIS: bool = True
    TRAIN_BN: bool | None = False
    """False: batch norms stay as they are; None: they learn (True is taken for None)."""
    GRADIENT_CLIP_NORM: float = 5.0

    def __init__(self) -> None:
        # Each configuration has its own lists and arrays: changing one leaves the class alone.
        for name, value in self._values().items():
            if isinstance(value, list | dict | np.ndarray):
                setattr(self, name, copy.deepcopy(value))
        self.BATCH_SIZE = self.IMAGES_PER_GPU * self.GPU_COUNT
        side = self.IMAGE_MIN_DIM if self.IMAGE_RESIZE_MODE == "crop" else self.IMAGE_MAX_DIM
        self.IMAGE_SHAPE = np.array([side, side, self.IMAGE_CHANNEL_COUNT])
        self.IMAGE_META_SIZE = _META_FIXED + self.NUM_CLASSES

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, sorted."""
        return self._values()

    def display(self) -> None:
        """Print all settings: names sorted, two columns, the second from column 31 on."""
        print("\nConfigurations:")
        for name, value in self._values().items():
            print(f"{name:30} {value}")
        print("\n")

    def _values(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in dir(self) if not name.startswith("__")}
        return {name: value for name, value in named.items() if not callable(value)}
