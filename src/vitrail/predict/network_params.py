"""What a user may set on any network; kept apart from torch, so that it can be shown quickly."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class NetworkParams(BaseModel):
    """Parameters of a network at prediction time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int | None = Field(
        None, ge=32, le=8192, description="long side the network sees, px; default: the card's"
    )
