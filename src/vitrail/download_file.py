"""Large http(s) downloads to disk: resumed after a cut, verified, and there whole or not at all.

While it comes, a file is ``NAME.part``, beside it ``NAME.part.json`` with the validators that the
server gave (RFC 9110: ETag, Last-Modified). A later call asks for the rest only (``Range``), if the
server's file is still the same (``If-Range``), and starts over where it is not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from vitrail.atomic import make_folder, output_error
from vitrail.digest import digests
from vitrail.download import TIMEOUT, is_url, opener, quoted, source_error
from vitrail.errors import OutputError, SourceError, VitrailError
from vitrail.lock import locked

ATTEMPTS = 6
"""Requests in a row without progress after which a download is given up."""
PAUSE = 1.0
"""Seconds before the first repetition; doubled with each further one, up to a minute."""
_PROGRESS = 1 << 20
"""Bytes that a request must bring to count as progress: a server cannot keep us for ever."""
_CHUNK = 1 << 18
_RESERVE = 64 << 20
"""Bytes of the disk that are left free."""
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")

Progress = Callable[[str, int, int | None], None]
"""Told (stage, bytes done, bytes in all or None): ``downloading`` or ``verifying``."""


@dataclass(frozen=True)
class Downloaded:
    """What is known of a file that was fetched."""

    path: Path
    url: str
    size: int
    """bytes"""
    digests: Mapping[str, str]
    """Hexadecimal checksums by algorithm; always with sha256."""
    fetched: int
    """Bytes that came over the network this time; 0 if the file was there."""


@dataclass
class _State:
    """What a part is a part of."""

    url: str
    etag: str = ""
    modified: str = ""
    total: int | None = None

    @property
    def validator(self) -> str:
        """For If-Range: a weak ETag does not promise equal bytes."""
        return self.modified if not self.etag or self.etag.startswith("W/") else self.etag


class _RetryError(Exception):
    """A request failed in a way that another one may not."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def part_of(path: Path) -> Path:
    """Where a download to ``path`` lies until it is whole."""
    return path.with_name(path.name + ".part")


def download_file(
    url: str,
    path: Path,
    *,
    size: int | None = None,
    checksums: Mapping[str, str] | None = None,
    max_bytes: int | None = None,
    progress: Progress = lambda stage, done, total: None,
    timeout: float = TIMEOUT,
    attempts: int = ATTEMPTS,
    pause: float = PAUSE,
) -> Downloaded:
    """Fetch a file, or the rest of it, and verify it before it gets its name.

    Parameters
    ----------
    url
        http or https; redirects lead to http(s) only, and from https to https only. Proxies are
        those of the environment (``https_proxy``, ``no_proxy``).
    path
        where the file shall be. If it is there already it is verified, and not fetched.
    size
        its bytes, if known: another length is refused before anything is written.
    checksums
        hexadecimal by algorithm (``sha256``, ``md5``), as far as known; the beginning of one, 8
        digits or more, is compared with the beginning.
    max_bytes
        refuse a longer body.
    progress
        told what is going on.
    timeout
        seconds without a byte after which a request is given up.
    attempts
        requests in a row that bring nothing after which the download is given up.
    pause
        seconds before the first repetition, doubled with each further one.

    Raises
    ------
    SourceError
        the address is no http(s) URL, the server refuses, lacks the file or stays silent, the
        length or a checksum differs, or another process is writing the same file. What had
        arrived stays in ``NAME.part`` for another try, except where it is known to be wrong.
    OutputError
        it cannot be written, or the disk has no room for it.
    """
    if not is_url(url):
        raise SourceError(f"{url}: not an http(s) URL")
    make_folder(path.parent)
    with locked(path.with_name(path.name + ".lock"), f"{path}: is being downloaded"):
        if path.exists():
            fetched = 0
            found = _verified(path, path, url, size, checksums, progress)
        else:
            job = _Job(url, path, size, bool(checksums), max_bytes, progress, timeout)
            fetched = job.run(attempts, pause)
            found = _verified(job.part, path, url, size, checksums, progress)
            try:
                job.part.replace(path)
            except OSError as error:
                raise output_error(path, error) from error
            job.state_file.unlink(missing_ok=True)
        return Downloaded(path, url, path.stat().st_size, found, fetched)


