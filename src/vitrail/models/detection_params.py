"""Which of the objects found are told; kept apart from torch, so that it can be shown quickly."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DetectionParams(BaseModel):
    """What decides which of the objects found are told; may be set when a model is loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    score_threshold: float = Field(0.05, ge=0, le=1, description="least score of an object")
    nms: float = Field(
        0.5, ge=0, le=1, description="IoU above which the lesser of two boxes of a class is dropped"
    )
    max_detections: int = Field(100, ge=1, le=100_000, description="objects of an image, at most")
    mask_threshold: float = Field(
        0.5, ge=0, le=1, description="probability from which a pixel belongs to the object"
    )
