"""The model card: everything needed to rebuild, feed and judge a network, in one validated text.

It is written into the metadata of each ``.safetensors`` file, so that the file alone suffices.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

CardName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
"""Names a model and its files: lower-case letters, digits, dots, dashes, underscores."""

_STRICT = ConfigDict(extra="forbid", frozen=True)


class Preprocessing(BaseModel):
    """From RGB pixels to the network's input: resize, ``(x / 255 - mean) / std``, pad."""

    model_config = _STRICT

    image_size: int = Field(ge=16, le=16384, description="long side after resizing, px")
    mean: tuple[float, ...] = Field((0.5, 0.5, 0.5), description="per band, of values in 0..1")
    std: tuple[float, ...] = Field((0.5, 0.5, 0.5), description="per band, of values in 0..1")

    @model_validator(mode="after")
    def _one_value_a_band(self) -> Preprocessing:
        if not self.mean or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ValueError("mean and std need one value a band each, std above 0")
        if not all(math.isfinite(value) for value in self.mean + self.std):
            raise ValueError("mean and std must be finite")
        return self


class Licences(BaseModel):
    """Who allows what, for each of the three things that a model is made of."""

    model_config = _STRICT

    code: str
    weights: str
    training_data: str


class Score(BaseModel):
    """A measured result, with all that is needed to measure it again."""

    model_config = _STRICT

    dataset: str
    split: str
    protocol: str
    values: dict[str, float]
    command: str


class Card(BaseModel):
    """What a set of weights is."""

    model_config = _STRICT

    name: CardName
    summary: str
    architecture: str
    arguments: dict[str, object]
    classes: tuple[str, ...]
    background: int | None = None
    preprocessing: Preprocessing
    training_data: str
    training_command: str
    licences: Licences
    scores: tuple[Score, ...] = ()
    limits: str = Field("", description="what the model is known to be bad at")

    @model_validator(mode="after")
    def _classes_fit(self) -> Card:
        if self.background is not None and not 0 <= self.background < len(self.classes):
            raise ValueError(f"background={self.background} is not one of the classes")
        return self
