"""Lossless object masks, stored as bit-packed crops: never as N full frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vitrail.errors import ParameterError
from vitrail.result import rle

Index = int | np.integer | slice | Sequence[int] | Sequence[bool] | np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """A mask as outlines, and what that lost: outlines have no holes.

    Vertices lie on pixel edges, so that a polygon's area is the number of pixels it encloses.
    """

    rings: list[np.ndarray]
    """One (K, 2) int32 array of x, y per outer outline; parts inside a hole have none."""
    parts: int
    """Connected parts (8-neighbours) of the mask."""
    holes: int
    """Holes that the outlines fill."""
    iou: float
    """Mask pixels over enclosed pixels: 1.0 when nothing was lost, 0.0 for an empty mask."""

    def coco(self) -> list[list[float]]:
        """``[[x1, y1, x2, y2, ...], ...]``, the ``segmentation`` of a COCO annotation."""
        return [ring.astype(float).ravel().tolist() for ring in self.rings]


class Masks:
    """N binary masks over one frame of (H, W) pixels, each kept as its tight, bit-packed crop.

    Build with :meth:`from_dense`, :meth:`from_crops`, :meth:`from_rle` or :meth:`from_labels`.
    Masks may overlap, have holes and several parts, or be empty. Immutable.
    """

    __slots__ = ("_boxes", "_packed", "size")

    size: tuple[int, int]

    def __init__(
        self, packed: tuple[np.ndarray, ...], boxes: np.ndarray, size: tuple[int, int]
    ) -> None:
        """From parts already packed (the class methods do this): rows of bits, boxes, (H, W)."""
        self.size = size
        self._packed = packed
        self._boxes = boxes
        boxes.flags.writeable = False

    @classmethod
    def from_crops(
        cls, crops: Iterable[tuple[int, int, np.ndarray]], size: tuple[int, int]
    ) -> Masks:
        """From ``(y0, x0, crop)`` triples: where the crop's corner lies, and (h, w) bool or 0/1.

        Crops need not be tight: empty margins are cut off. ``crops`` may be a generator, so that
        only one unpacked crop exists at a time.

        Raises
        ------
        ParameterError
            a crop is not two-dimensional or leaves the frame.
        """
        height, width = size = check_size(size)
        packed: list[np.ndarray] = []
        boxes: list[tuple[int, int, int, int]] = []
        for number, (y, x, crop) in enumerate(crops):
            crop = np.asarray(crop)
            if crop.ndim != 2:
                raise ParameterError(f"mask {number} has shape {crop.shape}, expected (h, w)")
            h, w = crop.shape
            if h and w and (y < 0 or x < 0 or y + h > height or x + w > width):
                raise ParameterError(
                    f"mask {number} covers rows {y} to {y + h} and columns {x} to {x + w}, outside"
                    f" its frame of {height} x {width} pixels"
                )
            crop = crop if crop.dtype == bool else crop != 0
            top, left, bottom, right = _tight(crop)
            packed.append(np.packbits(crop[top:bottom, left:right], axis=1))
            filled = bottom > top
            boxes.append((x + left, y + top, x + right, y + bottom) if filled else (0, 0, 0, 0))
        return cls(tuple(packed), np.array(boxes, np.int32).reshape(-1, 4), size)

    @classmethod
    def from_dense(cls, dense: np.ndarray) -> Masks:
        """From (N, H, W), bool or any type whose non-zero pixels are the object."""
        dense = np.asarray(dense)
        if dense.ndim != 3:
            raise ParameterError(
                f"masks have shape {dense.shape}, expected (N, H, W); a single mask is mask[None]"
            )
        size = (dense.shape[1], dense.shape[2])
        return cls.from_crops(((0, 0, mask) for mask in dense), size)

    @classmethod
    def from_rle(
        cls, items: Sequence[Mapping[str, Any]], size: tuple[int, int] | None = None
    ) -> Masks:
        """From COCO RLE dicts ``{"size": [H, W], "counts": ...}``, compressed or not.

        ``counts`` may be a list of run lengths, or COCO's compressed str or bytes. ``size`` is
        needed only where ``items`` is empty.
        """
        if not items and size is None:
            raise ParameterError("no RLE was given, so the size is unknown; pass size=(H, W)")
        frame = check_size(size if size is not None else items[0]["size"])
        for number, item in enumerate(items):
            if tuple(item["size"]) != frame:
                raise ParameterError(
                    f"RLE {number} is for {item['size']} pixels, expected {list(frame)} like the"
                    " others; one Masks holds one frame"
                )
        return cls.from_crops((_decode(item["counts"], frame) for item in items), frame)

    @classmethod
    def from_labels(
        cls, labels: np.ndarray, ids: Sequence[int] | np.ndarray | None = None
    ) -> Masks:
        """One mask per id of a label map.

        Parameters
        ----------
        labels : (H, W) integer or bool
        ids : the label of each mask, in order; an id that does not occur gives an empty mask.
            Default: every label that occurs, ascending, without 0.
        """
        labels = np.asarray(labels)
        if labels.ndim != 2 or labels.dtype.kind not in "uib":
            raise ParameterError(
                f"labels are {labels.dtype} of shape {labels.shape}, expected integers (H, W)"
            )
        labels = labels.view(np.uint8) if labels.dtype == bool else labels
        found = occurring(labels)
        wanted = found[found != 0] if ids is None else np.asarray(ids, np.int64).reshape(-1)
        size = (labels.shape[0], labels.shape[1])
        if not wanted.size:
            return cls.from_crops((), size)
        return cls.from_crops(_label_crops(labels, wanted, found), size)

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, index: Index) -> Masks:
        """The masks that an int, slice, boolean array or int array picks; always a ``Masks``."""
        chosen = pick(index, len(self))
        return Masks(tuple(self._packed[i] for i in chosen), self._boxes[chosen], self.size)

    def __iter__(self) -> Iterator[Masks]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Masks):
            return NotImplemented
        return (
            self.size == other.size
            and np.array_equal(self._boxes, other._boxes)
            and all(map(np.array_equal, self._packed, other._packed))
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        height, width = self.size
        return f"Masks({len(self)} of {height} x {width} px, {self.nbytes / 1e6:.2f} MB)"

    @property
    def nbytes(self) -> int:
        """Bytes of mask data and boxes."""
        return self._boxes.nbytes + sum(rows.nbytes for rows in self._packed)

    def crop(self, i: int) -> tuple[int, int, np.ndarray]:
        """``(y0, x0, crop)`` of one mask: its tight (h, w) bool crop and where that lies.

        An empty mask gives ``(0, 0, (0, 0) bool)``.
        """
        x0, y0, x1, _ = (int(value) for value in self._boxes[i])
        return y0, x0, np.unpackbits(self._packed[i], axis=1, count=x1 - x0).view(bool)

    def dense(self, *, objects_last: bool = False) -> np.ndarray:
        """All masks as (N, H, W) bool: N full frames, so mind the memory.

        With ``objects_last`` as (H, W, N), as matterport's Mask R-CNN gives them.
        """
        frames = np.zeros(
            (*self.size, len(self)) if objects_last else (len(self), *self.size), bool
        )
        for i, frame in enumerate(np.moveaxis(frames, 2, 0) if objects_last else frames):
            y, x, crop = self.crop(i)
            frame[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        return frames

    def boxes(self) -> np.ndarray:
        """Tight boxes, (N, 4) int32: x1 y1 x2 y2 in pixels, x2 and y2 exclusive; empty: zeros."""
        return self._boxes

    def areas(self) -> np.ndarray:
        """Pixels of each mask, (N,) int64."""
        counts = (int(np.bitwise_count(rows).sum(dtype=np.int64)) for rows in self._packed)
        return np.fromiter(counts, np.int64, len(self))

    def rle(self) -> list[dict[str, Any]]:
        """COCO's compressed RLE of each mask: ``{"size": [H, W], "counts": str}``.

        Equal to ``pycocotools.mask.encode`` byte for byte, but that ``counts`` is a str (ASCII),
        as JSON needs it; pycocotools reads both.
        """
        items: list[dict[str, Any]] = []
        for i in range(len(self)):
            y, x, crop = self.crop(i)
            counts = rle.runs_from_crop(crop, y, x, self.size)
            items.append({"size": list(self.size), "counts": rle.compress(counts)})
        return items

    def polygons(self, i: int) -> Polygons:
        """One mask as outlines along its pixel edges, with a count of what that loses."""
        y, x, crop = self.crop(i)
        if not crop.size:
            return Polygons([], 0, 0, 0.0)
        # Outlines run through pixel centres. On a doubled grid the two halves of a pixel tell
        # its near edge from its far edge, so that (v + 1) // 2 puts each vertex on the true edge.
        fine = np.repeat(np.repeat(crop.view(np.uint8), 2, axis=0), 2, axis=1)
        contours, tree = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        parents = np.asarray(tree).reshape(-1, 4)[:, 3]
        outer, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        rings = [_on_edges(np.asarray(contour)) + np.array([x, y], np.int32) for contour in outer]
        enclosed = sum(ring_area(ring) for ring in rings)
        area = int(np.count_nonzero(crop))
        holes = int(np.count_nonzero(parents >= 0))
        return Polygons(rings, len(contours) - holes, holes, area / enclosed)


def check_size(size: Sequence[int]) -> tuple[int, int]:
    """``(H, W)`` as Python ints; :class:`ParameterError` where it is not two numbers >= 0."""
    try:
        height, width = (int(value) for value in size)
    except (TypeError, ValueError):
        raise ParameterError(f"size is {size!r}, expected (height, width) in pixels") from None
    if height < 0 or width < 0:
        raise ParameterError(f"size is {size!r}, expected (height, width) >= 0")
    return height, width


def box_crop(
    box: Sequence[float], size: tuple[int, int], *, least: int = 0
) -> tuple[int, int, np.ndarray]:
    """The whole pixels that a box covers by half at least, as :meth:`Masks.from_crops` takes them.

    Parameters
    ----------
    box:
        x1 y1 x2 y2, px; it may reach outside the image.
    size:
        ``(H, W)`` of the image.
    least:
        Px that each side has at the least; 0: a thin box covers none.
    """
    height, width = size
    x1, y1, x2, y2 = (round(value) for value in box)
    left, top = min(max(x1, 0), width - least), min(max(y1, 0), height - least)
    right, bottom = max(min(x2, width), left + least), max(min(y2, height), top + least)
    return top, left, np.ones((bottom - top, right - left), bool)


def pick(index: Index, count: int) -> np.ndarray:
    """Positions that an index picks out of ``count``, (K,) int64.

    Raises
    ------
    IndexError
        a position lies outside, or a boolean array has another length.
    """
    if not isinstance(index, slice):
        array = np.asarray(index)
        index = array if array.size else array.astype(np.int64)  # [] would be an array of floats
    return np.atleast_1d(np.arange(count)[index])


def occurring(labels: np.ndarray) -> np.ndarray:
    """The distinct values of an integer label map, ascending, (K,) int64."""
    if not labels.size:
        return np.zeros(0, np.int64)
    low, high = int(labels.min()), int(labels.max())
    if high - low > 1 << 24:
        return np.unique(labels).astype(np.int64)
    # A flag per value: one pass, where np.unique sorts every pixel.
    seen = np.zeros(high - low + 1, bool)
    for row in labels:
        seen[row.astype(np.int64) - low] = True
    return np.flatnonzero(seen) + low


def _label_crops(
    labels: np.ndarray, wanted: np.ndarray, found: np.ndarray
) -> Iterable[tuple[int, int, np.ndarray]]:
    """``(y0, x0, crop)`` of each wanted label; boxes come from one pass over the map."""
    from scipy import ndimage

    present = set(found.tolist())
    boxed: list[tuple[slice, slice] | None] = []
    if len(wanted) > 4 and found[0] >= 0 and found[-1] < 1 << 20:
        boxed = ndimage.find_objects(labels)
    for label in wanted.tolist():
        if label not in present:
            yield 0, 0, np.zeros((0, 0), bool)
            continue
        window = boxed[label - 1] if 0 < label <= len(boxed) else None
        rows, columns = window or (slice(0, None), slice(0, None))
        yield rows.start, columns.start, labels[rows, columns] == label


def _decode(counts: Any, size: tuple[int, int]) -> tuple[int, int, np.ndarray]:
    lengths = rle.decompress(counts) if isinstance(counts, str | bytes) else np.asarray(counts)
    return rle.crop_from_runs(lengths, size)


def _tight(crop: np.ndarray) -> tuple[int, int, int, int]:
    """Rows and columns (top, left, bottom, right; exclusive) that hold every set pixel."""
    rows = np.flatnonzero(crop.any(axis=1))
    if not rows.size:
        return 0, 0, 0, 0
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(crop[top:bottom].any(axis=0))
    return top, int(columns[0]), bottom, int(columns[-1]) + 1


def _on_edges(contour: np.ndarray) -> np.ndarray:
    """Vertices of a doubled grid's contour moved to pixel edges, repeats dropped, (K, 2) int32."""
    ring = (contour.reshape(-1, 2) + 1) // 2
    return ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)].astype(np.int32)


def ring_area(ring: np.ndarray) -> int:
    """Pixels inside a ring whose vertices lie on pixel edges (the shoelace formula)."""
    x, y = ring[:, 0].astype(np.int64), ring[:, 1].astype(np.int64)
    return abs(int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) // 2
