"""COCO run-length encoding, vectorised over runs.

A mask of height H is read column by column; ``counts`` are the lengths of its alternating runs,
the first one counting zeros. In the compressed form each count, from the fourth on as its
difference from the count two before it, is written in groups of five bits, lowest first, one
printable character a group; bit 5 says that more groups follow, and the last group's bit 4 is the
sign. The format is that of the COCO API (https://github.com/cocodataset/cocoapi, ``maskApi.c``,
simplified BSD licence); this is an own implementation, equal to ``pycocotools.mask`` byte for byte.
"""

from __future__ import annotations

import numpy as np

from vitrail.errors import ParameterError


def runs_from_crop(crop: np.ndarray, y0: int, x0: int, size: tuple[int, int]) -> np.ndarray:
    """Run lengths of a mask known by its crop, without building the full frame.

    Parameters
    ----------
    crop : (h, w) bool
    y0, x0 : top left corner of the crop in the frame, pixels
    size : (H, W) of the frame

    Returns
    -------
    (R,) int64, alternating zeros and ones, the first counting zeros; they sum to H * W.
    """
    height, width = size
    rows, columns = crop.shape
    # One column of the crop per row here, fenced by zeros so that no run leaves its column.
    fenced = np.zeros((columns, rows + 2), np.uint8)
    fenced[:, 1:-1] = crop.T
    flat = fenced.ravel()
    turns = np.flatnonzero(flat[1:] != flat[:-1])
    bounds = (x0 + turns // (rows + 2)) * height + y0 + turns % (rows + 2)
    # A run that fills its column to the end goes on at the top of the next one: join the two.
    joined = np.flatnonzero(bounds[1:-1:2] == bounds[2::2]) * 2 + 1
    bounds = np.delete(bounds, np.concatenate((joined, joined + 1)))
    total = height * width
    if bounds.size and bounds[-1] == total:
        bounds = bounds[:-1]
    return np.diff(bounds, prepend=0, append=total).astype(np.int64)


def crop_from_runs(counts: np.ndarray, size: tuple[int, int]) -> tuple[int, int, np.ndarray]:
    """The inverse of :func:`runs_from_crop`: ``(y0, x0, crop)`` with the tight (h, w) bool crop.

    Raises
    ------
    ParameterError
        the counts are negative or do not sum to H * W.
    """
    height, width = size
    counts = np.asarray(counts, np.int64)
    if counts.ndim != 1 or (counts < 0).any() or counts.sum() != height * width:
        raise ParameterError(
            f"run lengths sum to {counts.sum()}, expected {height * width} (all >= 0) for a mask"
            f" of {height} x {width}; check the 'size' of this RLE"
        )
    ends = np.cumsum(counts)
    starts, stops = ends[:-1:2], ends[1::2]
    kept = stops > starts
    starts, stops = starts[kept], stops[kept]
    if not starts.size:
        return 0, 0, np.zeros((0, 0), bool)
    first, last = starts // height, (stops - 1) // height
    x0, x1 = int(first[0]), int(last[-1]) + 1
    # Turn on at each start and off at each stop, then sum: only the columns that hold anything.
    steps = np.zeros((x1 - x0) * height + 1, np.int8)
    steps[starts - x0 * height] += 1
    np.subtract.at(steps, stops - x0 * height, 1)
    columns = np.cumsum(steps[:-1], dtype=np.int8).view(bool).reshape(x1 - x0, height)
    filled = np.flatnonzero(columns.any(axis=0))
    y0, y1 = int(filled[0]), int(filled[-1]) + 1
    return y0, x0, np.ascontiguousarray(columns[:, y0:y1].T)


def compress(counts: np.ndarray) -> str:
    """Write run lengths as COCO's compressed string (ASCII)."""
    values = np.array(counts, np.int64)
    values[3:] -= np.asarray(counts, np.int64)[1:-2]
    groups: list[np.ndarray] = []
    more: list[np.ndarray] = []
    pending = np.ones(len(values), bool)
    while pending.any():
        group = values & 0x1F
        values >>= 5
        unfinished = np.where(group & 0x10, values != -1, values != 0)
        groups.append((group | (unfinished << 5)) + 48)
        more.append(pending)
        pending = pending & unfinished
    if not groups:
        return ""
    letters = np.stack(groups, axis=1).astype(np.uint8)
    return letters[np.stack(more, axis=1)].tobytes().decode("ascii")


def decompress(text: str | bytes) -> np.ndarray:
    """Read COCO's compressed string into (R,) int64 run lengths.

    Raises
    ------
    ParameterError
        the string holds characters outside the code, or ends in the middle of a number.
    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError:
        raise ParameterError("a compressed RLE holds only ASCII characters '0' to 'o'") from None
    letters = np.frombuffer(raw, np.uint8).astype(np.int64) - 48
    if not letters.size:
        return np.zeros(0, np.int64)
    if (letters < 0).any() or (letters > 0x3F).any():
        raise ParameterError("a compressed RLE holds only ASCII characters '0' to 'o'")
    last = (letters & 0x20) == 0
    if not last[-1]:
        raise ParameterError("a compressed RLE ends in the middle of a number; it was cut short")
    stops = np.flatnonzero(last)
    starts = np.concatenate(([0], stops[:-1] + 1))
    lengths = stops - starts + 1
    if lengths.max() > 12:
        raise ParameterError("a compressed RLE holds a number of more than 60 bits")
    place = np.arange(letters.size) - np.repeat(starts, lengths)
    values = np.add.reduceat((letters & 0x1F) << (5 * place), starts)
    negative = (letters[stops] & 0x10) != 0
    values[negative] -= np.int64(1) << (5 * lengths[negative])
    # From the fourth on, each number is the difference from the one two before it.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
