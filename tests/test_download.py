"""URLs, against a server on this machine."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import PIL.Image
import pytest

from vitrail import download as module
from vitrail.download import download
from vitrail.errors import ImageError, ImageTooLargeError, SourceError
from vitrail.image import read_image

RGB = np.random.default_rng(5).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def _png() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(RGB).save(buffer, "PNG")
    return buffer.getvalue()


PNG = _png()
SEEN: list[dict[str, str]] = []


class _Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        SEEN.append(dict(self.headers))
        path = self.path.split("?")[0]
        redirects = {
            "/moved": "/ok.png",
            "/twice": "/moved",
            "/loop": "/loop",
            "/to-file": "file:///etc/hostname",
            "/to-ftp": "ftp://127.0.0.1/a.png",
            "/to-nowhere": None,
        }
        if path in redirects:
            self.send_response(302)
            if redirects[path] is not None:
                self.send_header("Location", str(redirects[path]))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path in ("/ok.png", "/a%20b.png", "/caf%C3%A9.png"):
            self._send(PNG)
        elif path == "/page":
            self._send(b"<!DOCTYPE html><html><body>Not here.</body></html>", kind="text/html")
        elif path == "/empty":
            self._send(b"")
        elif path == "/short":
            self._send(PNG[:-40], length=len(PNG))
        elif path == "/chunked":
            self._chunks([PNG[:50], PNG[50:]])
        elif path == "/endless":
            self._chunks(iter(lambda: b"x" * 50_000, None))
        elif path == "/chunked-short":
            self._chunks([PNG[:50]], end=False)
        elif path == "/gzip":
            self._send(PNG, encoding="gzip")
        elif path == "/silent":
            time.sleep(1.5)
        elif path == "/stalls":
            self._send(PNG[:50], length=len(PNG), wait=1.5)
        elif path == "/trickle":
            self._chunks(iter(lambda: time.sleep(0.05) or b"x", None))
        else:
            self.send_error(404)

    def _send(
        self,
        body: bytes,
        *,
        length: int | None = None,
        kind: str = "image/png",
        encoding: str = "",
        wait: float = 0,
    ) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        time.sleep(wait)
        self.close_connection = length is not None

    def _chunks(self, parts: Iterator[bytes] | list[bytes], end: bool = True) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        try:
            for part in parts:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            if end:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass  # the client has had enough

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Callable[[str], str]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield lambda path: f"http://127.0.0.1:{running.server_port}{path}"
        running.shutdown()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def _refused(url: str, error: type[Exception] = SourceError) -> str:
    with pytest.raises(error) as caught:
        read_image(url)
    message = str(caught.value)
    assert url in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", ["/ok.png", "/ok.png?size=large#top", "/moved", "/twice"])
def test_image(server: Callable[[str], str], path: str) -> None:
    image = read_image(server(path))
    np.testing.assert_array_equal(image.pixels, RGB)
    assert image.source == server(path)
    assert "vitrail" in SEEN[-1]["User-Agent"]


@pytest.mark.parametrize("path", ["/a b.png", "/a%20b.png", "/café.png"])
def test_names_that_must_be_escaped(server: Callable[[str], str], path: str) -> None:
    np.testing.assert_array_equal(read_image(server(path)).pixels, RGB)


def test_chunked(server: Callable[[str], str]) -> None:
    np.testing.assert_array_equal(read_image(server("/chunked")).pixels, RGB)


def test_capital_scheme(server: Callable[[str], str]) -> None:
    assert read_image(server("/ok.png").replace("http", "HTTP")).size == (20, 30)


def test_status(server: Callable[[str], str]) -> None:
    assert "the server answers 404 Not Found" in _refused(server("/missing"))
    assert "302" in _refused(server("/to-nowhere"))


@pytest.mark.parametrize("scheme", ["file", "ftp"])
def test_redirect_to_other_schemes_is_not_followed(
    server: Callable[[str], str], scheme: str
) -> None:
    message = _refused(server(f"/to-{scheme}"))
    assert f"redirects to {scheme}:" in message
    assert "not followed" in message


def test_redirect_loop(server: Callable[[str], str]) -> None:
    before = len(SEEN)
    assert "302" in _refused(server("/loop"))
    assert len(SEEN) - before <= 7


def test_page_instead_of_image(server: Callable[[str], str]) -> None:
    assert "web page" in _refused(server("/page"), ImageError)


def test_empty_body(server: Callable[[str], str]) -> None:
    assert "0 bytes" in _refused(server("/empty"), ImageError)


def test_body_that_stops_early(server: Callable[[str], str]) -> None:
    expected = f"stopped after {len(PNG) - 40:,} of {len(PNG):,} bytes"
    assert expected in _refused(server("/short"))
    _refused(server("/chunked-short"))


def test_encoding_that_was_not_asked_for(server: Callable[[str], str]) -> None:
    assert "'gzip'" in _refused(server("/gzip"))


def test_too_large_by_its_header(server: Callable[[str], str]) -> None:
    with pytest.raises(ImageTooLargeError, match=r"has 1,\d+ bytes, more than the limit of 1,000"):
        read_image(server("/ok.png"), max_bytes=1000)


def test_too_large_as_it_comes(server: Callable[[str], str]) -> None:
    with pytest.raises(ImageTooLargeError, match="sends more than the limit of 300,000"):
        read_image(server("/endless"), max_bytes=300_000)


def test_limit_from_the_environment(
    server: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRAIL_MAX_BYTES", "1000")
    assert "VITRAIL_MAX_BYTES" in _refused(server("/ok.png"), ImageTooLargeError)


@pytest.mark.parametrize("path", ["/silent", "/stalls"])
def test_no_answer_in_time(server: Callable[[str], str], path: str) -> None:
    started = time.monotonic()
    with pytest.raises(SourceError, match=r"no answer within 0\.2 s"):
        download(server(path), 10_000, timeout=0.2)
    assert time.monotonic() - started < 1.2


def test_trickle_ends_at_the_deadline(
    server: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.3)
    with pytest.raises(SourceError, match=r"not complete after 0\.3 s"):
        download(server("/trickle"), 10_000)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/a.png",  # nobody listens
        "http://no-such-host.invalid/a.png",
        "http:///a.png",
        "http://[::1/a.png",
        "http://127.0.0.1:port/a.png",
    ],
)
def test_addresses_that_lead_nowhere(url: str) -> None:
    _refused(url)
