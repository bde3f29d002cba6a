"""Files that lie among the images and masks of a set, and that no sample uses."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from vitrail.data.checks.finding import Pen
from vitrail.data.checks.tally import Folder, Used, digest
from vitrail.data.formats.files import IMAGE_SUFFIXES

MOST = 0.2
"""Share of a folder from which unused files are meant to be so: VOC segments a sixth of its images,
Cityscapes keeps four pictures a mask."""
_ENOUGH = 3
"""Used files from which the common end of their names means something."""


def find_orphans(
    images: Used, masks: Used, known: Collection[Path], unopened: Collection[str], pen: Pen
) -> None:
    """Findings on files that are in no sample, though their folder and name are like the others'.

    Parameters
    ----------
    images, masks:
        What samples use.
    known:
        Files that the reader has reported already.
    unopened:
        Names of samples that could not be had: a file called so is theirs.
    """
    for folder in sorted({*images.folders, *masks.folders}):
        kinds = {
            "image": images.folders.get(folder, Folder()),
            "mask": masks.folders.get(folder, Folder()),
        }
        names = _listed(folder)
        used = {*kinds["image"].digests, *kinds["mask"].digests}
        lost = [
            name
            for name in names
            if digest(name) not in used
            and Path(name).stem not in unopened
            and folder / name not in known
        ]
        tails = {kind: _tail(found) for kind, found in kinds.items() if found.digests}
        by_kind: dict[str, list[str]] = {}
        for name in lost:
            fitting = [kind for kind, tail in tails.items() if name.endswith(tail)]
            if fitting:
                # Where images and masks lie together, the longer end is the truer one.
                kind = max(fitting, key=lambda kind: len(tails[kind]))
                by_kind.setdefault(kind, []).append(name)
        for kind, found in by_kind.items():
            _report(folder, kind, found, len(kinds[kind].digests), pen)


def _report(folder: Path, kind: str, names: list[str], used: int, pen: Pen) -> None:
    if len(names) > _ENOUGH and len(names) > MOST * (len(names) + used):
        value = f"{len(names):,} {kind}s in no sample, the first {names[0]}"
        pen.note("unused-files", value, f"all in use, as {used:,} are", file=folder)
        return
    needed = {"image": "an annotation", "mask": "an image"}[kind]
    for name in names:
        pen.note(f"orphan-{kind}", "no sample uses it", needed, file=folder / name)


def _listed(folder: Path) -> list[str]:
    """Names of the pictures in a folder, sorted; none where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122
                and not entry.name.startswith(".")
                and entry.is_file()
            )
    except OSError:
        return []


def _tail(folder: Folder) -> str:
    """What names of this kind end in: ``_gtFine_labelIds.png``, or just ``.png``."""
    tail = folder.tail or ""
    if len(folder.digests) >= _ENOUGH and (cut := re.search(r"[^0-9A-Za-z]", tail)):
        return tail[cut.start() :]
    suffix = re.search(r"\.\w+$", tail)
    return suffix[0] if suffix else ""
