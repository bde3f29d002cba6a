"""Write a data set in another format, read it again, and say what that changed.

The new set is written into a temporary folder beside its destination and opened with the format's
own reader; every sample is compared with what came back of it. Only then is the folder given its
name. A conversion that changes anything is refused unless that is allowed.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitrail.atomic import make_folder, output_error
from vitrail.data.derive import AsLabelMaps, AsObjects, View
from vitrail.data.formats import formats, get_format
from vitrail.data.formats.base import Format, Splits
from vitrail.data.opening import open_dataset, parse_options
from vitrail.data.problem import Problem
from vitrail.data.readback import Conversion, read_back
from vitrail.data.sample import LabelSpace, Sample, SampleSource
from vitrail.errors import DataError, OutputError, ParameterError, VitrailError

Progress = Callable[[str, int, int], None]
"""Told (stage, samples done, samples in all) as a conversion goes on."""


class LossyConversionError(DataError):
    """A conversion that would change the labels was not allowed to; nothing was written."""

    def __init__(self, report: Conversion) -> None:
        self.report = report
        more = f" (and {len(report.losses) - 1} more)" if len(report.losses) > 1 else ""
        super().__init__(
            f"{report.format} does not hold all of this data set: {report.losses[0]}{more}; "
            "nothing was written; --allow-lossy (allow_lossy=True) writes it all the same"
        )


def convert(
    parts: Splits,
    out: Path | str,
    to: str,
    options: Mapping[str, Any] | None = None,
    *,
    allow_lossy: bool = False,
    overwrite: bool = False,
    origin: Path | None = None,
    problems: Sequence[Problem] = (),
    progress: Progress | None = None,
) -> Conversion:
    """Write sources as a data set of another format.

    Parameters
    ----------
    parts:
        Sources by split name, all with the same classes; ``dict(dataset.items())`` of a whole set.
    out:
        The new folder. Where it is there and not empty, ``overwrite`` replaces all of it.
    to:
        Name of the format.
    options:
        What its writer can be told.
    allow_lossy:
        Write even what does not come back as it was.
    origin:
        Where the sources lie, so that they are not overwritten.
    problems:
        What their reader met and went around (``Dataset.problems``): what it left out is lost.

    Returns
    -------
    what was written and what it changed

    Raises
    ------
    LossyConversionError
        something would be lost and ``allow_lossy`` is not set; carries the report.
    DataError
        a sample cannot be read, or the splits have different classes.
    OutputError
        the folder is not empty, or cannot be written.
    ParameterError, UnknownNameError
        no such format or option, or the format cannot be written.

    Whatever is raised, ``out`` is as it was and nothing is left beside it.
    """
    out, format = Path(out).resolve(), get_format(to)
    if format.write is None:
        able = ", ".join(name for name, one in formats().items() if one.write)
        raise ParameterError(f"format {to} can be read but not written; those that can: {able}")
    chosen = parse_options(format.write_options, options or {}, to)
    _check_classes(parts)
    _check_place(out, overwrite, parts, origin)
    total = sum(map(len, parts.values()))
    with _staged(out) as folder:
        writing = _Count("writing", total, progress)
        seen = {name: _Told(suited(one, format), writing.step) for name, one in parts.items()}
        format.write(seen, folder, chosen)
        back = open_dataset(folder, to, strict=False)
        comparing = _Count("comparing", total, progress)
        report = read_back(parts, back, format.capacity, out, comparing.step)
        report = replace(report, losses=(*report.losses, *_left_out(problems)))
        if report.losses and not allow_lossy:
            raise LossyConversionError(report)
        _put(folder, out)
    return report


_NOT_READ = frozenset({"unsupported-shape", "unlabelled-region"})
"""Warnings of readers that leave an annotation out."""


def _left_out(problems: Sequence[Problem]) -> list[str]:
    """What the source holds and its reader could not take, as a line of losses."""
    found = [one for one in problems if one.severity == "error" or one.code in _NOT_READ]
    if not found:
        return []
    what = "annotation was not read" if len(found) == 1 else "annotations or files were not read"
    return [f"{len(found):,} {what}, the first: {found[0]}"]


def suited(source: SampleSource, format: Format) -> SampleSource:
    """A source as a format can hold it: label maps as objects, or objects as label maps."""
    if format.capacity.instances and not format.capacity.labels:
        return AsObjects(source)
    if format.capacity.labels and not format.capacity.instances:
        return AsLabelMaps(source)
    return source


class _Count:
    """Samples done of one stage."""

    def __init__(self, stage: str, total: int, progress: Progress | None) -> None:
        self.stage, self.total, self.progress, self.done = stage, total, progress, 0

    def step(self) -> None:
        self.done = min(self.done + 1, self.total)  # a writer may look at a sample twice
        if self.progress is not None:
            self.progress(self.stage, self.done, self.total)


class _Told(View):
    """A source that tells of each sample taken."""

    def __init__(self, source: SampleSource, step: Callable[[], None]) -> None:
        super().__init__(source)
        self._step = step

    @property
    def space(self) -> LabelSpace:
        return self.source.space

    def __getitem__(self, index: int) -> Sample:
        sample = self.source[index]
        self._step()
        return sample


def _check_classes(parts: Splits) -> None:
    if not parts:
        raise DataError("the data set has no splits to convert")
    first, *others = parts.items()
    for name, source in others:
        if source.space != first[1].space:
            raise DataError(
                f"the splits {first[0]!r} and {name!r} have different classes "
                f"({_named(first[1].space.classes)}; {_named(source.space.classes)}); convert them "
                "one by one"
            )


def _named(classes: Sequence[str]) -> str:
    return ", ".join(classes[:5]) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")


def check_outside(folder: Path, origin: Path) -> None:
    """Refuse a folder for what is made of a data set that is, or lies in, the set's own.

    Raises
    ------
    OutputError
        it does; links are followed to tell.
    """
    if origin.is_dir() and folder.resolve().is_relative_to(origin.resolve()):
        where = "is" if folder.resolve() == origin.resolve() else "lies in"
        raise OutputError(
            f"{folder} {where} the data set that it is made from; name another folder"
        )


def _check_place(out: Path, overwrite: bool, parts: Splits, origin: Path | None) -> None:
    """Refuse a destination that holds something else, above all the data set itself."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; name a folder")
    if origin is not None:
        check_outside(out, origin)
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise OutputError(f"{out} is not empty; --overwrite (overwrite=True) replaces all of it")
    own = [origin] if origin is not None else []
    own += [source[0].path for source in parts.values() if len(source)]
    for path in (*own, Path.cwd(), Path.home()):
        if path is not None and path.resolve().is_relative_to(out):
            raise OutputError(f"{out} cannot be replaced: {path} lies in it; name another folder")


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """An empty folder on the disk of ``out``, gone afterwards unless it was renamed.

    It lies beside ``out``, or above it where folders on the way are still to be made.
    """
    beside = out.parent
    while not beside.exists():
        beside = beside.parent
    folder = beside / f".{secrets.token_hex(8)}.tmp"
    try:
        try:
            folder.mkdir()
            yield folder
        except VitrailError as error:
            # The user knows the folder by the name that it was to have.
            error.args = tuple(str(part).replace(str(folder), str(out)) for part in error.args)
            raise
        except OSError as error:
            raise output_error(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put(folder: Path, out: Path) -> None:
    """Give a finished folder its name; what stood there goes only once the new one is in place."""
    make_folder(out.parent)
    if not out.exists():
        folder.rename(out)
        return
    old = out.with_name(f".{secrets.token_hex(8)}.old")
    out.rename(old)
    try:
        folder.rename(out)
    except BaseException:
        with suppress(OSError):
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
