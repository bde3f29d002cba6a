"""Some images of Open Images, one by one: drawn by seed from its table of masks."""

from __future__ import annotations

import csv
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from vitrail.atomic import make_folder, write_atomically
from vitrail.data.catalogue import Archive
from vitrail.download import download
from vitrail.errors import DataError, ImageTooLargeError, SourceError

_ID = re.compile(r"[0-9a-f]{16}")
_MAX_BYTES = 64 << 20
_TRIES = 3
_WORKERS = 8
"""Connections at once; S3 answers a single one in about a tenth of a second."""


def pick(table: Path, count: int, seed: int) -> list[str]:
    """Ids of ``count`` images that have masks, drawn without replacement; sorted.

    Parameters
    ----------
    table
        ``SPLIT-annotations-object-segmentation.csv``; read line by line.
    count
        how many; all if there are fewer.
    seed
        of the draw: the same table, count and seed give the same images.

    Raises
    ------
    DataError
        it cannot be read, has no column ImageID, or an id that is none.
    """
    ids: set[str] = set()
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            if "ImageID" not in header:
                raise DataError(f"{table}: has no column ImageID, found {', '.join(header)[:200]}")
            column = header.index("ImageID")
            for row in rows:
                value = row[column] if column < len(row) else ""
                if not _ID.fullmatch(value):
                    raise DataError(
                        f"{table}, line {rows.line_num}: {value[:60]!r} is no image id, expected "
                        "16 hexadecimal digits; remove the file and fetch it again"
                    )
                ids.add(value)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: cannot be read ({error}); fetch it again") from None
    return sorted(random.Random(seed).sample(sorted(ids), min(count, len(ids))))


def needed_masks(archives: Iterable[Archive], ids: Sequence[str]) -> list[Archive]:
    """Of the archives of masks those of some images: their names end in an id's first digit."""
    digits = {one[0] for one in ids}
    return [one for one in archives if one.name.removesuffix(".zip")[-1] in digits]


def fetch_images(
    pattern: str,
    split: str,
    ids: Sequence[str],
    folder: Path,
    progress: Callable[[int], None],
) -> dict[str, str]:
    """Fetch images that are not there yet to ``folder/ID.jpg``, each whole or not at all.

    Returns
    -------
    Why, for each that could not be fetched.

    Raises
    ------
    SourceError
        none of those missing could be fetched.
    OutputError
        one could not be written.
    """
    make_folder(folder)
    missing = [one for one in ids if not (folder / f"{one}.jpg").exists()]
    failed: dict[str, str] = {}
    done = len(ids) - len(missing)
    pool = ThreadPoolExecutor(_WORKERS)
    try:
        jobs = {
            pool.submit(_fetch, pattern.format(split=split, id=one), folder / f"{one}.jpg"): one
            for one in missing
        }
        for job in as_completed(jobs):
            try:
                job.result()
            except (SourceError, ImageTooLargeError) as error:
                failed[jobs[job]] = str(error)
            done += 1
            progress(done)
    finally:  # at Ctrl-C, too: what is on its way ends, nothing new begins
        pool.shutdown(cancel_futures=True)
    if failed and len(failed) == len(missing):
        raise SourceError(f"no image could be fetched; the first: {failed[min(failed)]}")
    return failed


def _fetch(url: str, path: Path) -> None:
    for attempt in range(_TRIES):
        try:
            body = download(url, _MAX_BYTES)
            break
        except SourceError as error:
            if attempt + 1 == _TRIES or re.search(r"answers 4\d\d", str(error)):
                raise
            time.sleep(0.5 * 2**attempt)
    if not body.startswith(b"\xff\xd8"):
        raise SourceError(f"{url}: is no JPEG image")
    write_atomically(path, lambda file: file.write(body))
