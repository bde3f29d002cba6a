"""Copies among the images: exact ones by their bytes, near ones by hash and a second look.

Hashes are searched by multi-index hashing (Norouzi, Punjani and Fleet, "Fast Exact Search in
Hamming Space with Multi-Index Hashing", 2014, arXiv:1307.2982): of two 64-bit hashes that differ
in at most 7 bits, one of their four 16-bit quarters differs in at most one. Only hashes that share
a quarter so are compared. As pictures may agree in their 64 bits by chance, what is found is
compared once more at 64 x 64 px.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b

import cv2
import numpy as np

from vitrail.codecs import Limits
from vitrail.codecs.arrays import orient
from vitrail.data.checks.finding import Place
from vitrail.data.checks.fingerprint import DETAIL, details
from vitrail.data.checks.images import exif_orientation, open_header, reduced_grey
from vitrail.data.checks.native import DecoderMessages
from vitrail.data.sample import Sample, SampleSource
from vitrail.errors import VitrailError
from vitrail.image import read_image

NEAR_BITS = 6
"""Bits in which hashes of copies may differ."""
SIMILAR = 0.93
"""Correlation of details from which two images are copies. Measured on nine public sets: smaller,
brighter or harder compressed copies stay above 0.95 but for a few of 100 px; different photographs
(75 pairs of near hashes) below 0.85, different retinas with the same black rim below 0.9."""
MOST_PAIRS = 20_000
"""Candidates that get a second look; beyond that only those with the nearest hashes do."""
_BLOCK = 1 << 21
"""Hashes compared at a time: some tens of megabytes."""
_WORK = 4e9
"""Comparisons beyond which quarters must agree in all 16 bits: 3 differing bits are found then."""


@dataclass
class Candidates:
    """Pairs of rows whose hashes are near, and what was left out."""

    pairs: np.ndarray
    """``(P, 2)`` int64, first < second."""
    remarks: list[str] = field(default_factory=list)


def equal_groups(nbytes: np.ndarray, plain: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of files with one size and one hash, two or more, ascending: perhaps one content."""
    order = np.lexsort((np.arange(len(nbytes)), plain, nbytes))
    order = order[nbytes[order] > 0]
    if len(order) < 2:
        return
    changes = (np.diff(nbytes[order]) != 0) | (np.diff(plain[order].view(np.int64)) != 0)
    for group in np.split(order, np.flatnonzero(changes) + 1):
        if len(group) > 1:
            yield group


def near_pairs(prints: np.ndarray, splits: np.ndarray) -> Candidates:
    """Rows whose hashes, or the hash of one and the mirrored hash of the other, are near.

    Of many images with one hash, each is paired with the first of them, and with the first of its
    own split; only these first ones are paired with images of other hashes. A thousand frames of
    one view so give thousands of pairs, not a million.

    Parameters
    ----------
    prints:
        ``(N, 2)`` uint64: plain and mirrored hashes; rows of 0 take no part.
    splits:
        ``(N,)`` number of the split of each row.
    """
    rows = np.flatnonzero(prints[:, 0])
    if len(rows) < 2:
        return Candidates(np.zeros((0, 2), np.int64))
    plain, first, group = np.unique(prints[rows, 0], return_index=True, return_inverse=True)
    mirrored = prints[rows[first], 1]
    distance = dict.fromkeys(_within_groups(rows, group, splits), 0)
    heads = _heads(rows, group, splits)
    coarse = False
    for queries in (plain, mirrored):
        found, exact_only = _search(plain, queries)
        coarse |= exact_only
        for i, j in found.tolist():
            bits = int(plain[i] ^ queries[j]).bit_count()
            for a, b in ((a, b) for a in heads[i] for b in heads[j]):
                pair = min(a, b), max(a, b)
                distance[pair] = min(bits, distance.get(pair, bits))
    remarks: list[str] = []
    if coarse:
        remarks.append(
            "so many images look alike that near copies were searched to 3 differing bits "
            f"instead of {NEAR_BITS}"
        )
    if len(distance) > MOST_PAIRS:
        remarks.append(
            f"of {len(distance):,} pairs of images with similar hashes, only the {MOST_PAIRS:,} "
            "nearest were compared"
        )
    nearest = sorted(distance, key=distance.__getitem__)[:MOST_PAIRS]
    return Candidates(np.array(sorted(nearest), np.int64).reshape(-1, 2), remarks)


def _within_groups(
    rows: np.ndarray, group: np.ndarray, splits: np.ndarray
) -> list[tuple[int, int]]:
    """Pairs of equal hashes: each row with the first of all, and with the first of its split."""
    pairs: list[tuple[int, int]] = []
    first: dict[int, int] = {}
    own: dict[tuple[int, int], int] = {}
    for row, number in zip(rows.tolist(), group.tolist(), strict=True):
        split = int(splits[row])
        heads = {first.setdefault(number, row), own.setdefault((number, split), row)}
        pairs += [(head, row) for head in sorted(heads) if head != row]
    return pairs


