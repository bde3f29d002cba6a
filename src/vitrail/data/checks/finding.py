"""One finding with what a report needs to show it, and where findings are gathered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vitrail.data.checks.codes import CODES
from vitrail.data.problem import Problem, Severity
from vitrail.data.sample import Box

Place = tuple[str, int]
"""Split and index of a sample."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, and where to find the sample it is in."""

    problem: Problem
    place: Place | None = None
    """The sample, where it is in one."""
    other: Place | None = None
    """The second sample of a pair of copies."""
    box: Box | None = None
    """Where in the image, px."""
    weight: float = 0.0
    """How bad, beside others of its code; decides which ones are shown as pictures."""


class Findings:
    """All findings, counted; of each code and severity only the first ``keep`` are kept.

    A set in which every file has a fault must not fill the memory with sentences.
    """

    def __init__(self, keep: int | None = None) -> None:
        self.keep = keep
        self.counts: Counter[tuple[str, Severity]] = Counter()
        self._kept: dict[tuple[str, Severity], list[Finding]] = {}

    def add(self, finding: Finding) -> None:
        key = finding.problem.code, finding.problem.severity
        self.counts[key] += 1
        kept = self._kept.setdefault(key, [])
        if self.keep is None or len(kept) < self.keep:
            kept.append(finding)

    def extend(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.add(finding)

    def kinds(self) -> list[tuple[str, Severity]]:
        """Codes found: errors first, then warnings, then notes; within these as CODES has them.

        Codes of readers of other packages come before all.
        """
        order = {code: number for number, code in enumerate(CODES)}
        return sorted(
            self.counts, key=lambda key: (SEVERITIES.index(key[1]), order.get(key[0], -1), key[0])
        )

    def of(self, code: str, severity: Severity) -> list[Finding]:
        """Those kept of one code and severity, in the order found."""
        return self._kept.get((code, severity), [])

    def __iter__(self) -> Iterator[Finding]:
        for kind in self.kinds():
            yield from self.of(*kind)

    def total(self, severity: Severity) -> int:
        """How many there are of a severity, kept or not."""
        return sum(count for (_, found), count in self.counts.items() if found == severity)


class Pen:
    """Writes the findings of one sample (or of a whole split, without ``place``)."""

    def __init__(
        self, split: str, id: str = "", file: Path | None = None, place: Place | None = None
    ) -> None:
        self.split, self.id, self.file, self.place = split, id, file, place
        self.found: list[Finding] = []

    def note(
        self,
        code: str,
        value: str,
        expected: str,
        *,
        severity: Severity | None = None,
        id: str | None = None,
        file: Path | None = None,
        advice: str | None = None,
        box: Box | None = None,
        weight: float = 0.0,
        other: Place | None = None,
    ) -> None:
        """Add a finding; severity and advice are those of the code unless said otherwise."""
        known = CODES[code]
        problem = Problem(
            code,
            severity or known.severity,
            file or self.file,
            self.id if id is None else id,
            value,
            expected,
            self.split,
            known.advice if advice is None else advice,
        )
        self.found.append(Finding(problem, self.place, other, box, weight))


def shown_path(file: Path | None, root: Path) -> str:
    """A path for people: relative to the data set where it lies in it, "" for none."""
    if file is None:
        return ""
    return str(file.relative_to(root)) if file.is_relative_to(root) and file != root else str(file)
