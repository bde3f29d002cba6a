"""Find the image that an annotation names, below one folder and nowhere else."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from vitrail.data.formats.files import IMAGE_SUFFIXES, folder_exists, list_images
from vitrail.errors import DataError


def walk(root: Path, suffixes: Collection[str]) -> list[str]:
    """Files below a folder by suffix, as sorted paths relative to it, with forward slashes.

    Links to folders are not followed, so cyclic links do no harm; hidden files and folders are
    left out, and folders that cannot be listed.
    """
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(folder).relative_to(root)
        found += [
            (below / name).as_posix()
            for name in names
            if Path(name).suffix.lower() in suffixes and not name.startswith(".")
        ]
    return sorted(found)


def name_parts(name: str) -> tuple[str, ...]:
    """Parts of a path as an annotation has it, of Windows too, without drive and climbing."""
    parts = name.replace("\\", "/").split("/")
    return tuple(part for part in parts if part not in ("", ".", "..") and not part.endswith(":"))


class ImageIndex:
    """All images below a folder, by name; or, not ``deep``, only those in the folder itself."""

    def __init__(self, root: Path, *, deep: bool = True) -> None:
        self.root = root
        if deep:
            self.paths = walk(root, IMAGE_SUFFIXES)
        else:
            self.paths = [path.name for path in list_images(root)]
        self._all = frozenset(self.paths)
        self._by_name: dict[str, list[str]] = {}
        for path in self.paths:
            self._by_name.setdefault(path.rpartition("/")[2], []).append(path)

    def __contains__(self, path: str) -> bool:
        return path in self._all

    def find(self, parts: Sequence[str]) -> list[str]:
        """Images of that name whose folders agree best with those named, from the last on.

        Returns relative paths: none where there is no such image, several where it is ambiguous.
        """
        if not parts:
            return []
        candidates = self._by_name.get(parts[-1], [])
        if len(candidates) < 2:
            return candidates
        scores = [_agreement(path.split("/"), parts) for path in candidates]
        best = [
            path for path, score in zip(candidates, scores, strict=True) if score == max(scores)
        ]
        exact = [path for path in best if len(path.split("/")) == max(scores)]
        return exact or best


def images_folder(said: Path, root: Path) -> Path:
    """The folder of images that an option names: as it is, or relative to the set.

    Raises
    ------
    DataError
        there is no such folder.
    """
    beside = root if root.is_dir() else root.parent
    for folder in (said, beside / said):
        if folder_exists(folder):
            return folder
    raise DataError(f"{said}: no such folder of images, neither here nor in {beside}")


def _agreement(path: Sequence[str], parts: Sequence[str]) -> int:
    """How many parts are equal, from the last on."""
    count = 0
    for ours, theirs in zip(reversed(path), reversed(parts), strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def sample_ids(names: Sequence[str]) -> list[str]:
    """Ids from file names: without suffix, unless several files differ in the suffix only."""
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    counts = Counter(stems)
    ids = [stem if counts[stem] < 2 else name for stem, name in zip(stems, names, strict=True)]
    return ids if len(set(ids)) == len(ids) else list(names)
