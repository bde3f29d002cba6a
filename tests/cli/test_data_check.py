"""``vitrail data check``: what it prints, what it writes, how it exits."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.interruptible import COMMAND
from tests.cli.test_predict import run
from tests.data.check_sets import pairs, write_image
from tests.data.listed import Listed, mapped
from tests.real_data import real
from vitrail.data.checks.codes import CODES
from vitrail.data.convert import convert
from vitrail.data.sample import LabelSpace


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    pairs(root)
    pairs(root, "val", 4, seed=3)
    (root / "classes.txt").write_text("background\ndisc\nsquare\n")
    return root


@pytest.fixture
def faulty(clean: Path) -> Path:
    image = clean / "train" / "images" / "train_1.jpg"
    image.write_bytes(image.read_bytes()[:900])
    for number in (2, 3, 4):
        write_image(
            clean / "train" / "masks" / f"train_{number}.png", np.full((96, 96), 7, np.uint8)
        )
    return clean


def test_a_clean_set(clean: Path, capsys) -> None:
    assert run("data", "check", clean, "--strict") == 0
    out = capsys.readouterr().out
    assert (
        "index-masks" in out and "0 errors, 0 warnings and 0 notes in 10 samples (20 files)" in out
    )
    assert "what to do:" in out and "class weights of train: background" in out


def test_a_faulty_set(faulty: Path, capsys) -> None:
    assert run("data", "check", faulty) == 1
    out = capsys.readouterr().out
    assert f"error corrupt-image (1): {CODES['corrupt-image'].meaning}" in out
    assert "train: train/images/train_1.jpg: train_1: " in out
    assert "error unknown-class-id (3)" in out and "... and" not in out
    assert "declare ignore=7" in out


def test_a_lost_mask_is_one_finding(clean: Path, capsys) -> None:
    (clean / "val" / "masks" / "val_2.png").unlink()
    assert run("data", "check", clean, "--json") == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["code"], problem["id"], problem["split"]) == ("missing-mask", "val_2", "val")


def test_a_lost_image_is_one_finding(clean: Path, capsys) -> None:
    (clean / "val" / "images" / "val_2.jpg").unlink()
    run("data", "check", clean, "--json")
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["code"] == "orphan-mask" and problem["file"].endswith("val_2.png")


def test_fewer_lines(faulty: Path, capsys) -> None:
    assert run("data", "check", faulty, "--max-per-code", "1") == 1
    assert "  ... and 2 more" in capsys.readouterr().out


def test_json(faulty: Path, capsys) -> None:
    assert run("data", "check", faulty, "--json", "--workers", "1") == 1
    captured = capsys.readouterr()
    shown = json.loads(captured.out)
    assert not captured.err
    assert shown["format"] == "index-masks" and shown["errors"] == 4 and not shown["ok"]
    assert [problem["id"] for problem in shown["problems"]] == [
        "train_1",
        "train_2",
        "train_3",
        "train_4",
    ]
    assert run("data", "check", faulty, "--json", "--max-per-code", "1") == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 2


def test_report(faulty: Path, tmp_path: Path, capsys) -> None:
    assert run("data", "check", faulty, "--report", tmp_path / "out") == 1
    assert str(tmp_path / "out" / "check.html") in capsys.readouterr().out.replace("\n", "")
    assert (tmp_path / "out" / "check.html").read_text("utf-8").count("<img") > 2


def test_one_split(faulty: Path, capsys) -> None:
    assert run("data", "check", faulty, "--split", "val") == 0
    assert "in 4 samples" in capsys.readouterr().out
    assert run("data", "check", faulty, "--split", "vall") == 1
    assert "did you mean 'val'" in capsys.readouterr().err


def test_warnings_fail_when_strict(clean: Path, capsys) -> None:
    write_image(clean / "train" / "images" / "train_77.jpg", np.zeros((20, 20, 3), np.uint8))
    assert run("data", "check", clean) in (0, 1)  # a reader may call it an error
    assert run("data", "check", clean, "--strict") == 1
    assert "train_77" in capsys.readouterr().out


def test_what_cannot_be_opened_is_told(tmp_path: Path, capsys) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("nothing to see")
    assert run("data", "check", tmp_path) == 1
    out = capsys.readouterr().out
    assert "error cannot-open (1)" in out and "it holds 1 .txt in the folders notes" in out
    (tmp_path / "instances.json").write_text('{"images": [')
    assert run("data", "check", tmp_path / "instances.json", "--json") == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["format"] is None and shown["problems"][0]["code"] == "cannot-open"


def test_usage(clean: Path, tmp_path: Path, capsys) -> None:
    assert run("data", "check", tmp_path / "nowhere") == 1
    assert "no such file or folder" in capsys.readouterr().err
    assert run("data", "check", clean, "--format", "index-mask") == 1
    assert "did you mean 'index-masks'" in capsys.readouterr().err
    assert run("data", "check", clean, "--set", "clases=a") == 1
    assert "did you mean 'classes'" in capsys.readouterr().err
    assert run("data", "check", clean, "--workers", "-1") == 2


def test_the_page_explains_every_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data-check.md").read_text("utf-8")
    for code, entry in CODES.items():
        row = f"| `{code}` | {entry.severity} | {entry.meaning} | {entry.advice} |"
        assert row in page, row


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "samples", "codes"),
    [
        ("coco_tiny", 160, {"class-imbalance"}),
        ("PennFudanPed", 130, set()),
        ("DRIVE", 40, set()),
        ("dsb2018", 565, set()),
        ("magnetic_tile", 314, {"class-imbalance", "near-duplicate-image"}),
        ("CamVid", 701, {"near-duplicate-image"}),
        (
            "subjects",
            2465,
            {"duplicate-image", "near-leaked-image", "near-duplicate-image", "unnamed-classes"},
        ),
    ],
)
def test_real_sets(name: str, samples: int, codes: set[str], capsys) -> None:
    """Their copies were looked at: all are copies, and nothing else is wrong with these sets."""
    assert run("data", "check", real(name), "--json", "--workers", "0") == 0
    shown = json.loads(capsys.readouterr().out)
    assert sum(shown["samples"].values()) == samples
    assert {row["code"] for row in shown["codes"]} == codes


def test_a_report_of_another_kind_is_refused(clean: Path, tmp_path: Path, capsys) -> None:
    assert run("data", "check", clean, "--report", tmp_path / "x.txt") == 1
    assert "x.txt: expected a file that ends in .html, or a folder" in capsys.readouterr().err
    assert not (tmp_path / "x.txt").exists()


def test_where_files_of_an_unknown_layout_lie(tmp_path: Path, capsys) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"")
    (tmp_path / "labels.json").write_bytes(b"")
    assert run("data", "check", tmp_path) == 1
    out = capsys.readouterr().out
    assert "labels.json: the file is empty" in out
    assert "in itself and in the folders images" in out


def _workers(process: subprocess.Popen) -> int:
    """How many of its workers have been started, from Linux's own lists."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    lines = (Path(f"/proc/{child}/cmdline").read_bytes() for child in children)
    return sum(b"spawn_main" in line for line in lines)


@pytest.mark.skipif(sys.platform != "linux", reason="watches its workers in /proc")
@pytest.mark.parametrize("wait", [0, 0.3])
@pytest.mark.parametrize(
    ("number", "group", "code", "told"),
    [
        (signal.SIGTERM, False, 143, "terminated"),
        (signal.SIGTERM, True, 143, "terminated"),
        (signal.SIGINT, True, 130, "interrupted"),
    ],
)
def test_an_end_while_workers_start_is_one_line(
    tmp_path: Path, number: int, group: bool, code: int, told: str, wait: float
) -> None:
    many = [mapped(f"im{i:05d}", ["01" * 32] * 64, seed=i) for i in range(200)]
    convert({"all": Listed(many, LabelSpace(("ground", "x"), 0))}, tmp_path / "in", "index-masks")
    process = subprocess.Popen(
        [*COMMAND, "data", "check", tmp_path / "in", "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and not _workers(process) and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(wait)
    (os.killpg if group else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.splitlines()) == (code, "", [told])
