"""The linter of data sets: everything that is wrong with one, before a training finds out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from time import perf_counter
from typing import Any

from vitrail.data.checks.advice import advise
from vitrail.data.checks.classes import Totals, check_classes, check_spaces, foreign_classes
from vitrail.data.checks.copies import Images, find_copies
from vitrail.data.checks.finding import Finding, Findings, Pen, Place
from vitrail.data.checks.orphans import find_orphans
from vitrail.data.checks.pool import Workers, workers_for
from vitrail.data.checks.report import Report
from vitrail.data.checks.tally import ClassCounts, Palettes, Used
from vitrail.data.formats.base import Dataset
from vitrail.data.opening import open_dataset, recognise
from vitrail.data.sample import SampleSource
from vitrail.errors import DataError, ParameterError, SourceError, UnknownNameError

KEEP = 1000
"""Findings of one kind that a report keeps; it counts all."""

Progress = Callable[[str, int, int], None]
"""Told (stage, done, total) as the work goes on."""


def check_dataset(
    data: Dataset | Path | str,
    format: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    splits: Sequence[str] | None = None,
    workers: int | None = 0,
    keep: int | None = KEEP,
    progress: Progress = lambda stage, done, total: None,
) -> Report:
    """Look for faults in a data set. ``docs/data-check.md`` lists what is found.

    Samples are looked at one after the other and forgotten; what stays is some tens of bytes an
    image, and the findings.

    Parameters
    ----------
    data:
        An open data set, its folder, or its annotation file.
    format, options:
        As :func:`vitrail.data.opening.open_dataset` takes them, for a path.
    splits:
        Only these; by default all. Orphan files are looked for only with all.
    workers:
        Processes; 0 works in this one, None takes one a core for sets worth it. With workers, a
        script needs ``if __name__ == "__main__":`` around its main part, as they are spawned.
    keep:
        Findings of one kind (code and severity) that are kept; None keeps all.
    progress:
        Told (stage, done, total).

    Raises
    ------
    ParameterError
        an option, or ``workers``, is wrong.
    UnknownNameError
        there is no such format or split.
    DataError
        there is nothing at the path, or a worker process died. A set that is there and cannot be
        opened is a finding, not an error.
    """
    begun = perf_counter()
    findings = Findings(keep)
    if isinstance(data, Dataset):
        dataset, looks_like = data, []
    else:
        dataset, looks_like = _open(Path(data), format, options, findings)
    if dataset is None:
        report = Report(Path(str(data)), None, "", findings, looks_like)
        report.advice = advise(None, findings)
        report.seconds = perf_counter() - begun
        return report
    sources = _open_splits(dataset, splits, findings)
    report = Report(dataset.root, dataset.format, dataset.reason, findings, looks_like)
    report.samples = {split: len(source) for split, source in sources.items()}
    report.sources = sources
    # Where readers left samples out for an error, that is what is wrong with the split.
    told = {p.split for p in dataset.problems if p.code == "empty-split" or p.severity == "error"}
    for split, source in sources.items():
        if not len(source) and split not in told:
            pen = Pen(split)
            pen.note("empty-split", "no samples", "at least one", file=dataset.root)
            findings.extend(pen.found)
    whole = set(sources) == set(dataset.splits)
    count = workers_for(sum(report.samples.values())) if workers is None else workers
    with Workers(sources, count) as pool:
        foreign = foreign_classes(dataset.problems)
        _look_at_samples(report, pool, progress, foreign, orphans=whole)
    report.advice = advise(report.totals, findings)
    report.seconds = perf_counter() - begun
    return report


def _open(
    root: Path, format: str | None, options: Mapping[str, Any] | None, findings: Findings
) -> tuple[Dataset | None, list[tuple[str, str]]]:
    """The set; None, with a finding, where it cannot be opened. And what it looks like."""
    looks_like = [(found.name, reason) for found, reason in recognise(root)]
    try:
        return open_dataset(root, format, options, strict=False), looks_like
    except (UnknownNameError, ParameterError):
        raise
    except (DataError, SourceError) as error:
        likely = ", ".join(f"{name} ({reason})" for name, reason in looks_like)
        held = f"it looks like {likely}" if likely else _contents(root)
        value = f"{str(error).removeprefix(f'{root}: ')}; {held}"
        pen = Pen("")
        pen.note("cannot-open", value, "a data set that can be read", file=root)
        findings.extend(pen.found)
        return None, looks_like


def _contents(root: Path) -> str:
    """What lies at a path that is no known layout: files by suffix, a few levels deep."""
    if root.is_file():
        return f"it is a file of {root.stat().st_size:,} bytes"
    suffixes: dict[str, int] = {}
    folders: list[str] = []
    at_top = False
    for where, below, files in os.walk(root):
        depth = len(Path(where).relative_to(root).parts)
        if depth == 0:
            folders, at_top = sorted(below), bool(files)
        if depth >= 3:
            below.clear()
        for name in files:
            suffix = Path(name).suffix.lower() or "no suffix"
            suffixes[suffix] = suffixes.get(suffix, 0) + 1
    if not suffixes:
        return "it holds no files"
    common = sorted(suffixes.items(), key=lambda pair: -pair[1])[:6]
    held = ", ".join(f"{count:,} {suffix}" for suffix, count in common)
    if not folders:
        return f"it holds {held}"
    here = "itself and in " if at_top else ""
    return f"it holds {held} in {here}the folders {', '.join(folders[:8])}"


def _open_splits(
    dataset: Dataset, splits: Sequence[str] | None, findings: Findings
) -> dict[str, SampleSource]:
    """The splits that open; a finding for each that does not, and what readers reported."""
    for split in splits or ():
        if split not in dataset.splits:
            raise UnknownNameError(f"split of {dataset.root}", split, dataset.splits)
    sources: dict[str, SampleSource] = {}
    for split in dataset.splits:
        if splits is not None and split not in splits:
            continue
        try:
            sources[split] = dataset[split]
        except (DataError, SourceError) as error:
            pen = Pen(split)
            value = str(error).removeprefix(f"{dataset.root}: ")
            pen.note("cannot-open", value, f"the split {split}", file=dataset.root)
            findings.extend(pen.found)
    chosen = {"", *sources} if splits is not None else None
    findings.extend(
        Finding(problem)
        for problem in dataset.problems
        if chosen is None or problem.split in chosen
    )
    return sources


def _look_at_samples(
    report: Report,
    pool: Workers,
    progress: Progress,
    foreign: Mapping[str, Counter[int]],
    *,
    orphans: bool,
) -> None:
    """``foreign``: what readers said of objects whose class the set does not have, by split."""
    sources = pool.sources
    counts = {split: ClassCounts.of(len(s.space.classes)) for split, s in sources.items()}
    for split, numbers in foreign.items():
        if split in counts:
            counts[split].foreign.update(numbers)
    palettes = {split: Palettes() for split in sources}
    images, masks = Used(), Used()
    # What readers reported is not reported again as a file that nothing uses.
    unopened = {PurePosixPath(finding.problem.id).name for finding in report.findings}
    reported = {p.file for f in report.findings if (p := f.problem).file is not None}
    rows = Images.empty(report.samples)
    done, total = 0, sum(report.samples.values())
    for part in pool.stretches():
        report.findings.extend(part.findings)
        counts[part.split].add(part.counts)
        palettes[part.split].merge(part.palettes)
        images.merge(part.images)
        masks.merge(part.masks)
        report.files += part.files
        unopened |= part.unopened
        rows.add(part)
        done += len(part.nbytes)
        progress("samples", done, total)
    _check_palettes(palettes, report.findings)
    if orphans:
        pen = Pen("")
        find_orphans(images, masks, reported, unopened, pen)
        report.findings.extend(pen.found)

    def compare(pairs: Sequence[tuple[Place, Place]]) -> list[tuple[float, bool]]:
        results: list[tuple[float, bool]] = []
        for block in pool.similarities(pairs):
            results += block
            progress("copies", len(results), len(pairs))
        return results

    copies, remarks = find_copies(rows, sources, report.root, compare)
    report.findings.extend(copies)
    report.remarks += remarks
    spaces = {split: source.space for split, source in sources.items()}
    differing = check_spaces(spaces)
    report.findings.extend(differing)
    if spaces and not differing:
        report.totals = Totals(next(iter(spaces.values())), counts)
        report.findings.extend(check_classes(report.totals))


def _check_palettes(palettes: Mapping[str, Palettes], findings: Findings) -> None:
    everything = Palettes()
    for split, found in palettes.items():
        everything.merge(found)
        if everything.conflict is None:
            continue
        index, colour, first, other, second = everything.conflict
        pen = Pen(split)
        pen.note(
            "palette-conflict",
            f"index {index} is {tuple(other)}",
            f"{tuple(colour)} as in {first}",
            id=str(index),
            file=second,
        )
        findings.extend(pen.found)
        return
