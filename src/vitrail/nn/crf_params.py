"""What a user may set on the fully connected CRF; kept apart from torch, to be shown quickly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vitrail.errors import ParameterError, nearest


class CRFParams(BaseModel):
    """Parameters of :class:`vitrail.nn.crf.DenseCRF`, named as in the papers.

    The defaults lie in the range that DeepLab searched (arXiv:1606.00915, section 4.1): the
    gentle end of it, which spoils least where a network is right.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    iterations: int = Field(
        default=10, ge=0, le=1000, description="mean-field iterations; 0: no refining"
    )
    gaussian_weight: float = Field(default=3.0, ge=0, le=1000, description="of the smoothness term")
    theta_gamma: float = Field(
        default=3.0, ge=0.1, le=1000, description="px, reach of the smoothness term"
    )
    bilateral_weight: float = Field(
        default=3.0, ge=0, le=1000, description="of the appearance term"
    )
    theta_alpha: float = Field(
        default=30.0, ge=1, le=10_000, description="px, how far alike pixels pull each other"
    )
    theta_beta: float = Field(
        default=5.0, ge=1, le=1000, description="grey levels of 255, how alike colours have to be"
    )
    long_side: int = Field(
        default=800, ge=16, le=4096, description="px, larger images are refined at this size"
    )

    @classmethod
    def from_params(cls, params: Mapping[str, object]) -> Self:
        """Build from user input.

        Raises
        ------
        ParameterError
            names the parameter, its value and what was expected.
        """
        unknown = [key for key in params if key not in cls.model_fields]
        if unknown:
            hint = nearest(unknown[0], cls.model_fields)
            raise ParameterError(f"the CRF has no parameter {unknown[0]!r}; {hint}")
        try:
            return cls.model_validate(params)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            raise ParameterError(f"{fault['loc'][0]}={fault['input']!r}: {fault['msg']}") from None
