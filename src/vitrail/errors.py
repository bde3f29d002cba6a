"""Every error vitrail raises on purpose.

    VitrailError                    catch this to catch them all
    ├── SourceError                 nothing to read: missing file, empty folder, URL that fails
    ├── ImageError                  it is there, but it is not an image we can read
    │   └── ImageTooLargeError      it claims more pixels or bytes than the limit allows
    ├── ParameterError              a parameter that is unknown, of the wrong type or out of range
    ├── UnknownNameError            no model, loss or method of that name (names the nearest)
    ├── ConfigError                 a recipe that cannot be run as written
    ├── DataError                   a data set whose files or labels do not fit together
    ├── WeightsError                a checkpoint that is damaged, or does not fit the model
    ├── OutputError                 a result that could not be written
    └── MissingExtraError           an optional dependency is not installed

Messages say what was found, what was expected and what to do, and name the file or the value.
Each class also derives from the built-in exception a Python programmer would expect.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_SHOWN = 20
"""Known names that a message lists before it only counts them."""


class VitrailError(Exception):
    """Base of every error that vitrail raises on purpose."""


class SourceError(VitrailError, OSError):
    """There is nothing to read at the given path, folder, pattern or URL."""


class ImageError(VitrailError, ValueError):
    """The source exists but cannot be read as an image."""


class ImageTooLargeError(ImageError):
    """The source claims more pixels or bytes than the configured limit; nothing was decoded."""


class ParameterError(VitrailError, ValueError):
    """A parameter is unknown, has the wrong type or lies outside its range."""


class UnknownNameError(VitrailError, LookupError):
    """A name that no registry knows; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"no {kind} is called {name!r}; {nearest(name, known)}")


class ConfigError(VitrailError, ValueError):
    """A recipe or an override that cannot be run as written."""


class DataError(VitrailError, ValueError):
    """A data set whose files or labels do not fit together."""


class WeightsError(VitrailError, ValueError):
    """A checkpoint that is damaged, unsafe, or does not fit the model."""


class OutputError(VitrailError, OSError):
    """A result could not be written; nothing half-written was left behind."""


class MissingExtraError(VitrailError, ImportError):
    """An optional dependency is missing; the message holds the exact pip line."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: ``did you mean 'kmeans'?``, or the names there are."""
    names = sorted(known)
    close = get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "known names: " + ", ".join(names[:_SHOWN]) + more
