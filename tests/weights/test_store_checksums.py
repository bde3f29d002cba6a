"""Published weights of which no sha256 is known: verified by what there is, and said."""

import hashlib
from pathlib import Path

import pytest

from tests.local_server import LocalServer, leftovers, local_server
from tests.weights.test_store import FILE, card, content
from vitrail.errors import SourceError
from vitrail.weights.card import Card
from vitrail.weights.store import is_stored, obtain, original_path, stored_path

__all__ = ["content"]  # the fixture


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VITRAIL_OFFLINE", raising=False)
    return tmp_path / "cache" / "models"


def serve(server: LocalServer, content: bytes, **download: object) -> Card:
    server.add(FILE, content)
    return card(f"{server.url}/{FILE}", content, **{"sha256": None, **download})


def test_without_any_the_size_is_verified_and_that_is_said(content: bytes) -> None:
    said: list[str] = []
    with local_server() as server:
        wanted = serve(server, content)
        obtain(wanted, tell=said.append)
        assert len(said) == 2
        assert said[1] == (
            "tiny: no checksum of published-tiny.safetensors is published; only its size was "
            "verified"
        )
        with pytest.raises(SourceError, match="expected"):
            obtain(serve(server, content, size=len(content) + 1, file="b.pth"), tell=said.append)


@pytest.mark.parametrize("digits", [6, 8, 32])
def test_the_beginning_of_an_md5(digits: int, content: bytes, cache: Path) -> None:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()[:digits]
    with local_server() as server:
        said: list[str] = []
        assert obtain(serve(server, content, md5=md5), tell=said.append).is_file()
        assert len(said) == 1
        wrong = serve(server, content, md5=f"{int(md5[0], 16) ^ 1:x}{md5[1:]}")
        stored_path(wrong).unlink()
        with pytest.raises(SourceError, match=rf"has the md5 {md5}"):
            obtain(wrong, tell=said.append)
    assert not is_stored(wrong) and not leftovers(cache)


def test_a_file_put_there_by_hand(content: bytes, cache: Path) -> None:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()[:6]
    wanted = card("http://127.0.0.1:1/x", content, sha256=None, md5=md5)
    by_hand = original_path(wanted.download)  # pyright: ignore[reportArgumentType]
    cache.mkdir(parents=True)
    by_hand.write_bytes(content)
    said: list[str] = []
    assert obtain(wanted, tell=said.append) == stored_path(wanted) and not said
    stored_path(wanted).unlink()
    by_hand.write_bytes(content[:-1] + b"?")
    with pytest.raises(SourceError, match=rf"the md5 [0-9a-f]{{32}}, expected .* {md5}\.\.\. as"):
        obtain(wanted, tell=said.append)
