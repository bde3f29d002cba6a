"""Tasks of Label Studio: which annotation counts, and which image they are about."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from vitrail.data.formats.files import IMAGE_SUFFIXES, read_text
from vitrail.data.formats.image_index import ImageIndex, name_parts
from vitrail.data.formats.safe_xml import parse_colour, parse_xml
from vitrail.data.formats.shapes import shown
from vitrail.errors import DataError

_HASH = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the names of uploaded files."""
_REGION_TAGS = frozenset(
    {
        "brushlabels",
        "bitmasklabels",
        "polygonlabels",
        "rectanglelabels",
        "ellipselabels",
        "labels",
    }
)


@dataclass(frozen=True, slots=True)
class Task:
    """One task, with the results of the annotation that counts; None where it has none."""

    id: str
    data: Mapping[str, Any]
    results: Sequence[Any] | None


def read_tasks(
    path: Path, which: str, annotator: str | None, left_out: Counter[str]
) -> Iterator[Task]:
    """Tasks of an export, JSON or JSON_MIN, one by one.

    Parameters
    ----------
    path:
        The file.
    which:
        "latest", "first" or "ground-truth": which annotation of several counts.
    annotator:
        Id or e-mail address of the one whose annotations count; None: everyone's.
    left_out:
        Is told how many tasks have no annotation that counts, by the reason.

    Raises
    ------
    DataError
        it cannot be read, or is no export of Label Studio.
    """
    minimal: dict[str, list[dict[str, Any]]] = {}
    for number, entry in enumerate(_entries(path), 1):
        if not isinstance(entry, dict):
            raise DataError(
                f"{path}: entry {number} is {shown(entry)}, expected a list of tasks, as Label "
                "Studio exports it"
            )
        id = str(entry.get("id", number))
        if not isinstance(entry.get("data"), dict):
            minimal.setdefault(id, []).append(entry)
            continue
        annotations = entry.get("annotations", entry.get("completions"))
        given = annotations if isinstance(annotations, list) else []
        yield Task(id, entry["data"], _chosen(given, which, annotator, left_out))
    for id, versions in minimal.items():
        if not any(_looks_minimal(entry) for entry in versions):
            raise DataError(
                f"{path}: entry {id} has neither data and annotations nor labelled regions; "
                "expected an export of Label Studio, JSON or JSON_MIN"
            )
        entry = _picked(versions, which, annotator, "annotator")
        left_out["not annotated by the one asked for"] += entry is None
        yield Task(id, entry or {}, None if entry is None else _minimal_results(entry))


_SPACE = re.compile(r"[ \t\n\r]*")


def _entries(path: Path) -> Iterator[Any]:
    """Elements of a JSON list, or the one value that a file holds, decoded one by one.

    Decoded as a whole, an export of many outlines takes eight times its size.
    """
    text = read_text(path)
    decoder = json.JSONDecoder()

    def skip(place: int) -> int:
        found = _SPACE.match(text, place)
        return found.end() if found else place

    place = skip(0)
    try:
        if text.startswith("[", place):
            place = skip(place + 1)
            closed = text.startswith("]", place)
            while not closed:
                value, place = decoder.raw_decode(text, place)
                yield value
                place = skip(place)
                closed = text.startswith("]", place)
                if not closed and not text.startswith(",", place):
                    raise json.JSONDecodeError("Expecting ',' delimiter", text, place)
                place = place if closed else skip(place + 1)
            place += 1
        else:
            value, place = decoder.raw_decode(text, place)
            yield value
        if skip(place) < len(text):
            raise json.JSONDecodeError("Extra data", text, place)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}; "
            "the file may be cut short"
        ) from None
    except ValueError as error:  # a whole number of thousands of digits
        raise DataError(f"{path}: its JSON cannot be read ({error})") from None
    except RecursionError:
        raise DataError(f"{path}: its JSON is nested too deeply to be annotations") from None


def _chosen(
    given: Sequence[Any], which: str, annotator: str | None, left_out: Counter[str]
) -> Sequence[Any] | None:
    """Results of the annotation that counts."""
    valid = [one for one in given if isinstance(one, dict) and isinstance(one.get("result"), list)]
    usable = [one for one in valid if not one.get("was_cancelled") and not one.get("skipped")]
    picked = _picked(usable, which, annotator, "completed_by")
    if picked is not None:
        return picked["result"]
    if not valid:
        left_out["not annotated"] += 1
    elif not usable:
        left_out["skipped by the annotator"] += 1
    else:
        left_out["without an annotation of the kind asked for"] += 1
    return None


