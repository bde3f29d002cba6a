"""One folder an image: ``ID/images/ID.png`` and ``ID/masks/*.png``, one mask file an object."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from vitrail.data.formats.base import Problems
from vitrail.data.formats.files import header_size
from vitrail.data.formats.folders_layout import is_file, subfolders, walk
from vitrail.data.formats.folders_masks import read_binary
from vitrail.data.formats.folders_pairs import is_utf8
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.result.masks import Masks
from vitrail.sources import IMAGE_SUFFIXES

_LOOKED_AT = 8
"""Folders, and files in each, that tell the layout."""


class Item(NamedTuple):
    """One image: its folder and its file in ``images/``."""

    folder: str
    image: str


def folder_of(name: str) -> str:
    """A name as that of a folder on every system; :func:`name_of` undoes it."""
    made = quote(name, safe=" ()[]{}+,;=@!#$&'~^")
    return "%2E" + made[1:] if made.startswith(".") else made


def name_of(folder: str) -> str:
    return unquote(folder)


def has_items(root: Path) -> bool:
    """Whether folders are of this kind: most with an image of the folder's own name."""
    first = list(islice(subfolders(root).values(), _LOOKED_AT))
    return 2 * sum(map(_is_item, first)) >= max(1, len(first))


def _is_item(folder: Path) -> bool:
    names = (entry.name for _, entry in islice(walk(folder / "images", 0), _LOOKED_AT))
    return any(Path(name).stem == folder.name and _is_image(name) for name in names)


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _files(folder: Path, depth: int) -> list[str]:
    """Image files of a folder and those inside, as sorted paths."""
    found = [
        f"{inner}/{entry.name}" if inner else entry.name
        for inner, entry in walk(folder, depth)
        if _is_image(entry.name) and is_file(entry)
    ]
    return sorted(found)


def list_items(root: Path, problems: Problems, *, encoded: bool) -> list[Item]:
    """The images of a part, in the order of their folders; what has no image or no masks is told.

    ``encoded``: names of folders are those of :func:`folder_of`.
    """
    items: list[Item] = []
    for name, folder in subfolders(root).items():
        id = name_of(name) if encoded else name
        images = _files(folder / "images", 0)
        if len(images) != 1:
            problems.error(
                "missing-image" if not images else "duplicate-id",
                folder / "images",
                id,
                f"holds {len(images)} images",
                "one",
                "restore the image, or remove the folder",
            )
        elif not (folder / "masks").is_dir():
            problems.error(
                "missing-mask",
                folder / "masks",
                id,
                "no such folder",
                "a folder with one PNG per object",
                "make it (empty where there are no objects), or remove the image",
            )
        elif not is_utf8(name + images[0]):
            problems.error(
                "file-name",
                root,
                "",
                f"the name {name!a} is not UTF-8",
                "UTF-8",
                "rename the folder and its image",
            )
        else:
            items.append(Item(name, images[0]))
    return items


class NestedMasks:
    """Images with a folder of masks each, read with their sample.

    Parameters
    ----------
    root:
        The folder of the items.
    space:
        The classes; where there are several, each has a folder inside ``masks/``.
    encoded:
        Whether names of folders are those of :func:`folder_of`.
    """

    def __init__(
        self, root: Path, items: Sequence[Item], space: LabelSpace, *, encoded: bool = False
    ) -> None:
        self.root = root
        self.items = list(items)
        self.space = space
        self._encoded = encoded
        self.ids = [name_of(item.folder) if encoded else item.folder for item in items]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def mask_paths(self, index: int) -> list[Path]:
        """The mask files of one sample, in the order of its objects."""
        folder = self.root / self.items[index].folder / "masks"
        return [folder / name for name in _files(folder, 1)]

    def __getitem__(self, index: int) -> Sample:
        item = self.items[index]
        image = self.root / item.folder / "images" / item.image
        folder = self.root / item.folder / "masks"
        size: tuple[int, int] | None = None
        instances: list[Instance] = []
        for path in self.mask_paths(index):
            mask = read_binary(path)
            size = size or (mask.shape[0], mask.shape[1])
            if mask.shape != size:
                raise DataError(
                    f"{path}: is {mask.shape[1]}x{mask.shape[0]} px, expected {size[1]}x{size[0]} "
                    "like the masks before it"
                )
            one = Masks.from_crops([(0, 0, mask)], size)
            instances.append(Instance.from_masks(self._class_id(path, folder), one, id=path.stem))
        return Sample(
            self.ids[index], image, size or header_size(image)[0], instances=tuple(instances)
        )

    def _class_id(self, path: Path, masks: Path) -> int:
        if path.parent == masks:
            if len(self.space.classes) == 1:
                return 0
            raise DataError(
                f"{path}: lies in no folder of a class, expected one of "
                + ", ".join(folder_of(one) for one in self.space.classes[:40])
            )
        folder = path.parent.name
        found = name_of(folder) if self._encoded else folder
        if found not in self.space.classes:
            raise DataError(
                f"{path}: lies in the folder {folder!r}, which is no class of classes.json; "
                "expected one of " + ", ".join(folder_of(one) for one in self.space.classes[:40])
            )
        return self.space.classes.index(found)


_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")


def file_names(instances: Sequence[Instance]) -> list[str]:
    """Names of the objects' files: their own ids where those can be names, otherwise numbers."""
    ids = [one.id for one in instances]
    usable = all(_PLAIN.fullmatch(id) for id in ids) and len({id.lower() for id in ids}) == len(ids)
    if usable:
        return ids
    digits = len(str(len(ids)))
    return [str(number).zfill(digits) for number in range(1, len(ids) + 1)]