class _Job:
    """One file on its way."""

    def __init__(
        self,
        url: str,
        path: Path,
        size: int | None,
        checked: bool,
        max_bytes: int | None,
        progress: Progress,
        timeout: float,
    ) -> None:
        self.url, self.path, self.size, self.max_bytes = url, path, size, max_bytes
        self._checked, self._progress, self._timeout = checked, progress, timeout
        self.part = part_of(path)
        self.state_file = path.with_name(path.name + ".part.json")

    def run(self, attempts: int, pause: float) -> int:
        """Fetch until the part is whole; the number of bytes that came."""
        fetched = failures = 0
        while True:
            before = self._have()
            try:
                fetched += self._request(before)
                return fetched
            except _RetryError as error:
                gained = self._have() - before
                fetched += max(gained, 0)
                failures = 0 if gained >= _PROGRESS else failures + 1
                if failures >= attempts:
                    raise SourceError(
                        f"{self.url}: {error}; given up after {attempts} tries, "
                        f"{self._have():,} bytes are kept in {self.part}: "
                        "run it again later to go on from there"
                    ) from None
                time.sleep(max(error.wait, min(pause * 2 ** max(failures - 1, 0), 60)))

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _state(self) -> _State | None:
        """What was remembered of the part; None where that does not fit or cannot be read."""
        try:
            with self.state_file.open("rb") as file:
                state = _State(**json.loads(file.read(1 << 16)))
            total_fits = state.total is None or isinstance(state.total, int)
            texts = (state.url, state.etag, state.modified)
            if total_fits and all(isinstance(text, str) and text.isprintable() for text in texts):
                return state
        except (OSError, ValueError, TypeError, RecursionError):
            pass
        return None

    def _request(self, have: int) -> int:
        """One request for what is missing; the number of bytes that came."""
        if have and have == self.size:
            return 0
        headers = {"Accept-Encoding": "identity"}
        state = self._state()
        if have and state and (state.validator or self._checked):
            headers["Range"] = f"bytes={have}-"
            if state.validator and state.url == self.url:
                headers["If-Range"] = state.validator
            elif not self._checked:  # of another URL, and nothing would show a mixture
                del headers["Range"]
        elif have and self._checked and self.size and have < self.size:
            headers["Range"] = f"bytes={have}-"
        if "Range" not in headers:
            state = None
        try:
            request = urllib.request.Request(quoted(self.url), headers=headers)
            with opener(downgrade=False).open(request, timeout=self._timeout) as response:
                return self._receive(response, have, state)
        except (VitrailError, _RetryError):
            raise
        except urllib.error.HTTPError as error:
            return self._refused(error, have)
        except (OSError, HTTPException) as error:
            if (
                isinstance(error, OSError) and error.filename is not None
            ):  # of the file, not the net
                raise output_error(self.part, error) from error
            raise _RetryError(_reason(self.url, error, self._timeout)) from None
        except ValueError as error:
            raise source_error(self.url, error, self._timeout) from None

    def _refused(self, error: urllib.error.HTTPError, have: int) -> int:
        """An answer from 400 on."""
        if error.code == 416 and have:  # nothing from there on: complete, or of another file
            match = re.fullmatch(r"bytes \*/(\d{1,18})", error.headers.get("Content-Range", ""))
            error.close()
            if match and int(match[1]) == have and self.size in (None, have):
                return 0
            self._drop()
            raise _RetryError("the server has no such range")
        if error.code in (408, 425, 429, 500, 502, 503, 504):
            after = error.headers.get("Retry-After", "")
            wait = min(float(after), 60.0) if after.isdigit() else 0.0
            raise _RetryError(_reason(self.url, error, self._timeout), wait)
        if error.code == 401 or error.code == 403:
            text = f"{source_error(self.url, error, self._timeout)}; it may need a login"
            raise SourceError(text) from None
        raise source_error(self.url, error, self._timeout) from None

    def _receive(self, response: Any, have: int, state: _State | None) -> int:
        """The body of an answer, behind what is there or instead of it."""
        headers = response.headers
        coding = headers.get("Content-Encoding", "identity").lower()
        if coding not in ("", "identity"):
            raise SourceError(f"{self.url}: comes in the encoding {coding!r}, not asked for")
        answer = _State(self.url, headers.get("ETag", ""), headers.get("Last-Modified", ""))
        length = headers.get("Content-Length", "")
        if response.status == 206:
            match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
            if not match or int(match[1]) != have:
                self._drop()
                raise _RetryError("the server sent another range than was asked for")
            if match[3] != "*":
                answer.total = int(match[3])
            same = all(
                not new or not old or new == old
                for new, old in (
                    (answer.total, state and state.total),
                    (answer.etag, state and state.url == self.url and state.etag),
                )
            )
            if not same:
                self._drop()
                raise _RetryError("the server's file has changed")
        elif response.status == 200:
            have = 0  # the server knows no ranges, or its file is another one
            answer.total = int(length) if length.isdigit() else None
        else:
            raise SourceError(f"{self.url}: the server answers {response.status}, expected 200")
        self._judge(answer.total)
        if headers.get_content_type() == "text/html" and self.path.suffix not in (".html", ".htm"):
            raise SourceError(
                f"{self.url}: the server sends a web page instead of {self.path.name}; "
                "look at it in a browser: the file may have moved, or need a login"
            )
        self._room(answer.total, have)
        try:
            self.state_file.write_text(json.dumps(asdict(answer)), encoding="utf-8")
        except OSError as error:
            raise output_error(self.state_file, error) from error
        return self._copy(response, have, answer.total)

    def _judge(self, total: int | None) -> None:
        if total is None:
            return
        if self.size is not None and total != self.size:
            raise SourceError(
                f"{self.url}: the server's file has {total:,} bytes, expected {self.size:,}; "
                "it was replaced, or this is not the file: nothing was fetched"
            )
        if self.max_bytes is not None and total > self.max_bytes:
            raise SourceError(
                f"{self.url}: has {total:,} bytes, more than the limit of {self.max_bytes:,}"
            )

    def _room(self, total: int | None, have: int) -> None:
        missing = (total or 0) - have
        free = shutil.disk_usage(self.path.parent).free
        if missing + _RESERVE > free:
            raise OutputError(
                f"{self.path}: needs {missing:,} more bytes, {free:,} are free; "
                "free space or choose another folder"
            )

    def _copy(self, response: Any, have: int, total: int | None) -> int:
        """Write the body; what has come stays there, whatever happens."""
        limit = min((n for n in (total, self.size, self.max_bytes) if n is not None), default=None)
        done = have
        with _written(self.part, "r+b" if have else "wb") as file:
            file.seek(have)
            file.truncate()
            while True:
                try:
                    chunk = response.read1(_CHUNK)
                except (OSError, HTTPException, ValueError) as error:  # ValueError: a bad chunk
                    raise _RetryError(_reason(self.url, error, self._timeout)) from None
                if not chunk:
                    break
                done += len(chunk)
                if limit is not None and done > limit:
                    raise SourceError(f"{self.url}: sends more than the {limit:,} bytes expected")
                try:
                    file.write(chunk)
                except OSError as error:
                    raise output_error(self.part, error) from error
                self._progress("downloading", done, total or self.size)
            with suppress(OSError):  # some network drives have no fsync
                os.fsync(file.fileno())
        whole = total if total is not None else self.size
        if whole is not None and done < whole:
            raise _RetryError(f"the connection was cut after {done:,} of {whole:,} bytes")
        return done - have

    def _drop(self) -> None:
        self.part.unlink(missing_ok=True)
        self.state_file.unlink(missing_ok=True)