def _heads(rows: np.ndarray, group: np.ndarray, splits: np.ndarray) -> list[list[int]]:
    """The first row of each split, for each distinct hash."""
    heads: list[dict[int, int]] = [{} for _ in range(int(group.max()) + 1)]
    for row, number in zip(rows.tolist(), group.tolist(), strict=True):
        heads[number].setdefault(int(splits[row]), row)
    return [list(found.values()) for found in heads]


def _search(hashes: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, bool]:
    """Pairs i < j with ``queries[j]`` near ``hashes[i]``, ``(P, 2)``; whether only equal quarters
    were compared."""
    quarters = [_quarter(hashes, q) for q in range(4)]
    asked = [_quarter(queries, q) for q in range(4)]
    sizes = [np.bincount(quarter, minlength=1 << 16) for quarter in quarters]
    flips = [0, *(1 << bit for bit in range(16))]
    pairs = list(zip(sizes, asked, strict=True))
    work = sum(int(size[ask ^ flip].sum()) for size, ask in pairs for flip in flips)
    exact_only = work > _WORK
    parts: list[np.ndarray] = []
    for quarter, ask, size in zip(quarters, asked, sizes, strict=True):
        order = np.argsort(quarter, kind="stable")
        begins = np.cumsum(size) - size
        for flip in flips[:1] if exact_only else flips:
            for first, second in _bucket_pairs(order, begins, size, ask ^ flip):
                near = np.bitwise_count(hashes[first] ^ queries[second]) <= NEAR_BITS
                near &= first < second
                parts.append(first[near] * len(hashes) + second[near])
    found = np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
    return np.stack([found // len(hashes), found % len(hashes)], axis=1), exact_only


def _quarter(hashes: np.ndarray, number: int) -> np.ndarray:
    return ((hashes >> np.uint64(16 * number)) & np.uint64(0xFFFF)).astype(np.int64)


def _bucket_pairs(
    order: np.ndarray, begins: np.ndarray, size: np.ndarray, keys: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each query with all members of its bucket, in blocks."""
    counts = size[keys]
    total = np.cumsum(counts)
    start = 0
    while start < len(keys):
        before = int(total[start - 1]) if start else 0
        stop = max(int(np.searchsorted(total, before + _BLOCK, side="right")), start + 1)
        block = counts[start:stop]
        second = np.repeat(np.arange(start, stop), block)
        inside = np.arange(len(second)) - np.repeat(np.cumsum(block) - block, block)
        yield order[np.repeat(begins[keys[start:stop]], block) + inside], second
        start = stop


def content_digest(sample: Sample) -> bytes:
    """128 bits of the image file's bytes, or of the pixels; empty where it cannot be read."""
    state = blake2b(digest_size=16)
    try:
        if sample.path is None:
            state.update(sample.image.tobytes())
            return state.digest()
        with sample.path.open("rb") as file:
            while part := file.read(1 << 20):
                state.update(part)
    except (VitrailError, OSError):
        return b""
    return state.digest()


class Comparer:
    """Second looks at pairs of images; keeps the last few hundred pictures of 16 kB."""

    def __init__(self, sources: Mapping[str, SampleSource]) -> None:
        self.sources = sources
        self._details = lru_cache(maxsize=512)(self._read)

    def similarity(self, first: Place, second: Place) -> tuple[float, bool]:
        """Correlation of the details of two images, -1 to 1, and whether one had to be mirrored."""
        one, other = self._details(first), self._details(second)
        straight, mirrored = float((one * other).sum()), float((one * other[:, ::-1]).sum())
        return max(straight, mirrored), mirrored > straight

    def _read(self, place: Place) -> np.ndarray:
        sample = self.sources[place[0]][place[1]]
        return details(grey_of(sample))


def grey_of(sample: Sample, side: int = DETAIL) -> np.ndarray:
    """``(h, w)`` uint8 or uint16 grey picture of a sample, upright, perhaps reduced.

    Raises
    ------
    VitrailError, OSError
        it cannot be read.
    """
    path = sample.path
    if path is None:
        return cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY)
    data = path.read_bytes()
    header = open_header(data, path, Limits.of())
    messages = DecoderMessages()
    try:
        grey, _ = reduced_grey(data, header, side, messages)
    finally:
        messages.close()
    if grey is not None:
        return orient(grey, exif_orientation(header))
    return cv2.cvtColor(read_image(path).rgb(), cv2.COLOR_RGB2GRAY)
