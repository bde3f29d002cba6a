"""``vitrail data stats``, and what all verbs of ``vitrail data`` share."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.cli.test_predict import run
from tests.data.listed import Listed, drawn, mapped, sample
from tests.real_data import real
from vitrail.data.convert import convert
from vitrail.data.sample import LabelSpace

MAPS = LabelSpace(("ground", "disc", "box"), 0)


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    parts = {
        "train": Listed([mapped("a", ["0011"]), mapped("b", ["000x"], 1)], MAPS),
        "val": Listed([mapped("c", ["0111"], 2)], MAPS),
    }
    convert(parts, tmp_path / "maps", "index-masks")
    return tmp_path / "maps"


def test_label_maps(maps: Path, capsys) -> None:
    assert run("data", "stats", maps) == 0
    told = capsys.readouterr()
    assert "index-masks" in told.err
    assert "train: 2 images, 4 x 1 px; 1 images without any" in told.out
    assert "classes that do not occur: box" in told.out
    assert "ignored: 1 px (12.5%)" in told.out


def test_objects(tmp_path: Path, capsys) -> None:
    found = sample("a", (2, 2), drawn(0, ["##", ".."]), drawn(0, ["..", "##"], crowd=True))
    parts = {"train": Listed([found], LabelSpace(("cat", "dog")))}
    convert(parts, tmp_path / "coco", "coco")
    assert run("data", "stats", tmp_path / "coco") == 0
    told = capsys.readouterr().out
    assert "train: 1 images, 2 x 2 px, 2 objects" in told and "crowds" in told


def test_json(maps: Path, capsys) -> None:
    assert run("data", "stats", maps, "--json", "--split", "val") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["format"] == "index-masks" and set(told["splits"]) == {"val"}
    disc = told["splits"]["val"]["classes"]["disc"]
    assert (disc["images"], disc["pixels"], disc["share_median"]) == (1, 3, 0.75)


def test_files(maps: Path, tmp_path: Path, capsys) -> None:
    table, plots = tmp_path / "stats.csv", tmp_path / "new" / "plots"
    assert run("data", "stats", maps, "--csv", table, "--plots", plots, "--json") == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert files[0] == str(table)
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    assert [(row["split"], row["class"]) for row in rows][-1] == ("val", "box")
    drawn_files = {path.name for path in plots.iterdir()}
    assert drawn_files == {"pixels.png", "sizes.png", "images.png", "together.png"}
    assert all(cv2.imread(str(plots / name)).shape[1] == 960 for name in drawn_files)


def test_faults_are_gone_around_and_counted(maps: Path, capsys) -> None:
    (mask,) = [path for path in maps.rglob("a.png") if "mask" in path.parent.name]
    mask.unlink()
    assert run("data", "stats", maps) == 0
    told = capsys.readouterr()
    assert "warning: 1 fault was gone around" in told.err and "train: 1 images" in told.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "vla"], "did you mean 'val'"),
        (["--format", "index"], "did you mean 'index-masks'"),
        (["--csv", "no/such/folder/x.csv"], "cannot write"),
    ],
)
def test_mistakes(maps: Path, capsys, arguments: list[str], message: str) -> None:
    assert run("data", "stats", maps, *arguments) == 1
    assert message in capsys.readouterr().err


def test_a_folder_of_nothing_known(tmp_path: Path, capsys) -> None:
    assert run("data", "stats", tmp_path) == 1
    assert "no known layout of labels; name one with --format" in capsys.readouterr().err


def test_help_does_not_import_what_is_slow() -> None:
    """`vitrail data --help` answers at once."""
    code = (
        "import sys; from vitrail.cli.main import main\n"
        "try: main(['data', '--help'])\n"
        "except SystemExit: pass\n"
        "slow = {'torch', 'cv2', 'numpy', 'scipy', 'yaml', 'rich.progress'}\n"
        "sys.exit(','.join(sorted(slow & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for verb in ("formats", "stats", "preview", "convert", "split"):
        assert verb in done.stdout


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "images", "objects"),
    [("coco_tiny", 160, None), ("dsb2018", 565, 24_677), ("PennFudanPed", 130, 341)],
)
def test_real_sets(name: str, images: int, objects: int | None, capsys) -> None:
    assert run("data", "stats", real(name), "--json") == 0
    splits = json.loads(capsys.readouterr().out)["splits"].values()
    assert sum(split["images"] for split in splits) == images
    if objects is not None:
        assert sum(split["instances"] for split in splits) == objects
