"""A folder of images beside a folder of index PNGs: pixel value = class id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from vitrail.data.formats.files import IMAGE_SUFFIXES, header_size
from vitrail.data.sample import LabelSpace, Sample, class_ids
from vitrail.errors import DataError, ImageError


class IndexMasks:
    """Pairs ``images/NAME.*`` with ``masks/NAME.png``; nothing is read until an item is asked for.

    Parameters
    ----------
    images, masks:
        The two folders.
    space:
        What the mask's values mean.
    unlabelled:
        For merged sets: file-name prefix to the names of classes that its source did not
        annotate (``{"cat": ["person"]}``); the longest matching prefix counts.

    Raises
    ------
    DataError
        a folder is missing or empty, an image has no mask, or a class name is unknown.
    """

    def __init__(
        self,
        images: Path,
        masks: Path,
        space: LabelSpace,
        unlabelled: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        for folder in (images, masks):
            if not folder.is_dir():
                raise DataError(f"{folder}: no such folder")
        self.space = space
        self.images = sorted(p for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not self.images:
            raise DataError(f"{images}: holds no images")
        self.masks = [masks / f"{path.stem}.png" for path in self.images]
        there = {path.name for path in masks.iterdir()}
        lacking = [path for path in self.masks if path.name not in there]
        if lacking:
            raise DataError(
                f"{len(lacking)} of {len(self.images)} images have no mask; "
                f"the first one wanted is {lacking[0]}"
            )
        try:
            self._unlabelled = {
                prefix: class_ids(names, space) for prefix, names in (unlabelled or {}).items()
            }
        except KeyError as error:
            raise DataError(
                f"unlabelled names the class {error.args[0]!r}; the classes are "
                + ", ".join(space.classes)
            ) from None

    @property
    def ids(self) -> list[str]:
        return [path.stem for path in self.images]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        path = self.images[index]
        matching = [prefix for prefix in self._unlabelled if path.name.startswith(prefix)]
        unlabelled = self._unlabelled[max(matching, key=len)] if matching else frozenset[int]()
        size, _ = header_size(self.masks[index])
        labels = partial(self._read_labels, self.masks[index])
        return Sample(path.stem, path, size, labels, unlabelled=unlabelled)

    def _read_labels(self, mask: Path) -> np.ndarray:
        labels = read_index_png(mask)
        known = (labels < len(self.space.classes)) | (labels == self.space.ignore)
        if not known.all():
            raise DataError(
                f"{mask}: holds the value {int(labels[~known][0])}; expected class ids "
                f"0..{len(self.space.classes) - 1} or {self.space.ignore} (ignore)"
            )
        return labels


def read_index_png(path: Path) -> np.ndarray:
    """Pixel values of a grey or palette PNG, ``(H, W)`` uint8 or uint16; a palette's indices."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(path) as picture:
            if picture.mode in ("P", "1"):
                return np.asarray(picture).astype(np.uint8)
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        bits = _grey_bits(path)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read as a mask ({error})") from None
    if labels is None:
        raise ImageError(f"{path}: cannot be read as a mask")
    if labels.ndim != 2:
        raise DataError(
            f"{path}: has {labels.shape[2]} channels; an index mask has one value a pixel"
        )
    # OpenCV stretches grey of 2 or 4 bits to 0..255; ids must stay ids.
    return labels // (255 // (2**bits - 1)) if bits < 8 else labels


def _grey_bits(path: Path) -> int:
    """Bits a pixel of a PNG without palette; 8 for other files."""
    with path.open("rb") as file:
        header = file.read(26)
    return header[24] if header.startswith(b"\x89PNG") and len(header) == 26 else 8