def _written(path: Path, mode: str) -> Any:
    try:
        return path.open(mode, buffering=0)
    except OSError as error:
        raise output_error(path, error) from error


def _reason(url: str, error: Exception, timeout: float) -> str:
    """The reason alone, without the URL that every message begins with."""
    return str(source_error(url, error, timeout)).removeprefix(f"{url}: ")


def _verified(
    file: Path,
    path: Path,
    url: str,
    size: int | None,
    checksums: Mapping[str, str] | None,
    progress: Progress,
) -> dict[str, str]:
    """Checksums of a file; one that is not as expected is refused, and removed if it is a part."""
    found_size = file.stat().st_size
    wrong = None
    found: dict[str, str] = {}
    if size is not None and found_size != size:
        wrong = f"has {found_size:,} bytes, expected {size:,}"
    else:
        algorithms = {"sha256", *(checksums or {})}
        found = digests(file, algorithms, lambda done: progress("verifying", done, found_size))
        for algorithm, expected in (checksums or {}).items():
            if len(expected) < 8 or not found[algorithm].startswith(expected.lower()):
                wrong = f"has the {algorithm} {found[algorithm]}, expected {expected.lower()}"
                break
    if wrong is None:
        return found
    if file == path:
        raise SourceError(
            f"{path}: {wrong}; the file is damaged or another one: move it away and run it again"
        )
    file.unlink()
    path.with_name(path.name + ".part.json").unlink(missing_ok=True)
    raise SourceError(
        f"{url}: {wrong}; it was damaged on the way or replaced at its source, and what had "
        "arrived was deleted: run it again; if it comes out the same, use another source (--url)"
    )
