"""Divide a data set, and keep the division: sizes of parts, groups, lists of ids on disk.

A split is a folder with one text file a part (``train.txt``: one id a line, UTF-8) and
``split.json``: the seed, what it was stratified and grouped by, and the images of each class.
"""

from __future__ import annotations

import csv
import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from vitrail.atomic import make_folder, write_atomically
from vitrail.data.derive import View
from vitrail.data.formats.files import read_json, read_text
from vitrail.data.sample import LabelSpace, Sample, SampleSource, mask_files
from vitrail.errors import DataError, OutputError, ParameterError

Share = Fraction | int | None
"""Of a part: a fraction of the images, a number of them, or None for all that are left."""

_NAME = re.compile(r"(?!\.+$)[\w.-]+")
_PREFIX = re.compile(r"(.+?)[-_/]")


def parse_parts(text: str) -> dict[str, Share]:
    """``"train=0.8,val=0.1,test=0.1"``, ``"train=2164,val=449"`` or ``"train=rest,val=300"``.

    Raises
    ------
    ParameterError
        says which part is wrong, and what was expected.
    """
    parts: dict[str, Share] = {}
    for piece in text.split(","):
        name, _, value = (word.strip() for word in piece.partition("="))
        if not _NAME.fullmatch(name):
            raise ParameterError(f"parts {text!r}: {name!r} is no name of a file")
        if name in parts:
            raise ParameterError(f"parts {text!r}: {name!r} is there twice")
        if value == "rest":
            parts[name] = None
        elif re.fullmatch(r"\d{1,12}", value):
            parts[name] = int(value)
        elif re.fullmatch(r"\d{0,12}\.\d{1,12}", value):
            parts[name] = Fraction(value)
        else:
            raise ParameterError(
                f"parts {text!r}: {name}={value!r}, expected a fraction such as 0.8, a number of "
                "images, or rest"
            )
    return parts


def part_sizes(parts: Mapping[str, Share], total: int) -> dict[str, int]:
    """How many of ``total`` images each part gets; fractions by largest remainder.

    Raises
    ------
    ParameterError
        the parts are more or less than the whole, or one of them would be empty.
    """
    shown = ", ".join(f"{name}={_told(share)}" for name, share in parts.items())
    open_ended = [name for name, share in parts.items() if share is None]
    if len(open_ended) > 1:
        raise ParameterError(f"parts {shown}: only one part can be the rest")
    exact = {
        name: Fraction(share) if isinstance(share, int) else share * total
        for name, share in parts.items()
        if share is not None
    }
    left = total - sum(exact.values(), Fraction(0))
    if open_ended and left >= 0:
        exact[open_ended[0]] = left
    elif left:
        # Thirds written with few digits are meant to be thirds.
        if open_ended or abs(left) > total * Fraction(1, 100) or _counts(parts):
            taken = float(total - left)
            raise ParameterError(f"parts {shown}: take {taken:g} images, but there are {total}")
        exact = {name: value * total / (total - left) for name, value in exact.items()}
    sizes = {name: int(exact[name]) for name in parts}
    by_remainder = sorted(parts, key=lambda name: sizes[name] - exact[name])
    for name in by_remainder[: total - sum(sizes.values())]:
        sizes[name] += 1
    for name, size in sizes.items():
        if size == 0:
            raise ParameterError(f"parts {shown}: {name} would get none of {total} images")
    return sizes


def _counts(parts: Mapping[str, Share]) -> bool:
    return any(isinstance(share, int) for share in parts.values())


def _told(share: Share) -> str:
    return "rest" if share is None else f"{float(share):g}"


def group_keys(ids: Sequence[str], by: str) -> list[str]:
    """The group of each image.

    Parameters
    ----------
    by:
        ``"prefix"``: what comes before the first ``_``, ``-`` or ``/`` of an id. The path of a
        CSV file (``.csv`` or ``.tsv``) with the columns id and group. Otherwise a regular
        expression, searched for in the id; its first group, or all of its match, is the key.

    Raises
    ------
    DataError
        an image has no group.
    ParameterError
        not a regular expression.
    """
    if by == "prefix":
        pattern = _PREFIX
    elif Path(by).suffix.lower() in (".csv", ".tsv"):
        groups = _read_groups(Path(by))
        lacking = [id for id in ids if id not in groups]
        if lacking:
            raise DataError(f"{by}: has no group for {len(lacking)} images; first: {lacking[0]}")
        return [groups[id] for id in ids]
    else:
        try:
            pattern = re.compile(by)
        except re.error as error:
            raise ParameterError(f"group by {by!r}: not a regular expression: {error}") from None
    keys: list[str] = []
    for id in ids:
        match = pattern.search(id)
        if match is None and by != "prefix":
            raise DataError(f"group by {by!r}: matches nothing in the id {id!r}")
        keys.append(id if match is None else match[1 if pattern.groups else 0] or "")
    return keys


