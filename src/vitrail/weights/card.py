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
    whatever the shape; ``short-side`` is torchvision's and detectron2's, and shrinks a picture
    further whose long side would exceed ``max_side``, so that the work stays bounded; ``square``
    is matterport's: a picture in the middle of a square, enlarged to ``min_side`` at most.
    """

    model_config = _STRICT

    image_size: int = Field(ge=16, le=16384, description="side after resizing, px; see resize")
    resize: Literal["long-side", "short-side", "stretch", "square"] = Field(
        default="long-side",
        description="which side becomes image_size; stretch: both, whatever the picture's shape; "
        "square: the side of the square that the picture is put into",
    )
    max_side: int | None = Field(
        default=None,
        ge=16,
        le=16384 * LONGEST,
        description=f"short-side: the long side at most, px; without it {LONGEST} times image_size",
    )
    min_side: int | None = Field(
        default=None,
        ge=16,
        le=16384,
        description="square: a shorter side is enlarged to this, px, as far as there is room",
    )
    rounding: Literal["down", "nearest"] = Field(
        default="down",
        description="short-side with max_side: to whole px; down: as torchvision, nearest: as "
        "detectron2",
    )
    interpolation: Literal["area", "antialias", "bilinear", "skimage"] = Field(
        default="area",
        description="when shrinking; area: the mean of what a pixel covers, antialias: a triangle "
        "of twice that width, as torchvision's images and Pillow do; when growing, both are "
        "bilinear; bilinear: of four pixels whatever the size, as torchvision's detectors do; "
        "skimage: likewise, with black around the picture and values cut to whole ones "
        "(matterport)",
    )
    pad: bool = Field(
        default=True,
        description="at the right and bottom, to a multiple of the network's stride; square: on "
        "all sides",
    )
    pad_value: Literal["black", "mean"] = Field(
        default="black",
        description="what is padded with; black: before normalising, mean: 0 after normalising",
    )
    mean: tuple[float, ...] = Field(
        default=(0.5, 0.5, 0.5), description="per band, of values in 0..1"
    )
    std: tuple[float, ...] = Field(
        default=(0.5, 0.5, 0.5), description="per band, of values in 0..1"
    )

    @model_validator(mode="after")
    def _one_value_a_band(self) -> Preprocessing:
        if not self.mean or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ValueError("mean and std need one value a band each, std above 0")
        if not all(math.isfinite(value) for value in self.mean + self.std):
            raise ValueError("mean and std must be finite")
        return self

    @model_validator(mode="after")
    def _sides_fit(self) -> Preprocessing:
        if self.max_side is not None and self.resize != "short-side":
            raise ValueError(f"max_side={self.max_side} bounds short-side, not {self.resize}")
        if self.max_side is not None and self.max_side < self.image_size:
            raise ValueError(f"max_side={self.max_side} is below image_size={self.image_size}")
        if self.min_side is not None and self.resize != "square":
            raise ValueError(f"min_side={self.min_side} belongs to square, not {self.resize}")
        if self.min_side is not None and self.min_side > self.image_size:
            raise ValueError(f"min_side={self.min_side} is above image_size={self.image_size}")
        if self.rounding == "nearest" and self.max_side is None:
            raise ValueError("rounding=nearest belongs to short-side with max_side")
        if self.resize == "square" and not self.pad:
            raise ValueError("pad=false: a square is filled up by padding")
        return self

    def at_size(self, image_size: int) -> Preprocessing:
        """The same at another ``image_size``; ``max_side`` and ``min_side`` change in proportion.

        Raises
        ------
        pydantic.ValidationError
            ``image_size`` is out of range.
        """
        scaled = {
            name: round(value * image_size / self.image_size)
            for name, value in (("max_side", self.max_side), ("min_side", self.min_side))
            if value is not None
        }
        values = self.model_dump() | {"image_size": image_size} | scaled
        return Preprocessing.model_validate(values)


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
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.(pth|safetensors|pkl|h5)$",
        description="its name when kept",
    )
    size: int = Field(ge=1, description="bytes")
    size_within: int = Field(default=0, ge=0, description="by how many bytes size may be off")
    sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{8,64}$",
        description="of the file; or its beginning, where no more of it is published",
    )
    md5: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{6,32}$",
        description="likewise, where that is what is published; it shows damage, not intent",
    )
    layout: Literal[
        "vitrail", "torchvision", "torchvision-detection", "detectron2", "matterport"
    ] = Field(default="vitrail", description="whose names its tensors have")

    @property
    def checksums(self) -> dict[str, str]:
        """What is published of them, by algorithm; without any, only the size can be verified."""
        both = {"sha256": self.sha256, "md5": self.md5}
        return {name: value for name, value in both.items() if value is not None}


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
    limits: str = Field(default="", description="what the model is known to be bad at")
    download: Download | None = None
    """Where the weights are published, if they are not with the card."""

    @model_validator(mode="after")
    def _classes_fit(self) -> Card:
        if self.background is not None and not 0 <= self.background < len(self.classes):
            raise ValueError(f"background={self.background} is not one of the classes")
        return self
