"""Findings on copies: the same picture twice in a split, or in two splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from vitrail.data.checks.duplicates import SIMILAR, content_digest, equal_groups, near_pairs
from vitrail.data.checks.finding import Finding, Pen, Place, shown_path
from vitrail.data.checks.samples import Stretch
from vitrail.data.sample import SampleSource

Compare = Callable[[Sequence[tuple[Place, Place]]], list[tuple[float, bool]]]
"""Similarity of each pair, and whether one had to be mirrored for it."""


@dataclass
class Images:
    """All images of a set as numbers, some tens of bytes each; a row an image, split by split."""

    names: list[str]
    """Of the splits."""
    split: np.ndarray
    """``(N,)`` number of its split."""
    index: np.ndarray
    """``(N,)`` its index there."""
    nbytes: np.ndarray
    prints: np.ndarray

    @classmethod
    def empty(cls, sizes: Mapping[str, int]) -> Images:
        """Of splits with so many samples, about which nothing is known yet."""
        split = np.repeat(np.arange(len(sizes)), np.array([*sizes.values()], np.int64))
        index = np.concatenate([np.arange(n) for n in sizes.values()] or [np.zeros(0, np.int64)])
        nbytes, prints = np.zeros(len(split), np.int64), np.zeros((len(split), 2), np.uint64)
        return cls(list(sizes), split, index, nbytes, prints)

    def add(self, part: Stretch) -> None:
        """What is known of a stretch of samples."""
        begin = int(np.searchsorted(self.split, self.names.index(part.split))) + part.start
        rows = slice(begin, begin + len(part.nbytes))
        self.nbytes[rows], self.prints[rows] = part.nbytes, part.prints

    def place(self, row: int) -> Place:
        return self.names[int(self.split[row])], int(self.index[row])


def find_copies(
    images: Images, sources: Mapping[str, SampleSource], root: Path, compare: Compare
) -> tuple[list[Finding], list[str]]:
    """Findings on exact and near copies, and remarks on what was not compared.

    Of a group of copies, each image but the first of its split is told to be one of that first;
    and each that also lies in an earlier split is told to be one of the first there. Files below
    ``root`` are named from there.
    """
    tell = partial(_told, images, sources, root)
    prints = images.prints.copy()
    findings: list[Finding] = []
    same: dict[int, int] = {}
    for group in equal_groups(images.nbytes, prints[:, 0]):
        by_content: dict[bytes, list[int]] = {}
        for row in group.tolist():
            split, index = images.place(row)
            content = content_digest(sources[split][index])
            if content:
                by_content.setdefault(content, []).append(row)
        for rows in by_content.values():
            if len(rows) > 1:
                findings += _exact(images, rows, tell)
                same.update(dict.fromkeys(rows, rows[0]))
                # One of each split stands for the others in the search for near copies.
                heads = {int(images.split[row]): row for row in reversed(rows)}
                prints[[row for row in rows if row not in heads.values()]] = 0
    order = {name: number for number, name in enumerate(images.names)}
    findings.sort(key=lambda f: (order[f.place[0]], f.place[1]) if f.place else (0, 0))
    candidates = near_pairs(prints, images.split)
    pairs = [
        (a, b)
        for a, b in candidates.pairs.tolist()
        if not (a in same and same[a] == same.get(b, -1))
    ]
    results = compare([(images.place(a), images.place(b)) for a, b in pairs])
    findings += _near(images, pairs, results, tell)
    return findings, candidates.remarks


def _exact(images: Images, rows: list[int], tell: Tell) -> list[Finding]:
    findings: list[Finding] = []
    first_of: dict[int, int] = {}
    for row in rows:
        split = int(images.split[row])
        if split in first_of:
            findings += tell("duplicate-image", row, first_of[split], "", 1.0)
        elif first_of:
            findings += tell("leaked-image", row, rows[0], "", 1.0)
        first_of.setdefault(split, row)
    return findings


def _near(
    images: Images, pairs: list[tuple[int, int]], results: list[tuple[float, bool]], tell: Tell
) -> list[Finding]:
    """Of all that an image resembles, only the nearest in its split and the nearest outside."""
    best: dict[tuple[int, bool], tuple[float, int, bool]] = {}
    for (a, b), (similarity, mirrored) in zip(pairs, results, strict=True):
        if similarity < SIMILAR:
            continue
        across = bool(images.split[a] != images.split[b])
        key = b, across
        if key not in best or best[key][0] < similarity:
            best[key] = similarity, a, mirrored
    findings: list[Finding] = []
    for (row, across), (similarity, partner, mirrored) in sorted(best.items()):
        how = f"similarity {similarity:.3f}" + (", mirrored" if mirrored else "")
        code = "near-leaked-image" if across else "near-duplicate-image"
        findings += tell(code, row, partner, how, similarity)
    return findings


Tell = Callable[[str, int, int, str, float], list[Finding]]
"""Writes a finding: its code, the row, the row it is a copy of, how near, and its weight."""


def _told(
    images: Images,
    sources: Mapping[str, SampleSource],
    root: Path,
    code: str,
    row: int,
    partner: int,
    how: str,
    weight: float,
) -> list[Finding]:
    place, other = images.place(row), images.place(partner)
    sample, twin = sources[place[0]][place[1]], sources[other[0]][other[1]]
    pen = Pen(place[0], sample.id, sample.path, place)
    within = place[0] == other[0]
    name = shown_path(twin.path, root) or twin.id
    name = name if within else f"{name} of {other[0]}"
    if how:
        value = f"nearly {name} ({how})"
    elif sample.path is not None and sample.path == twin.path:
        value = f"the same file as {name}"
    else:
        value = f"the same bytes as {name}"
    expected = "each image once" if within else "each image in one split"
    pen.note(code, value, expected, other=other, weight=weight)
    return pen.found
