"""`vitrail data list` and `vitrail data fetch`, as a person runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.interruptible import COMMAND
from tests.data.test_fetch import picture, zipped
from tests.local_server import LocalServer, local_server
from vitrail.cli.main import main


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with local_server() as running:
        yield running


def _run(*arguments: str) -> int:
    try:
        main(["data", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_list(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert _run("list") == 0
    text = capsys.readouterr().out
    for said in ("coco-2017", "train* 19.6 GB", "camvid", "all* ?", "a login", "CC BY-SA 4.0"):
        assert said in text


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("list", "--json") == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    archive = entries["voc-2012"]["parts"][0]["archives"][0]
    assert archive["size"] == 1_999_639_040
    assert archive["md5"] == "6cd6e144f989b92b3379bac3b3de84fd"
    assert entries["camvid"]["parts"][0]["archives"][0]["sha256"] is None


def _camvid(server: LocalServer) -> None:
    """Its checksums are not published, so that a mirror may hold small files."""
    frames, labels = {"701_StillsRaw_full/a.png": picture(".png")}, {"a_L.png": picture(".png", 0)}
    server.add("701_StillsRaw_full.zip", zipped(frames))
    server.add("LabeledApproved_full.zip", zipped(labels))
    server.add("label_colors.txt", b"0 0 0\tVoid\n")


def test_fetch(server: LocalServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _camvid(server)
    to = tmp_path / "my set"
    how = ("--to", str(to), "--url", server.url, "--accept-licence")
    assert _run("fetch", "camvid", *how) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == f'next: vitrail data check "{to}"'
    assert "cite: Brostow" in said.out
    assert "downloading 701_StillsRaw_full.zip" in said.err
    assert (to / "LabeledApproved_full" / "a_L.png").exists()

    assert _run("fetch", "camvid", *how, "--json") == 0
    said = capsys.readouterr()
    outcome = json.loads(said.out)
    assert said.err == ""
    assert outcome["fetched"] == [] and len(outcome["present"]) == 3
    assert outcome["format"] == "camvid"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["camvidd"], 1, "did you mean 'camvid'?"),
        (["camvid"], 1, "--accept-licence"),
        (["coco-2017", "--part", "train,vla", "--accept-licence"], 1, "did you mean 'val'?"),
        (["camvid", "--accept-licence", "--url", "ftp://x"], 1, "expected the http(s) address"),
        (["open-images-v6"], 1, "choose --part"),
        (["open-images-v6", "--part", "test", "--max-images", "0"], 2, "--max-images"),
        ([], 2, "NAME"),
    ],
)
def test_usage(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run("fetch", *arguments) == code
    error = capsys.readouterr().err
    assert said in error
    assert code == 2 or error.count("\n") == 1, "one line"
    assert list(tmp_path.iterdir()) == []


def test_login(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("fetch", "cityscapes", "--to", str(tmp_path), "--accept-licence") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: Cityscapes can be had with a login only.")
    assert "https://www.cityscapes-dataset.com/file-handling/?packageID=1" in error


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a process of its own group")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_says_how_to_go_on(
    server: LocalServer, tmp_path: Path, number: int, code: int
) -> None:
    _camvid(server)
    served = server.files["/701_StillsRaw_full.zip"]
    served.length = len(served.body) + 1000  # more is announced than comes
    served.hold = 60
    arguments = ["data", "fetch", "camvid", "--accept-licence", "--url", server.url]
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--to", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"no_proxy": "127.0.0.1"},
    )
    part = tmp_path / "701_StillsRaw_full.zip.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    error = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert error.splitlines()[-1].startswith("interrupted; what has come is kept: run the same")
    assert "Traceback" not in error
    assert part.read_bytes() == served.body
