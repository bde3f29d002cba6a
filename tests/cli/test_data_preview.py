"""``vitrail data preview``."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli.test_predict import run
from tests.data.listed import Listed, sample
from tests.drawn import RECIPE, discs, write_discs
from vitrail.data.convert import convert
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.result.masks import Masks

MAPS = LabelSpace(("background", "disc", "square"), 0)


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    samples = [Sample(f"im{i}", *_split(pair)) for i, pair in enumerate(discs(6))]
    convert({"train": Listed(samples, MAPS)}, tmp_path / "maps", "index-masks")
    return tmp_path / "maps"


@pytest.fixture
def things(tmp_path: Path) -> Path:
    space = LabelSpace(("disc", "square"))
    samples = []
    for i, (image, labels) in enumerate(discs(4)):
        masks = Masks.from_labels(labels)
        found = (Instance.from_masks(int(labels.max()) - 1, masks),)
        samples.append(Sample(f"im{i}", image, (64, 64), instances=found))
    samples.append(sample("empty", (64, 64)))
    convert({"train": Listed(samples, space)}, tmp_path / "things", "coco")
    return tmp_path / "things"


def _split(pair: tuple[np.ndarray, np.ndarray]) -> tuple:
    image, labels = pair
    return image, labels.shape, labels


def shown(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture


def test_a_sheet(maps: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "new" / "sheet.png"
    assert run("data", "preview", maps, "--n", 4, "--out", out) == 0
    assert capsys.readouterr().out.strip() == str(out)
    first = shown(out)
    assert run("data", "preview", maps, "--n", 4, "--out", out, "--seed", 0) == 0
    assert np.array_equal(first, shown(out))
    assert run("data", "preview", maps, "--n", 4, "--out", out, "--seed", 1) == 0
    assert first.shape != shown(out).shape or not np.array_equal(first, shown(out))


@pytest.mark.parametrize("kind", ["maps", "things"])
def test_augmented(kind: str, tmp_path: Path, request: pytest.FixtureRequest, capsys) -> None:
    """A row for each sample: the image, then its draws, each beside its labels."""
    data, out = request.getfixturevalue(kind), tmp_path / "sheet.png"
    arguments = ["--n", 3, "--augment", "--draws", 2, "--size", 48, "--out", out]
    assert run("data", "preview", data, *arguments, "--augment-set", "copy_paste=0.5") == 0
    first = shown(out)
    assert first.shape[1] == 3 * (480 + 16) + 16
    assert run("data", "preview", data, *arguments, "--augment-set", "copy_paste=0.5") == 0
    assert np.array_equal(first, shown(out))
    assert run("data", "preview", data, *arguments, "--seed", 9) == 0
    assert first.shape != shown(out).shape or not np.array_equal(first, shown(out))
    assert "Traceback" not in capsys.readouterr().err


def test_a_recipe(maps: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "tiny.yaml", tmp_path / "sheet.png"
    recipe.write_text(RECIPE.format(root=write_discs(tmp_path / "discs", train=1, val=1)), "utf-8")
    arguments = ["--n", 2, "--recipe", recipe, "--draws", 1, "--out", out]
    assert run("data", "preview", maps, *arguments) == 0
    assert shown(out).shape[1] == 2 * (480 + 16) + 16


def test_a_damaged_image_does_not_stop_the_others(maps: Path, tmp_path: Path, capsys) -> None:
    (image,) = [path for path in maps.rglob("im3.png") if "mask" not in path.parent.name]
    image.write_bytes(image.read_bytes()[:200])
    assert run("data", "preview", maps, "--out", tmp_path / "sheet.png") == 1
    assert "im3.png" in capsys.readouterr().err and (tmp_path / "sheet.png").is_file()


def test_json(maps: Path, tmp_path: Path, capsys) -> None:
    (image,) = [path for path in maps.rglob("im3.png") if "mask" not in path.parent.name]
    image.write_bytes(image.read_bytes()[:200])
    out = tmp_path / "sheet.png"
    assert run("data", "preview", maps, "--out", out, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["format"] == "index-masks" and told["files"] == [str(out)]
    assert told["samples"] == [f"im{i}" for i in (0, 1, 2, 4, 5)]
    assert list(told["failed"]) == ["im3"] and "im3.png" in told["failed"]["im3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--augment-set", "mosiac=1"], "did you mean 'mosaic'"),
        (["--augment-set", "flip=2"], "flip=2: Input should be less than or equal to 1"),
        (["--augment-set", "scale=[2, 1]"], "scale"),
        (["--recipe", "no-such.yaml"], "no-such.yaml"),
        (["--out", "sheet.xyz"], "xyz"),
    ],
)
def test_mistakes(
    maps: Path, tmp_path: Path, monkeypatch, capsys, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("data", "preview", maps, *arguments) == 1
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told


def test_a_picture_of_no_known_kind(maps: Path, tmp_path: Path, capsys) -> None:
    assert run("data", "preview", maps, "--out", tmp_path / "x.txt") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "x.txt: expected a name that ends in .png, .jpg" in line
    assert not (tmp_path / "x.txt").exists()
