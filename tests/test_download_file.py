"""Downloads to disk against a server that cuts, lies and changes its files."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import urllib.request
from collections.abc import Iterator
from email.message import Message
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.local_server import LocalServer, leftovers, local_server
from vitrail import download_file as module
from vitrail.download import _HttpOnly
from vitrail.download_file import Downloaded, part_of
from vitrail.errors import OutputError, SourceError
from vitrail.lock import locked

BODY = np.random.default_rng(3).bytes(3_000_000)
SHA = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()
download_file = partial(module.download_file, pause=0.001, timeout=5)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with local_server() as running:
        yield running


def _get(server: LocalServer, path: Path, **how: object) -> Downloaded:
    return download_file(f"{server.url}/a.zip", path, **how)  # pyright: ignore


def _complete(path: Path) -> None:
    assert path.read_bytes() == BODY
    assert leftovers(path.parent) == []


def _refused(server: LocalServer, path: Path, **how: object) -> str:
    with pytest.raises((SourceError, OutputError)) as caught:
        _get(server, path, **how)
    assert not path.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _interrupted(server: LocalServer, path: Path, at: int, **how: object) -> None:
    """A download that ended after ``at`` bytes in another process, long ago."""
    server.add("a.zip", BODY, cuts=[at], **how)

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module.time, "sleep", stop)  # before the next request
        _get(server, path)
    assert part_of(path).stat().st_size == at
    server.requests.clear()


def test_whole(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", BODY)
    told: list[tuple[str, int, int | None]] = []
    path = tmp_path / "new" / "a.zip"
    got = _get(
        server, path, size=len(BODY), checksums={"md5": MD5}, progress=lambda *a: told.append(a)
    )
    _complete(path)
    assert got.digests == {"sha256": SHA, "md5": MD5}
    assert (got.size, got.fetched) == (len(BODY), len(BODY))
    assert ("downloading", len(BODY), len(BODY)) in told
    assert told[-1] == ("verifying", len(BODY), len(BODY))


def test_what_is_there_is_verified_not_fetched(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(BODY)
    assert _get(server, path, checksums={"sha256": SHA}).fetched == 0
    assert server.requests == []
    path.write_bytes(BODY[:-1])
    with pytest.raises(SourceError, match=r"2,999,999 bytes, expected 3,000,000; .* move it away"):
        _get(server, path, size=len(BODY))
    assert path.exists(), "a file that somebody put there is not deleted"


def test_cut_connections_are_resumed(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", BODY, cuts=[1_000_000, 0, 1_500_000])
    _get(server, tmp_path / "a.zip", checksums={"sha256": SHA})
    _complete(tmp_path / "a.zip")
    ranges = [headers.get("Range") for headers in server.asked("a.zip")]
    assert ranges == [None, "bytes=1000000-", "bytes=1000000-", "bytes=2500000-"]


def test_a_later_call_goes_on(server: LocalServer, tmp_path: Path) -> None:
    _interrupted(server, tmp_path / "a.zip", 2_000_000)
    got = _get(server, tmp_path / "a.zip")
    _complete(tmp_path / "a.zip")
    assert got.fetched == 1_000_000
    (headers,) = server.asked("a.zip")
    assert headers["Range"] == "bytes=2000000-"
    assert headers["If-Range"].startswith('"')


def test_a_weak_etag_is_no_promise(server: LocalServer, tmp_path: Path) -> None:
    _interrupted(server, tmp_path / "a.zip", 2_000_000, etag='W/"x"')
    _get(server, tmp_path / "a.zip", checksums={"sha256": SHA})
    assert server.asked("a.zip")[0]["If-Range"] == "Fri, 01 Sep 2017 00:00:00 GMT"
    _complete(tmp_path / "a.zip")


def test_server_without_ranges(server: LocalServer, tmp_path: Path) -> None:
    _interrupted(server, tmp_path / "a.zip", 2_000_000, ranges=False)
    assert _get(server, tmp_path / "a.zip").fetched == len(BODY)
    _complete(tmp_path / "a.zip")


def test_no_validators_and_no_checksum_start_over(server: LocalServer, tmp_path: Path) -> None:
    _interrupted(server, tmp_path / "a.zip", 2_000_000, validators=False)
    assert _get(server, tmp_path / "a.zip").fetched == len(BODY)
    assert "Range" not in server.asked("a.zip")[0]
    _complete(tmp_path / "a.zip")


def test_a_checksum_allows_to_resume_without_validators(
    server: LocalServer, tmp_path: Path
) -> None:
    _interrupted(server, tmp_path / "a.zip", 2_000_000, validators=False)
    assert _get(server, tmp_path / "a.zip", checksums={"sha256": SHA}).fetched == 1_000_000
    _complete(tmp_path / "a.zip")


def test_a_file_that_changed_starts_over(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    _interrupted(server, path, 2_000_000)
    server.add("a.zip", BODY[::-1])
    _get(server, path)
    assert path.read_bytes() == BODY[::-1]


def test_a_mirror_takes_no_part_of_elsewhere_unchecked(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    _interrupted(server, path, 2_000_000)
    server.add("mirror/a.zip", BODY[::-1])
    download_file(f"{server.url}/mirror/a.zip", path)
    assert path.read_bytes() == BODY[::-1]


def test_wrong_content_range_starts_over(server: LocalServer, tmp_path: Path) -> None:
    _interrupted(server, tmp_path / "a.zip", 2_000_000)
    server.files["/a.zip"].range_shift = 7
    assert _get(server, tmp_path / "a.zip").fetched == len(BODY)
    _complete(tmp_path / "a.zip")


def test_part_that_was_whole(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    _interrupted(server, path, 2_000_000)
    part_of(path).write_bytes(BODY)
    assert _get(server, path).fetched == 0
    _complete(path)


def test_part_that_is_too_long(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    _interrupted(server, path, 2_000_000)
    part_of(path).write_bytes(BODY + b"x")
    _get(server, path, size=len(BODY))
    _complete(path)


@pytest.mark.parametrize("state", ["", "[]", '{"url": 3}', "[" * 100_000, '{"url":"a\\nb"}'])
def test_damaged_state_starts_over(server: LocalServer, tmp_path: Path, state: str) -> None:
    path = tmp_path / "a.zip"
    _interrupted(server, path, 2_000_000)
    (tmp_path / "a.zip.part.json").write_text(state)
    assert _get(server, path).fetched == len(BODY)
    _complete(path)


def test_chunked(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", BODY, chunked=True, cuts=[1_200_000])
    _get(server, tmp_path / "a.zip")
    _complete(tmp_path / "a.zip")


def test_corrupt_bytes(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", BODY, corrupt=True)
    message = _refused(server, tmp_path / "a.zip", checksums={"sha256": SHA})
    assert SHA in message
    assert "run it again" in message
    wrong = bytearray(BODY)
    wrong[len(BODY) // 2] ^= 0xFF
    assert hashlib.sha256(wrong).hexdigest() in message
    assert leftovers(tmp_path) == []


def test_other_size_than_expected(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", BODY)
    message = _refused(server, tmp_path / "a.zip", size=17)
    assert "has 3,000,000 bytes, expected 17" in message
    assert not part_of(tmp_path / "a.zip").exists()
    assert "limit of 100" in _refused(server, tmp_path / "a.zip", max_bytes=100)


def test_chunks_beyond_the_size(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", BODY, chunked=True)
    assert "sends more than the 1,000" in _refused(server, tmp_path / "a.zip", size=1000)


def test_length_that_lies(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", BODY, length=len(BODY) + 5, ranges=False)
    message = _refused(server, tmp_path / "a.zip", attempts=2)
    assert "cut after 3,000,000 of 3,000,005 bytes" in message


def test_busy_servers_are_asked_again(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", BODY, statuses=[503, 429, 500])
    _get(server, tmp_path / "a.zip")
    _complete(tmp_path / "a.zip")
    assert len(server.requests) == 4


def test_gives_up(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", BODY, statuses=[503] * 50)
    message = _refused(server, tmp_path / "a.zip", attempts=3)
    assert "answers 503" in message
    assert "after 3 tries" in message
    assert len(server.requests) == 3


@pytest.mark.parametrize(("status", "said"), [(404, "404"), (403, "login"), (410, "410")])
def test_refusals_are_final(server: LocalServer, tmp_path: Path, status: int, said: str) -> None:
    server.add("a.zip", BODY, statuses=[status, status])
    assert said in _refused(server, tmp_path / "a.zip")
    assert len(server.requests) == 1


def test_web_page(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", b"<html>moved</html>", kind="text/html; charset=utf-8")
    assert "web page instead of a.zip" in _refused(server, tmp_path / "a.zip")


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a.zip"])
def test_redirects_elsewhere(server: LocalServer, tmp_path: Path, target: str) -> None:
    server.add("a.zip", redirect=target)
    assert "not http(s)" in _refused(server, tmp_path / "a.zip")


def test_redirect(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", redirect="/b.zip")
    server.add("b.zip", BODY, cuts=[1_100_000])
    _get(server, tmp_path / "a.zip")
    _complete(tmp_path / "a.zip")
    assert server.asked("b.zip")[1]["Range"] == "bytes=1100000-"


def test_no_downgrade() -> None:
    headers = Message()
    headers["location"] = "http://example.org/a.zip"
    request = urllib.request.Request("https://example.org/a.zip")
    with pytest.raises(SourceError, match=r"from https to http://example\.org"):
        _HttpOnly(downgrade=False).http_error_302(request, io.BytesIO(), 302, "", headers)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://a/b", "a.zip", ""])
def test_only_http(tmp_path: Path, url: str) -> None:
    with pytest.raises(SourceError, match="not an http"):
        download_file(url, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_full_disk(server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add("a.zip", BODY)
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=2_000_000))
    message = _refused(server, tmp_path / "a.zip")
    assert "needs 3,000,000 more bytes, 2,000,000 are free" in message


def test_interrupt_keeps_the_part(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", BODY)

    def stop(stage: str, done: int, total: int | None) -> None:
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _get(server, tmp_path / "a.zip", progress=stop)
    part = part_of(tmp_path / "a.zip")
    have = part.stat().st_size
    assert part.read_bytes() == BODY[:have]
    assert _get(server, tmp_path / "a.zip").fetched == len(BODY) - have
    _complete(tmp_path / "a.zip")


def test_proxy_of_the_environment(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("http_proxy", server.url)
    server.files["http://data.invalid/a.zip"] = server.add("a.zip", BODY)
    download_file("http://data.invalid/a.zip", tmp_path / "a.zip")
    _complete(tmp_path / "a.zip")


def _hold(path: Path, ready: object, end: object) -> None:
    with locked(path, "x"):
        ready.set()  # pyright: ignore
        end.wait(20)  # pyright: ignore


def test_two_processes(server: LocalServer, tmp_path: Path) -> None:
    server.add("a.zip", BODY)
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "a.zip.lock", ready, end))
    other.start()
    assert ready.wait(60)
    assert "is being downloaded by another process" in _refused(server, tmp_path / "a.zip")
    other.kill()  # the lock of a process that died is free
    other.join()
    _get(server, tmp_path / "a.zip")
    _complete(tmp_path / "a.zip")
