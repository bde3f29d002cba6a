"""http(s) downloads into memory: bounded in bytes and in time, and never led to a local file.

Large files go to disk, with resume: :mod:`vitrail.download_file`.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import IO, Any
from urllib.parse import quote, urljoin, urlsplit

from vitrail.errors import ImageTooLargeError, SourceError, VitrailError

TIMEOUT = 20.0
"""Seconds without a byte after which a download is given up."""
DEADLINE = 600.0
"""Seconds after which a download is given up even if bytes still trickle in."""


def is_url(source: str) -> bool:
    """Whether it is an http(s) URL."""
    return source[:8].lower().startswith(("http://", "https://"))


def is_https(source: str) -> bool:
    """Whether it is an https URL."""
    return source[:8].lower() == "https://"


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http(s) only: a server must not make us read local files."""

    max_redirections = 5

    def __init__(self, *, downgrade: bool = True) -> None:
        self._downgrade = downgrade

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any
    ) -> Any:
        target = urljoin(req.full_url, headers.get("location") or headers.get("uri") or "")
        if not is_url(target):
            fp.close()
            raise SourceError(
                f"{req.full_url}: redirects to {target}, which is not http(s); it was not followed"
            )
        if not self._downgrade and is_https(req.full_url) and not is_https(target):
            fp.close()
            raise SourceError(
                f"{req.full_url}: redirects from https to {target}, which anybody on the way could "
                "alter; it was not followed"
            )
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def opener(*, downgrade: bool = True) -> urllib.request.OpenerDirector:
    """Without the handlers for ``file:``, ``ftp:`` and ``data:`` that urllib installs by itself.

    Without ``downgrade``, a redirect from https to http is refused. Proxies are those of the
    environment.
    """
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _HttpOnly(downgrade=downgrade),
    ):
        director.add_handler(handler)
    director.addheaders = [("User-Agent", "vitrail (+image segmentation)")]
    return director


def download(url: str, max_bytes: int, timeout: float = TIMEOUT) -> bytes:
    """The body of an http(s) URL, in memory.

    Parameters
    ----------
    url
        http or https; up to five redirects, to http(s) only, are followed.
    max_bytes
        refuse a longer body: by its Content-Length, or as soon as that many have arrived.
    timeout
        seconds without a byte after which it is given up.

    Raises
    ------
    SourceError
        the address is malformed or unknown, the server does not answer in time, answers with an
        error, redirects elsewhere, or stops early.
    ImageTooLargeError
        the body is longer than ``max_bytes``.
    """
    try:
        with opener().open(quoted(url), timeout=timeout) as response:
            return _body(response, url, max_bytes)
    except VitrailError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise source_error(url, error, timeout) from None


def source_error(url: str, error: Exception, timeout: float) -> SourceError:
    """What to tell of a request that failed."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        answer = " ".join(str(error.msg).split())
        return SourceError(f"{url}: the server answers {error.code} {answer}")
    if isinstance(error, urllib.error.URLError):
        if not isinstance(error.reason, TimeoutError):
            reason = getattr(error.reason, "strerror", None) or error.reason
            return SourceError(f"{url}: cannot be reached ({reason}); check the address")
        error = error.reason
    if isinstance(error, TimeoutError):
        return SourceError(f"{url}: no answer within {timeout:g} s; try again later")
    return SourceError(f"{url}: the download failed ({str(error) or type(error).__name__})")


def quoted(url: str) -> str:
    """With blanks and letters outside ASCII escaped, as browsers do it; existing escapes stay."""
    parts = urlsplit(url)
    safe = "/%:=&?~+!$,;'@()*[]-._"
    return parts._replace(
        path=quote(parts.path, safe), query=quote(parts.query, safe), fragment=""
    ).geturl()


def _body(response: Any, url: str, max_bytes: int) -> bytes:
    too_large = (
        f"more than the limit of {max_bytes:,}; raise it with max_bytes=... or the environment "
        "variable VITRAIL_MAX_BYTES"
    )
    coding = response.headers.get("Content-Encoding", "identity").lower()
    if coding not in ("", "identity"):
        raise SourceError(f"{url}: comes in the encoding {coding!r}, which was not asked for")
    length = response.headers.get("Content-Length", "")
    expected = int(length) if length.isdigit() else None
    if expected is not None and expected > max_bytes:
        raise ImageTooLargeError(f"{url}: has {expected:,} bytes, {too_large}")
    body = bytearray()
    deadline = time.monotonic() + DEADLINE
    while part := response.read1(1 << 16):
        body += part
        if len(body) > max_bytes:
            raise ImageTooLargeError(f"{url}: sends {too_large}")
        if time.monotonic() > deadline:
            raise SourceError(f"{url}: not complete after {DEADLINE:g} s ({len(body):,} bytes)")
    if expected is not None and len(body) < expected:
        raise SourceError(f"{url}: stopped after {len(body):,} of {expected:,} bytes; try again")
    return bytes(body)
