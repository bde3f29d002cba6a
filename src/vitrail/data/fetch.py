"""Fetch public data sets: download with resume, verify, unpack, and say what to do next."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

from vitrail.atomic import make_folder, output_error
from vitrail.data.catalogue import Archive, Entry, Part, find
from vitrail.data.fetch_images import fetch_images, needed_masks, pick
from vitrail.data.receipt import Receipt
from vitrail.data.unpack import is_archive, remove_leftovers, unpack
from vitrail.digest import digests
from vitrail.download import is_url
from vitrail.download_file import download_file, part_of
from vitrail.errors import DataError, OutputError, ParameterError
from vitrail.lock import locked

Progress = Callable[[str, int, int | None], None]
"""Told (what is being done to which file, bytes or images done, in all or None)."""

_DOCUMENTS = ("readme", "license", "licence")
"""Beginnings of names of files that several archives of a set may each have their own of."""
_RESERVE = 64 << 20


@dataclass
class Fetched:
    """What a fetch has done."""

    entry: Entry
    folder: Path
    fetched: list[str] = field(default_factory=list)
    """Files downloaded (or put there by hand) and now in place."""
    present: list[str] = field(default_factory=list)
    """Files that were in place before."""
    images: dict[str, int] = field(default_factory=dict)
    """Single images now there, by split."""
    notes: list[str] = field(default_factory=list)


def fetch(
    name: str,
    to: Path | None = None,
    *,
    parts: Sequence[str] = (),
    accept_licence: bool = False,
    keep_archives: bool = False,
    url: str | None = None,
    max_images: int | None = None,
    seed: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> Fetched:
    """Fetch a data set of the catalogue into a folder, or what is missing of it.

    Parameters
    ----------
    name
        a name of :data:`vitrail.data.catalogue.CATALOGUE`.
    to
        the folder; by default one of that name in the current folder.
    parts
        names of its parts; by default those of the entry.
    accept_licence
        its terms are accepted, where it has terms to accept.
    keep_archives
        do not remove downloaded archives once they are unpacked. Archives put there by hand are
        never removed.
    url
        a mirror: every file is taken from ``URL/NAME``, an image from ``URL/SPLIT/ID.jpg``.
    max_images
        fetch so many single images of each part and only the masks that they need (Open Images).
    seed
        which images are drawn.
    progress
        told what is going on.

    Raises
    ------
    UnknownNameError, ParameterError
        no such data set or part, or options that do not fit it.
    DataError
        the terms are not accepted, archives have to be got by hand, or one is damaged.
    SourceError, OutputError
        a download failed, or the disk is full; another call goes on from there.
    """
    entry = find(name)
    chosen = _chosen(entry, parts, max_images)
    if url is not None and not (is_url(url) and urlsplit(url).hostname):
        raise ParameterError(f"--url {url!r}: expected the http(s) address of a folder")
    if entry.terms and not accept_licence:
        raise DataError(
            f"{entry.title}: {entry.terms}. Read {entry.terms_url} and, if you accept, run this "
            "again with --accept-licence"
        )
    folder = make_folder(to or Path(entry.name))
    with locked(folder / ".vitrail-fetch.lock", f"{folder}: is being filled"):
        remove_leftovers(folder)
        done = Fetched(entry, folder)
        job = _Job(done, Receipt(folder, entry.name), keep_archives, url, progress)
        if max_images is None:
            unique = {archive.name: archive for part in chosen for archive in part.archives}
            job.install(list(unique.values()))
        else:
            for part in chosen:
                job.install_subset(part, max_images, seed)
    return done


def _chosen(entry: Entry, names: Sequence[str], max_images: int | None) -> list[Part]:
    chosen = [entry.part(one) for one in dict.fromkeys(names or entry.default)]
    if not chosen:
        listed = ", ".join(part.name for part in entry.parts[:5])
        raise ParameterError(
            f"{entry.name} is too large to fetch whole: choose --part {listed}, ...; "
            "`vitrail data list` shows all"
        )
    if max_images is not None:
        if entry.images is None:
            raise ParameterError(f"--max-images: {entry.name} has no images to be had singly")
        if max_images < 1:
            raise ParameterError(f"--max-images {max_images}: expected 1 or more")
        for part in chosen:
            if part.name.endswith("-images"):
                raise ParameterError(
                    f"--max-images: part {part.name} is an archive of all images; name its split"
                )
    return chosen


@dataclass
class _Job:
    done: Fetched
    receipt: Receipt
    keep: bool
    mirror: str | None
    progress: Progress

    @property
    def folder(self) -> Path:
        return self.done.folder

    def install(self, archives: list[Archive]) -> None:
        """Bring archives into place that are not there yet."""
        missing = [archive for archive in archives if not self._in_place(archive)]
        self.done.present += [one.name for one in archives if one not in missing]
        by_hand = [
            archive
            for archive in missing
            if archive.url is None
            and self.mirror is None
            and not (self.folder / archive.name).exists()
        ]
        if by_hand:
            raise DataError(self._instructions(by_hand))
        self._check_room(missing)
        for archive in missing:
            self._install(archive)

    def install_subset(self, part: Part, count: int, seed: int) -> None:
        """The lists of a split, some of its images, and the masks of those."""
        self.install([one for one in part.archives if not is_archive(one.name)])
        table = self.folder / f"{part.name}-annotations-object-segmentation.csv"
        ids = pick(table, count, seed)
        masks = needed_masks([one for one in part.archives if is_archive(one.name)], ids)
        self.install(masks)
        assert self.done.entry.images is not None
        pattern = self.done.entry.images
        if self.mirror is not None:
            pattern = f"{self.mirror.rstrip('/')}/{{split}}/{{id}}.jpg"
        failed = fetch_images(
            pattern,
            part.name,
            ids,
            self.folder / "images" / part.name,
            lambda done: self.progress(f"downloading images of {part.name}", done, len(ids)),
        )
        self.done.images[part.name] = len(ids) - len(failed)
        self.receipt.set_images(
            part.name, asked=count, seed=seed, there=len(ids) - len(failed), failed=sorted(failed)
        )
        if len(ids) < count:
            self.done.notes.append(f"{part.name} has only {len(ids):,} images with masks")
        if failed:
            first = min(failed)
            self.done.notes.append(
                f"{len(failed):,} of {len(ids):,} images of {part.name} could not be fetched, "
                f"the first: {failed[first]}; run it again for those"
            )

    def _in_place(self, archive: Archive) -> bool:
        facts = self.receipt.file(archive.name)
        names = facts.get("content", [])
        return bool(
            facts.get("installed")
            and isinstance(names, list)
            and all(isinstance(one, str) and (self.folder / one).exists() for one in names)
        )

    def _instructions(self, archives: list[Archive]) -> str:
        entry = self.done.entry
        lines = [f"{entry.title} can be had with a login only. Step by step:"]
        for number, step in enumerate(entry.login, 1):
            lines.append(f"  {number}. {step.format(folder=self.folder)}")
            if step.endswith(":"):
                for archive in archives:
                    size = f", {archive.size:,} bytes" if archive.size else ""
                    lines.append(f"       {archive.name}: {archive.page}{size}")
        return "\n".join(lines)

    def _check_room(self, archives: list[Archive]) -> None:
        """Refuse before the start what the disk cannot hold."""
        to_fetch = to_unpack = largest = 0
        for archive in archives:
            path, size = self.folder / archive.name, archive.size or 0
            there = next((p.stat().st_size for p in (path, part_of(path)) if p.exists()), 0)
            to_fetch += max(size - there, 0)
            if is_archive(archive.name):  # photographs and PNGs hardly shrink in an archive
                to_unpack += size
                largest = max(largest, size)
        need = to_fetch + (to_unpack if self.keep else largest)
        free = shutil.disk_usage(self.folder).free
        if need + _RESERVE > free:
            raise OutputError(
                f"{self.folder}: about {need / 1e9:,.1f} GB are needed, {free / 1e9:,.1f} GB are "
                "free; free space, choose another folder with --to, or fewer parts with --part"
            )

    def _install(self, archive: Archive) -> None:
        path = self.folder / archive.name
        ours = not path.exists() or bool(self.receipt.file(archive.name).get("url"))
        known = self.receipt.file(archive.name).get("sha256")
        facts = self._obtain(archive, path)
        if known and known != facts["sha256"]:
            self.done.notes.append(
                f"{archive.name} is not what was fetched before: its sha256 is {facts['sha256']}, "
                f"it was {known}"
            )
        self.receipt.set_file(archive.name, **facts)
        if not is_archive(archive.name):
            self.receipt.set_file(archive.name, content=[archive.name], installed=True)
        else:
            try:
                content = self._unpack(archive, path)
            except DataError:
                if ours and not archive.checksums:  # or the next try would find it there, as it is
                    path.unlink()
                raise
            self.receipt.set_file(archive.name, content=content, installed=True)
            if ours and not self.keep:
                path.unlink()
        self.done.fetched.append(archive.name)

    def _obtain(self, archive: Archive, path: Path) -> dict[str, object]:
        """Have the file there, verified; what is to be remembered of it."""
        url = archive.url
        if self.mirror is not None:
            url = f"{self.mirror.rstrip('/')}/{archive.name}"
        verified = "sha256" if archive.sha256 else "md5" if archive.md5 else "nothing to compare"
        if url is None or (path.exists() and not self.receipt.file(archive.name).get("url")):
            size = path.stat().st_size
            found = digests(
                path,
                {"sha256", *archive.checksums},
                lambda done: self.progress(f"verifying {archive.name}", done, size),
            )
            for algorithm, expected in archive.checksums.items():
                if found[algorithm] != expected:
                    raise DataError(
                        f"{path}: has the {algorithm} {found[algorithm]} and {size:,} bytes, "
                        f"expected {expected}; download it again, nothing was unpacked"
                    )
            return {"size": size, "verified": verified, **found}
        self.receipt.set_file(archive.name, url=url, installed=False)
        got = download_file(
            url,
            path,
            size=archive.size,
            checksums=archive.checksums,
            progress=lambda stage, done, total: self.progress(
                f"{stage} {archive.name}", done, total
            ),
        )
        return {"url": url, "size": got.size, "verified": verified, **got.digests}

    def _unpack(self, archive: Archive, path: Path) -> list[str]:
        """Unpack beside and move into place; the names of the folder that it went to."""
        staging = self.folder / f".{archive.name}.{token_hex(4)}.unpacking"
        try:
            self._unpack_into(path, staging)
            for name in archive.inner:
                inner = staging / name
                if not inner.is_file():
                    raise DataError(f"{path}: has no {name}; it is not the archive expected")
                beside = inner.with_name(f"{inner.name}.d")
                self._unpack_into(inner, beside)
                _move(_below(beside, inner.stem), inner.with_suffix(""))
                shutil.rmtree(beside, ignore_errors=True)
                inner.unlink()
            if archive.folder:
                source = _below(staging, Path(archive.folder).name)
                content = [archive.folder]
                _move(source, self.folder / archive.folder)
            else:
                content = sorted(one.name for one in staging.iterdir())
                _move(staging, self.folder)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise output_error(self.folder, error) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return content

    def _unpack_into(self, archive: Path, folder: Path) -> None:
        what = f"unpacking {archive.name}"
        unpack(archive, folder, progress=lambda done, total: self.progress(what, done, total))


def _below(folder: Path, name: str) -> Path:
    """The one folder in a folder, if it has that name; else the folder itself."""
    inner = folder / name
    return inner if inner.is_dir() and [one.name for one in folder.iterdir()] == [name] else folder


def _move(source: Path, target: Path) -> None:
    """Move a folder's content to where it belongs, keeping what is there.

    All is looked at before anything is moved: a file that is there and differs stops it.
    """
    plan: list[tuple[Path, Path]] = []
    _plan(source, target, plan, top=True)
    target.mkdir(parents=True, exist_ok=True)
    for one, place in plan:
        one.replace(place)


def _plan(source: Path, target: Path, plan: list[tuple[Path, Path]], top: bool) -> None:
    for one in sorted(source.iterdir()):
        place = target / one.name
        if not place.exists() and not place.is_symlink():
            plan.append((one, place))
        elif one.is_dir() and place.is_dir() and not place.is_symlink():
            _plan(one, place, plan, top=False)
        elif top and one.name.lower().startswith(_DOCUMENTS):
            continue  # each archive has its own; the first one's stays
        elif not (one.is_file() and place.is_file() and filecmp.cmp(one, place, shallow=False)):
            raise DataError(
                f"{place}: is there, and differs from what the archive holds; move it away, or "
                "choose another folder with --to"
            )
