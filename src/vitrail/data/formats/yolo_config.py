"""Where a YOLO set has its splits and class names: data.yaml, or the folders themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vitrail.data.formats.base import Problems
from vitrail.data.formats.files import file_exists, folder_exists, read_text
from vitrail.data.formats.shapes import shown, whole
from vitrail.data.problem import Problem
from vitrail.errors import DataError

_MAX_YAML_BYTES = 16 * 1024**2
_HEAD = 65536
"""Bytes of a YAML file that are looked at to recognise it."""
_SPLITS = ("train", "val", "test")
_FOLDERS = ("train", "val", "valid", "validation", "test")
_OTHER_KEYS = frozenset(
    {"path", "names", "nc", "download", "kpt_shape", "flip_idx", "channels", "roboflow", "depth"}
)
"""Keys of data.yaml that name no split."""


@dataclass(frozen=True)
class Config:
    """What a YOLO set says of itself."""

    root: Path
    names: tuple[str, ...]
    splits: Mapping[str, tuple[Path, ...]]
    """By name: folders of images, and text files that list images."""
    reason: str
    keypoint_values: int = 0
    problems: tuple[Problem, ...] = ()


def find_config(root: Path) -> tuple[Path, str] | None:
    """The YAML file of a set, or its folder where it has none, and what speaks for it."""
    if root.is_file():
        return (root, "a YAML file of splits and names") if _is_config(root) else None
    yamls = _configs(root)
    if yamls:
        return yamls[0], f"{yamls[0].name} with splits and names"
    if _names_file(root) is not None and _layout(root):
        return root, "folders of images and labels beside a list of class names"
    return None


def read_config(root: Path, name: str | None, names: Sequence[str] | None) -> Config:
    """Read data.yaml, or look at the folders.

    Parameters
    ----------
    root:
        The folder, or its YAML file.
    name:
        The YAML file's name, where the folder has several.
    names:
        Class names that replace those of the set.

    Raises
    ------
    DataError
        it is no YOLO set, its YAML file is damaged, or no class names are known.
    """
    if root.is_file():
        return _from_yaml(root, names)
    if name is not None:
        return _from_yaml(root / name, names)
    yamls = _configs(root)
    if len(yamls) > 1 and "data.yaml" not in [path.name for path in yamls]:
        listed = ", ".join(path.name for path in yamls)
        raise DataError(f"{root}: has several YAML files ({listed}); name one with data=NAME")
    if yamls:
        return _from_yaml(yamls[0], names)
    splits = _layout(root)
    if not splits:
        raise DataError(
            f"{root}: no data.yaml, and no folders images/ and labels/; expected a YOLO data set"
        )
    path = _names_file(root)
    if names is None and path is None:
        raise DataError(
            f"{root}: no data.yaml and no classes.txt, so the classes have no names; add one of "
            "them, or give names=[...]"
        )
    if names is None and path is not None:
        lines = [line.strip() for line in read_text(path, _MAX_YAML_BYTES).splitlines()]
        names = [line for line in lines if line]
    reason = f"images and labels beside {path.name}" if path else "images and labels, names given"
    return Config(root, tuple(names or ()), splits, reason)


def _configs(root: Path) -> list[Path]:
    """YAML files of the folder that describe a set, data.yaml first."""
    try:
        files = [path for path in root.iterdir() if path.suffix in (".yaml", ".yml")]
    except OSError:
        return []
    return sorted(filter(_is_config, files), key=lambda path: (path.stem != "data", path.name))


def _is_config(path: Path) -> bool:
    """Whether a file is data.yaml by its name or its splits, with class names at the top level."""
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD).decode("utf-8", "replace")
    except OSError:
        return False
    keys = {line.partition(":")[0].strip("\ufeff'\"") for line in head.splitlines()}
    said = path.stem == "data" or not keys.isdisjoint((*_SPLITS, "validation", "path"))
    return "names" in keys and said


def _names_file(root: Path) -> Path | None:
    found = (root / name for name in ("classes.txt", "obj.names", "labels/classes.txt"))
    return next((path for path in found if path.is_file()), None)


def _layout(root: Path) -> dict[str, tuple[Path, ...]]:
    """Splits by the folders alone: SPLIT/images, images/SPLIT, or images without splits."""
    for pattern, labels in (("{}/images", "{}/labels"), ("images/{}", "labels/{}")):
        splits = {
            split: (root / pattern.format(split),)
            for split in _FOLDERS
            if (root / pattern.format(split)).is_dir() and (root / labels.format(split)).is_dir()
        }
        if splits:
            return splits
    plain = (root / "images").is_dir() and (root / "labels").is_dir()
    return {"all": (root / "images",)} if plain else {}


def _from_yaml(path: Path, given: Sequence[str] | None) -> Config:
    data = _load(path)
    names = tuple(given) if given is not None else _names(data, path)
    problems = Problems()
    if (count := whole(data.get("nc", len(names)))) != len(names):
        problems.warning(
            "class-count",
            path,
            "nc",
            f"nc is {shown(data.get('nc'))}" if count is None else f"nc is {count}",
            f"{len(names)}, the number of names",
            "correct nc; the names count",
        )
    root = _root(data, path)
    splits: dict[str, tuple[Path, ...]] = {}
    for key, value in data.items():
        split = "val" if key == "validation" else str(key)
        entries = [value] if isinstance(value, str) else value
        known = split in _SPLITS
        if key in _OTHER_KEYS or not entries or not isinstance(entries, list):
            continue
        found = [_resolve(entry, root, path.parent) for entry in entries]
        there = tuple(entry for entry in found if entry is not None)
        if known and len(there) < len(found):
            missing = entries[found.index(None)]
            # data.yaml often names a test split that was never handed out.
            report = problems.warning if split == "test" else problems.error
            report(
                "missing-folder",
                path,
                split,
                f"{shown(missing)} does not exist",
                f"a folder or a .txt file, relative to {root}",
                "correct the entry, or path",
            )
        if there:
            splits[split] = there
    if not splits:
        first = f" ({problems.found[-1]})" if problems.found else ""
        raise DataError(f"{path}: names no split that exists; expected train, val or test{first}")
    return Config(
        root,
        names,
        splits,
        f"{path.name} with splits and names",
        _keypoint_values(data, path),
        tuple(problems.found),
    )


def _load(path: Path) -> dict[str, Any]:
    # The base loader makes text of everything: a class may be called no, 1 or null.
    try:
        data = yaml.load(read_text(path, _MAX_YAML_BYTES), Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f" at line {place.line + 1}" if place else ""
        problem = getattr(error, "problem", None) or str(error)
        raise DataError(f"{path}: not valid YAML{line}: {problem}") from None
    except RecursionError:
        raise DataError(f"{path}: its YAML is nested too deeply") from None
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise DataError(f"{path}: expected keys such as train, val and names")
    return data


def _names(data: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    names = data.get("names")
    if isinstance(names, dict):
        numbers = [whole(key) for key in names]
        if sorted(n for n in numbers if n is not None) != list(range(len(names))):
            raise DataError(
                f"{path}: names has the ids {shown(list(names))}, expected 0 to {len(names) - 1} "
                "without gaps"
            )
        names = [name for _, name in sorted(zip(numbers, names.values(), strict=True))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f"{path}: names is {shown(names)}, expected a list of class names, or names by id"
        )
    if not names:
        raise DataError(f"{path}: names is empty, expected at least one class")
    return tuple(names)


def _root(data: Mapping[str, Any], path: Path) -> Path:
    """The folder that entries are relative to: ``path`` where it leads anywhere."""
    said = data.get("path")
    if isinstance(said, str) and said.strip() and "\0" not in said:
        folder = path.parent / said.strip().replace("\\", "/")
        if folder_exists(folder):
            return folder
    # Written on another machine, or relative to Ultralytics' own folder of data sets.
    return path.parent


def _resolve(entry: object, root: Path, beside: Path) -> Path | None:
    if not isinstance(entry, str) or not entry.strip() or "\0" in entry:
        return None
    name = entry.strip().replace("\\", "/")
    # Roboflow writes ../train/images for train/images, and Ultralytics understands it.
    shortened = name.removeprefix("../")
    for folder in (root, beside):
        for candidate in (folder / name, folder / shortened):
            if folder_exists(candidate) or (candidate.suffix == ".txt" and file_exists(candidate)):
                return candidate
    return None


def _keypoint_values(data: Mapping[str, Any], path: Path) -> int:
    """Numbers that follow the box in each line of a pose data set."""
    shape = data.get("kpt_shape")
    if not shape:
        return 0
    values = [whole(value) for value in shape] if isinstance(shape, list) else []
    if len(values) != 2 or not all(value is not None and value > 0 for value in values):
        raise DataError(f"{path}: kpt_shape is {shown(shape)}, expected [points, 2 or 3]")
    return int(values[0] or 0) * int(values[1] or 0)
