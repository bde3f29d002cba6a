"""Where COCO files and their images lie: the folders of cocodataset.org, and what tools make."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from vitrail.data.formats.coco_json import ends
from vitrail.data.formats.files import file_exists, folder_exists
from vitrail.errors import DataError

_YEAR = re.compile(r"(?<=[A-Za-z_-])(19|20)\d\d$")
_LISTS = re.compile(rb'"(images|annotations|categories)"[ \t\n\r]*:[ \t\n\r]*\[')
_OTHER_TASKS = ("captions_", "person_keypoints_", "stuff_", "image_info_")
_ORDER = ("train", "val", "valid", "test")
_MOST_FILES = 16
"""JSON files of one folder that are looked into; more are one file per image, so not COCO."""
_PROBES = 8
"""Images by which the folder of images is found."""

Given = Path | Mapping[str, Path] | None
"""A path, or one for each split, as an option has it."""


def is_instances(path: Path) -> bool:
    """Whether a file looks like COCO with objects; only its first and last 64 KiB are read."""
    window = _object_ends(path)
    named = path.name.startswith("instances_") or path.name.endswith(".coco.json")
    if b'"segments_info"' in window or path.name.startswith(_OTHER_TASKS):
        return False
    return len(set(_LISTS.findall(window))) >= (1 if named else 2)


def is_panoptic(path: Path) -> bool:
    """Whether a file looks like COCO panoptic; only its first and last 64 KiB are read."""
    window = _object_ends(path)
    return b'"segments_info"' in window and bool(_LISTS.search(window))


def _object_ends(path: Path) -> bytes:
    window = ends(path)
    return window if window.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{" else b""


def find_files(root: Path, task: str, fits: Callable[[Path], bool]) -> dict[str, Path]:
    """Annotation files by split, train before val before test; none where there is none.

    Parameters
    ----------
    root:
        The data set's folder, or its one annotation file.
    task:
        ``instances`` or ``panoptic``: how the files' names begin.
    fits:
        Tells from a file's content whether it is of this task.
    """
    if root.is_file():
        return _by_split([root], task) if fits(root) else {}
    if not root.is_dir():
        return {}
    usual = root / "annotations"
    if found := [path for path in _json_files(usual, f"{task}_*.json") if fits(path)]:
        return _by_split(found, task)
    exported = _few(root.glob("*/_annotations.coco.json"))
    if found := [path for path in exported if fits(path)]:
        found.sort(key=lambda path: _rank(path.parent.name))
        return {path.parent.name: path for path in found}
    for folder in (usual, root):
        if found := [path for path in _json_files(folder, "*.json") if fits(path)]:
            return _by_split(found, task)
    return {}


def _json_files(folder: Path, pattern: str) -> list[Path]:
    return _few(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _few(paths: Iterable[Path]) -> list[Path]:
    """The paths, or none of them if they are too many."""
    found: list[Path] = []
    for path in paths:
        if not path.is_file():  # a named pipe would be waited for
            continue
        found.append(path)
        if len(found) > _MOST_FILES:
            return []
    return sorted(found)


def _by_split(paths: Sequence[Path], task: str) -> dict[str, Path]:
    """Files by split: ``instances_train2017.json`` is train, a lone file of another name all."""
    stems = [path.name.removesuffix(".json").removeprefix(task + "_") for path in paths]
    names = [_YEAR.sub("", stem).rstrip("-_") or stem for stem in stems]
    if len(set(names)) < len(names):
        names = stems
    if len(paths) == 1 and names[0] not in _ORDER:
        names = ["all"]
    by_name = dict(zip(names, paths, strict=True))
    return {name: by_name[name] for name in sorted(names, key=_rank)}


def _rank(split: str) -> tuple[int, str]:
    return (_ORDER.index(split) if split in _ORDER else len(_ORDER)), split


def given_files(root: Path, given: Path | Mapping[str, Path], task: str) -> dict[str, Path]:
    """Annotation files that an option names, by split.

    Raises
    ------
    DataError
        there is no such file.
    """
    base = root.parent if root.is_file() else root
    if isinstance(given, Path):
        files = _by_split([base / given], task)
    else:
        files = {split: base / path for split, path in given.items()}
    for path in files.values():
        if not file_exists(path):
            raise DataError(f"{path}: no such annotation file; check the option annotations")
    return files


def images_folder(
    root: Path, annotations: Path, split: str, names: Sequence[str], given: Given
) -> Path:
    """The folder to which the ``file_name`` of images is relative.

    It is the one given, or else, of those where the published layouts and the common tools put
    images, the first that holds most of a few images of the set.

    Raises
    ------
    DataError
        the folder given does not exist.
    """
    if (folder := _given_folder(root, split, given, "images")) is not None:
        return folder
    above, top = annotations.parent, _top(annotations)
    stem = annotations.name.removesuffix(".json").partition("_")[2]
    below = dict.fromkeys(part for part in (stem, split) if part)
    candidates = [
        *(top / part for part in below),
        *(top / "images" / part for part in below),
        *(top / part / "images" for part in below),
        top / "images",
        top / "data",
        above,
        top,
    ]
    return _fullest(candidates, names)


def masks_folder(
    root: Path, annotations: Path, split: str, names: Sequence[str], given: Given
) -> Path:
    """The folder of the PNGs of a panoptic file; found and raising as :func:`images_folder`."""
    if (folder := _given_folder(root, split, given, "masks")) is not None:
        return folder
    stem = annotations.name.removesuffix(".json")
    candidates = [
        annotations.parent / stem,
        *(_top(annotations) / part for part in (stem, f"panoptic_{split}", split, "masks")),
        annotations.parent,
    ]
    return _fullest(candidates, names)


def _top(annotations: Path) -> Path:
    above = annotations.parent
    return above.parent if above.name in ("annotations", "labels") else above


def _given_folder(root: Path, split: str, given: Given, option: str) -> Path | None:
    if given is not None and not isinstance(given, Path):
        given = given.get(split)
    if given is None:
        return None
    folder = (root.parent if root.is_file() else root) / given
    if not folder_exists(folder):
        raise DataError(f"{folder}: no such folder; check the option {option}")
    return folder


def _fullest(folders: Sequence[Path], names: Sequence[str]) -> Path:
    """The first folder that holds most of a few of the files."""
    probes = names[:: max(1, len(names) // _PROBES)]
    hits = [sum(file_exists(folder / name) for name in probes) for folder in folders]
    return folders[hits.index(max(hits))]
