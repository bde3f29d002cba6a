"""What a data format is: how to recognise it, read it and write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from vitrail.data.problem import Problem
from vitrail.data.sample import LabelSpace, SampleSource
from vitrail.errors import DataError, UnknownNameError


class Options(BaseModel):
    """What a format can be told; each format derives its own. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What survives being written in a format and read again, pixel for pixel."""

    labels: bool = False
    """A class for every pixel."""
    instances: bool = False
    """Separate objects."""
    boxes: bool = False
    """Objects of which only the box is known."""
    holes: bool = True
    parts: bool = True
    """Objects of several unconnected parts, kept as one."""
    overlaps: bool = True
    """Two objects that share pixels."""
    crowds: bool = False
    pixel_exact: bool = True
    """Masks come back as they were; False for formats of outlines."""


@dataclass(frozen=True)
class Dataset:
    """A data set on disk: its splits, opened when asked for."""

    root: Path
    format: str
    """Name of its format."""
    reason: str
    """Why it was taken for that: what was found, or that it was said."""
    openers: Mapping[str, Callable[[], SampleSource]]
    """By split name, in the data set's order; a set without splits has the one split "all"."""
    problems: list[Problem] = field(default_factory=list)
    """Faults that readers met and went around; filled as splits are opened."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the parts, such as train and val."""
        return tuple(self.openers)

    @cached_property
    def _opened(self) -> dict[str, SampleSource]:
        return {}

    def __getitem__(self, split: str) -> SampleSource:
        """One part; :class:`UnknownNameError` names the nearest where there is none such."""
        if split not in self.openers:
            raise UnknownNameError(f"split of {self.root}", split, self.openers)
        if split not in self._opened:
            self._opened[split] = self.openers[split]()
        return self._opened[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self.openers)

    def items(self) -> Iterator[tuple[str, SampleSource]]:
        """``(name, source)`` of each split."""
        return ((split, self[split]) for split in self.openers)

    @property
    def space(self) -> LabelSpace:
        """The meaning of the labels, of the first split."""
        return self[self.splits[0]].space


Splits = Mapping[str, SampleSource]
"""What a writer is given: sources by split name."""


@dataclass(frozen=True)
class Format:
    """One layout of data on disk. ``FORMATS`` (formats/__init__.py) holds them all, by name."""

    name: str
    """As ``--format`` and ``--to`` take it."""
    summary: str
    """One line for ``vitrail data formats``."""
    recognise: Callable[[Path], str | None]
    """Why a folder (or file) looks like this format, or None. Reads names and at most a few
    kilobytes; never raises for odd content."""
    open: Callable[[Path, Any], Dataset]
    """``(root, options)`` to a data set. Raises DataError for what cannot be read at all; what can
    be gone around is added to ``Dataset.problems`` (open_dataset turns those into DataError unless
    the caller wants them)."""
    options: type[Options] = Options
    capacity: Capacity = Capacity()
    write: Callable[[Splits, Path, Any], None] | None = None
    """``(splits, folder, options)``: fills an empty folder that exists; None: cannot be written."""
    write_options: type[Options] = Options
    kind: Literal["labels", "instances", "both"] = "labels"


class Problems:
    """Where a reader reports what it goes around; hand ``found`` to :class:`Dataset`."""

    def __init__(self, split: str = "") -> None:
        self.split = split
        self.found: list[Problem] = []

    def error(
        self, code: str, file: Path | None, id: str, value: str, expected: str, advice=""
    ) -> None:
        self.found.append(Problem(code, "error", file, id, value, expected, self.split, advice))

    def warning(
        self, code: str, file: Path | None, id: str, value: str, expected: str, advice=""
    ) -> None:
        self.found.append(Problem(code, "warning", file, id, value, expected, self.split, advice))


def refuse(problems: list[Problem]) -> None:
    """:class:`DataError` with the first error among ``problems``, and how many more there are."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        others = f"{len(errors) - 1} more; " if len(errors) > 1 else ""
        raise DataError(f"{errors[0]} ({others}`vitrail data check` lists all faults)")
