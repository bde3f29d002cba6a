"""Deal images out to parts: stratified by class, kept together by group, the same everywhere.

Stratification is iterative: Sechidis, Tsoumakas and Vlahavas, "On the Stratification of
Multi-Label Data", ECML PKDD 2011, doi:10.1007/978-3-642-23808-6_10. The rarest class is dealt out
first, each image to the part that still wants that class most. Here parts have exact sizes, and
what is dealt out are groups: an image, or all images with one key. Chance comes from SHA-256 of
the seed and the key, so that it depends neither on the platform nor on the order of the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vitrail.data.sample import SampleSource
from vitrail.errors import DataError, nearest


def class_presence(source: SampleSource, step: Callable[[], None] = lambda: None) -> np.ndarray:
    """Which classes each image holds, ``(N, K)`` bool; no image is decoded.

    The background class counts as held by none: it is everywhere.

    Raises
    ------
    DataError
        a sample cannot be read.
    """
    space = source.space
    present = np.zeros((len(source), len(space.classes)), bool)
    for index in range(len(source)):
        sample = source[index]
        if sample.instances is not None:
            present[index, [one.class_id for one in sample.instances]] = True
        elif sample.labels is not None:
            values = np.bincount(sample.labels.ravel(), minlength=len(space.classes))
            present[index] = values[: len(space.classes)] > 0
        step()
    if space.background is not None:
        present[:, space.background] = False
    if space.ignore < len(space.classes):
        present[:, space.ignore] = False
    return present


def attribute_presence(source: SampleSource, name: str) -> np.ndarray:
    """Which values of an attribute the objects of each image have, ``(N, K)`` bool; no image is
    decoded, the values come in the order of their text.

    Raises
    ------
    DataError
        a sample cannot be read, or no object has such an attribute.
    """
    held: list[set[str]] = []
    known: set[str] = set()
    for index in range(len(source)):
        found = source[index].instances or ()
        held.append({str(one.attributes[name]) for one in found if name in one.attributes})
        known |= {attribute for one in found for attribute in one.attributes}
    values = sorted(set().union(*held))
    if not values:
        raise DataError(
            f"stratify by {name!r}: no object has such an attribute; {nearest(name, known)}"
            if known
            else f"stratify by {name!r}: no object has any attribute"
        )
    return np.array([[value in own for value in values] for own in held], bool)


def divide(
    ids: Sequence[str],
    sizes: Mapping[str, int],
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
    presence: np.ndarray | None = None,
) -> dict[str, list[int]]:
    """Deal images out to parts.

    Parameters
    ----------
    ids:
        Their names, each once.
    sizes:
        Images of each part, together as many as there are; with ``groups``, as near to it as
        they allow.
    groups:
        A key for each image: those of one key stay together.
    presence:
        ``(N, K)`` bool, to stratify by; None: only chance decides.

    Returns
    -------
    for each part, the ascending indices of its images

    Raises
    ------
    DataError
        an id is there twice, or a part stays empty since there are too few groups.
    """
    if len(set(ids)) < len(ids):
        double = next(id for id in ids if ids.count(id) > 1)
        raise DataError(f"the id {double!r} is there twice; images are told apart by their ids")
    members: dict[str, list[int]] = {}
    for index, key in enumerate(ids if groups is None else groups):
        members.setdefault(key, []).append(index)
    chance = {key: _chance(seed, key) for key in members}
    # Large groups first, while every part still has room for them.
    keys = sorted(members, key=lambda key: (-len(members[key]), chance[key]))
    held = np.zeros((len(keys), 0 if presence is None else presence.shape[1]), np.int64)
    if presence is not None:
        for row, key in enumerate(keys):
            held[row] = presence[members[key]].sum(axis=0)
    weights = np.array([len(members[key]) for key in keys], np.int64)
    chosen = _stratify(held, weights, np.array(list(sizes.values())), [chance[key] for key in keys])
    dealt: dict[str, list[int]] = {name: [] for name in sizes}
    names = list(sizes)
    for key, part in zip(keys, chosen, strict=True):
        dealt[names[part]].extend(members[key])
    for name, indices in dealt.items():
        indices.sort()
        if not indices:
            raise DataError(f"there are only {len(keys)} groups: nothing is left for {name!r}")
    return dealt


def _chance(seed: int, key: str) -> int:
    digest = hashlib.sha256(f"{seed}\n{key}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")


def _stratify(
    held: np.ndarray, weights: np.ndarray, sizes: np.ndarray, chance: Sequence[int]
) -> list[int]:
    """The part of each group, by algorithm 1 of Sechidis et al.; groups come in order of turn.

    ``held`` is (G, K), the images of each group that hold a class; ``weights`` (G,) its images.
    Demands are kept as integers (times the number of images), so that no rounding decides.
    """
    total = int(weights.sum())
    room = sizes.astype(np.int64).copy()
    demand = held.sum(axis=0)[:, None] * sizes[None, :]  # (K, parts), in 1/total images
    left = held.sum(axis=0)
    chosen = np.full(len(held), -1)

    def deal(group: int, wanted: np.ndarray) -> None:
        open_ = room >= weights[group]
        if not open_.any():
            open_ = room == room.max()
        best = np.flatnonzero(open_)
        best = best[wanted[best] == wanted[best].max()]
        best = best[room[best] == room[best].max()]
        part = int(best[chance[group] % len(best)])
        chosen[group] = part
        room[part] -= weights[group]
        demand[:, part] -= held[group] * total
        left[:] -= held[group]

    while (left > 0).any():
        rarest = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        for group in np.flatnonzero((chosen < 0) & (held[:, rarest] > 0)).tolist():
            deal(group, demand[rarest])
    for group in np.flatnonzero(chosen < 0).tolist():
        deal(group, room)
    return chosen.tolist()
