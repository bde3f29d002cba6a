"""Splits of a set laid out like PASCAL VOC: as its lists have them, or dealt anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vitrail.data.formats.base import Problems
from vitrail.data.formats.voc_lists import Listing, choose, deal, read_ids
from vitrail.data.problem import Problem
from vitrail.errors import DataError

LISTS = Path("ImageSets", "Segmentation")
_ORDER = ("train", "val", "trainval", "test")


def read_splits(
    home: Path,
    masks: Listing,
    problems: Problems,
    *,
    splits: Sequence[str] | None,
    parts: Mapping[str, int] | None,
    seed: int,
) -> dict[str, list[str]]:
    """Ids by split.

    Parameters
    ----------
    home:
        The folder that holds ImageSets.
    masks:
        Of classes; a split without any is left out.
    splits:
        Those asked for; None: all but a trainval that only repeats train and val.
    parts, seed:
        Divide trainval (or all that is listed, but test) anew; see :func:`deal`.

    Raises
    ------
    DataError
        a list cannot be read, or there are neither lists nor masks.
    ParameterError, UnknownNameError
        parts or splits do not fit the set.
    """
    lists = {path.stem: path for path in sorted((home / LISTS).glob("*.txt"))}
    names = [name for name in _ORDER if name in lists]
    names += [name for name in lists if name not in _ORDER]
    listed = {name: read_ids(lists[name], problems) for name in names}
    if not listed:
        problems.warning(
            "missing-splits",
            home / LISTS,
            "",
            "holds no lists of ids",
            "train.txt and val.txt",
            "all images are read as one split; `vitrail data split` divides them",
        )
        listed = {"all": sorted(masks.stems())}
        if not listed["all"]:
            raise DataError(f"{masks.root}: holds no PNG masks, and {home / LISTS} no lists")
    else:
        _report_orphans(masks, listed, problems)
    if parts is not None:
        pool = listed.get("trainval") or [
            id for name, ids in listed.items() if name != "test" for id in ids
        ]
        return choose(deal(list(dict.fromkeys(pool)), parts, seed), splits, home)
    if splits is not None:
        return choose(listed, splits, home)
    both = {*listed.get("train", ()), *listed.get("val", ())}
    if "train" in listed and "val" in listed and both == set(listed.get("trainval", ())):
        del listed["trainval"]
    return _without_unlabelled(listed, masks, home, problems)


def _report_orphans(masks: Listing, listed: Mapping[str, list[str]], problems: Problems) -> None:
    known = {id for ids in listed.values() for id in ids}
    if orphans := sorted(set(masks.stems()) - known):
        problems.warning(
            "orphan-mask",
            masks.root / f"{orphans[0]}.png",
            orphans[0],
            f"{len(orphans)} masks are in no list of {LISTS.as_posix()}",
            "every mask in a list",
            "add them to a list, or remove them",
        )


def _without_unlabelled(
    listed: Mapping[str, list[str]], masks: Listing, home: Path, problems: Problems
) -> dict[str, list[str]]:
    """Splits that have masks: the test images of a challenge come without any."""
    kept: dict[str, list[str]] = {}
    for name, ids in listed.items():
        if ids and len(listed) > 1 and not any(masks.find(id) for id in ids):
            path = home / LISTS / f"{name}.txt"
            value = f"none of its {len(ids)} images has a mask; the split is left out"
            problems.found.append(
                Problem("unlabelled-split", "note", path, "", value, "masks", split=name)
            )
        else:
            kept[name] = ids
    return kept
