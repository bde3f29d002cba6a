"""What a user may set on any network; kept apart from torch, so that it can be shown quickly."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.nn.crf_params import CRFParams


class NetworkParams(BaseModel):
    """Parameters of a network at prediction time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int | None = Field(
        None,
        ge=32,
        le=8192,
        description="side the network sees, px (the long one, unless the card's resize says "
        "otherwise); default: the card's",
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
