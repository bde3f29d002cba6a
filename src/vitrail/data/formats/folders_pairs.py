"""Images and their masks, told by file names, with the faults that pairing finds."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from vitrail.data.formats.base import Problems
from vitrail.data.formats.folders_layout import Layout, is_file, is_folder, walk
from vitrail.data.formats.folders_masks import LOSSY_SUFFIXES
from vitrail.data.formats.folders_space import USUAL, FolderOptions
from vitrail.sources import IMAGE_SUFFIXES

RULES = (
    *(("", ""), ("", "_mask"), ("", "_masks"), ("", "_label"), ("", "_labels"), ("", "_L")),
    *(("", "_seg"), ("", "_segmentation"), ("", "_gt"), ("", "_GT"), ("", "_annotation")),
    *(("", "_instance"), ("", "_instances"), ("", "-mask"), ("", ".mask"), ("_sat", "_mask")),
    *(("_image", "_mask"), ("_img", "_mask"), ("_image", "_label"), ("_img", "_label")),
    ("_image", "_seg"),
)
"""What follows the name that a pair shares, in the image's and in the mask's file name."""

Keyed = dict[str, list[str]]
"""File names by the name that a pair shares; more than one is a fault."""
_SUFFIXES = tuple(IMAGE_SUFFIXES)
_PREFERRED = (".png", ".bmp", ".tif", ".tiff", ".gif", ".webp")
"""Which of several masks of one name is taken."""


@dataclass(slots=True)
class Pairs:
    """One split's files: names only, so that a hundred thousand take some 25 MB."""

    images: Path
    masks: Path
    ids: list[str] = field(default_factory=list)
    image_names: list[str] = field(default_factory=list)
    """Relative to :attr:`images`, as :attr:`mask_names` are to :attr:`masks`."""
    mask_names: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, index: int) -> Path:
        return self.images / self.image_names[index]

    def mask(self, index: int) -> Path:
        return self.masks / self.mask_names[index]


def pair(
    layout: Layout,
    options: FolderOptions | None = None,
    problems: Problems | None = None,
    *,
    lossless: bool = True,
    depth: int = 8,
) -> Pairs:
    """Find the masks of a split's images.

    Names are compared without their suffixes, or by the one of :data:`RULES` that finds most
    pairs. Ids are the images' paths without suffix below their folder, in sorted order.

    Parameters
    ----------
    problems:
        Told of images without mask, masks without image, several files for one name, names that
        are not UTF-8, links to folders, and (``lossless``) masks saved as JPEG. What they concern
        is left out.
    depth:
        Of folders inside folders.
    """
    options, problems = options or USUAL, problems or Problems()
    beside = layout.images == layout.masks
    files = _image_files(layout.images, problems, depth)
    others = files if beside else _image_files(layout.masks, problems, depth)
    rules = RULES
    if options.image_suffix is not None or options.mask_suffix is not None:
        rules = ((options.image_suffix or "", options.mask_suffix or ""),)
    best: tuple[Keyed, Keyed] = ({}, {})
    most = -1
    for image_end, mask_end in rules:
        images, masks = (
            _apart(files, image_end, mask_end)
            if beside
            else (_keyed(files, image_end), _keyed(others, mask_end))
        )
        if (count := len(images.keys() & masks.keys())) > most:
            best, most = (images, masks), count
        if 2 * most >= max(len(files), len(others)):
            break
    return _joined(layout, *best, problems, lossless)


