"""What the linter found, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.data.checks.advice import Advice
from vitrail.data.checks.classes import Totals
from vitrail.data.checks.finding import SEVERITIES, Findings
from vitrail.data.problem import Problem
from vitrail.data.sample import SampleSource

SCHEMA = 1
"""Version of :meth:`Report.to_json`; raised when a key changes its meaning or goes away."""


@dataclass
class Report:
    """The outcome of :func:`vitrail.data.check.check_dataset`."""

    root: Path
    format: str | None
    """None where the set could not be opened."""
    reason: str
    """Why it was taken for that format."""
    findings: Findings
    looks_like: list[tuple[str, str]] = field(default_factory=list)
    """Formats whose layout the path has, each with what speaks for it."""
    samples: dict[str, int] = field(default_factory=dict)
    """Number of samples of each split looked at."""
    files: int = 0
    """Image and mask files looked at."""
    totals: Totals | None = None
    """None where nothing could be opened, or where splits have different classes."""
    advice: list[Advice] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What was not looked at, and why."""
    seconds: float = 0.0
    sources: Mapping[str, SampleSource] = field(default_factory=dict, repr=False)
    """For the pictures of the HTML report."""

    @property
    def problems(self) -> list[Problem]:
        """The findings kept: errors, warnings, notes; within these by kind, in order."""
        return [finding.problem for finding in self.findings]

    @property
    def errors(self) -> int:
        return self.findings.total("error")

    @property
    def warnings(self) -> int:
        return self.findings.total("warning")

    @property
    def notes(self) -> int:
        return self.findings.total("note")

    def ok(self, *, strict: bool = False) -> bool:
        """Whether there are no errors, and, if strict, no warnings."""
        return not self.errors and not (strict and self.warnings)

    def summary(self) -> str:
        """One line: ``2 errors, 1 warning and 0 notes in 412 samples (824 files)``."""
        counts = (_counted(self.findings.total(s), s) for s in SEVERITIES)
        first, second, third = counts
        samples = sum(self.samples.values())
        where = f"{samples:,} samples ({self.files:,} files)"
        return f"{first}, {second} and {third} in {where}"

    def classes(self) -> list[dict[str, Any]]:
        """A row for each class: its counts in all, and by split."""
        if self.totals is None:
            return []
        space, total = self.totals.space, self.totals.all
        rows: list[dict[str, Any]] = []
        for number, name in enumerate(space.classes):
            row: dict[str, Any] = {"id": number, "name": name}
            if space.original_ids is not None:
                row["original_id"] = space.original_ids[number]
            row |= {
                "pixels": int(total.pixels[number]),
                "objects": int(total.objects[number]),
                "images": int(np.maximum(total.images, total.object_images)[number]),
                "splits": {
                    split: {"pixels": int(c.pixels[number]), "objects": int(c.objects[number])}
                    for split, c in self.totals.splits.items()
                },
            }
            rows.append(row)
        return rows

    def to_json(self, most: int | None = None) -> dict[str, Any]:
        """Everything, as plain JSON types; ``docs/data-check.md`` has the schema.

        Parameters
        ----------
        most:
            Findings listed of each kind (code and severity); ``codes`` counts all.
        """
        space = self.totals.space if self.totals else None
        return {
            "schema": SCHEMA,
            "path": str(self.root),
            "format": self.format,
            "reason": self.reason,
            "looks_like": [{"format": name, "reason": why} for name, why in self.looks_like],
            "ok": self.ok(),
            "errors": self.errors,
            "warnings": self.warnings,
            "notes": self.notes,
            "samples": self.samples,
            "files": self.files,
            "seconds": round(self.seconds, 3),
            "background": space.background if space else None,
            "ignore": space.ignore if space else None,
            "ignored_pixels": self.totals.all.ignored if self.totals else 0,
            "classes": self.classes(),
            "codes": [
                {"code": code, "severity": severity, "count": self.findings.counts[code, severity]}
                for code, severity in self.findings.kinds()
            ],
            "problems": [
                problem_json(finding.problem)
                for kind in self.findings.kinds()
                for finding in self.findings.of(*kind)[:most]
            ],
            "advice": [
                {"about": one.about, "text": one.text, "value": one.value} for one in self.advice
            ],
            "remarks": self.remarks,
        }


def problem_json(problem: Problem) -> dict[str, Any]:
    """A problem as plain JSON types; no file is null."""
    return {
        "code": problem.code,
        "severity": problem.severity,
        "split": problem.split,
        "file": None if problem.file is None else str(problem.file),
        "id": problem.id,
        "value": problem.value,
        "expected": problem.expected,
        "advice": problem.advice,
    }


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")
