"""The PNGs of COCO panoptic: a segment for each pixel, decoded to labels and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from vitrail.codecs.pillow import open_pillow
from vitrail.errors import DataError
from vitrail.result.masks import Masks


class SegmentMap:
    """One PNG of segments, decoded when first asked for.

    Parameters
    ----------
    path:
        The PNG.
    size:
        ``(H, W)`` of its image.
    classes:
        Class id of each segment, or ``ignore``.
    ignore:
        The class id of void.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], classes: Mapping[int, int], ignore: int
    ) -> None:
        self.path, self.size = path, size
        self._known = np.array(sorted({**classes, 0: ignore}.items()), np.int64)
        self._dtype = np.uint8 if ignore < 256 else np.uint16

    @cached_property
    def _places(self) -> np.ndarray:
        """``(H, W)`` int32, 0 for void, otherwise the segment's rank among those known."""
        red, green, blue = self._pixels().astype(np.int32).transpose(2, 0, 1)
        segments = red + 256 * green + 65536 * blue
        known = self._known[:, 0]
        places = np.searchsorted(known, segments).clip(max=len(known) - 1).astype(np.int32)
        foreign = known[places] != segments
        if foreign.any():
            raise DataError(
                f"{self.path}: has pixels of segment {int(segments[foreign][0])}, which is not in "
                "the segments_info of its image"
            )
        return places

    def _pixels(self) -> np.ndarray:
        try:
            with self.path.open("rb") as file:
                picture = open_pillow(file, str(self.path))
                if picture is None:
                    raise DataError(f"{self.path}: not an image of a known kind")
                found = (picture.height, picture.width)
                if found != self.size:
                    raise DataError(
                        f"{self.path}: is {found[1]}x{found[0]} px, its image is "
                        f"{self.size[1]}x{self.size[0]}"
                    )
                if picture.mode not in ("RGB", "RGBA", "P"):
                    raise DataError(
                        f"{self.path}: is of mode {picture.mode}, expected RGB: the id of a "
                        "segment is R + 256 G + 65536 B"
                    )
                return np.asarray(picture.convert("RGB"))
        except DataError:
            raise
        except Exception as error:  # damaged files raise many kinds
            raise DataError(f"{self.path}: cannot be read ({error})") from None

    def labels(self) -> np.ndarray:
        """``(H, W)`` uint8 or uint16 class ids.

        Raises
        ------
        DataError
            the PNG is missing or damaged, has another size than its image, is not in colour, or
            holds a segment that ``segments_info`` has not.
        """
        return self._known[:, 1].astype(self._dtype)[self._places]

    def masks(self, segments: Sequence[int]) -> Masks:
        """The pixels of each segment; raises as :meth:`labels`."""
        return Masks.from_labels(
            self._places, np.searchsorted(self._known[:, 0], np.array(segments, np.int64))
        )
