"""What a classical method is to the rest of vitrail: validated parameters that can be called."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from vitrail.errors import ParameterError, nearest
from vitrail.image import Image
from vitrail.result import Result


class Method(BaseModel):
    """The parameters of one classical method, validated; call it with an image to run it.

    A subclass declares its parameters as pydantic fields (with unit and range) and implements
    ``__call__`` by way of a pure function on arrays that lives in the same file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: ClassVar[str]
    """What ``vitrail.load`` and ``--model`` call it."""
    summary: ClassVar[str]
    """One line for ``vitrail models list``."""

    @abstractmethod
    def __call__(self, image: Image) -> Result:
        """Segment one image; the result has the image's height and width."""

    @classmethod
    def from_params(cls, params: dict[str, object]) -> Self:
        """Build from user input.

        Raises
        ------
        ParameterError
            names the parameter, the value, and what was expected.
        """
        unknown = [key for key in params if key not in cls.model_fields]
        if unknown:
            hint = nearest(unknown[0], cls.model_fields)
            raise ParameterError(f"{cls.name} has no parameter {unknown[0]!r}; {hint}")
        try:
            return cls(**params)
        except ValidationError as error:
            raise ParameterError(f"{cls.name}: {_describe(error)}") from None


def _describe(error: ValidationError) -> str:
    """All faults on one line: ``k=0: input should be greater than or equal to 2``."""
    faults: list[str] = []
    for fault in error.errors(include_url=False):
        where = ".".join(str(part) for part in fault["loc"] if isinstance(part, str | int))
        message = fault["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        faults.append(f"{where}={fault['input']!r}: {message}" if where else message)
    return "; ".join(faults)