def _read_groups(path: Path) -> dict[str, str]:
    lines = read_text(path).splitlines()
    rows = csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    groups: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if not row or (number == 1 and row == ["id", "group"]):
            continue
        if len(row) != 2:
            raise DataError(f"{path}: line {number} has {len(row)} columns, expected id and group")
        groups[row[0]] = row[1]
    return groups


class Subset(View):
    """Some samples of a source, in the order given.

    Raises
    ------
    DataError
        an index that the source does not have.
    """

    def __init__(self, source: SampleSource, indices: Sequence[int]) -> None:
        super().__init__(source)
        self.indices = list(indices)
        for index in self.indices:
            if not 0 <= index < len(source):
                raise DataError(f"there is no sample {index}: the source has {len(source)}")

    @classmethod
    def named(cls, source: SampleSource, names: Sequence[str]) -> Subset:
        """The samples of these ids; names of image files, with folders or not, do as well.

        Raises
        ------
        DataError
            a name that no sample, or that several have.
        """
        exact = {id: index for index, id in enumerate(source.ids)}
        short: dict[str, list[int]] = {}
        for index, id in enumerate(source.ids):
            short.setdefault(PurePosixPath(id).stem, []).append(index)
        indices: list[int] = []
        for name in names:
            near = short.get(PurePosixPath(name.replace("\\", "/")).stem, [])
            if name not in exact and len(near) != 1:
                few = "none" if not near else f"{len(near)}"
                raise DataError(f"{name!r}: {few} of the {len(source)} samples have this name")
            indices.append(exact[name] if name in exact else near[0])
        return cls(source, indices)

    @property
    def space(self) -> LabelSpace:
        return self.source.space

    @property
    def ids(self) -> Sequence[str]:
        return [self.source.ids[index] for index in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.source[self.indices[index]]

    def mask_paths(self, index: int) -> Sequence[Path]:
        """The sample's mask files, where the source names them."""
        return mask_files(self.source)(self.indices[index])


class Joined:
    """Several sources with the same classes as one, in their order.

    Ids stay as they are; where two sources share one, all get their source's name before them
    (``train/0001``).

    Raises
    ------
    DataError
        there is no source, or two have different classes.
    """

    def __init__(self, sources: Mapping[str, SampleSource]) -> None:
        self.sources = dict(sources)
        spaces = {name: source.space for name, source in self.sources.items()}
        if len(set(spaces.values())) != 1:
            raise DataError(f"{', '.join(spaces) or 'no splits'}: cannot be joined to one set")
        self.space: LabelSpace = next(iter(spaces.values()))
        ids = [id for source in self.sources.values() for id in source.ids]
        if len(set(ids)) < len(ids):
            ids = [f"{name}/{id}" for name, source in self.sources.items() for id in source.ids]
        self.ids: Sequence[str] = ids
        self._ends = list(accumulate(len(source) for source in self.sources.values()))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._ends, index)
        start = self._ends[number - 1] if number else 0
        return list(self.sources.values())[number][index - start]


def write_split(
    folder: Path,
    parts: Mapping[str, Sequence[str]],
    facts: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write a text file of ids for each part, and ``split.json`` with their counts and ``facts``.

    Returns the paths.

    Raises
    ------
    OutputError
        a file is there already, or cannot be written.
    DataError
        an id holds a line break or is not UTF-8, so that it would not come back.
    """
    texts = {f"{name}.txt": "".join(f"{id}\n" for id in ids) for name, ids in parts.items()}
    for id in (id for ids in parts.values() for id in ids):
        if id.splitlines() != [id] or id.encode("utf-8", "replace").decode() != id:
            raise DataError(
                f"the id {id!a} holds a line break or is not UTF-8; no list can hold it: rename "
                "the file of the image, and that of its labels"
            )
    listed = {name: {"file": f"{name}.txt", "images": len(ids)} for name, ids in parts.items()}
    texts["split.json"] = (
        json.dumps({"parts": listed, **facts}, indent=2, ensure_ascii=False) + "\n"
    )
    paths = [folder / name for name in texts]
    for path in paths:
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists; --overwrite replaces it")
    make_folder(folder)
    for path, text in zip(paths, texts.values(), strict=True):
        write_atomically(path, lambda file, text=text: file.write(text.encode("utf-8")))
    return paths


def read_split(path: Path | str) -> dict[str, tuple[str, ...]]:
    """The ids of each part: of a folder that :func:`write_split` filled, or of one text file.

    A text file alone gives one part of its name. Use :meth:`Subset.named` to pick the samples.

    Raises
    ------
    DataError
        a file is missing, not UTF-8, or not as it was written.
    """
    path = Path(path)
    if not path.is_dir():
        return {path.stem: _read_ids(path)}
    index = path / "split.json"
    content = read_json(index)
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, dict) or not parts or not all(map(_NAME.fullmatch, parts)):
        raise DataError(f"{index}: has no parts; expected what `vitrail data split` wrote")
    return {name: _read_ids(path / f"{name}.txt") for name in parts}


def _read_ids(path: Path) -> tuple[str, ...]:
    return tuple(line for line in read_text(path).splitlines() if line.strip())
