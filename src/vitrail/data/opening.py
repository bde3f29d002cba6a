"""Open a data set of any format: recognise the layout, say so, and check the options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vitrail.data.formats import formats, get_format
from vitrail.data.formats.base import Dataset, Format, Options, refuse
from vitrail.data.formats.files import file_exists, read_json, read_text
from vitrail.errors import DataError, ParameterError, nearest

_MOST_FILES, _LARGEST = 16, 64 * 1024**2
"""Files, and bytes of one, that are looked into where no layout is recognised."""


def recognise(root: Path) -> list[tuple[Format, str]]:
    """Formats whose layout a path has, the most specific first, each with what speaks for it.

    Raises
    ------
    DataError
        there is nothing at the path.
    """
    _check_exists(root)
    found = ((format, format.recognise(root)) for format in formats().values())
    return [(format, reason) for format, reason in found if reason]


def open_dataset(
    root: Path | str,
    format: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    strict: bool = True,
) -> Dataset:
    """Open a labelled data set.

    Parameters
    ----------
    root:
        Its folder, or its one annotation file.
    format:
        Name of its format; by default it is recognised by its layout.
    options:
        What the format can be told (``vitrail data formats NAME`` lists them).
    strict:
        Refuse a set with faults in its index. With False they are left to
        :attr:`Dataset.problems`, and what they concern is left out.

    Raises
    ------
    DataError
        it is not there, of no known format, cannot be read, or (strict) has faults.
    ParameterError
        an option is unknown or has a wrong value.
    UnknownNameError
        no such format.
    """
    root = Path(root)
    if format is not None:
        _check_exists(root)
        chosen, reason = get_format(format), "format given"
    else:
        matches = recognise(root)
        if not matches:
            raise DataError(
                f"{root}: no known layout of labels; {_broken(root)}name one with --format: "
                + ", ".join(formats())
            )
        chosen, reason = matches[0]
        if others := [other.name for other, _ in matches[1:]]:
            reason += f" (could also be {', '.join(others)})"
    dataset = chosen.open(root, parse_options(chosen.options, options or {}, chosen.name))
    dataset = Dataset(dataset.root, chosen.name, reason, dataset.openers, dataset.problems)
    if strict:
        for split in dataset.splits:
            dataset[split]
        refuse(dataset.problems)
    return dataset


def _check_exists(root: Path) -> None:
    try:
        there = root.exists()
    except OSError as error:  # above all a name that is too long
        raise DataError(f"{str(root)[:80]}...: cannot be opened ({error.strerror})") from None
    if not there:
        raise DataError(f"{root}: no such file or folder")


def _broken(root: Path) -> str:
    """The first annotation file that cannot be read, and why: ``"FILE: ...; "``; or nothing.

    Only JSON, XML and YAML at the root and in its ``annotations`` are looked at.
    """
    files = [root] if root.is_file() else []
    for folder in () if files else (root, root / "annotations"):
        try:
            files += sorted(path for path in folder.iterdir() if file_exists(path))
        except OSError:
            continue
    texts = [path for path in files if path.suffix.lower() in (".json", ".xml", ".yaml", ".yml")]
    for path in texts[:_MOST_FILES]:
        try:
            if path.suffix.lower() != ".json":
                if not read_text(path, _LARGEST).strip():
                    return f"{path}: the file is empty; "
            elif not path.stat().st_size:
                return f"{path}: the file is empty (0 bytes); "
            elif path.stat().st_size <= _LARGEST:
                content = read_json(path)
                # A list may be that of an annotation tool's tasks, which none of ours knows.
                if content == [] or not isinstance(content, dict | list):
                    return f"{path}: holds {json.dumps(content):.40}, expected annotations; "
        except (DataError, OSError) as error:
            return f"{error}; "
    return ""


def parse_options(model: type[Options], given: Mapping[str, Any], name: str) -> Options:
    """Options of a format, checked; :class:`ParameterError` names the key and what it takes."""
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "extra_forbidden":
            if not model.model_fields:
                raise ParameterError(f"format {name} has no options, got {key!r}") from None
            raise ParameterError(
                f"format {name} has no option {key!r}; {nearest(key, model.model_fields)}"
            ) from None
        message = fault["msg"].removeprefix("Value error, ")
        raise ParameterError(f"format {name}, option {key}={fault['input']!r}: {message}") from None
