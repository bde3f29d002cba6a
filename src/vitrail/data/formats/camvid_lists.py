"""Lists of CamVid: an image and its mask in each line, by paths of whoever wrote them."""

from __future__ import annotations

import re
from pathlib import Path

from vitrail.data.formats.base import Problems
from vitrail.data.formats.files import inside
from vitrail.data.formats.folders_layout import Layout
from vitrail.data.formats.folders_pairs import Pairs
from vitrail.data.formats.voc_lists import Listing, read_lines
from vitrail.errors import DataError

_TOKEN = re.compile(r'"([^"]*)"|(\S+)')


def read_pairs(path: Path, layout: Layout, problems: Problems, mask_end: str = "") -> Pairs:
    """The images of a list in its order, each once, with their masks.

    A line holds the path of an image, or those of several images each with its mask. Of a path
    counts what follows the split's folder, without its suffix: SegNet's lists say
    ``/SegNet/CamVid/train/NAME.png``. Names with spaces are in quotes. What is not there is
    reported and left out.

    Parameters
    ----------
    mask_end:
        What a mask's name has behind the image's, where the list does not name masks.

    Raises
    ------
    DataError
        the list cannot be read.
    """
    images, masks = Listing(layout.images), Listing(layout.masks)
    pairs = Pairs(layout.images, layout.masks)
    seen: set[str] = set()
    for line in read_lines(path):
        tokens = [quoted or plain for quoted, plain in _TOKEN.findall(line)]
        # Two paths are an image and its mask; one alone has its mask by name.
        for number in range(0, len(tokens), 2):
            try:
                id = _name(tokens[number], layout.images)
                given = tokens[number + 1 : number + 2]
                mask_id = _name(given[0], layout.masks) if given else id + mask_end
            except DataError:
                problems.error(
                    "unsafe-name", path, line[:200], "leads out of the data set", "names of files"
                )
                continue
            if id in seen:
                problems.warning(
                    "duplicate-id", path, id, "listed twice", "each image once", "remove one"
                )
                continue
            seen.add(id)
            image, mask = images.find(id), masks.find(mask_id)
            if image is None:
                problems.error(
                    "missing-image", path, id, f"no such image in {layout.images}", "the image"
                )
            elif mask is None:
                problems.error(
                    "missing-mask", path, id, f"no mask {mask_id} in {layout.masks}", "its mask"
                )
            else:
                pairs.ids.append(id)
                pairs.image_names.append(image)
                pairs.mask_names.append(mask)
    return pairs


def _name(token: str, folder: Path) -> str:
    """The name of a file below a folder, without suffix; :class:`DataError` if it leads out."""
    parts = inside(Path(), token.lstrip("/")).parts
    if folder.name in parts[:-1]:
        parts = parts[len(parts) - parts[::-1].index(folder.name) :]
    elif len(parts) > 1 and token.startswith("/"):
        parts = parts[-1:]
    name = "/".join(parts)
    stem, dot, _ = name.rpartition(".")
    return stem if dot and "/" not in name[len(stem) :] and stem else name
