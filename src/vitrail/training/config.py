"""A recipe: what to train, on what, how; YAML plus ``key=value`` overrides, checked before use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vitrail.data.augment import AugmentConfig
from vitrail.errors import ConfigError, nearest
from vitrail.weights.card import CardName, Licences, Preprocessing


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(_Section):
    """Where one part of a data set lies, relative to its root."""

    images: Path
    masks: Path


class DataConfig(_Section):
    """A labelled data set."""

    root: Path = Field(description="folder of the data set")
    format: Literal["index-masks"] = Field("index-masks", description="how labels are stored")
    train: Split
    val: Split
    classes: tuple[str, ...] = Field(min_length=2, description="names by class id, from 0")
    background: int | None = Field(0, ge=0, description='id of "none of the others"')
    ignore: int = Field(255, ge=0, le=65535, description="id of unlabelled pixels")
    unlabelled: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="file-name prefix: classes that this source did not annotate",
    )
    omission_weight: float = Field(
        0.05,
        ge=0,
        le=1,
        description="how likely a background pixel of such a source is one of those classes, "
        "relative to the whole set; 0: never, 1: nothing is known",
    )
    repeat: dict[str, Annotated[int, Field(ge=1, le=1000)]] = Field(
        default_factory=dict,
        description="file-name prefix: how many times an epoch shows each of these images",
    )

    @model_validator(mode="after")
    def _ids_fit(self) -> DataConfig:
        count = len(self.classes)
        if len(set(self.classes)) < count:
            raise ValueError("classes holds a name twice")
        if self.background is not None and self.background >= count:
            raise ValueError(f"background={self.background} is none of the {count} class ids")
        if self.ignore < count:
            raise ValueError(f"ignore={self.ignore} is the id of {self.classes[self.ignore]!r}")
        return self


class ModelConfig(_Section):
    """A network by its registered name."""

    architecture: str
    arguments: dict[str, object] = Field(default_factory=dict, description="all but the classes")
    encoder_weights: Literal["imagenet"] | Path | None = Field(
        None,
        description="imagenet: timm's own, a download; a path: safetensors with timm's keys; "
        "null: random",
    )
    start: Path | None = Field(
        None, description="checkpoint to go on from: the whole network, not only its encoder"
    )


class TrainConfig(_Section):
    """How long, how fast, on what."""

    epochs: int = Field(ge=1, description="passes over the training set")
    batch_size: int = Field(16, ge=1, description="images a step")
    image_size: int = Field(ge=16, le=8192, description="side of the training crop, px")
    finish_epochs: int = Field(0, ge=0, description="how many of the last epochs use finish_size")
    finish_size: int = Field(256, ge=16, le=8192, description="side of the crop in those, px")
    lr: float = Field(1e-3, gt=0, description="peak learning rate (AdamW)")
    encoder_lr_scale: float = Field(0.5, gt=0, le=1, description="the encoder's share of lr")
    weight_decay: float = Field(0.01, ge=0, description="decoupled; not on biases and norms")
    warmup: float = Field(0.1, ge=0, lt=1, description="fraction of steps with a rising rate")
    grad_clip: float = Field(1.0, gt=0, description="largest gradient norm")
    ema_decay: float = Field(0.998, ge=0, lt=1, description="of the averaged weights, a step")
    workers: int = Field(2, ge=0, description="loader processes")
    seed: int = Field(0, ge=0)
    precision: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="auto: the fastest the device does well"
    )
    device: str = Field("auto", description="auto, cpu, or cuda")


class Recipe(_Section):
    """Everything that makes a trained model, and what its card will say."""

    name: CardName
    summary: str
    data: DataConfig
    model: ModelConfig
    preprocessing: Preprocessing
    augment: AugmentConfig = Field(default_factory=lambda: AugmentConfig.model_validate({}))
    train: TrainConfig
    training_data: str = Field(description="what the card says of the data")
    licences: Licences
    limits: str = ""


def read_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe and apply ``section.key=value`` overrides (values are YAML).

    Raises
    ------
    ConfigError
        names the file, the key, the value and what was expected; for an unknown key, the
        nearest valid one.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or an impossible date
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, got {type(content).__name__}")
    for override in overrides or []:
        _apply(content, override)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        faults = [_describe(fault) for fault in error.errors(include_url=False)]
        raise ConfigError(f"{path}: " + "; ".join(faults)) from None


def _apply(content: dict, override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r}: expected section.key=value")
    *sections, last = key.split(".")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise ConfigError(f"override {override!r}: {section} is a value, not a section")
    try:
        place[last] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"override {override!r}: {value!r} is not valid YAML") from None


def _describe(fault: object) -> str:
    assert isinstance(fault, dict)
    place = [part for part in fault["loc"] if isinstance(part, str)]
    where = ".".join(place)
    if fault["type"] == "extra_forbidden":
        section = _section(place[:-1])
        return f"unknown key {where!r}; " + nearest(place[-1], section.model_fields)
    if fault["type"] == "missing":
        return f"{where} is missing"
    message = fault["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if fault["type"] == "value_error":  # it concerns several keys, and names their values itself
        return f"{where}: {message}"
    return f"{where}={fault['input']!r}: {message}"


def _section(path: list[str]) -> type[BaseModel]:
    """The model class that a dotted path leads to, for naming its keys."""
    section: type[BaseModel] = Recipe
    for key in path:
        field = section.model_fields.get(key)
        if field is None:
            return section
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                section = kind
    return section
