"""Which images a split of a YOLO set has, and which files are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vitrail.data.formats.base import Problems
from vitrail.data.formats.files import IMAGE_SUFFIXES, read_text
from vitrail.data.formats.folders_pairs import is_utf8
from vitrail.data.formats.image_index import walk
from vitrail.data.formats.shapes import shown
from vitrail.data.formats.yolo_config import Config
from vitrail.data.formats.yolo_write import label_path


def list_images(
    config: Config, split: str, found: Problems
) -> tuple[list[Path], list[str], list[tuple[Path, Path]]]:
    """Images of a split, their names for ids, and its folders of images, each with its labels."""
    pairs: list[tuple[str, Path]] = []
    folders: list[tuple[Path, Path]] = []
    for entry in config.splits[split]:
        if entry.is_dir():
            pairs += [(name, entry / name) for name in walk(entry, IMAGE_SUFFIXES)]
            folder = label_path(entry / "x").parent
            if folder != entry and folder.is_dir():
                folders.append((entry, folder))
        else:
            pairs += _listed(entry, config.root, found)
    pairs = [pair for pair in pairs if _is_named_well(pair[0], pair[1], found)]
    pairs.sort(key=lambda pair: (pair[0], str(pair[1])))
    unique = dict(zip((path for _, path in pairs), (name for name, _ in pairs), strict=True))
    images, names = list(unique), list(unique.values())
    if len(set(names)) < len(names):
        # The same name below two folders of one split: tell them apart by the folder.
        names = [_below(path, config.root) for path in images]
    return images, names, folders


def _is_named_well(name: str, path: Path, found: Problems) -> bool:
    """Whether an image's name can be written into lists and reports; told where it cannot."""
    if is_utf8(name):
        return True
    found.error(
        "file-name",
        path.parent,
        "",
        f"the file name {path.name!a} is not UTF-8",
        "UTF-8",
        "rename the image, and its file of labels",
    )
    return False


def _listed(path: Path, root: Path, found: Problems) -> Iterator[tuple[str, Path]]:
    """Images of a text file; paths that begin with ./ are relative to it, others to the set."""
    listing = Listing()
    for number, line in enumerate(read_text(path).splitlines(), 1):
        name = line.strip().replace("\\", "/")
        if not name:
            continue
        candidates = [path.parent / name, root / name]
        image = next((one for one in candidates if one in listing), None)
        if image is None:
            found.error(
                "missing-image",
                path,
                f"line {number}",
                f"{shown(name)} does not exist",
                f"an image below {root}",
                "correct the list, or copy the image",
            )
        elif image.suffix.lower() in IMAGE_SUFFIXES:
            below = _below(image, root)
            yield below.rpartition("images/")[2], image


def _below(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix().lstrip("/")


class Listing:
    """Which files exist, by one look into each folder."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}

    def __contains__(self, path: Path) -> bool:
        names = self._names.get(path.parent)
        if names is None:
            try:
                names = frozenset(entry.name for entry in path.parent.iterdir())
            except (OSError, ValueError):
                names = frozenset()
            self._names[path.parent] = names
        return path.name in names
