"""What a user may set on a network; kept apart from torch, so that it can be shown quickly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from vitrail.errors import ParameterError, nearest
from vitrail.models.detection_params import DetectionParams
from vitrail.nn.crf_params import CRFParams


class DetectionLimitWarning(UserWarning):
    """An image has more objects than ``max_detections``; the least certain are left out."""


class ShrunkImageWarning(UserWarning):
    """An image is so much larger than what the detector sees of it that small objects are lost."""


def _listed(value: object) -> object:
    """A single number as a list of one; what is no list is refused in the user's terms."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, list | tuple):
        raise ValueError("expected a list of numbers, such as [0.8, 1, 1.25]")
    return value


class NetworkParams(BaseModel):
    """Parameters, at prediction time, of a network that gives every pixel a class."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int | None = Field(
        None,
        ge=32,
        le=8192,
        description="side the network sees, px (the long one, unless the card's resize says "
        "otherwise); default: the card's",
    )
    flip: bool = Field(
        False, description="look at the mirrored image, too, and average: twice the time"
    )
    scales: Annotated[
        tuple[Annotated[float, Field(gt=0, le=8, allow_inf_nan=False)], ...],
        BeforeValidator(_listed),
    ] = Field(
        (1.0,),
        min_length=1,
        max_length=16,
        description="multiples of image_size to look at the image in; averaged",
    )
    refine: Literal["crf"] | None = Field(
        None, description="crf: move borders onto the picture's edges with a fully connected CRF"
    )
    crf: CRFParams = Field(CRFParams(), description="parameters of refine=crf")

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.refine is None and "crf" in self.model_fields_set:
            raise ValueError("crf has parameters, but nothing is refined; add refine=crf")
        return self


class DetectorParams(DetectionParams):
    """Parameters, at prediction time, of a network that finds objects; what is not set is as the
    network was published or trained."""

    image_size: int | None = Field(
        None,
        ge=32,
        le=8192,
        description="side the network sees, px (which one, the card's resize says); default: the "
        "card's",
    )
    flip: bool = Field(
        False, description="look at the mirrored image, too, and average: twice the time"
    )

    def over(self, published: DetectionParams) -> DetectionParams:
        """``published`` with what is set here in its place."""
        chosen = self.model_fields_set & set(DetectionParams.model_fields)
        return published.model_copy(update={name: getattr(self, name) for name in chosen})


Params: TypeAlias = NetworkParams | DetectorParams

_WORK = {
    NetworkParams: "networks that give every pixel a class",
    DetectorParams: "networks that find objects",
}


def parse_params(name: str, kind: type[Params], params: Mapping[str, object]) -> Params:
    """The parameters that a network was loaded with, checked.

    Parameters
    ----------
    name:
        What the network was loaded as, for messages.
    kind:
        Whose parameters it takes.
    params:
        As the user gave them.

    Raises
    ------
    ParameterError
        one is unknown, is for networks of the other kind, is of the wrong type or out of range.
    """
    for key in params:
        if key in kind.model_fields:
            continue
        for other, work in _WORK.items():
            if key in other.model_fields:
                raise ParameterError(
                    f"{key} is for {work}, which {name} is not; its parameters: "
                    + ", ".join(sorted(kind.model_fields))
                )
        hint = nearest(key, kind.model_fields)
        raise ParameterError(f"{name} has no parameter {key!r}; {hint}")
    try:
        return kind.model_validate(dict(params))
    except ValidationError as error:
        raise ParameterError(_fault(error)) from None


def _fault(error: ValidationError) -> str:
    """The first fault of a network's parameters, in a line; ``crf.theta_beta=0: ...``."""
    fault = error.errors(include_url=False)[0]
    message = fault["msg"].removeprefix("Value error, ")
    *parents, name = [str(part) for part in fault["loc"]] or [""]
    if not name:  # of the parameters together
        return message
    where = ".".join([*parents, name])
    if fault["type"] == "extra_forbidden":
        return f"there is no parameter {where!r}; {nearest(name, CRFParams.model_fields)}"
    return f"{where}={fault['input']!r}: {message}"
