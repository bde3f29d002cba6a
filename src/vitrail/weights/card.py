"""The model card: everything needed to rebuild, feed and judge a network, in one validated text.

It is written into the metadata of each ``.safetensors`` file, so that the file alone suffices.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

CardName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
"""Names a model and its files: lower-case letters, digits, dots, dashes, underscores."""

LONGEST = 8
"""With ``resize="short-side"`` the long side becomes at most this many times ``image_size``."""

_STRICT = ConfigDict(extra="forbid", frozen=True)


class Preprocessing(BaseModel):
    """From RGB pixels to the network's input: resize, ``(x / 255 - mean) / std``, pad.

    With ``resize`` a picture keeps its shape, but for ``stretch``. ``long-side`` bounds the work
    whatever the shape; ``short-side`` is torchvision's, and shrinks a picture that is more than
    :data:`LONGEST` times as long as it is wide further, so that the work stays bounded.
    """

    model_config = _STRICT

    image_size: int = Field(ge=16, le=16384, description="side after resizing, px; see resize")
    resize: Literal["long-side", "short-side", "stretch"] = Field(
        "long-side",
        description="which side becomes image_size; stretch: both, whatever the picture's shape",
    )
    interpolation: Literal["area", "antialias"] = Field(
        "area",
        description="when shrinking; area: the mean of what a pixel covers, antialias: a triangle "
        "of twice that width, as torchvision and Pillow do; when growing, both are bilinear",
    )
    pad: bool = Field(
        True, description="black at the right and bottom, to a multiple of the network's stride"
    )
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


class Download(BaseModel):
    """Where weights that do not ship with the package are published."""

    model_config = _STRICT

    url: str = Field(pattern=r"^https?://[^/]+/")
    file: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.(pth|safetensors)$", description="its name when kept"
    )
    size: int = Field(ge=1, description="bytes")
    size_within: int = Field(0, ge=0, description="by how many bytes size may be off")
    sha256: str = Field(
        pattern=r"^[0-9a-f]{8,64}$",
        description="of the file; or its beginning, where no more of it is published",
    )
    layout: Literal["vitrail", "torchvision"] = Field(
        "vitrail", description="whose names its tensors have"
    )


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
    download: Download | None = None
    """Where the weights are published, if they are not with the card."""

    @model_validator(mode="after")
    def _classes_fit(self) -> Card:
        if self.background is not None and not 0 <= self.background < len(self.classes):
            raise ValueError(f"background={self.background} is not one of the classes")
        return self
