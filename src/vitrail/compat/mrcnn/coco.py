"""The settings of the original's ``samples/coco/coco.py``."""

from __future__ import annotations

from vitrail.compat.mrcnn._missing import missing
from vitrail.compat.mrcnn.config import Config

__all__ = ["CocoConfig"]


class CocoConfig(Config):
    """What the published COCO weights were trained with; make a subclass for inference."""

    NAME = "coco"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 80


__getattr__ = missing(
    "mrcnn.coco",
    {
        "CocoDataset": "vitrail.data.opening.open_dataset(folder, 'coco'), whose splits "
        "`vitrail train` and `vitrail evaluate` read",
        "evaluate_coco": "`vitrail evaluate MODEL COCO_FOLDER`, which reports COCO's AP",
        "build_coco_results": "InstanceResult.to_coco()",
    },
)
