"""The one registry of architectures: a name, its arguments, its builder.

Adding an architecture is one file under ``models/`` and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from vitrail.errors import ConfigError, UnknownNameError, VitrailError
from vitrail.models.base import SemanticModel
from vitrail.models.plain_unet import PlainUNetArguments, build_plain_unet
from vitrail.models.unet import UNetArguments, build_unet


@dataclass(frozen=True, slots=True)
class Architecture:
    """How to build one family of networks from plain values."""

    name: str
    summary: str
    arguments: type[BaseModel]
    build: Callable[[Any], SemanticModel]


ARCHITECTURES: dict[str, Architecture] = {
    entry.name: entry
    for entry in (
        Architecture("unet", "U-Net over any timm encoder", UNetArguments, build_unet),
        Architecture(
            "unet-plain",
            "the original U-Net, with an encoder of its own",
            PlainUNetArguments,
            build_plain_unet,
        ),
    )
}


def build(architecture: str, arguments: Mapping[str, object]) -> SemanticModel:
    """Build a network, with fresh weights, from its registered name and plain arguments.

    Raises
    ------
    UnknownNameError
        no architecture has that name.
    ConfigError
        an argument is unknown, of the wrong type or out of range.
    """
    entry = ARCHITECTURES.get(architecture)
    if entry is None:
        raise UnknownNameError("architecture", architecture, ARCHITECTURES)
    try:
        validated = entry.arguments.model_validate(dict(arguments))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(f"{architecture}: {where}={fault['input']!r}: {fault['msg']}") from None
    try:
        return entry.build(validated)
    except VitrailError:
        raise
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{architecture}: {error}") from None
