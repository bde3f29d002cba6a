"""A recipe: what to train, on what, how; YAML plus ``key=value`` overrides, checked before use."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vitrail.data.augment import AugmentConfig
from vitrail.errors import ConfigError, VitrailError, nearest
from vitrail.losses import build_loss
from vitrail.weights.card import CardName, Licences, Preprocessing


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Folders(_Section):
    """Where one part of a set of images and index masks lies, relative to its root."""

    images: Path
    masks: Path


class DrawConfig(_Section):
    """How a data set without parts of its own is divided; the same images on every machine."""

    parts: str | None = Field(
        None, description='"train=0.8,val=0.2", "train=2164,val=449,test=300" or "...=rest"'
    )
    folds: int | None = Field(
        None, ge=2, le=100, description="instead of parts: that many parts of equal size ..."
    )
    fold: int = Field(0, ge=0, description="... of which this one (from 0) is val, the rest train")
    seed: int = Field(0, ge=0, description="another seed, another division")
    source: str | None = Field(None, description="which split is divided; null: all of them joined")
    stratify: bool | str = Field(
        True,
        description="each part gets its share of each class's images; a name: of each value of "
        "that attribute of the objects, such as dsb2018's kind",
    )
    group: str | None = Field(
        None,
        description="keep images together: prefix, a CSV of id and group, or a regular expression",
    )

    @model_validator(mode="after")
    def _one_way(self) -> DrawConfig:
        if (self.parts is None) == (self.folds is None):
            raise ValueError("expected either parts or folds")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold={self.fold}: expected 0 to {self.folds - 1}")
        return self


class DataConfig(_Section):
    """A labelled data set, of any format that vitrail reads."""

    root: Path = Field(description="folder of the data set, or its annotation file")
    format: str | None = Field(
        None, description="see `vitrail data formats`; null: recognised by its layout"
    )
    options: dict[str, object] = Field(
        default_factory=dict, description="what the format can be told, such as classes"
    )
    train: Folders | str = Field("train", description="a split's name, or folders of index masks")
    val: Folders | str = Field("val", description="likewise, for validation")
    draw: DrawConfig | None = Field(None, description="divide the set first; null: as it is")
    classes: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="with folders: names by class id, from 0; otherwise: classes to keep, in "
        "order; null: all",
    )
    merge: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="new name: the classes that become one under it"
    )
    background: int | None = Field(
        0, ge=0, description='with folders: id of "none of the others", or null'
    )
    ignore: int = Field(
        255, ge=0, le=65535, description="with folders: id of unlabelled pixels, in no loss"
    )
    unlabelled: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="with folders: file-name prefix: classes that this source did not annotate",
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
        description="prefix of image ids: how many times an epoch shows each of these images",
    )

    @model_validator(mode="after")
    def _ids_fit(self) -> DataConfig:
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError("classes holds a name twice")
        folders = isinstance(self.train, Folders)
        if folders != isinstance(self.val, Folders):
            raise ValueError("train and val: expected folders for both, or a split's name for both")
        if not folders:
            if self.unlabelled:
                raise ValueError("unlabelled needs train and val as folders of images and masks")
            return self
        if self.classes is None:
            raise ValueError("classes is missing: folders of masks do not say what their ids mean")
        count = len(self.classes)
        if self.background is not None and self.background >= count:
            raise ValueError(f"background={self.background} is none of the {count} class ids")
        if self.ignore < count:
            raise ValueError(f"ignore={self.ignore} is the id of {self.classes[self.ignore]!r}")
        for key in ("format", "draw", "options"):
            if getattr(self, key):
                raise ValueError(f"{key}: only for data sets that are opened by name of a split")
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
        None,
        description="checkpoint to go on from: the whole network, not only its encoder; what "
        "depends on the number of classes starts afresh where that is another",
    )


class TrainConfig(_Section):
    """How long, how fast, on what."""

    epochs: int = Field(ge=1, description="passes over the training set")
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        16,
        description="images a step, over all processes; auto: the most that fits into memory, "
        "halved when it does not",
    )
    accumulate: int = Field(
        1, ge=1, description="parts that a step's images are computed in, to save memory"
    )
    image_size: int = Field(ge=16, le=8192, description="side of the training crop, px")
    finish_epochs: int = Field(0, ge=0, description="how many of the last epochs use finish_size")
    finish_size: int = Field(256, ge=16, le=8192, description="side of the crop in those, px")

    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="sgd: with Nesterov momentum")
    lr: float = Field(1e-3, gt=0, allow_inf_nan=False, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd; the first beta of adamw")
    weight_decay: float = Field(0.01, ge=0, description="decoupled; not on biases and norms")
    schedule: Literal["one-cycle", "poly", "constant"] = Field(
        "one-cycle",
        description="after the warm-up: one-cycle: half a cosine to 0; poly: (1 - done)^power",
    )
    poly_power: float = Field(0.9, gt=0, le=10, description="of schedule poly")
    warmup: float = Field(0.1, ge=0, lt=1, description="fraction of steps with a rising rate")
    encoder_lr_scale: float = Field(0.5, gt=0, le=1, description="the encoder's share of lr")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="and of that, each earlier stage's share of the next one's"
    )
    freeze_encoder: bool | Annotated[int, Field(ge=0)] = Field(
        False, description="true: the encoder is not trained; a number: not in the first epochs"
    )
    freeze_stages: int = Field(
        0,
        ge=0,
        description="how many of the encoder's first stages are not trained, the stem being the "
        "first",
    )
    freeze_norms: bool = Field(
        False,
        description="batch norms keep their statistics and are not trained: for few images a step, "
        "from published weights",
    )
    grad_clip: float | None = Field(1.0, gt=0, description="largest gradient norm; null: any")
    ema_decay: float = Field(
        0.998, ge=0, lt=1, description="of the averaged weights, a step; 0: no averaging"
    )

    monitor: str | None = Field(
        None,
        description="what decides which epoch is best: mean_iou, iou_CLASS, pixel_accuracy, "
        "mean_dice ...; of objects: mask_ap, box_ap, mask_ap50, mask_ap_CLASS ...; val_loss, loss; "
        "null: mean_iou, of objects mask_ap, where there are no masks box_ap",
    )
    patience: int | None = Field(
        None, ge=1, description="stop after so many epochs without a better one; null: never"
    )
    min_delta: float = Field(0.0, ge=0, description="what counts as better")

    workers: int = Field(2, ge=0, le=256, description="loader processes")
    seed: int = Field(0, ge=0)
    deterministic: bool = Field(
        False, description="only algorithms that repeat themselves; slower on a GPU"
    )
    precision: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="auto: the fastest the device does well"
    )
    device: str = Field("auto", description="auto, cpu, or cuda")
    preflight: bool = Field(True, description="check data, loss and memory before the first step")
    checkpoint_minutes: float = Field(
        10, gt=0, description="the state to resume from is written this often, and every epoch"
    )
    shown: int = Field(4, ge=0, le=64, description="validation images in each epoch's picture")
    trackers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = Field(
        ("tensorboard",), description="where curves go besides history.csv"
    )


class Recipe(_Section):
    """Everything that makes a trained model, and what its card will say."""

    name: CardName
    summary: str
    data: DataConfig
    model: ModelConfig
    preprocessing: Preprocessing
    augment: AugmentConfig = Field(default_factory=lambda: AugmentConfig.model_validate({}))
    loss: str | None = Field(
        None,
        description="see docs/losses.md: names, parameters, sums; null: ce + dice. Networks that "
        "find objects have losses of their own",
    )
    train: TrainConfig
    training_data: str = Field("not described", description="what the card says of the data")
    licences: Licences = Field(
        Licences(code="Apache-2.0", weights="not stated", training_data="not stated")
    )
    limits: str = ""

    @model_validator(mode="after")
    def _name_and_loss_can_be(self) -> Recipe:
        if self.name in ("last", "state"):
            raise ValueError(f"name={self.name!r}: a file of this name is written beside the best")
        if self.loss is not None:
            build_loss(self.loss)
        return self


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
    return make_recipe(content, overrides or [], str(path))


def make_recipe(
    content: Mapping[str, object], overrides: Sequence[str] = (), source: str = "recipe"
) -> Recipe:
    """A recipe from what its file would hold, which is not changed; ``source`` is what errors name.

    Raises
    ------
    ConfigError
        as :func:`read_recipe`.
    """
    content = copy.deepcopy(dict(content))
    for override in overrides:
        _apply(content, override)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_describe(error)}") from None
    except VitrailError as error:
        raise ConfigError(f"{source}: {error}") from None


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


def _describe(error: ValidationError) -> str:
    """All faults in one line; the alternatives of a union are told as one fault."""
    told: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False):
        place, section = _place(fault["loc"])
        where = ".".join(place)
        if fault["type"] == "extra_forbidden":
            hint = f"unknown key {where!r}; " + nearest(place[-1], section.model_fields)
            told.setdefault(hint, [])
        elif fault["type"] == "missing":
            told.setdefault(f"{where} is missing", [])
        else:
            message = fault["msg"].removeprefix("Value error, ")
            message = message[:1].lower() + message[1:]
            # A fault between several keys names their values itself.
            value = "" if fault["type"] == "value_error" else f"={fault['input']!r}"
            if isinstance(fault["input"], dict) and told:
                continue  # a mapping was meant for the alternative whose keys are told already
            told.setdefault(f"{where}{value}", []).append(message)
    return "; ".join(
        f"{head}: {', or '.join(messages)}" if messages else head for head, messages in told.items()
    )


def _place(location: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel]]:
    """The keys of a fault's location, without pydantic's names for the alternatives of a union,
    and the section that holds the last of them."""
    section: type[BaseModel] = Recipe
    inner: type[BaseModel] | None = Recipe
    keys: list[str] = []
    alternatives: list[type[BaseModel]] = []
    for part in location:
        if not isinstance(part, str):
            continue
        if named := [kind for kind in alternatives if kind.__name__ == part]:
            inner, alternatives = named[0], []
            continue
        if inner is None:
            if _is_key(part):
                keys.append(part)  # of a mapping
            continue
        section = inner
        keys.append(part)
        field = section.model_fields.get(part)
        kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        united = [kind for kind in kinds[1:] if kind is not type(None)]
        alternatives = models if len(united) > 1 else []
        inner = models[0] if models and not alternatives else None
    return keys, section


def _is_key(part: str) -> bool:
    return part not in ("constrained-int", "bool", "str", "int", "float") and "[" not in part