def _picked(
    versions: Sequence[dict[str, Any]], which: str, annotator: str | None, key: str
) -> dict[str, Any] | None:
    if annotator is not None:
        versions = [one for one in versions if annotator in _who(one.get(key))]
    if which == "ground-truth":
        versions = [one for one in versions if one.get("ground_truth") is True]
    if not versions:
        return None
    # Times are ISO 8601 with one offset, which sort as text.
    ordered = sorted(
        versions, key=lambda one: str(one.get("updated_at") or one.get("created_at") or "")
    )
    return ordered[0] if which == "first" else ordered[-1]


def _who(said: Any) -> set[str]:
    """Ids and addresses of an annotator, who is given as a number, as text or as an object."""
    if isinstance(said, dict):
        return {str(said[key]) for key in ("id", "email", "username") if key in said}
    return {str(said)}


def _looks_minimal(entry: Mapping[str, Any]) -> bool:
    said = ("annotation_id", "annotator", "lead_time")
    return any(key in entry for key in said) or bool(_minimal_results(entry))


def _minimal_results(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Regions of JSON_MIN, in which value and size are one object, as results."""
    return [
        {**region, "value": region, "from_name": name, "id": None}
        for name, regions in entry.items()
        for region in (regions if isinstance(regions, list) else ())
        if isinstance(region, dict) and any(key.endswith("labels") for key in region)
    ]


def image_value(data: Mapping[str, Any], key: str | None) -> str | None:
    """What a task says of where its image is: the one value that looks like an image's place."""
    if key is not None:
        value = data.get(key)
        return value if isinstance(value, str) else None
    texts = [value for value in data.values() if isinstance(value, str)]
    named = [
        text
        for text in texts
        if Path("".join(place_parts(text)[-1:])).suffix.lower() in IMAGE_SUFFIXES
    ]
    said = data.get("image")
    if isinstance(said, str) and said:
        return said
    return named[0] if named else None


def place_parts(place: str) -> tuple[str, ...]:
    """Parts of the path in ``/data/upload/..``, ``/data/local-files/?d=..``, a URL or a path."""
    try:
        url = urlsplit(place)
    except ValueError:
        return name_parts(place)
    # A lone letter is a drive of Windows, not a scheme. A plus sign is no space here.
    local = re.search("(?:^|&)d=([^&]+)", url.query)
    path = local[1] if local else place if len(url.scheme) == 1 else url.path
    return name_parts(unquote(path, errors="surrogateescape"))


def find_image(place: str, index: ImageIndex, stripped: Mapping[str, Sequence[str]]) -> list[str]:
    """Images that a task may mean; ``stripped`` are those with upload prefixes, without them."""
    # Taken for a URL, and as it is: names on disk may hold # and %.
    for parts in (place_parts(place), name_parts(place)):
        found = index.find(parts)
        if not found and parts and (prefix := _HASH.match(parts[-1])):
            found = index.find((*parts[:-1], parts[-1][prefix.end() :]))
        if found := found or list(stripped.get("".join(parts[-1:]), ())):
            return found
    return []


def without_prefixes(index: ImageIndex) -> dict[str, list[str]]:
    """Images whose names have an upload prefix, by their names without it."""
    found: dict[str, list[str]] = {}
    for path in index.paths:
        name = path.rpartition("/")[2]
        if prefix := _HASH.match(name):
            found.setdefault(name[prefix.end() :], []).append(path)
    return found


def read_labels(path: Path) -> dict[str, str]:
    """Labels of regions in a labelling configuration, in order, each with its colour or nothing.

    Raises
    ------
    DataError
        it cannot be read, or is no XML of ``<View>``.
    """
    labels: dict[str, str] = {}
    inside: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        name = attributes.get("alias") or attributes.get("value")
        if tag.lower() == "label" and inside[-1:] and inside[-1] in _REGION_TAGS and name:
            labels.setdefault(name, attributes.get("background", ""))
        inside.append(tag.lower())

    def end(tag: str) -> None:
        inside.pop()

    parse_xml(path, "View", start, end)
    return labels


def colours(labels: Mapping[str, str]) -> tuple[tuple[int, int, int], ...] | None:
    """RGB of each label; None unless all have one."""
    found = tuple(colour for colour in map(parse_colour, labels.values()) if colour is not None)
    return found if len(found) == len(labels) else None


def describe(data: Mapping[str, Any], key: str | None) -> str:
    """What a task without a usable image holds instead, for a message."""
    if key is not None:
        return f"{key} is {shown(data.get(key))}"
    return f"data with the keys {shown(list(data))}"
