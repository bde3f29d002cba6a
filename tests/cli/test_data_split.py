"""``vitrail data split``."""

import json
from pathlib import Path

import pytest

from tests.cli.test_predict import run
from tests.data.listed import Listed, mapped
from vitrail.data.convert import convert
from vitrail.data.opening import open_dataset
from vitrail.data.sample import LabelSpace
from vitrail.data.split import Joined, Subset, read_split

MAPS = LabelSpace(("ground", "disc", "box"), 0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """40 images in two splits; every second holds a disc, every tenth a box."""
    samples = [
        mapped(f"scene{i // 4}_{i:02d}", [f"0{i % 2}{2 * (i % 10 == 0)}"], seed=i)
        for i in range(40)
    ]
    parts = {"train": Listed(samples[:30], MAPS), "val": Listed(samples[30:], MAPS)}
    convert(parts, tmp_path / "in", "index-masks")
    return tmp_path / "in"


def test_lists(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--parts", "train=0.5,val=0.25,test=0.25", "--stratify", "--seed", "3"]
    assert run("data", "split", data, "--to", out, *arguments) == 0
    assert "written to" in capsys.readouterr().out
    parts = read_split(out)
    assert {name: len(ids) for name, ids in parts.items()} == {"train": 20, "val": 10, "test": 10}
    facts = json.loads((out / "split.json").read_text("utf-8"))
    assert facts["seed"] == 3 and facts["stratified"] is True
    assert facts["classes"] == {
        "disc": {"train": 10, "val": 5, "test": 5},
        "box": {"train": 2, "val": 1, "test": 1},
    }
    whole = Joined(dict(open_dataset(data).items()))
    found = [id for ids in parts.values() for id in Subset.named(whole, ids).ids]
    assert sorted(found) == sorted(whole.ids)


def test_the_same_again(data: Path, tmp_path: Path, capsys) -> None:
    for out in ("one", "two"):
        assert run("data", "split", data, "--to", tmp_path / out, "--seed", 5) == 0
    assert read_split(tmp_path / "one") == read_split(tmp_path / "two")
    assert run("data", "split", data, "--to", tmp_path / "one", "--seed", 6) == 1
    assert "train.txt exists; --overwrite" in capsys.readouterr().err
    assert run("data", "split", data, "--to", tmp_path / "one", "--seed", 6, "--overwrite") == 0
    assert read_split(tmp_path / "one") != read_split(tmp_path / "two")


def test_groups(data: Path, tmp_path: Path) -> None:
    arguments = ["--group-by", "prefix", "--parts", "train=32,val=8"]
    assert run("data", "split", data, "--to", tmp_path / "out", *arguments) == 0
    parts = read_split(tmp_path / "out")
    scenes = {name: {id.split("_")[0] for id in ids} for name, ids in parts.items()}
    assert not scenes["train"] & scenes["val"] and len(parts["val"]) == 8


def test_folds(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert run("data", "split", data, "--to", out, "--folds", 3, "--stratify", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == {"fold-1": 14, "fold-2": 13, "fold-3": 13}
    held_out: list[str] = []
    for number in (1, 2, 3):
        fold = read_split(out / f"fold-{number}")
        assert len(fold["train"]) + len(fold["val"]) == 40
        assert not set(fold["train"]) & set(fold["val"])
        held_out += fold["val"]
    assert len(set(held_out)) == 40


def test_a_new_set(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--write", "index-masks", "--parts", "train=rest,test=8", "--json"]
    assert run("data", "split", data, "--to", out, *arguments) == 0
    assert json.loads(capsys.readouterr().out)["losses"] == []
    made = open_dataset(out)
    assert {name: len(part) for name, part in made.items()} == {"train": 32, "test": 8}


@pytest.mark.parametrize("more", [[], ["--folds", "3"], ["--write", "coco"], ["--overwrite"]])
@pytest.mark.parametrize(("where", "told"), [(".", "is"), ("parts", "lies in"), ("a/b", "lies in")])
def test_a_set_is_not_divided_into_itself(
    data: Path, capsys, where: str, told: str, more: list[str]
) -> None:
    before = sorted(data.rglob("*"))
    assert run("data", "split", data, "--to", data / where, *more) == 1
    assert f"{told} the data set that it is made from" in capsys.readouterr().err
    assert sorted(data.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "train=0.5"], "take 20 images, but there are 40"),
        (["--parts", "train=39,val=2"], "take 41 images"),
        (["--group-by", "("], "not a regular expression"),
        (["--group-by", "no-such.csv"], "no-such.csv: cannot be read"),
        (["--folds", "41"], "there are 40 images"),
        (["--folds", "2", "--write", "coco"], "does not go with --write"),
    ],
)
def test_mistakes(data: Path, tmp_path: Path, capsys, arguments: list[str], message: str) -> None:
    assert run("data", "split", data, "--to", tmp_path / "out", *arguments) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_more_folds_than_images(data: Path, tmp_path: Path, capsys) -> None:
    assert run("data", "split", data, "--to", tmp_path / "out", "--folds", "41") == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line == "error: --folds 41: there are 40 images, a fold needs one"
    assert not (tmp_path / "out").exists()
