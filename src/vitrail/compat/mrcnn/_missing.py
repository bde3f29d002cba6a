"""What the original has and this package has not: an error that names vitrail's own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vitrail.errors import VitrailError


class NotOfferedError(VitrailError, NotImplementedError):
    """A name of the original that vitrail does otherwise; the message says how.

    No ``AttributeError``: Python would answer ``from module import name`` with a message of its own
    then, and swallow this one.
    """


def missing(module: str, instead: Mapping[str, str]) -> Callable[[str], object]:
    """A module's ``__getattr__``.

    Parameters
    ----------
    module
        Its name, as the original has it.
    instead
        Names of the original that are missing, and what to use in their place.
    """

    def __getattr__(name: str) -> object:  # noqa: N807 - it becomes the module's
        if name in instead:
            raise NotOfferedError(
                f"{module}.{name} is not offered by vitrail.compat; use {instead[name]}"
            )
        raise AttributeError(f"module 'vitrail.compat.{module}' has no attribute {name!r}")

    return __getattr__
