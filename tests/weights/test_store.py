"""Published weights: fetched once, said aloud, verified, and refused where they are others."""

import hashlib
import threading
from pathlib import Path

import pytest
import torch

import vitrail
from tests.local_server import LocalServer, leftovers, local_server
from tests.weights.test_files import ARGUMENTS
from vitrail.errors import OutputError, ParameterError, SourceError, WeightsError
from vitrail.models.registry import build
from vitrail.weights import catalog as names
from vitrail.weights.card import Card, Download
from vitrail.weights.catalog import Entry
from vitrail.weights.files import write_checkpoint
from vitrail.weights.header import read_card
from vitrail.weights.published import PUBLISHED
from vitrail.weights.store import (
    cache_folder,
    is_stored,
    obtain,
    original_path,
    stored_path,
)

FILE = "tiny.safetensors"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VITRAIL_OFFLINE", raising=False)
    return tmp_path / "cache" / "models"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint as we would publish it; its card there is an older one."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("published") / FILE
    write_checkpoint(path, build("unet", ARGUMENTS), card("http://elsewhere/x", b"older"))
    return path.read_bytes()


def card(url: str, content: bytes, **download: object) -> Card:
    where = {
        "url": url,
        "file": f"published-{FILE}",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest()[:8],
        **download,
    }
    return Card.model_validate(
        {
            "name": "tiny",
            "summary": "for tests",
            "architecture": "unet",
            "arguments": ARGUMENTS,
            "classes": ["background", "object"],
            "background": 0,
            "preprocessing": {"image_size": 64},
            "training_data": "none",
            "training_command": "none",
            "licences": {"code": "Apache-2.0", "weights": "Apache-2.0", "training_data": "none"},
            "download": Download.model_validate(where).model_dump(),
        }
    )


def serve(server: LocalServer, content: bytes, **how: object) -> Card:
    server.add(FILE, content, **how)
    return card(f"{server.url}/{FILE}", content)


def test_it_is_fetched_once_and_said(content: bytes, cache: Path) -> None:
    said: list[str] = []
    seen: list[tuple[str, int, int | None]] = []
    with local_server() as server:
        wanted = serve(server, content)
        assert not is_stored(wanted)
        path = obtain(wanted, tell=said.append, progress=lambda *state: seen.append(state))
        assert obtain(wanted, tell=said.append) == path == stored_path(wanted)
        assert len(server.asked(FILE)) == 1
    (line,) = said
    assert f"{len(content) / 1e6:.1f} MB" in line and wanted.download is not None
    assert wanted.download.url in line and str(cache) in line
    assert ("downloading published-tiny.safetensors", len(content), len(content)) in seen
    assert is_stored(wanted) and read_card(path) == wanted
    assert [one.name for one in cache.iterdir()] == [path.name]