def _joined(
    layout: Layout,
    images: Keyed,
    masks: Keyed,
    problems: Problems,
    lossless: bool,
) -> Pairs:
    pairs = Pairs(layout.images, layout.masks)
    for key in sorted(images):
        image, *more = images[key]
        id = image[: image.rindex(".")]
        for name in more:
            problems.error(
                "duplicate-id",
                layout.images / name,
                id,
                f"another image of the same name as {image}",
                "one image of a name",
                "rename or remove one of the two",
            )
        if key not in masks:
            problems.error(
                "missing-mask",
                layout.images / image,
                id,
                "has no mask",
                f"one in {layout.masks}",
                "add the mask, or move the image out of the folder",
            )
            continue
        mask, *more = masks[key] if len(masks[key]) == 1 else sorted(masks[key], key=_preference)
        for name in more:
            problems.warning(
                "duplicate-mask",
                layout.masks / name,
                id,
                f"a second mask of this image; {mask} is taken",
                "one mask an image",
            )
        if lossless and is_lossy(mask):
            problems.error(
                "jpeg-mask",
                layout.masks / mask,
                id,
                "the mask is a JPEG, which alters values near edges",
                "a lossless file",
                "export the masks as PNG",
            )
            continue
        pairs.ids.append(id)
        pairs.image_names.append(image)
        pairs.mask_names.append(mask)
    for key in sorted(masks.keys() - images.keys()):
        for name in masks[key]:
            problems.warning(
                "orphan-mask",
                layout.masks / name,
                key,
                "a mask without image",
                f"an image in {layout.images}",
                "add the image or remove the mask",
            )
    return pairs


def _image_files(folder: Path, problems: Problems, depth: int) -> list[str]:
    """Paths below a folder of all image files, sorted."""
    found: list[str] = []
    for inner, entry in walk(folder, depth):
        name = f"{inner}/{entry.name}" if inner else entry.name
        if entry.is_symlink() and is_folder(entry):
            problems.warning(
                "folder-link",
                folder / name,
                "",
                "a link to a folder, which is not followed",
                "a folder",
            )
        elif not entry.name.lower().endswith(_SUFFIXES):
            continue
        elif not is_utf8(name):
            problems.error(
                "file-name",
                folder,
                "",
                f"the file name {name!a} is not UTF-8",
                "UTF-8",
                "rename the file, in both folders",
            )
        elif is_file(entry):
            found.append(name)
        elif entry.is_symlink():
            problems.error(
                "broken-link",
                folder / name,
                "",
                "a link to a file that is not there",
                "a file",
                "restore the file or remove the link",
            )
    return sorted(found)


def is_utf8(name: str) -> bool:
    """Whether a file name can be printed and written; Linux allows any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _key(name: str, end: str) -> str | None:
    """The name that a pair shares; None where the file has another ending."""
    stem = name[: name.rindex(".")]
    if end:
        if not stem.endswith(end) or len(stem) == len(end):
            return None
        stem = stem[: -len(end)]
    # Archives made on a Mac hold decomposed letters on one side, often on one only.
    return stem if stem.isascii() else unicodedata.normalize("NFC", stem)


def _keyed(names: list[str], end: str) -> Keyed:
    keyed: Keyed = {}
    for name in names:
        if (key := _key(name, end)) is not None:
            keyed.setdefault(key, []).append(name)
    return keyed


def _apart(names: list[str], image_end: str, mask_end: str) -> tuple[Keyed, Keyed]:
    """Images and masks that share a folder; of equal names the JPEG is the image."""
    if image_end == mask_end:
        photos = [name for name in names if is_lossy(name)]
        drawn = [name for name in names if not is_lossy(name)]
        return _keyed(photos, image_end), _keyed(drawn, mask_end)
    masks = _keyed(names, mask_end) if mask_end else {}
    taken = {name for group in masks.values() for name in group}
    images = _keyed([name for name in names if name not in taken], image_end)
    if not mask_end:
        used = {name for group in images.values() for name in group}
        masks = _keyed([name for name in names if name not in used], "")
    return images, masks


def is_lossy(name: str) -> bool:
    """Whether a file is a JPEG by its name."""
    return name.lower().endswith(tuple(LOSSY_SUFFIXES))


def _preference(name: str) -> int:
    suffix = name[name.rindex(".") :].lower()
    return _PREFERRED.index(suffix) if suffix in _PREFERRED else len(_PREFERRED)
