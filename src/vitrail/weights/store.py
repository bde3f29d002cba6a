"""Published weights: downloaded once, verified, and kept on this machine as our checkpoints.

They lie in ``models`` below the cache folder: the system's own (``vitrail doctor`` names it), or
the one in the environment variable ``VITRAIL_CACHE``. ``VITRAIL_OFFLINE=1`` forbids downloads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import platformdirs

from vitrail.atomic import make_folder
from vitrail.digest import digests
from vitrail.download_file import download_file
from vitrail.errors import OutputError, ParameterError, SourceError, WeightsError
from vitrail.lock import locked
from vitrail.weights.card import Card, Download
from vitrail.weights.header import read_card

CACHE_VARIABLE = "VITRAIL_CACHE"
OFFLINE_VARIABLE = "VITRAIL_OFFLINE"

_WAIT = 3600.0
"""Seconds to wait for another process that is downloading the same weights."""

_LONG = 8
"""Digits from which the beginning of a checksum is compared while downloading."""

Progress = Callable[[str, int, int | None], None]
"""Told (what is being done, bytes done, bytes in all or None)."""


def cache_folder() -> Path:
    """Where vitrail keeps what it can get again.

    Raises
    ------
    ParameterError
        the environment names the home folder of a user that there is not.
    """
    chosen = os.environ.get(CACHE_VARIABLE, "").strip()
    if not chosen:
        return Path(platformdirs.user_cache_dir("vitrail"))
    try:
        return Path(chosen).expanduser()
    except RuntimeError:
        user = Path(chosen).parts[0]
        raise ParameterError(
            f"{CACHE_VARIABLE}={chosen}: {user} is the home folder of nobody here; give a folder's "
            "whole path"
        ) from None


def is_offline() -> bool:
    """Whether the environment forbids downloads."""
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in ("", "0", "false", "no")


def stored_path(card: Card) -> Path:
    """Where the checkpoint of published weights lies once it has been fetched."""
    return cache_folder() / "models" / f"{card.name}.safetensors"


def original_path(download: Download) -> Path:
    """Where the file as it is published lies, or may be put by hand."""
    return cache_folder() / "models" / download.file


def is_stored(card: Card) -> bool:
    """Whether published weights can be loaded without a network."""
    return stored_path(card).is_file() or (
        card.download is not None and original_path(card.download).is_file()
    )


def say(line: str) -> None:
    """A line for the user on stderr: nothing is downloaded without it."""
    print(line, file=sys.stderr, flush=True)


def obtain(
    card: Card,
    *,
    tell: Callable[[str], None] = say,
    progress: Progress = lambda what, done, total: None,
) -> Path:
    """The checkpoint of published weights; fetched if it is not there.

    What is published is verified, read without running anything in it, and written as a checkpoint
    with its card. What was downloaded for that is then removed; a file put there by hand stays.

    Parameters
    ----------
    card
        with its ``download``.
    tell
        given one line before a download begins: what, how large, from where and to where; and one
        if nothing but the size of a file can be verified.
    progress
        told what is going on.

    Raises
    ------
    SourceError
        the weights are not here and downloads are forbidden or fail, or the file is not the one
        that was published.
    WeightsError
        the file does not fit the network.
    OutputError
        the cache folder cannot be written.
    """
    download = card.download
    if download is None:
        raise ValueError(f"{card.name}: its weights are not published apart from its card")
    path, original = stored_path(card), original_path(download)
    if _is_current(path, card):
        return path
    _check_folder(path.parent)
    make_folder(path.parent)
    waiting = f"{card.name}: its weights are being downloaded"
    with locked(path.with_name(f"{path.name}.lock"), waiting, wait=_WAIT):
        if _is_current(path, card):  # whoever held the lock has done it
            return path
        by_hand = original.exists()
        if by_hand:
            _verify(original, download, progress)
        else:
            _fetch(card, download, original, tell, progress)
        if not download.checksums:
            tell(
                f"{card.name}: no checksum of {download.file} is published; only its size was "
                "verified"
            )
        _convert(original, card, path)
        if not by_hand and original != path:
            original.unlink(missing_ok=True)
    return path


def _check_folder(folder: Path) -> None:
    """Refuse a place for downloads where a file is in the way."""
    file = next((place for place in (folder, *folder.parents) if place.is_file()), None)
    if file is not None:
        raise OutputError(
            f"{file} is a file, expected a folder: weights are kept in {folder}; set "
            f"{CACHE_VARIABLE} to another folder, or remove the file"
        )


def _is_current(path: Path, card: Card) -> bool:
    """Whether a stored checkpoint is whole, and of this card."""
    try:
        if not path.is_file():
            return False
        # As JSON: a tuple among the arguments comes back from a file as a list.
        return read_card(path).model_dump(mode="json") == card.model_dump(mode="json")
    except WeightsError:
        return False


def _fetch(
    card: Card,
    download: Download,
    path: Path,
    tell: Callable[[str], None],
    progress: Progress,
) -> None:
    by_hand = (
        f"get {download.url} elsewhere and put it at {path}, or give a file that is here with "
        "weights=FILE (--weights FILE)"
    )
    if is_offline():
        raise SourceError(
            f"{card.name}: its weights are not on this machine, and {OFFLINE_VARIABLE} forbids "
            f"downloads; unset it, or {by_hand}"
        )
    about = "about " if download.size_within else ""
    tell(
        f"{card.name}: downloading {about}{download.size / 1e6:,.1f} MB from {download.url} "
        f"to {path.parent}"
    )
    try:
        got = download_file(
            download.url,
            path,
            size=None if download.size_within else download.size,
            checksums={
                name: value for name, value in download.checksums.items() if len(value) >= _LONG
            },
            max_bytes=download.size + download.size_within,
            progress=lambda stage, done, total: progress(
                f"{stage} {download.file}", done, total or download.size
            ),
        )
    except SourceError as error:
        raise SourceError(f"{card.name}: {error}. Or {by_hand}") from None
    wrong = ""
    if abs(got.size - download.size) > download.size_within:
        wrong = f"has {got.size:,} bytes, expected {about}{download.size:,}"
    elif any(len(value) < _LONG for value in download.checksums.values()):
        found = digests(path, download.checksums)
        wrong = "; ".join(
            f"has the {name} {found[name]}, expected {value}..."
            for name, value in download.checksums.items()
            if not found[name].startswith(value)
        )
    if wrong:
        path.unlink(missing_ok=True)
        raise SourceError(f"{download.url}: {wrong}; what had arrived was deleted")


def _verify(path: Path, download: Download, progress: Progress) -> None:
    """Compare a file that was put there with what is published."""
    try:
        size = path.stat().st_size
        found = digests(
            path,
            download.checksums,
            progress=lambda done: progress(f"verifying {download.file}", done, size),
        )
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None
    same = all(found[name].startswith(value) for name, value in download.checksums.items())
    if abs(size - download.size) > download.size_within or not same:
        has = "".join(f" and the {name} {value}" for name, value in found.items())
        wanted = "".join(
            f" and {value}{'...' if len(value) < len(found[name]) else ''}"
            for name, value in download.checksums.items()
        )
        raise SourceError(
            f"{path}: has {size:,} bytes{has}, expected {download.size:,} bytes{wanted} as "
            f"{download.url}; it is damaged or another file: remove it"
        )


def _convert(original: Path, card: Card, path: Path) -> None:
    """Write the published tensors as a checkpoint of ours."""
    # Here and not above: listing the models must not wait for torch.
    from vitrail.weights.files import write_tensors
    from vitrail.weights.importers import tensors_for

    write_tensors(path, tensors_for(card, original), card)