def test_load_says_it_on_stderr(
    content: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with local_server() as server:
        monkeypatch.setitem(names.catalog(), "tiny", Entry(serve(server, content)))
        segmenter = vitrail.load("tiny", device="cpu")
    out, err = capsys.readouterr()
    assert not out and err.startswith("tiny: downloading") and err.count("\n") == 1
    assert segmenter(torch.zeros(3, 40, 50)).size == (40, 50)
    monkeypatch.setenv("VITRAIL_OFFLINE", "1")
    vitrail.load("tiny", device="cpu")  # it is here now
    assert not capsys.readouterr().err


def test_a_cut_download_goes_on(content: bytes) -> None:
    with local_server() as server:
        wanted = serve(server, content, cuts=[len(content) // 2])
        obtain(wanted, tell=lambda line: None)
        first, second = server.asked(FILE)
    assert "Range" not in first and second["Range"] == f"bytes={len(content) // 2}-"


def test_a_damaged_download_is_refused_and_removed(content: bytes, cache: Path) -> None:
    with local_server() as server:
        wanted = serve(server, content, corrupt=True)
        with pytest.raises(SourceError, match=r"tiny: .*sha256 .*weights=FILE"):
            obtain(wanted, tell=lambda line: None)
    assert not is_stored(wanted) and not leftovers(cache)


def test_another_size_is_refused(content: bytes) -> None:
    with local_server() as server:
        wanted = serve(server, content)
        for size, within in ((len(content) + 9, 0), (len(content) - 9, 5), (len(content) + 9, 5)):
            download = {"size": size, "size_within": within}
            other = card(f"{server.url}/{FILE}", content, **download)
            with pytest.raises(SourceError, match=f"expected|limit of {size + within:,}"):
                obtain(other, tell=lambda line: None)
        near = card(f"{server.url}/{FILE}", content, size=len(content) + 5, size_within=5)
        assert obtain(near, tell=lambda line: None) == stored_path(wanted)


def test_offline_says_where_to_put_the_file(
    content: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRAIL_OFFLINE", "1")
    wanted = card("http://127.0.0.1:1/x", content)
    with pytest.raises(SourceError) as caught:
        obtain(wanted)
    message, by_hand = str(caught.value), original_path(wanted.download)  # pyright: ignore
    for part in ("http://127.0.0.1:1/x", str(by_hand), "weights=FILE", "VITRAIL_OFFLINE"):
        assert part in message
    by_hand.write_bytes(content)
    assert read_card(obtain(wanted)) == wanted
    assert by_hand.read_bytes() == content  # what the user put there stays
    stored_path(wanted).unlink()
    by_hand.write_bytes(content[:-1])
    with pytest.raises(SourceError, match="damaged or another file: remove it"):
        obtain(wanted)


def test_no_network_says_the_same(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrail.download_file.time.sleep", lambda seconds: None)
    wanted = card("http://127.0.0.1:1/x", content)
    with pytest.raises(SourceError, match=r"cannot be reached.*put it at .*weights=FILE"):
        obtain(wanted, tell=lambda line: None)


def test_own_weights_need_no_download(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRAIL_OFFLINE", "1")
    monkeypatch.setitem(names.catalog(), "tiny", Entry(card("http://127.0.0.1:1/x", content)))
    local = tmp_path / "local.safetensors"
    local.write_bytes(content)
    assert vitrail.load("tiny", weights=local).card == names.catalog()["tiny"].card
    local.write_bytes(content[:-1])
    with pytest.raises(WeightsError, match=r"local.safetensors: damaged or cut short"):
        vitrail.load("tiny", weights=local)


def test_several_at_once_fetch_once(content: bytes) -> None:
    """As the processes of one job do; the others wait for the first."""
    with local_server() as server:
        wanted = serve(server, content)
        paths: list[Path] = []
        threads = [
            threading.Thread(
                target=lambda: paths.append(obtain(wanted, tell=lambda line: None)), daemon=True
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert paths == [stored_path(wanted)] * 3
        assert len(server.asked(FILE)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"url": "ftp://x/y"},
        {"file": "../x.pth"},
        {"file": "x.onnx"},
        {"sha256": "1234567"},
        {"sha256": "GHIJKLMN"},
        {"md5": "12345"},
        {"size": 0},
    ],
)
def test_a_card_cannot_name_nonsense(fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="1 validation error"):
        card(str(fault.pop("url", "http://x/y")), b"x", **fault)


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda card: card.name)
def test_what_was_converted_is_known_again(
    published: Card, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a card's arguments are made of: nothing is fetched twice."""
    monkeypatch.setenv("VITRAIL_OFFLINE", "1")
    cache.mkdir(parents=True)
    # The card is what counts; the network's own hundred megabytes need not be written for it.
    write_checkpoint(stored_path(published), build("unet", ARGUMENTS), published)
    assert obtain(published) == stored_path(published)
    with pytest.raises(SourceError, match="VITRAIL_OFFLINE"):
        obtain(published.model_copy(update={"summary": "another"}))


def test_a_cache_folder_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRAIL_CACHE", "~nosuchuser/x")
    with pytest.raises(ParameterError, match=r"VITRAIL_CACHE=~nosuchuser/x: ~nosuchuser is"):
        cache_folder()


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_file_where_the_cache_folder_should_be(
    below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a file"
    file.write_bytes(b"")
    monkeypatch.setenv("VITRAIL_CACHE", str(file / below))
    with pytest.raises(OutputError, match=r"a file is a file, expected a folder.*VITRAIL_CACHE"):
        obtain(PUBLISHED[0])
    assert file.read_bytes() == b""
