"""vitrail: image segmentation, classical and neural, with one way in and one way out.

    import vitrail

    result = vitrail.load("subjects")("photo.jpg")
    result.save("out")

Names are loaded when first used, so that ``import vitrail`` itself costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME = {
    "load": "vitrail.predict.segmenter",
    "refine": "vitrail.predict.refine",
    "list_models": "vitrail.predict.segmenter",
    "Segmenter": "vitrail.predict.segmenter",
    "read_image": "vitrail.image",
    "Image": "vitrail.image",
    "Result": "vitrail.result",
    "SemanticResult": "vitrail.result",
    "InstanceResult": "vitrail.result",
    "RegionResult": "vitrail.result",
    "EdgeResult": "vitrail.result",
    "VitrailError": "vitrail.errors",
    "train": "vitrail.training.api",
    "Learner": "vitrail.training.learner",
}

__all__ = [
    "EdgeResult",
    "Image",
    "InstanceResult",
    "Learner",
    "RegionResult",
    "Result",
    "Segmenter",
    "SemanticResult",
    "VitrailError",
    "__version__",
    "list_models",
    "load",
    "read_image",
    "refine",
    "train",
]

if TYPE_CHECKING:
    from vitrail.errors import VitrailError
    from vitrail.image import Image, read_image
    from vitrail.predict.refine import refine
    from vitrail.predict.segmenter import Segmenter, list_models, load
    from vitrail.result import EdgeResult, InstanceResult, RegionResult, Result, SemanticResult
    from vitrail.training.api import train
    from vitrail.training.learner import Learner


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'vitrail' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
