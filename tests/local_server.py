"""A server on this machine that serves files, and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Served:
    """One file and how it is served."""

    body: bytes
    ranges: bool = True
    """Whether Range is honoured; otherwise all of it comes, with 200."""
    validators: bool = True
    """Whether an ETag and a Last-Modified come with it."""
    cuts: list[int] = field(default_factory=list)
    """For the next answers: bytes after which the connection is cut; used up one by one."""
    statuses: list[int] = field(default_factory=list)
    """For the next answers: an error instead; used up one by one."""
    corrupt: bool = False
    """Whether a byte in the middle is turned over on its way."""
    length: int | None = None
    """A wrong Content-Length."""
    range_shift: int = 0
    """How far the Content-Range lies beside what was asked for."""
    kind: str = "application/octet-stream"
    redirect: str | None = None
    chunked: bool = False
    etag: str | None = None
    hold: float = 0
    """Seconds that the connection stays open when everything has been sent."""


class LocalServer:
    """Files by path, and what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.url = ""
        self.ended = threading.Event()

    def add(self, name: str, body: bytes = b"", **how: object) -> Served:
        served = Served(body, **how)  # pyright: ignore[reportArgumentType]
        self.files["/" + name] = served
        return served

    def asked(self, name: str) -> list[dict[str, str]]:
        """The headers of all requests for a file."""
        return [headers for path, headers in self.requests if path == "/" + name]


def _handler(server: LocalServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.requests.append((self.path, dict(self.headers)))
            served = server.files.get(self.path)
            if served is None:
                self.send_error(404)
            elif served.statuses:
                self.send_response(served.statuses.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif served.redirect is not None:
                self.send_response(302)
                self.send_header("Location", served.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._serve(served)

        def _serve(self, served: Served) -> None:
            body = served.body
            etag = served.etag or f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            same = self.headers.get("If-Range", etag) == etag
            start = int(asked[1]) if asked and served.ranges and same else 0
            if asked and start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                first = start + served.range_shift
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Type", served.kind)
            if served.validators:
                self.send_header("ETag", etag)
                self.send_header("Last-Modified", "Fri, 01 Sep 2017 00:00:00 GMT")
            rest = bytearray(body[start:])
            if served.corrupt and rest:
                rest[len(rest) // 2] ^= 0xFF
            cut = served.cuts.pop(0) if served.cuts else None
            if served.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                length = len(rest) if served.length is None else served.length
                self.send_header("Content-Length", str(length))
            self.end_headers()
            sent = bytes(rest if cut is None else rest[:cut])
            if served.chunked:
                sent = b"%x\r\n%s\r\n" % (len(sent), sent) + (b"0\r\n\r\n" if cut is None else b"")
            self.close_connection = cut is not None or served.length is not None
            self.wfile.write(sent)
            if served.hold:
                server.ended.wait(served.hold)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextmanager
def local_server() -> Iterator[LocalServer]:
    """A running server; its ``url`` ends without a slash."""
    server = LocalServer()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(server)) as running:
        running.daemon_threads = True
        server.url = f"http://127.0.0.1:{running.server_port}"
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.ended.set()
        running.shutdown()


def leftovers(folder: Path) -> list[str]:
    """Names in a folder that a finished work should not leave there."""
    marks = (".part", ".json", ".lock", ".unpacking", ".tmp")
    return sorted(one.name for one in folder.iterdir() if one.name.endswith(marks))
