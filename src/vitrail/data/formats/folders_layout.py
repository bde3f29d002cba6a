"""Where a plain folder keeps its images and masks, and which belongs to which.

===========================================  ======================================================
layout                                       splits
===========================================  ======================================================
``images/`` and ``masks/``                   one, "all"
``images/train/`` and ``masks/train/`` ...   those that both folders have
``train/images/`` and ``train/masks/`` ...   every folder that has both
``train/`` and ``trainannot/`` ...           every folder with a sibling of its name and a suffix
``NAME.jpg`` and ``NAME_mask.png``           one, or the folders named like splits
===========================================  ======================================================

The folders may have any of the usual names (:data:`IMAGES`, :data:`MASKS`), in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vitrail.data.formats.folders_space import USUAL, FolderOptions

IMAGES = (
    *("images", "imgs", "jpegimages", "image", "img", "rgb", "photos", "pictures", "inputs"),
    *("input", "frames"),
)
MASKS = (
    *("masks", "labels", "annotations", "mask", "label", "annotation", "annots", "annot"),
    *("segmentationclasspng", "segmentationclass", "segmentations", "segmentation", "segs"),
    *("ground_truth", "groundtruth", "gt", "targets", "target", "instance_masks", "instances"),
)
SIBLINGS = (
    *("annot", "_annot", "_labels", "_label", "_masks", "_mask", "_annotations", "_gt", "_seg"),
    *("annotations", "labels", "masks", "-labels", "-masks"),
)
"""What the folder of masks has behind the name of its folder of images."""
SIBLING_IMAGES = ("_images", "_imgs", "_image", "_img", "-images", "")
"""What the folder of images itself may have behind it: ``train_images`` and ``train_masks``."""
SPLITS = ("train", "val", "valid", "validation", "dev", "test", "training", "testing")


@dataclass(frozen=True, slots=True)
class Layout:
    """One split: a folder of images and one of masks; the same where they lie side by side."""

    split: str
    images: Path
    masks: Path


def split_order(name: str) -> tuple[int, str]:
    """Sorts training before validation before test before others."""
    starts = (("train",), ("val", "dev"), ("test",))
    lower = name.lower()
    rank = next((i for i, start in enumerate(starts) if lower.startswith(start)), len(starts))
    return rank, name


def find_layouts(root: Path, options: FolderOptions | None = None) -> list[Layout]:
    """The splits of a folder, in order; empty where it has no layout of images and masks.

    Only names of folders are looked at, to a depth of two. A folder that has images but no masks
    is not a split.
    """
    options = options or USUAL
    folders = subfolders(root)
    found = (
        _both(root, folders, options)
        or _inside_each(folders, options)
        or _siblings(folders, options)
        or _side_by_side(root, folders, options)
    )
    return sorted(found, key=lambda layout: split_order(layout.split))


def subfolders(folder: Path) -> dict[str, Path]:
    """Folders directly in a folder by name, without hidden ones; empty where it has none."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if not e.name.startswith(".") and is_folder(e)]
    except OSError:
        return {}
    return {name: folder / name for name in sorted(names)}


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file or a link to one; a link to nothing or to itself is none."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _pick(folders: Mapping[str, Path], said: str | None, usual: tuple[str, ...]) -> Path | None:
    if said is not None:
        return folders.get(said)
    lower = {name.lower(): path for name, path in reversed(list(folders.items()))}
    return next((lower[name] for name in usual if name in lower), None)


def _pair(root: Path, folders: Mapping[str, Path], options: FolderOptions) -> list[Path]:
    """``[images, masks]`` of one folder, or nothing. Options may name paths: ``data/photos``."""
    named = [name for name in (options.images, options.masks) if name and "/" in name]
    folders = {**folders, **{name: root / name for name in named if (root / name).is_dir()}}
    images = _pick(folders, options.images, IMAGES)
    masks = _pick(folders, options.masks, MASKS)
    return [images, masks] if images and masks and images != masks else []


def _both(root: Path, folders: Mapping[str, Path], options: FolderOptions) -> list[Layout]:
    pair = _pair(root, folders, options)
    if not pair:
        return []
    inner, other = (subfolders(folder) for folder in pair)
    shared = [name for name in inner if name in other]
    if any(split_order(name)[0] < 3 for name in shared):
        return [Layout(name, inner[name], other[name]) for name in shared]
    return [Layout("all", *pair)]


def _inside_each(folders: Mapping[str, Path], options: FolderOptions) -> list[Layout]:
    pairs = ((name, _pair(path, subfolders(path), options)) for name, path in folders.items())
    return [Layout(name, *pair) for name, pair in pairs if pair]


def _siblings(folders: Mapping[str, Path], options: FolderOptions) -> list[Layout]:
    if options.images or options.masks:
        return []
    layouts: dict[str, Layout] = {}
    for name, path in folders.items():
        for ending in SIBLING_IMAGES:
            stem = name.removesuffix(ending)
            masks = next((stem + s for s in SIBLINGS if stem + s in folders), None)
            if stem and name.endswith(ending) and masks not in (None, name):
                layouts.setdefault(stem, Layout(stem, path, folders[str(masks)]))
    # trainannot has no sibling of its own; were it taken for images, train would be lost.
    masks_of = {layout.masks for layout in layouts.values()}
    return [layout for layout in layouts.values() if layout.images not in masks_of]


def _side_by_side(root: Path, folders: Mapping[str, Path], options: FolderOptions) -> list[Layout]:
    if options.images or options.masks:
        return []
    splits = [name for name in folders if name.lower() in SPLITS]
    if splits:
        return [Layout(name, folders[name], folders[name]) for name in splits]
    return [Layout("all", root, root)] if root.is_dir() else []


def walk(folder: Path, depth: int = 8) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files of a folder and of those inside, each with the path of its folder (``""``, ``"a/b"``).

    Links to folders are not followed (they are yielded instead), so cycles do no harm. Hidden
    files and folders are left out, and so is what cannot be listed.
    """
    waiting = [("", 0)]
    while waiting:
        inner, level = waiting.pop()
        try:
            entries = os.scandir(folder / inner if inner else folder)
        except OSError:
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    yield inner, entry
                elif level < depth:
                    waiting.append((f"{inner}/{entry.name}" if inner else entry.name, level + 1))
