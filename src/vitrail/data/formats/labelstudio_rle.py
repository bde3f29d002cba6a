"""Label Studio's brush strokes: the run-length code of ``@thi.ng/rle-pack``, bit by bit.

Code: https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack . It is not COCO's. A stream
of bits, the highest of each byte first: 32 bits, the number of words; 5 bits, their size in bits
less one; four times 4 bits, sizes of repeat counts in bits less one. Then, until all words are
there: one bit, whether a word is repeated; two bits, which of the four sizes follows; a count less
one in that size; and the word to be repeated, or else as many words as counted.

The words are the bytes of an image of red, green, blue and opacity, row by row; what is not
transparent is the object (https://github.com/HumanSignal/label-studio,
``web/libs/editor/src/utils/canvas.js``).
"""

from __future__ import annotations

import numpy as np

from vitrail.errors import DataError
from vitrail.result import rle
from vitrail.result.masks import Masks

_SIZES = (3, 4, 8, 16)
"""Bits of repeat counts, as Label Studio writes them."""
_HEADER = 53
"""Bits before the first word."""
_LONGEST = 1 << 16
"""Most words that one code repeats."""


def claimed_words(data: bytes) -> int:
    """Number of words that a stream claims to hold; 0 for one that is too short to say."""
    return int.from_bytes(data[:4], "big") if len(data) >= 7 else 0


def decode(data: bytes, size: tuple[int, int], where: str, *, opacity: int = 1) -> Masks:
    """One mask of a stream of an image with opacity.

    Parameters
    ----------
    data:
        The stream.
    size:
        ``(H, W)`` of the image, px; nothing is decoded where the stream claims another.
    where:
        File and region, for messages.
    opacity:
        Least opacity, 1 to 255, of pixels that are the object.

    Raises
    ------
    DataError
        it is for another size, or ends too early.
    """
    height, width = size
    total = 4 * height * width
    if claimed_words(data) != total:
        raise DataError(
            f"{where}: the brush claims {claimed_words(data):,} bytes, expected {total:,} for "
            f"{width}x{height} px of four"
        )
    head = int.from_bytes(data[:7], "big") >> 3
    word = (head >> 16 & 31) + 1
    sizes = [(head >> shift & 15) + 1 for shift in (12, 8, 4, 0)]
    padded = data + bytes(8)  # so that a look ahead of 64 bits never ends early
    octets = np.frombuffer(padded, np.uint8)
    weights = 1 << np.arange(word - 1, -1, -1, dtype=np.int64)
    bounds: list[np.ndarray] = []
    place, done = _HEADER, 0
    while done < total:
        ahead = int.from_bytes(padded[place >> 3 : (place >> 3) + 8], "big") << (place & 7)
        kind = ahead >> 61 & 7
        bits = sizes[kind & 3]
        count = min((ahead >> 61 - bits & (1 << bits) - 1) + 1, total - done)
        place += 3 + bits
        if kind & 4:
            value = ahead >> 61 - bits - word & (1 << word) - 1
            place += word
            if value >= opacity:
                bounds.append(np.array([done // 4, (done + count) // 4]))
        else:
            first = (3 - done) % 4  # the first of these words that is an opacity
            window = np.unpackbits(octets[place >> 3 : (place + count * word + 7) >> 3])
            window = window[place & 7 :]
            place += count * word
            if place <= 8 * len(data):
                values = window[: count * word].reshape(count, word)[first::4] @ weights
                bounds.append(_stretches(values >= opacity) + (done + first) // 4)
        if place > 8 * len(data):
            raise DataError(
                f"{where}: the brush ends after {done:,} of {total:,} bytes; it was cut short"
            )
        done += count
    turns = np.concatenate([[0], *bounds, [height * width]])
    # Row by row is column by column of the transposed mask.
    x, y, crop = rle.crop_from_runs(np.diff(turns), (width, height))
    return Masks.from_crops([(y, x, crop.T)], size)


def _stretches(flags: np.ndarray) -> np.ndarray:
    """Where each stretch of set flags begins and ends, one after the other."""
    fenced = np.concatenate([[False], flags, [False]])
    return np.flatnonzero(fenced[1:] != fenced[:-1])


def encode(mask: Masks) -> bytes:
    """The stream of one mask: opaque white where it is set, transparent black elsewhere."""
    height, width = mask.size
    y, x, crop = mask.crop(0)
    runs = rle.runs_from_crop(crop.T, x, y, (width, height)) * 4
    pieces = -(-runs // _LONGEST)
    lengths = np.repeat(_LONGEST, pieces.sum())
    kept = pieces > 0
    lengths[np.cumsum(pieces)[kept] - 1] = (runs - (pieces - 1) * _LONGEST)[kept]
    values = np.repeat(np.arange(len(runs)) % 2 * 255, pieces)
    kinds = np.searchsorted([1 << bits for bits in _SIZES[:3]], lengths - 1, side="right")
    bits = np.array(_SIZES)[kinds]
    codes = ((4 | kinds) << bits | (lengths - 1)) << 8 | values
    head = 4 * height * width
    for number, width_of in ((7, 5), *((size - 1, 4) for size in _SIZES)):
        head = head << width_of | number
    stream = _pack(np.array([head >> 21, head & (1 << 21) - 1, *codes]), [32, 21, *(bits + 11)])
    return stream


def _pack(numbers: np.ndarray, widths: list[int]) -> bytes:
    """Numbers one after the other, each in so many bits, the last byte filled up with zeros."""
    width = np.array(widths)
    ends = np.cumsum(width)
    # For each bit of the stream, its number and how far from that one's last bit it lies.
    shifts = np.repeat(ends, width) - 1 - np.arange(ends[-1])
    return np.packbits((np.repeat(numbers, width) >> shifts & 1).astype(np.uint8)).tobytes()
